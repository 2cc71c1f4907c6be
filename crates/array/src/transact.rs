//! Making changes from the newest state until a commit of them succeeds.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{Error, ErrorKind, Result};

use crate::collection::Collection;
use crate::commit::{Draft, Outcome, Snapshot, Staged};

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
    pub(crate) fn transact<'a>(
        &'a self,
        operation: &'static str,
        key: Option<&'a str>,
        stage: &'a dyn Stage,
    ) -> BoxFuture<'a, Result<u64>> {
        async move {
            self.check_writable()?;
            let home = self.home();
            let mut draft = Draft::new(operation, key);
            let committed = self.attempt(&mut draft, stage, true).await;
            match &committed {
                Ok(1..) => {
                    home.forget(draft.staged_directories());
                    draft.discard_abandoned(home).await;
                    if draft.changes_config()
                        && let Err(error) = self.refresh().await
                    {
                        // The commit is made, and whoever uses the handle looks again.
                        tracing::warn!(url = self.url(), %error, "what was committed is not read");
                    }
                }
                _ => draft.discard(home).await,
            }
            committed
        }
        .boxed()
    }

    /// Stages what `stage` makes, for a commit by others.
    pub(crate) fn stage<'a>(
        &'a self,
        operation: &'static str,
        stage: &'a dyn Stage,
    ) -> BoxFuture<'a, Result<Vec<Staged>>> {
        async move {
            self.check_writable()?;
            let home = self.home();
            let mut draft = Draft::new(operation, None);
            let staged = match self.attempt(&mut draft, stage, false).await {
                // Whoever commits may be on another machine, and syncs its own writes only.
                Ok(_) => home.store().sync().await,
                Err(error) => Err(error),
            };
            match staged {
                Ok(()) => Ok(home.send(draft)),
                Err(error) => {
                    draft.discard(home).await;
                    Err(error)
                }
            }
        }
        .boxed()
    }

    /// The newest state, once what others have committed lies where it belongs: only then it is built
    /// upon.
    pub(crate) async fn settled(&self) -> Result<Snapshot> {
        let snapshot = self.snapshot().await?;
        if snapshot.pending.is_empty() {
            return Ok(snapshot);
        }
        if let Err(error) = self.home().publish().await {
            // It can be built upon what is staged as well.
            tracing::warn!(url = self.url(), %error, "commits are not published");
        }
        self.snapshot().await
    }

    /// Has `stage` make changes until nobody touches meanwhile what they are made from, and commits
    /// them, if that is wanted.
    async fn attempt(&self, draft: &mut Draft, stage: &dyn Stage, commit: bool) -> Result<u64> {
        let home = self.home();
        let mut only: Option<Vec<String>> = None;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let snapshot = self.settled().await?;
            if let Some(key) = &draft.key
                && let Some(sequence) = snapshot.find_key(key).await?
            {
                draft.clear();
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
                true => draft.commit(home, &snapshot).await?,
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
            .with("store", home.url())
        }))
    }
}
