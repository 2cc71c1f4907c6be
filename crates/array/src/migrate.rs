//! Copying a collection together with views over it and indexes of it.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{ErrorKind, Result, StoreOptions};
use tracing::Instrument;

use crate::collection::Collection;
use crate::copy::CopyOptions;
use crate::dataset::Schema;
use crate::indexer::{Index, IndexPlace};
use crate::options::Work;
use crate::partitioning::Key;
use crate::view::View;

/// Options of a migration: how the collection is copied, and with which views and indexes.
#[derive(Default)]
pub struct MigrateOptions {
    /// How the collection is copied. Its predicate, verification and progress apply to views too.
    pub copy: CopyOptions,
    /// The views over the collection that are copied with it.
    pub views: Vec<MigratedView>,
    /// The indexes that are copied besides those stored beside the collection, which are always
    /// copied.
    pub indexes: Vec<MigratedIndex>,
}

/// A view that is copied with its base, over the copy of the base.
pub struct MigratedView {
    /// The view.
    pub view: View,
    /// The URL of the new view.
    pub url: String,
    /// The store options of the new view.
    pub store: StoreOptions,
    /// The same variables with other chunks and codecs.
    pub schema: Option<Schema>,
}

/// An index that is copied with its collection.
pub struct MigratedIndex {
    /// The index.
    pub index: Index,
    /// Where the file of the new index is stored.
    pub target: IndexTarget,
}

/// The place of an index of a collection that does not exist yet.
#[derive(Debug, Clone)]
pub enum IndexTarget {
    /// [Beside the collection](IndexPlace::beside), with this name.
    Beside(String),
    /// At a place of its own.
    At(IndexPlace),
}

impl IndexTarget {
    /// The place of the index for this collection.
    #[must_use]
    pub fn of(&self, collection: &Collection) -> IndexPlace {
        match self {
            Self::Beside(name) => IndexPlace::beside(collection, name),
            Self::At(place) => place.clone(),
        }
    }
}

impl Collection {
    /// Copies the collection to a URL as [`Collection::copy_to`] does, and then its views and
    /// indexes, each as a whole. After an interruption, the same call continues. An index that is
    /// stale, and cannot be refreshed without its function, is copied stale.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the target holds a collection that is not a
    /// copy of this one, or nothing is left to do; the errors of [`Collection::copy_to`].
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
            // A copy that an interrupted call has finished exists already.
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
        .instrument(tracing::debug_span!("migrate", dataset = %self.place()))
        .boxed()
    }

    /// True if the copy has all partitions that it should have.
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
