//! The collection as its users hold it.

use std::fmt;
use std::sync::Arc;

use partita_core::store::Swap;
use partita_core::{Cancel, Error, ErrorKind, Predicate, Progress, Result, Store, StoreOptions};
use uuid::Uuid;

use crate::dataset::{Dataset, Schema};
use crate::layout::{
    Config, Layout, encode_config, list_partitions, parent_groups, read_config, write_group,
};
use crate::options::{CreateOptions, ReadOptions};
use crate::partitioning::{Key, Partitioning};
use crate::read;
use crate::select::select;

/// A collection in a store. Clones are cheap and share what they know of it.
#[derive(Clone)]
pub struct Collection {
    store: Store,
    config: Arc<Config>,
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// One partition of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The key.
    pub key: Key,
    /// Where it is, under the collection: `year=2022/month=01`.
    pub path: String,
}

impl Collection {
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
        Self::create_in(Store::open(url, store)?, schema, axis, partitioning, options).await
    }

    /// Makes an empty collection at the root of a store.
    ///
    /// # Errors
    /// As [`Collection::create`].
    pub async fn create_in(
        store: Store,
        schema: Schema,
        axis: &str,
        partitioning: Partitioning,
        options: &CreateOptions,
    ) -> Result<Self> {
        store.check_writable()?;
        let mut config = Config::new(options.layout, axis, partitioning, schema)?;
        if options.catalog && options.layout == Layout::ZarrV2 {
            return Err(Error::invalid("only the Zarr v3 layout has a catalog"));
        }
        config.catalog = options.catalog;
        let commit = Uuid::new_v4().simple().to_string();
        config.commit = Some(commit.clone());
        let exists = || {
            Error::new(ErrorKind::AlreadyExists, "there is a collection here already")
                .with("store", store.url())
        };
        // The other layout's document is not what the swap below would notice.
        match read_config(&store).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(exists()),
        }
        let (key, bytes) = encode_config(&config)?;
        match store.compare_and_swap(key, None, bytes, &commit).await? {
            Swap::Done(_) => {}
            Swap::Lost { .. } => return Err(exists()),
        }
        Ok(Self { store, config: Arc::new(config) })
    }

    /// Opens the collection at `url`, in either layout. One request; two for Zarr v3.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none; [`Corrupt`](ErrorKind::Corrupt) if its
    /// metadata cannot be read.
    pub async fn open(url: &str, store: &StoreOptions) -> Result<Self> {
        Self::open_in(Store::open(url, store)?).await
    }

    /// Opens the collection at the root of a store.
    ///
    /// # Errors
    /// As [`Collection::open`].
    pub async fn open_in(store: Store) -> Result<Self> {
        let config = Arc::new(read_config(&store).await?);
        Ok(Self { store, config })
    }

    /// Where the collection is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// What the collection is: layout, axis, partitioning, schema.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The variables, dimensions and attributes.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.config.schema
    }

    /// The store, rooted at the collection.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Refuses if the collection is only for reading.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorKind::ReadOnly) if the store was opened for reading only, or the collection
    /// is of ZCollection's unreleased line of 2025.
    pub fn check_writable(&self) -> Result<()> {
        if let Some(version) = &self.config.version {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "collections of this version of ZCollection are only read; copy it to a new one",
            )
            .with("version", version)
            .with("store", self.url()));
        }
        self.store.check_writable()
    }

    /// The partitions for which the predicate is true, or all, ordered by the values of their keys.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate names anything but the
    /// fields of the keys; [`Store`](ErrorKind::Store) if the store cannot be listed.
    pub async fn partitions(&self, predicate: Option<&Predicate>) -> Result<Vec<Partition>> {
        let found = list_partitions(&self.store, &self.config).await?;
        let found = select(found, &self.config.partitioning, predicate)?;
        Ok(found.into_iter().map(|found| Partition { key: found.key, path: found.path }).collect())
    }

    /// Reads the selected partitions and variables into one dataset, joined along the partitioned
    /// dimension in the order of the keys. Where no partition is selected, that dimension has no
    /// items.
    ///
    /// Variables, partitions and chunks are read side by side, each chunk straight into its place;
    /// a variable that a partition lacks is filled with its fill value.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if a variable does not exist;
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) as [`Collection::partitions`];
    /// [`Corrupt`](ErrorKind::Corrupt) if what is stored cannot be read;
    /// [`Interrupted`](ErrorKind::Interrupted) once cancelled.
    pub async fn read(&self, options: &ReadOptions) -> Result<Dataset> {
        let partitions = self.partitions(options.predicate.as_ref()).await?;
        read::read(&self.store, &self.config, &partitions, options).await
    }

    /// Writes the rows of one partition under `prefix`, which is the partition's path or a place
    /// from where it is published. Not a commit: nobody is told of it. Returns the keys of what was
    /// written.
    #[cfg_attr(not(test), expect(dead_code, reason = "inserting is built on it"))]
    pub(crate) async fn write_partition(
        &self,
        prefix: &str,
        key: Option<&Key>,
        rows: &Dataset,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Vec<String>> {
        self.check_writable()?;
        let (store, config) = (&self.store, self.config.as_ref());
        let mut keys = Vec::new();
        for (key, text) in parent_groups(config.layout, prefix) {
            store.put(&key, text.into()).await?;
            keys.push(key);
        }
        keys.extend(write_group(store, config, prefix, key, rows, progress, cancel).await?);
        Ok(keys)
    }
}

#[cfg(test)]
mod tests;
