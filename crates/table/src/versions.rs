//! Older versions: reading, restoring and expiring them.

use std::sync::Arc;

use futures::TryStreamExt;
use hashbrown::HashSet;
use jiff::{SignedDuration, Timestamp};
use partita_core::store::LARGEST;
use partita_core::store::protocol::proves_no_commit;
use partita_core::{At, Error, ErrorKind, Result};

use crate::Table;
use crate::change::Change;
use crate::commit::Commit;
use crate::format::keys;
use crate::format::marks::{self, Expiry};
use crate::format::snapshot::{Operation, Snapshot};
use crate::garbage::store_time;
use crate::history::{Recorded, SnapshotInfo, ends_well, find, walk};
use crate::options::WriteOptions;
use crate::state::State;

/// The versions that [`Table::expire`] keeps. The newest is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The given number of newest versions.
    Last(usize),
    /// The versions that were the newest at some time within this period, by the store's clock.
    Within(SignedDuration),
}

impl Table {
    /// The commits up to the current version, newest first. Two requests for each.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if a snapshot cannot be read.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn history(&self) -> Result<Vec<SnapshotInfo>> {
        let walked = walk(self.store(), &self.state(), |_| false).await?;
        Ok(walked.into_iter().map(Recorded::info).collect())
    }

    /// The commit that created the current version; `None` if only plateau has written.
    ///
    /// # Errors
    /// The errors are those of [`Table::history`].
    pub async fn last_commit(&self) -> Result<Option<SnapshotInfo>> {
        let walked = walk(self.store(), &self.state(), |_| true).await?;
        Ok(walked.into_iter().map(Recorded::info).next())
    }

    /// The table at an older version, read-only and pinned to it. Two requests for each version in
    /// between.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the history does not contain the version (it may have
    /// expired). Files that were collected as garbage are only noticed when they are read.
    pub async fn at(&self, at: impl Into<At>) -> Result<Self> {
        let state = self.state();
        let recorded = find(self.store(), &state, at.into()).await?;
        let snapshot = self.snapshot_at(&recorded.key).await?;
        Ok(self.pinned(Arc::new(state.at(recorded.key, snapshot)?)))
    }

    /// Makes the state of an older version the newest, in one commit; the versions in between stay
    /// in the history. Files and indices are reused: nothing is rewritten.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the history does not contain the version, or one of its
    /// files has been removed (the key is named); otherwise those of [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn restore(&self, at: impl Into<At>, options: &WriteOptions) -> Result<Commit> {
        self.check_writable()?;
        let recorded = find(self.store(), &self.state(), at.into()).await?;
        let found = self.store().get_within(&recorded.key, LARGEST).await?;
        let bytes = found.ok_or_else(|| self.store().missing(&recorded.key))?;
        let snapshot = Snapshot::decode(bytes.clone(), &recorded.key)?;
        // The pin protects the files of that version from garbage collection, even if another
        // process expires it in the meantime, which removes its snapshot.
        let pin = keys::pin(self.name());
        self.store().put(&pin, bytes).await?;
        let restored = self.restore_pinned(snapshot, options).await;
        let is_known = !matches!(&restored, Err(error) if !proves_no_commit(error.kind()));
        if is_known && let Err(error) = self.store().delete(&pin).await {
            tracing::warn!(%error, "a pin was left; garbage collection removes it");
        }
        restored
    }

    async fn restore_pinned(&self, snapshot: Snapshot, options: &WriteOptions) -> Result<Commit> {
        self.check_present(&snapshot).await?;
        let mut change = Change::new(Operation::Restore);
        change = change.with(options);
        change.restored = Some(Arc::new(snapshot));
        self.commit_proposed(&change, &options.cancel).await
    }

    async fn check_present(&self, snapshot: &Snapshot) -> Result<()> {
        let present: HashSet<String> = self
            .store()
            .list(&format!("{}/", self.name()))
            .map_ok(|object| object.key)
            .try_collect()
            .await?;
        let indices = snapshot.document.indices.values().filter_map(|stored| stored.as_str());
        match snapshot.manifest.keys().chain(indices).find(|key| !present.contains(*key)) {
            Some(key) => Err(Error::new(
                ErrorKind::NotFound,
                "a file of this version has been removed, so it cannot be restored",
            )
            .with("version", snapshot.document.version)
            .with("key", key)),
            None => Ok(()),
        }
    }

    /// The versions that [`Table::expire`] would remove from the history, newest first.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) to keep none;
    /// [`Store`](ErrorKind::Store).
    pub async fn expirable(&self, keep: Keep) -> Result<Vec<SnapshotInfo>> {
        let (_, mut kept) = self.history_to_expire(keep).await?;
        let first = self.first_expired(&kept, keep).await?;
        Ok(kept.split_off(first).into_iter().map(Recorded::info).collect())
    }

    /// Removes the versions that are not to be kept from the history, with the idempotency keys of
    /// their commits; returns their number. Their files are removed by a [`Table::collect_garbage`]
    /// after its grace period. If a snapshot of the history is missing, the history is truncated
    /// there, so that garbage can be collected again.
    ///
    /// # Errors
    /// The errors are those of [`Table::expirable`]; [`ReadOnly`](ErrorKind::ReadOnly).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn expire(&self, keep: Keep) -> Result<u64> {
        self.check_writable()?;
        let (newest, mut kept) = self.history_to_expire(keep).await?;
        let complete = ends_well(self.store(), &newest, &kept).await?;
        let first = self.first_expired(&kept, keep).await?;
        let expired = kept.split_off(first);
        if expired.is_empty() && complete {
            return Ok(0);
        }
        let oldest = kept.last().map_or(newest.own.version + 1, |oldest| oldest.document.version);
        let stay = self.names_of(&newest, &kept).await?;
        let mut dropped = HashSet::new();
        for recorded in &expired {
            dropped.extend(self.names_in(recorded).await?);
        }
        let mut dropped: Vec<String> = dropped.difference(&stay).cloned().collect();
        dropped.sort_unstable();
        // The mark is written first: the age of the dropped files counts from it.
        let mark = keys::expiry(self.name(), oldest);
        self.store().put(&mark, marks::encode(&Expiry::new(oldest, dropped))?).await?;
        // The oldest are deleted first, so that the history has no gaps even after a crash.
        for recorded in expired.iter().rev() {
            self.store().delete(&recorded.key).await?;
        }
        let keyed = expired.iter().filter(|recorded| recorded.document.key.is_some());
        let claims = keyed.map(|recorded| keys::claim(self.name(), &recorded.document.commit));
        self.store().delete_many(claims.collect()).await?;
        Ok(expired.len() as u64)
    }

    /// The newest state, and the versions of the history, newest first.
    async fn history_to_expire(&self, keep: Keep) -> Result<(State, Vec<Recorded>)> {
        if keep == Keep::Last(0) {
            return Err(Error::invalid("the newest version is always kept; keep at least one"));
        }
        let newest = State::load(self.store(), self.name()).await?;
        let history = walk(self.store(), &newest, |_| false).await?;
        Ok((newest, history))
    }

    /// The index in the history, newest first, of the first version not to keep.
    async fn first_expired(&self, history: &[Recorded], keep: Keep) -> Result<usize> {
        let age = match keep {
            Keep::Last(count) => return Ok(count.min(history.len())),
            Keep::Within(age) => age,
        };
        let since: Timestamp = store_time(self.store(), self.name())
            .await?
            .checked_sub(age)
            .map_err(|error| Error::invalid("the age is out of range").caused_by(error))?;
        // The age of a version counts from the moment at which the next one replaced it.
        for (position, recorded) in history.iter().enumerate() {
            let written = self.store().head(&recorded.key).await?;
            let written = written.map_or(Timestamp::UNIX_EPOCH, |info| info.last_modified);
            if written < since {
                return Ok(position + 1);
            }
        }
        Ok(history.len())
    }
}
