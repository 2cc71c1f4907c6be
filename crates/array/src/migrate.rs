//! Copying a collection together with views over it and indexes of it.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{ErrorKind, Result, StoreOptions};

use crate::collection::Collection;
use crate::copy::CopyOptions;
use crate::dataset::Schema;
use crate::indexer::{Index, IndexPlace};
use crate::options::Work;
use crate::partitioning::Key;
use crate::view::View;

/// How a collection is migrated, and what goes along with it.
#[derive(Default)]
pub struct MigrateOptions {
    /// How the collection is copied. Which partitions, whether it is verified, and who is told of
    /// progress is the same for views.
    pub copy: CopyOptions,
    /// Views over the collection.
    pub views: Vec<MigratedView>,
    /// Indexes of the collection that are not kept with it; those that are always go along.
    pub indexes: Vec<MigratedIndex>,
}

/// A view that goes along with its base, and is laid over the new one.
pub struct MigratedView {
    /// The view.
    pub view: View,
    /// Where the new one is to be.
    pub url: String,
    /// The options of its store.
    pub store: StoreOptions,
    /// The same variables with other chunks and codecs.
    pub schema: Option<Schema>,
}

/// An index that goes along with its collection.
pub struct MigratedIndex {
    /// The index.
    pub index: Index,
    /// Where the file of the new one is to be.
    pub target: IndexTarget,
}

/// Where the index of a collection that is still to be made will be.
#[derive(Debug, Clone)]
pub enum IndexTarget {
    /// [With the collection](IndexPlace::beside), by this name.
    Beside(String),
    /// At a place of its own.
    At(IndexPlace),
}

impl IndexTarget {
    /// The place, where this is the collection.
    #[must_use]
    pub fn of(&self, collection: &Collection) -> IndexPlace {
        match self {
            Self::Beside(name) => IndexPlace::beside(collection, name),
            Self::At(place) => place.clone(),
        }
    }
}

impl Collection {
    /// Copies the collection to a URL as [`Collection::copy_to`] does, and then the views and indexes
    /// that go along, each as a whole. The same call goes on with what was broken off. An index that
    /// is behind, and cannot be made true without its function, stays behind.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a collection that is no copy of this
    /// one, or nothing is left to do; as [`Collection::copy_to`].
    pub fn migrate<'a>(
        &'a self,
        url: &'a str,
        store: &'a StoreOptions,
        options: &'a MigrateOptions,
    ) -> BoxFuture<'a, Result<Self>> {
        async move {
            let mut left = options.views.len() + options.indexes.len();
            let (copy, refused) = match self.copy_to(url, store, &options.copy).await {
                Ok(copy) => (copy, None),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && left > 0 => {
                    let copy = Self::open(url, store).await?;
                    if !self.has_keys_of(&copy, &options.copy).await? {
                        return Err(error);
                    }
                    (copy, Some(error))
                }
                Err(error) => return Err(error),
            };
            // What one that was broken off has done is there.
            let mut note = |done: Result<()>| match done {
                Err(error) if refused.is_some() && error.kind() == ErrorKind::AlreadyExists => {
                    left -= 1;
                    Ok(())
                }
                done => done,
            };
            for along in &options.views {
                note(along.copy_over(&copy, &options.copy).await)?;
            }
            for along in &options.indexes {
                note(along.copy_of(&copy, &options.copy.work).await)?;
            }
            match refused {
                Some(error) if left == 0 => Err(error),
                _ => Ok(copy),
            }
        }
        .boxed()
    }

    /// True if a copy has the partitions that it is to have.
    async fn has_keys_of(&self, copy: &Self, options: &CopyOptions) -> Result<bool> {
        let keys = |partitions: Vec<crate::Partition>| -> Vec<Key> {
            partitions.into_iter().map(|partition| partition.key).collect()
        };
        let own = self.partitions(options.predicate.as_ref()).await?;
        Ok(keys(own) == keys(copy.partitions(None).await?))
    }
}

impl MigratedView {
    async fn copy_over(&self, base: &Collection, options: &CopyOptions) -> Result<()> {
        let options = CopyOptions {
            layout: None,
            schema: self.schema.clone(),
            base: Some(base.clone()),
            ..options.clone()
        };
        self.view.copy_to(&self.url, &self.store, &options).await.map(drop)
    }
}

impl MigratedIndex {
    async fn copy_of(&self, collection: &Collection, work: &Work) -> Result<()> {
        self.index.copy_or_leave(self.target.of(collection), collection, work).await.map(drop)
    }
}
