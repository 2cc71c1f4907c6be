//! Where the file of an index is.

use futures::TryStreamExt;
use partita_core::store::{ObjectInfo, split_url};
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};

use crate::collection::Collection;

/// Under a collection, in a directory that the listings of all generations pass over.
const BESIDE: &str = ".partita/index";

/// Where the file of an index is.
#[derive(Debug, Clone)]
pub struct IndexPlace {
    pub(super) store: Store,
    pub(super) key: String,
}

impl IndexPlace {
    /// With a collection, by a name of its own: `cycle.parquet`. No library takes it for a partition.
    #[must_use]
    pub fn beside(collection: &Collection, name: &str) -> Self {
        Self { store: collection.store().clone(), key: format!("{BESIDE}/{name}") }
    }

    /// At a URL or a path, anywhere.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn at(url: &str, options: &StoreOptions) -> Result<Self> {
        let (store, key) = split_url(url)?;
        Ok(Self { store: Store::open(&store, options)?, key })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.store.url().trim_end_matches('/'), self.key)
    }
}

impl Collection {
    /// The names of the indexes that are kept with the collection.
    ///
    /// # Errors
    /// [`Store`](partita_core::ErrorKind::Store) if the store cannot be listed.
    pub async fn indexes(&self) -> Result<Vec<String>> {
        let prefix = format!("{BESIDE}/");
        let found: Vec<_> = self.store().list(&prefix).try_collect().await?;
        let name = |info: &ObjectInfo| info.key.strip_prefix(&prefix).map(str::to_owned);
        let mut names: Vec<String> = found.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Removes an index that is kept with the collection.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none of that name;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub async fn drop_index(&self, name: &str) -> Result<()> {
        self.store().check_writable()?;
        if !self.indexes().await?.iter().any(|known| known == name) {
            return Err(Error::new(ErrorKind::NotFound, "there is no index of that name")
                .with("index", name)
                .with("store", self.url()));
        }
        self.store().delete(&format!("{BESIDE}/{name}")).await
    }
}
