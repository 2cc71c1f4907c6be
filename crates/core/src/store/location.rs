//! Parsing of store URLs.

use std::path::{Component, PathBuf};

use percent_encoding::percent_decode_str;

use crate::{Error, Result};

/// The known schemes, as error messages list them.
const KNOWN_SCHEMES: &str = "a bare path, file://, memory://, s3:// (s3a://), gs:// (gcs://), \
                             az:// (azure://, adl://, abfs://, abfss://), http://, https://";

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A directory, absolute.
    Local(PathBuf),
    /// A named store in this process.
    Memory { name: String, prefix: String },
    /// A bucket of an S3 server.
    S3 { bucket: String, prefix: String },
    /// A bucket of Google Cloud Storage.
    Gcs { bucket: String, prefix: String },
    /// A container of Azure Blob Storage; the authority may name the account.
    Azure { scheme: String, authority: String, prefix: String },
    /// A web server.
    Http { origin: String, prefix: String },
}

impl Location {
    /// Parses a URL or a bare path. Keys are literal: only `file://` and `http(s)://` URLs are
    /// percent-decoded, as their standards require.
    pub fn parse(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = split_scheme(url) else {
            return Ok(Self::Local(absolute(url)?));
        };
        if url.chars().any(char::is_control) {
            return Err(Error::invalid("the URL has a control character").with("url", shown(url)));
        }
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (authority, prefix) = (authority.to_owned(), prefix.trim_matches('/').to_owned());
        let named = |what: &str| match authority.is_empty() {
            false => Ok(authority.clone()),
            true => Err(Error::invalid(format!("the URL names no {what}")).with("url", url)),
        };
        // The name would be sent as it is, and stand in errors of the client.
        let has_bucket = matches!(scheme.as_str(), "s3" | "s3a" | "gs" | "gcs");
        if has_bucket && authority.contains(['@', ':']) {
            return Err(Error::invalid(
                "the URL has a user or a port where the bucket stands; give credentials and the \
                 endpoint as options",
            )
            .with("url", url));
        }
        match scheme.as_str() {
            "file" => Ok(Self::Local(absolute(&file_path(url, rest)?)?)),
            "memory" => Ok(Self::Memory { name: authority, prefix }),
            "s3" | "s3a" => Ok(Self::S3 { bucket: named("bucket")?, prefix }),
            "gs" | "gcs" => Ok(Self::Gcs { bucket: named("bucket")?, prefix }),
            "az" | "azure" | "adl" | "abfs" | "abfss" => {
                Ok(Self::Azure { authority: named("container")?, scheme, prefix })
            }
            "http" | "https" if rest.contains(['?', '#']) => Err(Error::invalid(
                "the URL has a query or a fragment, which would become a part of keys; write the \
                 characters ? and # of a key as %3F and %23",
            )
            .with("url", url)),
            "http" | "https" => {
                let origin = format!("{scheme}://{}", named("host")?);
                Ok(Self::Http { origin, prefix: decode(url, &prefix)? })
            }
            _ => Err(Error::invalid(format!(
                "the scheme of the URL is not known; known are {KNOWN_SCHEMES}"
            ))
            .with("scheme", scheme)
            .with("url", url)),
        }
    }

    /// The URL under which the location can be opened again, from any working directory.
    pub fn url(&self) -> String {
        let join = |root: String, prefix: &str| match prefix {
            "" => root,
            prefix => format!("{root}/{prefix}"),
        };
        match self {
            Self::Local(path) => path.to_string_lossy().into_owned(),
            Self::Memory { name, prefix } => join(format!("memory://{name}"), prefix),
            Self::S3 { bucket, prefix } => join(format!("s3://{bucket}"), prefix),
            Self::Gcs { bucket, prefix } => join(format!("gs://{bucket}"), prefix),
            Self::Azure { scheme, authority, prefix } => {
                join(format!("{scheme}://{authority}"), prefix)
            }
            Self::Http { origin, prefix } => join(origin.clone(), &encode(prefix)),
        }
    }

    /// The URL of the bucket, the container or the server that the location is in.
    pub fn container(&self) -> String {
        let mut container = self.clone();
        match &mut container {
            Self::Local(_) => {}
            Self::Memory { prefix, .. }
            | Self::S3 { prefix, .. }
            | Self::Gcs { prefix, .. }
            | Self::Azure { prefix, .. }
            | Self::Http { prefix, .. } => prefix.clear(),
        }
        container.url()
    }
}

/// The prefix of the URL of a collection in an Icechunk repository.
const REPOSITORY: &str = "icechunk+";

/// The location of an Icechunk repository if the URL is one: `s3://lake/ssh` for
/// `icechunk+s3://lake/ssh`. A bare path may follow `icechunk+` too.
#[must_use]
pub fn repository_url(url: &str) -> Option<&str> {
    let (start, place) = url.split_at_checked(REPOSITORY.len())?;
    start.eq_ignore_ascii_case(REPOSITORY).then_some(place)
}

/// Rejects the URL of an Icechunk repository where the URL of a store is expected.
pub(super) fn refuse_repository(url: &str) -> Result<()> {
    match repository_url(url) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(
            "the URL names an Icechunk repository, which can hold a collection or a \
             view, but not a table",
        )
        .with("url", url)),
    }
}

/// The URL of a collection in an Icechunk repository at `place`.
#[must_use]
pub fn url_of_repository(place: &str) -> String {
    format!("{REPOSITORY}{place}")
}

/// Splits the URL of a dataset into the URL of its store and its name, the last component.
///
/// `s3://lake/raw/trips` is `trips` in `s3://lake/raw`; the bare name `trips` is in the working
/// directory.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the URL names a store only.
pub fn split_url(url: &str) -> Result<(String, String)> {
    let no_name = || {
        Error::invalid("the URL names no dataset: write its name after the store, as in store/name")
            .with("url", url)
    };
    let trimmed = url.trim_end_matches('/');
    let (store, name) = match split_scheme(url) {
        None => match trimmed.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((store, name)) => (store, name),
            None => (".", trimmed),
        },
        Some((scheme, rest)) => {
            let root = url.len() - rest.len();
            let path = trimmed.get(root..).ok_or_else(no_name)?;
            match path.rsplit_once('/') {
                Some((store, name)) => {
                    (trimmed.get(..root + store.len()).ok_or_else(no_name)?, name)
                }
                // `memory://trips`: a dataset of the process's unnamed store.
                None if scheme == "memory" => ("memory://", path),
                None => return Err(no_name()),
            }
        }
    };
    if name.is_empty() || name == "." || name == ".." {
        return Err(no_name());
    }
    match split_scheme(url) {
        Some((scheme, _)) if scheme == "file" => {
            let store = if store == "file://" { "file:///" } else { store };
            Ok((store.to_owned(), decode(url, name)?))
        }
        _ => Ok((store.to_owned(), name.to_owned())),
    }
}

/// The scheme in lower case and the rest after `://`. A single letter is a Windows drive, not a
/// scheme.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = match url.split_once("://") {
        Some(parts) => parts,
        None => ("file", url.strip_prefix("file:")?),
    };
    let mut letters = scheme.chars();
    let valid = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (valid && scheme.len() > 1).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The path of a `file://` URL.
fn file_path(url: &str, rest: &str) -> Result<String> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(Error::invalid(
            "a file URL needs an absolute path and no host: file:///directory, or a bare path",
        )
        .with("url", url));
    }
    let path = decode(url, path)?;
    // `/C:/data` is a drive on Windows.
    let drive = cfg!(windows) && path.chars().nth(2) == Some(':');
    Ok(if drive { path.trim_start_matches('/').to_owned() } else { path })
}

fn decode(url: &str, text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|error| {
        Error::invalid("the URL is not UTF-8 once percent-decoded")
            .with("url", url)
            .caused_by(error)
    })
}

fn encode(text: &str) -> String {
    let part =
        |part| percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC);
    text.split('/').map(|text| part(text).to_string()).collect::<Vec<_>>().join("/")
}

/// Expands a leading `~` to the home directory. A folder whose name begins with `~` is written
/// `./~name`.
fn at_home(path: &str) -> Result<PathBuf> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    match std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => Ok(home.join(rest.trim_start_matches('/'))),
        None => Err(Error::invalid("the home directory is not known; write the path out")
            .with("path", path)),
    }
}

/// The maximum length of a path, and of a name in it, on common file systems, in bytes.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// A URL or path with its control characters escaped.
fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// Makes a path absolute. Its existing part is resolved first, so that `..` after a symbolic link
/// has the meaning that the file system gives it; the rest may not exist yet.
fn absolute(path: &str) -> Result<PathBuf> {
    let failed = |error| {
        Error::invalid("the path cannot be made absolute").with("path", path).caused_by(error)
    };
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid(
            "the path is empty or has a null character; write . for the \
                                   working directory",
        )
        .with("path", shown(path)));
    }
    let longest = path.split('/').map(str::len).max().unwrap_or(0);
    if path.len() > LONGEST_PATH || longest > LONGEST_NAME {
        return Err(Error::invalid(format!(
            "the path is too long: it has {} bytes and a name of {longest}, and no file system \
             takes more than {LONGEST_PATH} and {LONGEST_NAME}",
            path.len()
        ))
        .with("path", shown(path)));
    }
    let mut resolved = std::path::absolute(at_home(path)?).map_err(failed)?;
    let mut missing = Vec::new();
    let existing = loop {
        match resolved.canonicalize() {
            Ok(existing) => break existing,
            Err(error) => match resolved.components().next_back() {
                Some(component @ (Component::Normal(_) | Component::ParentDir)) => {
                    missing.push(component.as_os_str().to_owned());
                    resolved.pop();
                }
                _ => return Err(failed(error)),
            },
        }
    };
    Ok(missing.into_iter().rev().fold(existing, |mut path, component| {
        match component == ".." {
            true => drop(path.pop()),
            false => path.push(component),
        }
        path
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_stores_take_prefixes_literally() {
        let parse = |url| Location::parse(url).unwrap();
        let s3 = |bucket: &str, prefix: &str| Location::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        assert_eq!(parse("s3://lake"), s3("lake", ""));
        assert_eq!(parse("s3://lake/"), s3("lake", ""));
        assert_eq!(parse("S3A://lake/a%20b/c/"), s3("lake", "a%20b/c"));
        assert_eq!(parse("memory://n/a").url(), "memory://n/a");
        assert_eq!(parse("gcs://b/a").url(), "gs://b/a");
        assert_eq!(parse("abfss://c@a.dfs.core.windows.net/p").url().len(), 34);
        assert_eq!(parse("https://h:1/a%20b").url(), "https://h:1/a%20b");
    }

    #[test]
    fn paths_need_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let text = root.to_str().unwrap();
        let parse = |url: &str| Location::parse(url).unwrap();
        assert_eq!(parse(&format!("{text}/a/../b//c/.")), Location::Local(root.join("b/c")));
        assert_eq!(parse(&format!("file://{text}/a%20b")), Location::Local(root.join("a b")));
        assert_eq!(parse(&format!("{text}/a%20b")), Location::Local(root.join("a%20b")));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(parse("."), Location::Local(here.clone()));
        assert_eq!(parse("not/there"), Location::Local(here.join("not/there")));
        let home = std::env::home_dir().unwrap().canonicalize().unwrap();
        assert_eq!(parse("~/not/there"), Location::Local(home.join("not/there")));
        assert_eq!(parse("./~not"), Location::Local(here.join("~not")));
        #[cfg(unix)]
        {
            std::fs::create_dir_all(root.join("real/deep")).unwrap();
            std::os::unix::fs::symlink(root.join("real/deep"), root.join("link")).unwrap();
            assert_eq!(parse(&format!("{text}/link/../x")), Location::Local(root.join("real/x")));
        }
    }

    #[test]
    fn bad_urls() {
        for url in
            ["", "ftp://x/y", "s3://", "s3:///x", "file://host/x", "http://", "a\0b", "s3://a\0b/c"]
        {
            let error = Location::parse(url).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{url:?}");
        }
        for url in [
            "s3://user:hush@lake/t",
            "s3a://user:hu/sh@lake/t",
            "gs://user:hush@lake",
            "https://host/t?token=hush",
        ] {
            let error = Location::parse(url).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{url}");
            assert!(!error.to_string().contains("hush"), "{error}");
            assert!(!error.to_string().contains("hu/sh"), "{error}");
        }
        let long = "x".repeat(5_000_000);
        for url in [long.clone(), format!("/{long}"), "a/".repeat(3000)] {
            let error = Location::parse(&url).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            assert!(error.to_string().len() < 4000, "{}", error.to_string().len());
        }
        let error = Location::parse("ftp://x/y").unwrap_err().to_string();
        assert!(error.contains("s3://") && error.contains("ftp"), "{error}");
    }

    #[test]
    fn repositories() {
        assert_eq!(repository_url("icechunk+s3://lake/ssh"), Some("s3://lake/ssh"));
        assert_eq!(repository_url("Icechunk+data/ssh"), Some("data/ssh"));
        assert_eq!(repository_url(&url_of_repository("/data")), Some("/data"));
        for url in ["icechunk", "s3://icechunk+x", "", "ø"] {
            assert_eq!(repository_url(url), None);
        }
        let error = refuse_repository("icechunk+s3://lake/ssh").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("Icechunk"), "{error}");
    }

    #[test]
    fn datasets_split() {
        let split = |url: &str| split_url(url).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("trips"), pair(".", "trips"));
        assert_eq!(split("a/b/trips/"), pair("a/b", "trips"));
        assert_eq!(split("/trips"), pair("/", "trips"));
        assert_eq!(split("s3://lake/trips"), pair("s3://lake", "trips"));
        assert_eq!(split("s3://lake/raw/trips/"), pair("s3://lake/raw", "trips"));
        assert_eq!(split("memory://n/trips"), pair("memory://n", "trips"));
        assert_eq!(split("memory:///trips"), pair("memory://", "trips"));
        assert_eq!(split("memory://trips"), pair("memory://", "trips"));
        assert_eq!(split("file:///a%20b/c%20d"), pair("file:///a%20b", "c d"));
        assert_eq!(split("file:///trips"), pair("file:///", "trips"));
        for url in ["", "/", "s3://lake", "s3://lake/", "memory://", "..", "a/..", "file:///"] {
            assert!(split_url(url).is_err(), "{url}");
        }
    }
}
