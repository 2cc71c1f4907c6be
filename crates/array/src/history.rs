//! Earlier states of collections: reading them, going back to one, and how many are kept.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use partita_core::{Error, ErrorKind, Result};

use crate::collection::Collection;
use crate::commit::{
    Change, Draft, History, Home, PastHome, Retention, Snapshot, change_retention, end_history,
};
use crate::repository::{At, number_or_time};
use crate::transact::Stage;

/// Partitions restored at once.
const PARTITIONS_AT_ONCE: usize = 16;

impl Collection {
    /// The collection as a commit left it, for reading. Commits are named by their numbers, or by a
    /// time, by the clocks of the writers; in an Icechunk repository they are those of the branch,
    /// and tags and ids name states too. A view is seen over the newest state of its base.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such state, or it is not retained any more.
    pub async fn at(&self, at: impl Into<At>) -> Result<Self> {
        let at = at.into();
        let home = match self.home() {
            Home::Repository(repository) => Home::Repository(repository.at(&at).await?),
            Home::Plain(_) | Home::Past(_) => {
                Home::Past(PastHome::new(self.store().clone(), self.number_of(&at).await?))
            }
        };
        Self::open_home(home, self.base().cloned()).await
    }

    /// The number of the commit that is named, in a plain store.
    async fn number_of(&self, at: &At) -> Result<u64> {
        let unknown = |name: &str| {
            Error::new(
                ErrorKind::NotFound,
                "commits of a collection in plain Zarr are named by their numbers, or by a time in \
                 ISO 8601",
            )
            .with("name", name)
            .with("store", self.url())
        };
        match at {
            At::Commit(number) => Ok(*number),
            At::Time(time) => History::read(self.store()).await?.number_at(*time, self.store()),
            At::Name(name) => match number_or_time(name) {
                Some(At::Commit(number)) => Ok(number),
                Some(At::Time(time)) => {
                    History::read(self.store()).await?.number_at(time, self.store())
                }
                _ => Err(unknown(name)),
            },
        }
    }

    /// Makes the state that a commit left the newest one, by a commit of its own. Returns the
    /// number of that; 0 if nothing is different. `key` is the caller's name for it.
    ///
    /// Objects are copied within the store: nothing is decoded. In an Icechunk repository make a
    /// branch of the state instead.
    ///
    /// # Errors
    /// As [`Collection::at`]; [`InvalidArgument`](ErrorKind::InvalidArgument) in a repository;
    /// [`CommitConflict`](ErrorKind::CommitConflict) as [`Collection::insert`];
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub fn restore<'a>(&'a self, at: At, key: Option<&'a str>) -> BoxFuture<'a, Result<u64>> {
        async move {
            self.check_writable()?;
            self.check_plain("make a branch of the state to go on from it")?;
            let number = self.number_of(&at).await?;
            self.transact("restore", key, &Restore { number }).await
        }
        .boxed()
    }

    /// How much history is kept beyond the grace period, and optionally how long that is. Both are
    /// stored with the collection, so that all writers agree.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a negative grace period, and in an
    /// Icechunk repository, which keeps every state until it is expired;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub fn set_retention(
        &self,
        retention: Retention,
        grace: Option<SignedDuration>,
    ) -> BoxFuture<'_, Result<()>> {
        async move {
            self.check_writable()?;
            self.check_plain("expire states of the repository instead")?;
            let seconds = |grace: SignedDuration| {
                u64::try_from(grace.as_secs())
                    .map_err(|_| Error::invalid("the grace period must not be negative"))
            };
            let grace = grace.map(seconds).transpose()?;
            change_retention(self.store(), retention, grace).await
        }
        .boxed()
    }

    /// Ends the history before commits older than this. In an Icechunk repository commits that
    /// branches and tags name stay. What is not needed any more is garbage after the grace period.
    /// Returns the ids of the commits whose states cannot be read any more.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a negative age;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub fn expire(&self, older_than: SignedDuration) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            if let Home::Repository(repository) = self.home() {
                return repository.expire(older_than).await;
            }
            if older_than.is_negative() {
                return Err(Error::invalid("the age must not be negative"));
            }
            let before = Timestamp::now()
                .checked_sub(older_than)
                .map_err(|error| Error::invalid("that is no age").caused_by(error))?;
            self.end_history(Some(before), None).await
        }
        .boxed()
    }

    /// Ends the history of a collection in plain Zarr before all but the last `last` states. Returns
    /// as [`Collection::expire`].
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) in an Icechunk repository;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub fn expire_all_but(&self, last: u64) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            self.check_plain("expire commits by their age")?;
            self.end_history(None, Some(last)).await
        }
        .boxed()
    }

    async fn end_history(
        &self,
        before: Option<Timestamp>,
        last: Option<u64>,
    ) -> Result<Vec<String>> {
        self.check_writable()?;
        self.home().publish().await?;
        let history = History::read(self.store()).await?;
        let end = history.end(before, last);
        let gone = history.expiring(end);
        if !gone.is_empty() {
            end_history(self.store(), end).await?;
        }
        Ok(gone)
    }

    fn check_plain(&self, instead: &str) -> Result<()> {
        match self.home() {
            Home::Repository(_) => {
                Err(Error::invalid(format!("this is for collections in plain Zarr; {instead}"))
                    .with("store", self.url()))
            }
            _ => Ok(()),
        }
    }
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
