//! Indexes of copies of their collections.

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{Error, ErrorKind, Result};

use super::build::write;
use super::file::CommitName;
use super::state::State;
use super::{Index, IndexPlace, Stale};
use crate::collection::{Collection, Partition};
use crate::options::Work;
use crate::partitioning::Key;

impl Index {
    /// Stores the index for a copy of its collection: one with the same rows in the same partitions,
    /// or in some of them, whatever its layout. The file appears as a whole. With
    /// [`Stale::Allow`] an index that is behind is copied as it is, and counts as behind.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a file;
    /// [`StaleIndex`](ErrorKind::StaleIndex) as [`Index::query`]; [`ReadOnly`](ErrorKind::ReadOnly).
    pub fn copy<'a>(
        &'a self,
        place: IndexPlace,
        copy: &'a Collection,
        stale: Stale,
        work: &'a Work,
    ) -> BoxFuture<'a, Result<Self>> {
        async move {
            place.store.check_writable()?;
            let (own, _) = self.current(stale, work).await?;
            let snapshot = copy.snapshot().await?;
            let found = snapshot.partitions(None).await?.into_iter();
            let known: HashMap<Key, Partition> =
                found.map(|partition| (partition.key.clone(), partition)).collect();
            let mut about = own.about.clone();
            about.commit = match stale {
                Stale::Allow => None,
                Stale::Refresh => {
                    let number = snapshot.latest;
                    Some(CommitName { number, id: snapshot.commit_id(number).await? })
                }
            };
            let entries = own.entries.moved(&known)?;
            let others = own.others.clone();
            let state = State { entries, about, others, version: None, verified: true };
            match write(copy, &place, state).await? {
                Ok(state) => Ok(Self::of(copy.clone(), place, self.function.clone(), state)),
                Err(_) => Err(Error::new(ErrorKind::AlreadyExists, "there is a file here already")
                    .with("index", place.url())),
            }
        }
        .boxed()
    }

    /// As [`Index::copy`]. One that is behind, and cannot be made true without its function, stays
    /// behind.
    pub(crate) async fn copy_or_leave(
        &self,
        place: IndexPlace,
        copy: &Collection,
        work: &Work,
    ) -> Result<Self> {
        match self.copy(place.clone(), copy, Stale::Refresh, work).await {
            Err(error) if error.kind() == ErrorKind::StaleIndex => {
                self.copy(place, copy, Stale::Allow, work).await
            }
            copied => copied,
        }
    }
}

impl Collection {
    /// Takes along the indexes that are kept with the collection. One that is behind, and cannot be
    /// made true without its function, stays behind; one that cannot be read is left out.
    pub(crate) fn copy_indexes<'a>(
        &'a self,
        copy: &'a Self,
        work: &'a Work,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if self.base().is_some() {
                return Ok(());
            }
            for name in self.indexes().await? {
                let copied = async {
                    let index = Index::open(self, IndexPlace::beside(self, &name), None).await?;
                    index.copy_or_leave(IndexPlace::beside(copy, &name), copy, work).await
                };
                match copied.await {
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        tracing::warn!(name, %error, "an index is not copied");
                    }
                    copied => drop(copied?),
                }
            }
            Ok(())
        }
        .boxed()
    }
}
