//! The location of the file of an index.

use futures::TryStreamExt;
use partita_core::store::{ObjectInfo, split_url};
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};

use crate::collection::Collection;

/// The directory for indexes beside a collection, which listings of all generations skip.
const DIRECTORY: &str = ".partita/index";

/// The location of the file of an index.
#[derive(Debug, Clone)]
pub struct IndexPlace {
    pub(super) store: Store,
    pub(super) key: String,
}

impl IndexPlace {
    /// Beside a collection, under a name such as `cycle.parquet`. No library takes it for a
    /// partition.
    #[must_use]
    pub fn beside(collection: &Collection, name: &str) -> Self {
        Self { store: collection.store().clone(), key: format!("{DIRECTORY}/{name}") }
    }

    /// At any URL or path.
    ///
    /// # Errors
    /// The same as [`Store::open`].
    pub fn at(url: &str, options: &StoreOptions) -> Result<Self> {
        let (store, key) = split_url(url)?;
        Ok(Self { store: Store::open(&store, options)?, key })
    }

    /// The URL of the file.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.store.url().trim_end_matches('/'), self.key)
    }
}

impl Collection {
    /// The names of the indexes that are stored beside the collection.
    ///
    /// # Errors
    /// [`Store`](partita_core::ErrorKind::Store) if the store cannot be listed.
    pub async fn indexes(&self) -> Result<Vec<String>> {
        let prefix = format!("{DIRECTORY}/");
        let found: Vec<_> = self.store().list(&prefix).try_collect().await?;
        let name = |info: &ObjectInfo| info.key.strip_prefix(&prefix).map(str::to_owned);
        let mut names: Vec<String> = found.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Removes an index that is stored beside the collection.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none of that name;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub async fn drop_index(&self, name: &str) -> Result<()> {
        self.store().check_writable()?;
        if !self.indexes().await?.iter().any(|known| known == name) {
            return Err(Error::new(ErrorKind::NotFound, "there is no index with this name")
                .with("index", name)
                .with("store", self.url()));
        }
        self.store().delete(&format!("{DIRECTORY}/{name}")).await
    }
}
