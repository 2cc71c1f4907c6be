//! Creation of the storage client for a location, and the options that it understands.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::answers::Looking;
use super::exported_keys::ExportedKeys;
use super::local::LocalFiles;
use super::location::Location;
use super::options::{StoreOptions, check_value, parse_duration, parse_switch};
use super::profile::{Profile, variable};
use crate::{Error, Result};

/// How long a local commit waits for the lock unless the option `lock_timeout` says otherwise.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The options that every kind of object store takes.
const CLIENT_OPTIONS: &str = "timeout, connect_timeout, max_retries, retry_timeout, allow_http, \
                              allow_invalid_certificates, proxy_url, user_agent, …";

/// Variables by which the services of AWS give keys to the programs that they run.
const KEYS_OF_PROGRAMS: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The stores of this process that live in memory.
static MEMORY: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

/// A client, and the same client as [`LocalFiles`] if it is one.
pub(super) type Client = (Arc<dyn ObjectStore>, Option<Arc<LocalFiles>>);

/// A client rooted at the location: keys are relative to it.
pub(super) fn connect(location: &Location, options: &StoreOptions) -> Result<Client> {
    let remote = match location {
        Location::Local(root) => {
            let mut options = Options::new(options);
            let timeout = options.take_duration("lock_timeout")?.unwrap_or(LOCK_TIMEOUT);
            let sync = options.take_switch("sync")?.unwrap_or(true);
            options.add_from_environment("shared_files", "PARTITA_SHARED_FILES");
            let shared = options.take_switch("shared_files")?;
            options.none_left("files", "lock_timeout, sync, shared_files")?;
            let files = Arc::new(LocalFiles::new(root, timeout, sync, shared)?);
            return Ok((Arc::clone(&files) as _, Some(files)));
        }
        Location::Memory { name, prefix } => {
            Options::new(options).none_left("memory", "none")?;
            let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
            rooted(Arc::clone(stores.entry(name.clone()).or_default()) as _, prefix)
        }
        Location::S3 { bucket, prefix } => rooted(s3(bucket, options)?, prefix),
        Location::Gcs { bucket, prefix } => rooted(gcs(bucket, options)?, prefix),
        Location::Azure { scheme, authority, prefix } => {
            rooted(azure(scheme, authority, options)?, prefix)
        }
        Location::Http { origin, prefix } => rooted(http(origin, options)?, prefix),
    };
    Ok((remote?, None))
}

/// The store below a path of this one. The paths `.` and `` are its root.
pub(super) fn rooted_at(store: Arc<dyn ObjectStore>, path: &str) -> Result<Arc<dyn ObjectStore>> {
    rooted(store, if path == "." { "" } else { path.trim_matches('/') })
}

fn rooted(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Arc<dyn ObjectStore>> {
    if prefix.is_empty() {
        return Ok(store);
    }
    let prefix = Path::parse(prefix).map_err(|error| {
        Error::invalid("the path of the URL cannot be the prefix of keys").caused_by(error)
    })?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

fn s3(bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let mut options = Options::new(options);
    options.rename("key", "access_key_id");
    options.rename("secret", "secret_access_key");
    options.rename("anon", "skip_signature");
    let retry = options.take_retry()?;
    let known = "access_key_id (key), secret_access_key (secret), session_token (token), region, \
                 endpoint_url, skip_signature (anon), virtual_hosted_style_request, profile, …";
    options.rename("aws_profile", "profile");
    let asked = options.take("profile");
    // A profile that was chosen by name takes precedence over keys of the environment.
    let builder = if asked.is_some() { without_keys() } else { AmazonS3Builder::from_env() };
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry);
    for (key, value) in options.parse::<AmazonS3ConfigKey>("S3", known)? {
        builder = builder.with_config(key, value);
    }
    builder = with_profile(builder, asked.as_deref())?;
    check_environment(&builder)?;
    // A URL of the endpoint that begins with http:// allows plain HTTP.
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
    if endpoint.is_some_and(|url| url.starts_with("http://")) && !options.says("allow_http") {
        builder = builder.with_config(allow_http, "true");
    }
    let built = builder.with_http_connector(Looking).build();
    Ok(Arc::new(built.map_err(bad_configuration("S3"))?))
}

/// Checks settings from the environment or a profile; options are checked when they are given.
fn check_environment(builder: &AmazonS3Builder) -> Result<()> {
    use AmazonS3ConfigKey as Key;
    let names = [
        (Key::AccessKeyId, "access_key_id"),
        (Key::SecretAccessKey, "secret_access_key"),
        (Key::Token, "session_token"),
        (Key::Region, "region"),
        (Key::DefaultRegion, "default_region"),
        (Key::Endpoint, "endpoint_url"),
        (Key::S3Endpoint, "endpoint_url_s3"),
    ];
    names.into_iter().try_for_each(|(key, name)| {
        builder.get_config_value(&key).map_or(Ok(()), |value| check_value(name, &value))
    })
}

/// The configuration of the environment without its keys.
fn without_keys() -> AmazonS3Builder {
    use AmazonS3ConfigKey::{AccessKeyId, SecretAccessKey, Token};
    let mut builder = AmazonS3Builder::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let key = name.strip_prefix("AWS_").and_then(|_| name.to_ascii_lowercase().parse().ok());
        if let Some(key) = key.filter(|key| !matches!(key, AccessKeyId | SecretAccessKey | Token)) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// Adds settings of the profile that neither options nor the environment define.
fn with_profile(mut builder: AmazonS3Builder, asked: Option<&str>) -> Result<AmazonS3Builder> {
    use AmazonS3ConfigKey::{
        AccessKeyId, DefaultRegion, Endpoint, Region, S3Endpoint, SecretAccessKey, SkipSignature,
        Token,
    };
    let profile = Profile::load(asked)?;
    let says = |builder: &AmazonS3Builder, keys: &[AmazonS3ConfigKey]| {
        keys.iter().any(|key| builder.get_config_value(key).is_some())
    };
    let anonymous = builder.get_config_value(&SkipSignature).is_some_and(|said| said == "true");
    let needs_keys = !anonymous && !says(&builder, &[AccessKeyId]);
    if needs_keys && profile.exports_keys() {
        let named = Profile::named(asked);
        // Where a program has been given keys of its own, they count before those of a profile that
        // nobody has named.
        if named.is_some() || !KEYS_OF_PROGRAMS.into_iter().any(|name| variable(name).is_some()) {
            let name = named.unwrap_or_else(|| "default".to_owned());
            builder = builder.with_credentials(Arc::new(ExportedKeys::new(name)));
        }
    }
    if let Some((id, secret, token)) = profile.keys()
        && needs_keys
    {
        builder = builder.with_config(AccessKeyId, id).with_config(SecretAccessKey, secret);
        if let Some(token) = token {
            builder = builder.with_config(Token, token);
        }
    }
    if let Some(region) = profile.get("region")
        && !says(&builder, &[Region, DefaultRegion])
    {
        builder = builder.with_config(Region, region);
    }
    if let Some(endpoint) = profile.get("endpoint_url")
        && !says(&builder, &[S3Endpoint, Endpoint])
    {
        builder = builder.with_config(Endpoint, endpoint);
    }
    Ok(builder)
}

fn gcs(bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let mut options = Options::new(options);
    options.rename("anon", "skip_signature");
    let retry = options.take_retry()?;
    let known = "service_account, service_account_key, application_credentials, skip_signature \
                 (anon), …";
    let mut builder =
        GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry);
    for (key, value) in options.parse::<GoogleConfigKey>("Google Cloud Storage", known)? {
        builder = builder.with_config(key, value);
    }
    let built = builder.with_http_connector(Looking).build();
    Ok(Arc::new(built.map_err(bad_configuration("Google Cloud Storage"))?))
}

fn azure(scheme: &str, authority: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let mut options = Options::new(options);
    options.rename("anon", "skip_signature");
    let retry = options.take_retry()?;
    let known = "account_name, account_key, sas_token, client_id, client_secret, tenant_id, \
                 endpoint, use_emulator, …";
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_url(format!("{scheme}://{authority}"))
        .with_retry(retry);
    for (key, value) in options.parse::<AzureConfigKey>("Azure", known)? {
        builder = builder.with_config(key, value);
    }
    let built = builder.with_http_connector(Looking).build();
    Ok(Arc::new(built.map_err(bad_configuration("Azure"))?))
}

fn http(origin: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let mut options = Options::new(options);
    let retry = options.take_retry()?;
    let mut client = ClientOptions::new().with_allow_http(true);
    for (key, value) in options.parse::<ClientConfigKey>("web servers", "none of their own")? {
        client = client.with_config(key, value);
    }
    let builder = HttpBuilder::new().with_url(origin).with_retry(retry).with_client_options(client);
    let built = builder.with_http_connector(Looking).build();
    Ok(Arc::new(built.map_err(bad_configuration("web servers"))?))
}

fn bad_configuration(what: &'static str) -> impl Fn(object_store::Error) -> Error {
    move |error| {
        Error::invalid(format!("the options or the environment do not configure {what}"))
            .caused_by(error)
    }
}

/// The options that have not been consumed yet, under the client's names.
struct Options {
    left: Vec<(String, String)>,
}

impl Options {
    fn new(options: &StoreOptions) -> Self {
        Self { left: options.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect() }
    }

    fn says(&self, name: &str) -> bool {
        self.left.iter().any(|(given, _)| given.strip_prefix("aws_").unwrap_or(given) == name)
    }

    /// Takes an option from an environment variable unless it is given.
    fn add_from_environment(&mut self, name: &str, variable: &str) {
        if !self.says(name)
            && let Ok(value) = std::env::var(variable)
        {
            self.left.push((name.to_owned(), value));
        }
    }

    /// Accepts another library's name for an option, unless the option is given under its own name.
    fn rename(&mut self, alias: &str, name: &str) {
        let given = self.says(name);
        for (option, _) in self.left.iter_mut().filter(|(option, _)| option == alias && !given) {
            name.clone_into(option);
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let position = self.left.iter().position(|(option, _)| option == name)?;
        Some(self.left.remove(position).1)
    }

    fn take_duration(&mut self, name: &str) -> Result<Option<Duration>> {
        self.take(name).map(|text| parse_duration(name, &text)).transpose()
    }

    fn take_switch(&mut self, name: &str) -> Result<Option<bool>> {
        self.take(name).map(|text| parse_switch(name, &text)).transpose()
    }

    fn take_retry(&mut self) -> Result<RetryConfig> {
        let mut retry = RetryConfig { backoff: BackoffConfig::default(), ..Default::default() };
        if let Some(text) = self.take("max_retries") {
            retry.max_retries = text.parse().map_err(|error| {
                Error::invalid("the option is not a whole number")
                    .with("option", "max_retries")
                    .with("value", &text)
                    .caused_by(error)
            })?;
        }
        if let Some(timeout) = self.take_duration("retry_timeout")? {
            retry.retry_timeout = timeout;
        }
        if let Some(first) = self.take_duration("retry_backoff")? {
            retry.backoff.init_backoff = first;
        }
        Ok(retry)
    }

    /// The options as the client's keys, with values in the client's notation.
    fn parse<K: FromStr<Err: Display>>(
        &self,
        store: &str,
        known: &str,
    ) -> Result<Vec<(K, String)>> {
        let one = |(name, value): &(String, String)| {
            let key = name.parse::<K>().map_err(|_| unknown(name, store, known))?;
            check_value(name, value)?;
            let value = match name.ends_with("timeout") {
                true => format!("{}ms", parse_duration(name, value)?.as_millis()),
                false => value.clone(),
            };
            Ok((key, value))
        };
        self.left.iter().map(one).collect()
    }

    fn none_left(&self, store: &str, known: &str) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::invalid(format!("the option is not known for {store}; known: {known}"))
                    .with("option", name))
            }
        }
    }
}

fn unknown(name: &str, store: &str, known: &str) -> Error {
    Error::invalid(format!(
        "the option is not known for {store}; known are {known} and {CLIENT_OPTIONS}"
    ))
    .with("option", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &StoreOptions) -> Result<Client> {
        connect(&Location::parse(url)?, options)
    }

    #[test]
    fn options_of_each_kind() {
        let s3 = StoreOptions::new()
            .with("key", "a")
            .with("secret", "b")
            .with("endpoint_url", "http://127.0.0.1:1")
            .with("AWS_REGION", "eu-north-1")
            .with("timeout", "3")
            .with("connect_timeout", "500ms")
            .with("max_retries", "2")
            .with("retry_timeout", "10s");
        open("s3://lake/x", &s3).unwrap();
        open("s3://lake", &StoreOptions::new().with("anon", "true")).unwrap();
        open("gs://lake", &StoreOptions::new().with("anon", "true")).unwrap();
        let azure = StoreOptions::new().with("account_name", "a").with("use_emulator", "true");
        open("az://lake/x", &azure).unwrap();
        open("/tmp", &StoreOptions::new().with("sync", "false").with("lock_timeout", "1m"))
            .unwrap();
        let error = open("s3://lake", &s3.clone().with("endpoint_url", "localhost:9000"));
        assert_eq!(error.unwrap_err().kind(), crate::ErrorKind::InvalidArgument);
        open("https://example.org/x", &StoreOptions::new().with("timeout", "1m")).unwrap();
    }

    #[test]
    fn unknown_options_are_refused_with_the_known_ones() {
        for url in ["s3://b", "gs://b", "az://b", "http://h", "memory://m", "/tmp"] {
            let error = open(url, &StoreOptions::new().with("colour", "red")).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{url}");
            assert!(error.to_string().contains("known"), "{error}");
        }
        let error = open("s3://b", &StoreOptions::new().with("timeout", "soon")).unwrap_err();
        assert!(error.to_string().contains("timeout"), "{error}");
        let error = open("/tmp", &StoreOptions::new().with("sync", "later")).unwrap_err();
        assert!(error.to_string().contains("true or false"), "{error}");
        let error = open("s3://b", &StoreOptions::new().with("max_retries", "x")).unwrap_err();
        assert!(error.to_string().contains("max_retries"), "{error}");
    }
}
