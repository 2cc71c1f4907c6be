//! Older versions: reading them, going back to one, and letting go of them.

use std::sync::Arc;

use futures::TryStreamExt;
use hashbrown::HashSet;
use jiff::{SignedDuration, Timestamp};
use partita_core::{Error, ErrorKind, Result};

use crate::Table;
use crate::change::Change;
use crate::commit::Commit;
use crate::format::snapshot::{Operation, Snapshot};
use crate::garbage::store_time;
use crate::history::{At, Recorded, SnapshotInfo, find, walk};
use crate::options::WriteOptions;
use crate::stage::texts;
use crate::state::State;

/// Which versions [`Table::expire`] keeps. The newest is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many of the newest.
    Last(usize),
    /// Those whose snapshot was written within this time, by the store's clock.
    Within(SignedDuration),
}

impl Table {
    /// The commits that led here, newest first. Two requests for each.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if a snapshot cannot be read.
    pub async fn history(&self) -> Result<Vec<SnapshotInfo>> {
        let walked = walk(self.store(), &self.state(), |_| false).await?;
        Ok(walked.into_iter().map(Recorded::info).collect())
    }

    /// The commit that made the version that reads see; `None` where only plateau has written.
    ///
    /// # Errors
    /// As [`Table::history`].
    pub async fn last_commit(&self) -> Result<Option<SnapshotInfo>> {
        let walked = walk(self.store(), &self.state(), |_| true).await?;
        Ok(walked.into_iter().map(Recorded::info).next())
    }

    /// The table as it was at an older version, for reading: it stays there, and refuses every
    /// change. Two requests for each version in between.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the history holds no such version (it may have
    /// expired). Files that were collected as garbage are noticed when they are read.
    pub async fn at(&self, at: impl Into<At>) -> Result<Self> {
        let state = self.state();
        let recorded = find(self.store(), &state, at.into()).await?;
        let snapshot = self.snapshot(&recorded.key).await?;
        Ok(self.pinned(Arc::new(state.at(recorded.key, snapshot)?)))
    }

    async fn snapshot(&self, key: &str) -> Result<Snapshot> {
        Snapshot::decode(self.store().get(key).await?, key)
    }

    /// Makes the state of an older version the newest, in one commit; the versions in between stay
    /// in the history. Files and indices are those of that version: nothing is written again.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the history holds no such version, or a file of it has
    /// been removed (the key is named); else as [`Table::append`].
    pub async fn restore(&self, at: impl Into<At>, options: &WriteOptions) -> Result<Commit> {
        self.check_writable()?;
        let recorded = find(self.store(), &self.state(), at.into()).await?;
        let snapshot = self.snapshot(&recorded.key).await?;
        self.check_present(&snapshot).await?;
        let mut change = Change::new(Operation::Restore);
        change = change.annotated(options);
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
        match texts(&snapshot.manifest, "key").chain(indices).find(|key| !present.contains(*key)) {
            Some(key) => Err(Error::new(
                ErrorKind::NotFound,
                "a file of this version has been removed, so it cannot be restored",
            )
            .with("version", snapshot.document.version)
            .with("key", key)),
            None => Ok(()),
        }
    }

    /// The versions that [`Table::expire`] would take out of the history, newest first.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) to keep none;
    /// [`Store`](ErrorKind::Store).
    pub async fn expirable(&self, keep: Keep) -> Result<Vec<SnapshotInfo>> {
        Ok(self.beyond(keep).await?.into_iter().map(Recorded::info).collect())
    }

    /// Takes the versions that are not to be kept out of the history; returns how many. Their
    /// files go with the next [`Table::collect_garbage`].
    ///
    /// # Errors
    /// As [`Table::expirable`]; [`ReadOnly`](ErrorKind::ReadOnly).
    pub async fn expire(&self, keep: Keep) -> Result<u64> {
        self.check_writable()?;
        let expired = self.beyond(keep).await?;
        // The oldest first: what is left is a history without gaps, also after a crash.
        for recorded in expired.iter().rev() {
            self.store().delete(&recorded.key).await?;
        }
        Ok(expired.len() as u64)
    }

    /// The recorded versions that are not to be kept, newest first.
    async fn beyond(&self, keep: Keep) -> Result<Vec<Recorded>> {
        if keep == Keep::Last(0) {
            return Err(Error::invalid("the newest version is always kept; keep at least one"));
        }
        let newest = State::load(self.store(), self.name()).await?;
        let walked = walk(self.store(), &newest, |_| false).await?;
        let mut expired = Vec::new();
        match keep {
            Keep::Last(count) => expired.extend(walked.into_iter().skip(count)),
            Keep::Within(age) => {
                let since: Timestamp = store_time(self.store(), self.name())
                    .await?
                    .checked_sub(age)
                    .map_err(|error| Error::invalid("that is no age").caused_by(error))?;
                // A version counts from the moment at which the next one took its place.
                let mut replaced = None;
                for recorded in walked {
                    let written = self.store().head(&recorded.key).await?;
                    let written = written.map_or(Timestamp::UNIX_EPOCH, |info| info.last_modified);
                    if replaced.is_some_and(|replaced| replaced < since) {
                        expired.push(recorded);
                    }
                    replaced = Some(written);
                }
            }
        }
        Ok(expired)
    }
}
