//! The description of the base in the document of a view.

use partita_core::store::{repository_url, url_of_repository};
use partita_core::{Error, Result};

use super::Layout;
use crate::json::Json;

/// The base of a view, and the partitions that the view covers.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewConfig {
    /// The collection under the view.
    pub base: Reference,
    /// The location of the view when it was created, in the same form as the reference.
    pub home: Option<String>,
    /// The condition on the fields of keys that selects the partitions of the base that the view
    /// covers; all if there is none.
    pub filter: Option<String>,
}

/// The location of a collection, in the form of the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// A URL; in the Zarr v2 layout, a path in the file system.
    pub location: String,
    /// The file system in the form of fsspec; only in the Zarr v2 layout.
    pub file_system: Option<Json>,
}

/// Protocols of fsspec's file systems, with the schemes of their URLs and their classes.
const FILE_SYSTEMS: [(&str, &str, &str); 8] = [
    ("file", "", "fsspec.implementations.local.LocalFileSystem"),
    ("local", "", "fsspec.implementations.local.LocalFileSystem"),
    ("memory", "memory", "fsspec.implementations.memory.MemoryFileSystem"),
    ("s3", "s3", "s3fs.core.S3FileSystem"),
    ("s3a", "s3", "s3fs.core.S3FileSystem"),
    ("gs", "gs", "gcsfs.core.GCSFileSystem"),
    ("gcs", "gs", "gcsfs.core.GCSFileSystem"),
    ("az", "az", "adlfs.spec.AzureBlobFileSystem"),
];

impl Reference {
    /// The reference to the collection at a URL or a bare path.
    #[must_use]
    pub fn new(layout: Layout, url: &str) -> Self {
        if let Some(place) = repository_url(url) {
            let location = url_of_repository(&Self::new(Layout::ZarrV3, place).location);
            return Self { location, file_system: None };
        }
        let (scheme, path) = split(url);
        if layout == Layout::ZarrV3 {
            let location = if scheme.is_empty() { format!("file://{url}") } else { url.to_owned() };
            return Self { location, file_system: None };
        }
        let known = FILE_SYSTEMS.iter().find(|(_, of, _)| *of == scheme);
        let (protocol, class) = known.map_or((scheme, ""), |(name, _, class)| (*name, *class));
        let file_system = Json::map([
            ("cls", class.into()),
            ("protocol", protocol.into()),
            ("args", Json::List(Vec::new())),
        ]);
        let root = if scheme == "memory" { "/" } else { "" };
        Self { location: format!("{root}{path}"), file_system: Some(file_system) }
    }

    /// The URL, or bare path, of the collection.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if it is in a file system
    /// without URLs.
    pub fn url(&self) -> Result<String> {
        let Some(file_system) = &self.file_system else {
            return Ok(self.location.strip_prefix("file://").unwrap_or(&self.location).to_owned());
        };
        let protocol = match file_system.get("protocol") {
            Some(Json::List(names)) => names.first().and_then(Json::as_text),
            Some(name) => name.as_text(),
            None => None,
        };
        let protocol = protocol.unwrap_or_default();
        let known = FILE_SYSTEMS.iter().find(|(name, ..)| *name == protocol);
        match known {
            Some((_, "", _)) => Ok(self.location.clone()),
            Some((_, scheme, _)) => {
                Ok(format!("{scheme}://{}", self.location.trim_start_matches('/')))
            }
            None => Err(Error::invalid(
                "the base of the view is in a file system that is not supported here; open the \
                 view with its base",
            )
            .with("file system", protocol)
            .with("base", &self.location)),
        }
    }
}

impl ViewConfig {
    /// The location of the base if it was moved together with the view, which is at `url` now; none
    /// if their relative location is not known.
    #[must_use]
    pub fn moved_base(&self, url: &str) -> Option<String> {
        let ((scheme, home), (other, base)) =
            (split(self.home.as_deref()?), split(&self.base.location));
        if scheme != other {
            return None;
        }
        let parts = |path: &'_ str| -> Vec<String> {
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let (home, base) = (parts(home), parts(base));
        let common = home.iter().zip(&base).take_while(|(a, b)| a == b).count();
        let (scheme, at) = split(url);
        let mut moved = parts(at);
        let up = home.len() - common;
        if moved.len() < up {
            return None;
        }
        moved.truncate(moved.len() - up);
        moved.extend(base.into_iter().skip(common));
        let path = moved.join("/");
        let root = if at.starts_with('/') { "/" } else { "" };
        let moved = match scheme {
            "" => format!("{root}{path}"),
            scheme => format!("{scheme}://{path}"),
        };
        Some(match repository_url(&self.base.location) {
            Some(_) => url_of_repository(&moved),
            None => moved,
        })
    }
}

/// The scheme of a URL, which is empty for files, and the rest; for a repository, those of its
/// location.
fn split(url: &str) -> (&str, &str) {
    let url = repository_url(url).unwrap_or(url);
    match url.split_once("://") {
        Some(("file", path)) => ("", path),
        Some(parts) => parts,
        None => ("", url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_what_they_were_made_of() {
        for layout in [Layout::ZarrV2, Layout::ZarrV3] {
            for url in ["/data/ssh", "s3://lake/raw/ssh", "memory://lake/ssh", "gs://lake/ssh"] {
                assert_eq!(Reference::new(layout, url).url().unwrap(), url);
            }
        }
        for (url, named) in [
            ("icechunk+/data/ssh", "icechunk+file:///data/ssh"),
            ("icechunk+s3://lake/ssh", "icechunk+s3://lake/ssh"),
        ] {
            assert_eq!(Reference::new(Layout::ZarrV3, url).url().unwrap(), named);
        }
        let found = Reference::new(Layout::ZarrV2, "s3://lake/ssh");
        assert_eq!(found.location, "lake/ssh");
        let other = Json::map([("protocol", "ftp".into())]);
        let other = Reference { location: "/ssh".into(), file_system: Some(other) };
        assert!(other.url().is_err());
    }

    #[test]
    fn a_base_that_moved_with_its_view_is_found() {
        let moved = |home: &str, base: &str, now: &str| {
            let base = Reference::new(Layout::ZarrV3, base);
            let home = Some(Reference::new(Layout::ZarrV3, home).location);
            ViewConfig { base, home, filter: None }.moved_base(now)
        };
        let found = moved("/data/views/v", "/data/ssh", "/new/place/views/v");
        assert_eq!(found.as_deref(), Some("/new/place/ssh"));
        assert_eq!(moved("/a/v", "/a/ssh", "s3://lake/v").as_deref(), Some("s3://lake/ssh"));
        let found = moved("icechunk+/a/v", "icechunk+/a/ssh", "icechunk+s3://lake/v");
        assert_eq!(found.as_deref(), Some("icechunk+s3://lake/ssh"));
        let found = moved("icechunk+/a/v", "/a/ssh", "icechunk+/b/v");
        assert_eq!(found.as_deref(), Some("/b/ssh"));
        assert_eq!(moved("/a/v", "icechunk+/a/c", "/b/v").as_deref(), Some("icechunk+/b/c"));
        assert_eq!(moved("/a/b/c/v", "/a/ssh", "/v"), None);
        assert_eq!(moved("/a/v", "s3://lake/ssh", "/b/v"), None);
    }
}
