//! Copies of indexes for copies of their collections.

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
    /// Stores the index for a copy of its collection, which has the same rows in the same
    /// partitions, or in some of them, in any layout. The file is created atomically. With
    /// [`Stale::Allow`] a stale index is copied unchanged, and the copy counts as stale.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a file;
    /// [`StaleIndex`](ErrorKind::StaleIndex) as [`Index::query`];
    /// [`ReadOnly`](ErrorKind::ReadOnly).
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
                Err(_) => Err(Error::new(ErrorKind::AlreadyExists, "a file exists here already")
                    .with("index", place.url())),
            }
        }
        .boxed()
    }

    /// Like [`Index::copy`], but copies an index unchanged if it is stale and cannot be refreshed
    /// without its function.
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
    /// Copies the indexes that are stored beside the collection. One that is stale and cannot be
    /// refreshed without its function is copied unchanged; one that cannot be read is left out.
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
                        tracing::warn!(name, %error, "an index could not be copied");
                    }
                    copied => drop(copied?),
                }
            }
            Ok(())
        }
        .boxed()
    }
}
