//! Options for opening a store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use crate::{Error, Result, masked};

/// Words in the name of an option whose value must not be printed.
const SECRET_WORDS: [&str; 6] = ["secret", "token", "key", "password", "sas", "credential"];

/// The options that belong to what is read from a store, not to the store: whether a view may lie over a
/// base elsewhere, and whether digests are compared.
const REMOTE_BASE: &str = "allow_remote_base";
const CHECKSUMS: &str = "checksums";

/// Options of a store: names as in `object_store` and the AWS tools (`aws_access_key_id`,
/// `endpoint_url`, `allow_http`, `timeout`, …), with the short names of fsspec (`key`, `secret`,
/// `anon`) accepted too.
///
/// Options win over the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`). Names are not case-sensitive.
#[derive(Clone, Default)]
pub struct StoreOptions {
    values: BTreeMap<String, String>,
    read_only: bool,
    single_writer: bool,
    /// The text of the option `allow_remote_base`.
    remote_base: Option<String>,
    /// The text that was given for the option `checksums`.
    checksums: Option<String>,
    client: Option<Arc<dyn ObjectStore>>,
}

impl StoreOptions {
    /// No options: everything comes from the URL and the environment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one option; the last value given for a name wins.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        let name = name.as_ref().to_ascii_lowercase();
        match name.as_str() {
            REMOTE_BASE => self.remote_base = Some(value.into()),
            CHECKSUMS => self.checksums = Some(value.into()),
            _ => drop(self.values.insert(name, value.into())),
        }
        self
    }

    /// Whether a view may be based on a collection in another store than its own: another kind of
    /// store, bucket or host. The option `allow_remote_base`; the default is true. A view names its
    /// base in a document, so whoever can write that document chooses where data is read from.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the option is not a boolean.
    pub fn allows_remote_base(&self) -> Result<bool> {
        self.remote_base.as_deref().map_or(Ok(true), |text| parse_switch(REMOTE_BASE, text))
    }

    /// Whether reads compare what they fetch with the digests that were committed. The option
    /// `checksums`, and true without it. What compares itself, as zstd does, is not affected.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the option is no truth value.
    pub fn compares_digests(&self) -> Result<bool> {
        self.checksums.as_deref().map_or(Ok(true), |text| parse_switch(CHECKSUMS, text))
    }

    /// Refuses every write through the store.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Promises that nobody else writes, so that commits to a store without conditional writes are
    /// allowed. If there is a second writer all the same, commits are lost silently.
    #[must_use]
    pub fn single_writer(mut self, single_writer: bool) -> Self {
        self.single_writer = single_writer;
        self
    }

    /// Accesses objects through `client`. URLs then become paths in it, with or without a leading
    /// slash.
    ///
    /// A client is assumed to have no conditional writes: reads work at once, and writes are
    /// refused before they begin unless the caller promises to be the [single
    /// writer](Self::single_writer). Two stores of the same path are the same store if their
    /// clients have the same `Display` text.
    #[must_use]
    pub fn with_client(mut self, client: Arc<dyn ObjectStore>) -> Self {
        self.client = Some(client);
        self
    }

    /// The client that the caller passed in.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<dyn ObjectStore>> {
        self.client.as_ref()
    }

    /// The value of an option.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// Every option with its value, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// True if writes are refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// True if the caller promised to be the only writer.
    #[must_use]
    pub fn is_single_writer(&self) -> bool {
        self.single_writer
    }
}

impl PartialEq for StoreOptions {
    fn eq(&self, other: &Self) -> bool {
        let same_client = match (&self.client, &other.client) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_client
            && self.values == other.values
            && self.remote_base == other.remote_base
            && self.checksums == other.checksums
            && self.read_only == other.read_only
            && self.single_writer == other.single_writer
    }
}

impl Eq for StoreOptions {}

/// Prints the names of the options, and the values of those that are not secret.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| {
            (name, if is_secret(name) { "***".into() } else { masked(value) })
        });
        let shown: BTreeMap<_, Cow<'_, str>> = shown.collect();
        f.debug_struct("StoreOptions")
            .field("values", &shown)
            .field("read_only", &self.read_only)
            .field("single_writer", &self.single_writer)
            .field("client", &self.client.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl<K: AsRef<str>, V: Into<String>> FromIterator<(K, V)> for StoreOptions {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(options: I) -> Self {
        options.into_iter().fold(Self::new(), |all, (name, value)| all.with(name, value))
    }
}

/// Parses a boolean.
pub(super) fn parse_switch(name: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Error::invalid("the option is not a switch: write true or false")
            .with("option", name)
            .with("value", text)),
    }
}

/// Rejects option values that cannot be sent in a request, before the client panics on them.
/// Secrets are not shown.
pub(super) fn check_value(name: &str, value: &str) -> Result<()> {
    let refuse = |why: &str| {
        let error = Error::invalid(format!("the option {why}")).with("option", name);
        Err(if is_secret(name) { error } else { error.with("value", value.escape_debug()) })
    };
    // The content of documents and paths is not sent.
    let is_sent = !NOT_SENT.iter().any(|word| name.contains(word));
    if is_sent && !value.chars().all(|c| matches!(c, ' '..='~')) {
        return refuse(
            "has a character that no request can carry: a line break, another control character, \
             or one outside of ASCII",
        );
    }
    if SERVERS.iter().any(|end| name.ends_with(end)) && !name.contains("use_") {
        let url = match url::Url::parse(value) {
            Ok(url) => url,
            Err(error) => return refuse(&format!("is not a URL: {error}; write {EXAMPLE}")),
        };
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") || !url.has_host() {
            return refuse(&format!("is not the URL of a server; write {EXAMPLE}"));
        }
    }
    Ok(())
}

/// Words in the names of options whose values are documents or paths.
const NOT_SENT: [&str; 5] =
    ["service_account", "application_credentials", "_file", "certificate", "proxy_"];
/// Suffixes of the names of options whose values are server URLs.
const SERVERS: [&str; 4] = ["endpoint", "endpoint_url", "endpoint_url_s3", "proxy_url"];
const EXAMPLE: &str = "http://localhost:9000 or https://s3.example.org";

fn is_secret(name: &str) -> bool {
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Parses `30`, `30s`, `500ms`, `2m` or `1h`; a bare number is in seconds.
pub(super) fn parse_duration(name: &str, text: &str) -> Result<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        _ => f64::NAN,
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| {
            Error::invalid("the option is not a duration: write 30, 30s, 500ms, 2m or 1h")
                .with("option", name)
                .with("value", text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let options = StoreOptions::new()
            .with("AWS_SECRET_ACCESS_KEY", "hush")
            .with("key", "hush")
            .with("endpoint_url", "http://user:hush@127.0.0.1:9");
        let text = format!("{options:?}");
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("127.0.0.1:9"));
        assert_eq!(options.get("aws_secret_access_key"), Some("hush"));
    }

    #[test]
    fn values_that_no_request_can_carry() {
        for (name, value) in [
            ("region", "a\nb"),
            ("secret_access_key", "hush\r\nX: y"),
            ("session_token", "hüsh"),
            ("endpoint_url", "localhost:9000"),
            ("aws_endpoint", "x y"),
            ("endpoint", "ftp://host"),
            ("endpoint", "http://"),
            ("proxy_url", "host"),
        ] {
            let error = check_value(name, value).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{name}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        for (name, value) in [
            ("region", "eu-north-1"),
            ("google_service_account_key", "{\n  \"type\": \"service_account\"\n}"),
            ("use_fabric_endpoint", "true"),
            ("endpoint_url", "http://user:word@[::1]:9000/base"),
            ("user_agent", "some thing/1.0 (x)"),
        ] {
            check_value(name, value).unwrap();
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [("30", 30_000), ("1.5s", 1500), ("500ms", 500), ("2 m", 120_000)] {
            assert_eq!(parse_duration("timeout", text).unwrap(), Duration::from_millis(millis));
        }
        for text in ["", "soon", "-1s", "3 fortnights", "1e999", "9".repeat(400).as_str()] {
            assert!(parse_duration("timeout", text).is_err(), "{text}");
        }
    }
}
