//! The handle of an open store.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::OnceCell;

use super::backend::{connect, rooted_at};
use super::failure::Request;
use super::key::{check_file_name, parse_key};
use super::local::LocalFiles;
use super::location::{Location, refuse_repository};
use super::meter::Meter;
use super::options::StoreOptions;
use super::probe::{Capability, Condition};
use crate::{Error, ErrorKind, Result};

/// How a store commits; probed once, and shared by all handles of the same bucket.
pub(super) type Learned = Arc<OnceCell<Capability>>;

/// The capabilities that this process has probed, by a fingerprint of URL and options.
static LEARNED: LazyLock<Mutex<HashMap<blake3::Hash, Learned>>> = LazyLock::new(Mutex::default);

/// Environment variables that redirect a URL to another server.
const ENDPOINT_VARIABLES: [&str; 6] = [
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AZURE_STORAGE_ENDPOINT",
];

/// A store of objects, opened under one prefix. Cloning is cheap; clones share the client with its
/// connections.
///
/// Keys are `/`-separated, relative to the prefix and taken literally: nothing is percent-encoded
/// or decoded.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<dyn ObjectStore>,
    /// The same client as `inner`, if it is known to be local files.
    pub(super) local: Option<Arc<LocalFiles>>,
    pub(super) learned: Learned,
    url: Arc<str>,
    /// The display text of a client that the caller passed in.
    client: Option<Arc<str>>,
    read_only: bool,
    pub(super) single_writer: bool,
    compares_digests: bool,
    /// The counter of reads made through this handle.
    pub(super) meter: Option<Arc<Meter>>,
    /// The source that is tried for missing objects.
    fallback: Option<Arc<dyn Fallback>>,
}

/// A second source for objects that should be in a store but are missing.
pub trait Fallback: fmt::Debug + Send + Sync {
    /// The content of a missing object; `None` if the object is not supposed to exist.
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>>;
}

impl Store {
    /// Opens the store at `url`: a bare path, `file://`, `memory://name/prefix` (shared by the
    /// process), `s3://`, `gs://`, `az://`, or `http(s)://` for reading only.
    ///
    /// With a [client](StoreOptions::with_client) among the options, `url` is a path in it.
    ///
    /// Costs no request and creates nothing: a directory is created by the first write, and a store
    /// that does not exist is noticed by the first read.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an unknown scheme or option; the message
    /// lists the known ones.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        refuse_repository(url)?;
        if let Some(client) = options.client() {
            return Self::of_client(client, url, options);
        }
        let location = Location::parse(url)?;
        let (inner, local) = connect(&location, options)?;
        let mut store = Self {
            inner,
            local,
            learned: Learned::default(),
            url: location.url().into(),
            client: None,
            read_only: options.is_read_only(),
            single_writer: options.is_single_writer(),
            compares_digests: options.compares_digests()?,
            meter: None,
            fallback: None,
        };
        match &location {
            Location::Local(_) => store.learned = known(Condition::ContentHash),
            Location::Memory { .. } => store.learned = known(Condition::Etag),
            Location::Http { .. } => store.read_only = true,
            _ => store.learned = learned(&location.container(), options),
        }
        Ok(store)
    }

    /// Wraps a client whose root is already the prefix of the keys; errors show `url`.
    ///
    /// The client's capabilities are probed before the first commit.
    #[must_use]
    pub fn from_object_store(
        inner: Arc<dyn ObjectStore>,
        url: &str,
        options: &StoreOptions,
    ) -> Self {
        Self {
            inner,
            local: None,
            learned: Learned::default(),
            url: url.into(),
            client: None,
            read_only: options.is_read_only(),
            single_writer: options.is_single_writer(),
            compares_digests: options.compares_digests().unwrap_or(true),
            meter: None,
            fallback: None,
        }
    }

    /// The store at a path of a client that the caller passed in.
    fn of_client(
        client: &Arc<dyn ObjectStore>,
        path: &str,
        options: &StoreOptions,
    ) -> Result<Self> {
        if let Some((name, _)) = options.iter().next() {
            return Err(Error::invalid(
                "a client that is passed in is configured already; pass no further options",
            )
            .with("option", name));
        }
        let name = client.to_string();
        let reason = format!("{name} has no conditional writes");
        let unsupported = OnceCell::new_with(Some(Capability::Unsupported { reason }));
        let url = if path == "." { "" } else { path };
        Ok(Self {
            inner: rooted_at(Arc::clone(client), path)?,
            local: None,
            learned: Arc::new(unsupported),
            url: url.into(),
            client: Some(name.into()),
            read_only: options.is_read_only(),
            single_writer: options.is_single_writer(),
            compares_digests: options.compares_digests()?,
            meter: None,
            fallback: None,
        })
    }

    /// The same store with its client wrapped, for instance to count requests. The result of the
    /// probe is kept.
    #[must_use]
    pub fn wrap(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { inner: wrap(Arc::clone(&self.inner)), local: None, ..self.clone() }
    }

    /// The same store with a second source for missing objects; see [`Store::fall_back`].
    #[must_use]
    pub fn with_fallback(&self, fallback: Arc<dyn Fallback>) -> Self {
        Self { fallback: Some(fallback), ..self.clone() }
    }

    /// Looks up the content of a missing object in the fallback; `None` if the object is not
    /// supposed to exist, or there is no fallback.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the object must exist and its content is not known.
    pub async fn fall_back(&self, key: &str) -> Result<Option<Bytes>> {
        match &self.fallback {
            Some(fallback) => fallback.find(key).await,
            None => Ok(None),
        }
    }

    /// The URL under which the store can be opened again; absolute for local directories.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// True if objects are files of this machine: then more concurrent requests than cores gain
    /// little, while requests to other stores mostly wait for the network.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// True if objects are files that other machines may write to: those of network and cluster
    /// file systems and of FUSE. A lock may exclude only the processes of one machine there. The
    /// option `shared_files` and the environment variable `PARTITA_SHARED_FILES` override the
    /// detection (`true`, `false`).
    ///
    /// Detected once for all clones of the store, on the directory or its nearest existing parent.
    #[must_use]
    pub fn is_shared_files(&self) -> bool {
        self.local.as_ref().is_some_and(|files| files.is_shared())
    }

    /// The name of the file system of the objects: `ext4`, `nfs`, …; `unknown` for an unrecognised
    /// one; `None` for other stores, and if the operating system does not report it.
    #[must_use]
    pub fn file_system_name(&self) -> Option<&'static str> {
        self.local.as_ref()?.file_system().name()
    }

    /// True if every write is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// True if the caller has promised that nobody else writes.
    #[must_use]
    pub fn is_written_alone(&self) -> bool {
        self.single_writer
    }

    /// True if reads compare what they fetch with the digests that were committed; see
    /// [`StoreOptions::compares_digests`].
    #[must_use]
    pub fn compares_digests(&self) -> bool {
        self.compares_digests
    }

    /// The same store, of which reads compare digests, whatever its options say.
    #[must_use]
    pub fn comparing_digests(&self) -> Self {
        Self { compares_digests: true, ..self.clone() }
    }

    /// True if both refer to the same location, so that a key names the same object in both.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.url == other.url && self.client == other.client
    }

    /// Fails if a write could never be committed: the store is read-only, or is known not to commit
    /// atomically and the caller did not promise to be its single writer.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorKind::ReadOnly), [`CommitUnsupported`](ErrorKind::CommitUnsupported).
    pub fn check_writable(&self) -> Result<()> {
        self.check_not_read_only()?;
        match self.learned.get() {
            Some(Capability::Unsupported { reason }) if !self.single_writer => {
                Err(self.unsupported(reason))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_not_read_only(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "the store was opened for reading only")
                .with("store", &self.url));
        }
        Ok(())
    }

    /// The client, rooted at the prefix of the store.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner)
    }

    /// Validates a key and converts it to a path of the client.
    pub(super) fn path(&self, key: &str) -> Result<Path> {
        let path = parse_key(key)?;
        if self.local.is_some() {
            check_file_name(key)?;
        }
        Ok(path)
    }

    /// The context of an error.
    pub(super) fn request<'a>(&'a self, verb: &'static str, key: &'a str) -> Request<'a> {
        Request { verb, key, store: &self.url }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("url", &self.url)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

fn known(condition: Condition) -> Learned {
    Arc::new(OnceCell::new_with(Some(Capability::Conditional(condition))))
}

fn learned(url: &str, options: &StoreOptions) -> Learned {
    let mut identity = blake3::Hasher::new();
    let mut part = |text: &str| {
        identity.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    part(url);
    for (name, value) in options.iter() {
        part(name);
        part(value);
    }
    for name in ENDPOINT_VARIABLES {
        part(&std::env::var(name).unwrap_or_default());
    }
    let mut stores = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(stores.entry(identity.finalize()).or_default())
}
