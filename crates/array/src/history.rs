//! Earlier states of collections: reading them, going back to one, and how many are kept.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use partita_core::{At, Error, Result};
use tracing::Instrument;

use crate::collection::Collection;
use crate::commit::{Change, Draft, History, Retention, Snapshot};
use crate::transact::Stage;

/// Partitions restored at once.
const PARTITIONS_AT_ONCE: usize = 16;

impl Collection {
    /// The collection as a commit left it, for reading. Commits are named by their numbers, or by a
    /// time, by the clocks of the writers; in an Icechunk repository they are those of the branch,
    /// and tags and ids name states too. A view is seen over the newest state of its base.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound) if there is no such state, or it is not retained any more.
    pub async fn at(&self, at: impl Into<At>) -> Result<Self> {
        let backend = self.backend().at(&at.into()).await?;
        Self::open_backend(backend, self.base().cloned()).await
    }

    /// Makes the state that a commit left the newest one, by a commit of its own. Returns the
    /// number of that; 0 if nothing is different. `key` is the caller's name for it.
    ///
    /// Objects are copied within the store: nothing is decoded. In an Icechunk repository make a
    /// branch of the state instead.
    ///
    /// # Errors
    /// As [`Collection::at`]; [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) in a repository;
    /// [`CommitConflict`](partita_core::ErrorKind::CommitConflict) as [`Collection::insert`];
    /// [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
    pub fn restore<'a>(&'a self, at: At, key: Option<&'a str>) -> BoxFuture<'a, Result<u64>> {
        async move {
            self.check_writable()?;
            let number = self.backend().number_to_restore(&at).await?;
            self.transact("restore", key, &Restore { number }).await
        }
        .instrument(tracing::debug_span!("restore", dataset = %self.place()))
        .boxed()
    }

    /// How much history is kept beyond the grace period, and optionally how long that is. Both are
    /// stored with the collection, so that all writers agree.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative grace period, and in an
    /// Icechunk repository, which keeps every state until it is expired;
    /// [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
    pub fn set_retention(
        &self,
        retention: Retention,
        grace: Option<SignedDuration>,
    ) -> BoxFuture<'_, Result<()>> {
        async move {
            self.check_writable()?;
            let seconds = |grace: SignedDuration| {
                u64::try_from(grace.as_secs())
                    .map_err(|_| Error::invalid("the grace period must not be negative"))
            };
            let grace = grace.map(seconds).transpose()?;
            self.backend().set_retention(retention, grace).await
        }
        .boxed()
    }

    /// The space taken by objects beside the published ones: replaced objects of the history, and
    /// objects that are staged. In an Icechunk repository nothing is known of that. One listing.
    ///
    /// # Errors
    /// [`Store`](partita_core::ErrorKind::Store).
    pub async fn retained(&self) -> Result<Option<Retained>> {
        self.backend().retained().await
    }

    /// Adds to the error of a full disk how much of it could be freed.
    pub(crate) async fn with_retained(&self, error: Error) -> Error {
        if !error.is_disk_full() {
            return error;
        }
        match self.retained().await {
            Ok(Some(Retained { bytes: bytes @ 1.., .. })) => error.with(
                "retained",
                format!(
                    "{bytes} bytes of earlier states, which `expire` and garbage collection free"
                ),
            ),
            _ => error,
        }
    }

    /// Ends the history before commits older than this. In an Icechunk repository commits that
    /// branches and tags name stay. What is not needed any more is garbage after the grace period.
    /// Returns the ids of the commits whose states cannot be read any more.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative age;
    /// [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
    pub fn expire(&self, older_than: SignedDuration) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            self.check_writable()?;
            self.backend().expire(older_than).await
        }
        .instrument(tracing::debug_span!("expire", dataset = %self.place()))
        .boxed()
    }

    /// The ids of the commits whose states [`Collection::expire`] or [`Collection::expire_all_but`]
    /// would end. Nothing is changed.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative age, and in an
    /// Icechunk repository.
    pub fn expirable(&self, expiry: Expiry) -> BoxFuture<'_, Result<Vec<String>>> {
        self.backend().expirable(expiry)
    }

    /// Ends the history of a collection in plain Zarr before all but the last `last` states. Returns
    /// as [`Collection::expire`].
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) in an Icechunk repository;
    /// [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
    pub fn expire_all_but(&self, last: u64) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            self.check_writable()?;
            self.backend().expire_all_but(last).await
        }
        .instrument(tracing::debug_span!("expire_all_but", dataset = %self.place()))
        .boxed()
    }
}

/// Which states an expiry ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Those that a newer state has replaced longer ago than this.
    OlderThan(SignedDuration),
    /// All but this many of the newest.
    AllBut(u64),
}

/// Space that objects beside the published ones take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Objects; of local files as many inodes at most.
    pub objects: u64,
    /// Bytes that only they take: a hard link to a published file takes none.
    pub bytes: u64,
}

/// Makes the state after a commit the newest one.
struct Restore {
    number: u64,
}

impl Stage for Restore {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        self.stage_all(snapshot, draft, only).boxed()
    }
}

impl Restore {
    async fn stage_all(
        &self,
        snapshot: &Snapshot,
        draft: &mut Draft,
        only: Option<&[String]>,
    ) -> Result<()> {
        let store = snapshot.base();
        let history = History::read(store).await?;
        let touched: BTreeSet<String> =
            history.touched(self.number).into_iter().map(str::to_owned).collect();
        let past = Snapshot::past(store, self.number, snapshot.under.as_deref().cloned()).await?;
        let is_wanted = |path: &&String| only.is_none_or(|only| only.contains(path));
        let wanted: Vec<&String> = touched.iter().filter(is_wanted).collect();
        let stages = &*draft;
        let restore = async |path: &String| {
            let restored = past.stage_again(path, stages.stage()).await;
            restored.map(|change| change.unwrap_or_else(|| Change::drop(path)))
        };
        let restores: Vec<_> = wanted.into_iter().map(restore).collect();
        let changes: Vec<Change> =
            stream::iter(restores).buffer_unordered(PARTITIONS_AT_ONCE).try_collect().await?;
        for change in changes {
            draft.add(change, true);
        }
        if past.config != snapshot.config {
            draft.set_config(past.config.as_ref().clone());
        }
        Ok(())
    }
}
