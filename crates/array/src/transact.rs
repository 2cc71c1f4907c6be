//! Making changes from the newest state until a commit of them succeeds.

use futures::future::BoxFuture;
use partita_core::{Error, ErrorKind, Result, Store};

use crate::collection::Collection;
use crate::commit::{Draft, Outcome, Snapshot, Staged, find_key, publish};

/// How often changes are made anew because others touched what they were made from.
const ATTEMPTS: u32 = 30;

/// Something that makes changes from a snapshot.
pub(crate) trait Stage: Sync {
    /// Adds changes to the draft: all, or only those of some partitions that have changed since
    /// they were made.
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>>;
}

impl Collection {
    /// Commits what `stage` makes. Either all of it becomes visible, or nothing.
    pub(crate) async fn transact(
        &self,
        operation: &'static str,
        key: Option<&str>,
        stage: &dyn Stage,
    ) -> Result<u64> {
        self.check_writable()?;
        let store = self.store();
        let mut draft = Draft::new(operation, key);
        let committed = self.attempt(store, &mut draft, stage, true).await;
        match &committed {
            Ok(1..) if draft.changes_config() => self.refresh().await?,
            Ok(1..) => {}
            _ => draft.discard(store).await,
        }
        committed
    }

    /// Stages what `stage` makes, for a commit by others.
    pub(crate) async fn stage(
        &self,
        operation: &'static str,
        stage: &dyn Stage,
    ) -> Result<Vec<Staged>> {
        self.check_writable()?;
        let store = self.store();
        let mut draft = Draft::new(operation, None);
        let staged = match self.attempt(store, &mut draft, stage, false).await {
            // Whoever commits may be on another machine, and syncs its own writes only.
            Ok(_) => store.sync().await,
            Err(error) => Err(error),
        };
        match staged {
            Ok(()) => Ok(draft.into_staged()),
            Err(error) => {
                draft.discard(store).await;
                Err(error)
            }
        }
    }

    /// Has `stage` make changes until nobody touches meanwhile what they are made from, and commits
    /// them, if that is wanted.
    async fn attempt(
        &self,
        store: &Store,
        draft: &mut Draft,
        stage: &dyn Stage,
        commit: bool,
    ) -> Result<u64> {
        let mut only: Option<Vec<String>> = None;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            // What others have committed lies where it belongs before it is built upon.
            publish(store).await?;
            let snapshot = self.snapshot().await?;
            if let Some(key) = &draft.key
                && let Some(sequence) = find_key(store, snapshot.latest, key).await?
            {
                draft.discard(store).await;
                return Ok(sequence);
            }
            draft.begin_attempt(&snapshot);
            if let Err(error) = stage.stage(&snapshot, draft, only.as_deref()).await {
                // What others are replacing may look damaged.
                let damaged = matches!(
                    error.kind(),
                    ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::OutOfSync
                );
                if !damaged || !snapshot.is_outdated().await? {
                    return Err(error);
                }
                (only, last) = (None, Some(error));
                draft.clear();
                continue;
            }
            let outcome = match commit {
                true => draft.commit(store, &snapshot).await?,
                false => draft.check(&snapshot).await?,
            };
            match outcome {
                Outcome::Done(sequence) => return Ok(sequence),
                Outcome::Stale(paths) => only = paths,
            }
            if only.is_none() {
                draft.clear();
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(
                ErrorKind::CommitConflict,
                "other writers kept changing the same partitions; try again when they are done",
            )
            .with("attempts", ATTEMPTS)
            .with("store", store.url())
        }))
    }
}
