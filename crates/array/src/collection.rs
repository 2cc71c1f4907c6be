//! The collection as its users hold it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::store::repository_url;
use partita_core::{Error, ErrorKind, Predicate, Result, Store, StoreOptions, masked};
use uuid::Uuid;

use crate::backend::{self, Backend};
use crate::commit::{Plain, Record, Snapshot, check_repository_layout};
use crate::dataset::Schema;
use crate::layout::{Config, Layout, config_key};
use crate::options::CreateOptions;
use crate::partitioning::{Key, Partitioning};
use crate::repository::Repository;
use crate::rows::LastState;

/// A collection in a store. Clones are cheap and share what they know of it.
#[derive(Clone)]
pub struct Collection {
    backend: Arc<dyn Backend>,
    /// The configuration at the last refresh.
    config: Arc<RwLock<Arc<Config>>>,
    /// Of a view, the collection under it.
    base: Option<Arc<Collection>>,
    last_state: Arc<LastState>,
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// One partition of a collection. Ordered by key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The key.
    pub key: Key,
    /// Where it is, under the collection: `year=2022/month=01`. Another writer may have formatted it
    /// otherwise than Partita does.
    pub path: String,
}

impl Collection {
    /// The documents that say what a collection is: a directory with one of them is a collection.
    pub const DOCUMENTS: [&'static str; 2] =
        [config_key(Layout::ZarrV2), config_key(Layout::ZarrV3)];

    /// Makes an empty collection of `schema` at `url`, growing along the variable `axis`. Atomic; of
    /// two that make the same collection at once, one gets
    /// [`AlreadyExists`](ErrorKind::AlreadyExists).
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists);
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or [`NotFound`](ErrorKind::NotFound) where
    /// the schema cannot carry the axis or the partitioning, or cannot be stored in the layout;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub async fn create(
        url: &str,
        schema: Schema,
        axis: &str,
        partitioning: Partitioning,
        options: &CreateOptions,
        store: &StoreOptions,
    ) -> Result<Self> {
        if let Some(place) = repository_url(url) {
            let store = Store::open(place, store)?;
            return Self::create_in_repository(store, schema, axis, partitioning, options).await;
        }
        Self::create_in(Store::open(url, store)?, schema, axis, partitioning, options).await
    }

    /// Makes an empty collection at the root of a store.
    ///
    /// # Errors
    /// As [`Collection::create`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %masked(store.url())))]
    pub async fn create_in(
        store: Store,
        schema: Schema,
        axis: &str,
        partitioning: Partitioning,
        options: &CreateOptions,
    ) -> Result<Self> {
        store.check_writable()?;
        let (config, commit) = new_config(schema, axis, partitioning, options)?;
        let backend = Plain::in_store(store);
        backend.create(&config, commit).await?;
        Ok(Self::of(backend, Arc::new(config), None))
    }

    /// Makes an empty collection in an Icechunk repository, which is made if there is none, at the
    /// root of a store.
    ///
    /// # Errors
    /// As [`Collection::create`]; [`InvalidArgument`](ErrorKind::InvalidArgument) for a layout other
    /// than Zarr v3.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %masked(store.url())))]
    pub async fn create_in_repository(
        store: Store,
        schema: Schema,
        axis: &str,
        partitioning: Partitioning,
        options: &CreateOptions,
    ) -> Result<Self> {
        store.check_writable()?;
        check_repository_layout(options.layout, store.url())?;
        let (config, commit) = new_config(schema, axis, partitioning, options)?;
        let repository = Repository::open_or_create(store).await?;
        let backend: Arc<dyn Backend> = Arc::new(repository.clone());
        if let Err(error) = backend.create(&config, commit).await {
            if repository.is_new()
                && error.kind() != ErrorKind::CommitUnknown
                && let Err(left) = repository.remove().await
            {
                tracing::warn!(error = %left, "an empty repository is left");
            }
            return Err(error);
        }
        Ok(Self::of(backend, Arc::new(config), None))
    }

    fn of(backend: Arc<dyn Backend>, config: Arc<Config>, base: Option<Arc<Self>>) -> Self {
        let config = Arc::new(RwLock::new(config));
        Self { backend, config, base, last_state: Arc::default() }
    }

    /// Opens the collection at `url`, in either layout. Three requests; four for Zarr v3.
    ///
    /// The URL of one in an Icechunk repository is that of the repository after `icechunk+`, such as
    /// `icechunk+s3://lake/ssh`. Behind `?branch=` and `?at=` it may name a branch, or a state as
    /// [`At::Name`](crate::At::Name) does.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none; [`Corrupt`](ErrorKind::Corrupt) if its
    /// metadata cannot be read.
    pub async fn open(url: &str, store: &StoreOptions) -> Result<Self> {
        Self::open_backend(backend::open(url, store).await?, None).await
    }

    /// Opens the collection at the root of a store.
    ///
    /// # Errors
    /// As [`Collection::open`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %masked(store.url())))]
    pub async fn open_in(store: Store) -> Result<Self> {
        Self::open_backend(Plain::in_store(store), None).await
    }

    /// Opens the collection in the Icechunk repository at the root of a store, on its main branch.
    ///
    /// # Errors
    /// As [`Collection::open`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %masked(store.url())))]
    pub async fn open_in_repository(store: Store) -> Result<Self> {
        Self::open_backend(Arc::new(Repository::open(store).await?), None).await
    }

    /// Opens what is at a place: a collection, or over its base a view.
    pub(crate) fn open_backend(
        backend: Arc<dyn Backend>,
        base: Option<Self>,
    ) -> BoxFuture<'static, Result<Self>> {
        async move {
            let snapshot = Self::look(backend.as_ref(), base.as_ref()).await?;
            Ok(Self::of(backend, snapshot.whole, base.map(Arc::new)))
        }
        .boxed()
    }

    /// Of a view, the collection under it; none if this is no view.
    #[must_use]
    pub fn base(&self) -> Option<&Self> {
        self.base.as_deref()
    }

    /// Where the collection is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.backend.url()
    }

    /// The configuration (layout, axis, partitioning, schema) at the time when this handle or a
    /// clone of it was last used. The schema of a view is that of what can be read.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at what the collection is by now. Everything but [`Collection::config`] does so by
    /// itself.
    ///
    /// # Errors
    /// As [`Collection::open`].
    pub async fn refresh(&self) -> Result<()> {
        self.snapshot().await.map(drop)
    }

    /// The newest state of what is at a place: a collection, or over its base a view.
    async fn look(backend: &dyn Backend, base: Option<&Self>) -> Result<Snapshot> {
        let under = match base {
            Some(base) => Some(Box::pin(base.snapshot()).await?),
            None => None,
        };
        backend.snapshot(under).await
    }

    /// The newest state.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        let snapshot = Self::look(self.backend(), self.base()).await?;
        let mut known = self.config.write().unwrap_or_else(PoisonError::into_inner);
        *known = Arc::clone(&snapshot.whole);
        Ok(snapshot)
    }

    /// The commits that are kept, newest first. Commits of ZCollection to a plain store are in
    /// no history; in an Icechunk repository those of others have their message for an operation.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store); [`Corrupt`](ErrorKind::Corrupt) if a record cannot be read.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn history(&self) -> Result<Vec<Record>> {
        let mut records = self.backend.records().await?;
        records.reverse();
        Ok(records)
    }

    /// The store, rooted at the collection, or at the repository that it is in.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.backend.store()
    }

    /// The state of which rows were read last through this handle or a clone of it.
    pub(crate) fn last_state(&self) -> &LastState {
        &self.last_state
    }

    /// The URL without secrets, for spans.
    pub(crate) fn place(&self) -> String {
        masked(self.url()).into_owned()
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Refuses if the collection is only for reading.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorKind::ReadOnly) if the store was opened for reading only, or the collection
    /// as it was, or it is of ZCollection's unreleased line of 2025.
    pub fn check_writable(&self) -> Result<()> {
        if let Some(version) = &self.config().version {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "collections of this version of ZCollection are only read; copy it to a new one",
            )
            .with("version", version)
            .with("store", self.url()));
        }
        self.backend.check_writable()
    }

    /// The partitions for which the predicate is true, or all, ordered by the values of their keys.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate names anything but the
    /// fields of the keys; [`Store`](ErrorKind::Store) if the store cannot be listed.
    pub async fn partitions(&self, predicate: Option<&Predicate>) -> Result<Vec<Partition>> {
        self.snapshot().await?.partitions(predicate).await
    }
}

/// The configuration of a new collection, and the id of its commit.
fn new_config(
    schema: Schema,
    axis: &str,
    partitioning: Partitioning,
    options: &CreateOptions,
) -> Result<(Config, String)> {
    let mut config = Config::new(options.layout, axis, partitioning, schema)?;
    if options.catalog && options.layout == Layout::ZarrV2 {
        return Err(Error::invalid("only the Zarr v3 layout has a catalog"));
    }
    config.catalog = options.catalog;
    config.statistics.clone_from(&options.statistics);
    config.check()?;
    let commit = Uuid::new_v4().simple().to_string();
    config.commit = Some(commit.clone());
    Ok((config, commit))
}

#[cfg(test)]
mod tests;
