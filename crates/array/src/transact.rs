//! Making changes from the newest state until a commit of them succeeds.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{Error, ErrorKind, Result, masked};

use crate::collection::Collection;
use crate::commit::{Draft, Outcome, Snapshot, Staged, TURN};

/// Attempts that a writer makes before it takes turns with others.
const ATTEMPTS_BEFORE_TURN: u32 = 2;
/// Attempts of a writer whose turn it is: only writers that have not lost a race yet can be faster.
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
            let backend = self.backend();
            let mut draft = Draft::new(operation, key);
            let committed = self.attempt(&mut draft, stage, true).await;
            match &committed {
                Ok(1..) => {
                    backend.forget(draft.staged_directories());
                    draft.discard_abandoned(backend).await;
                    if draft.changes_config()
                        && let Err(error) = self.refresh().await
                    {
                        // The commit is made, and whoever uses the handle looks again.
                        let url = masked(self.url());
                        tracing::warn!(%url, %error, "what was committed is not read");
                    }
                }
                _ => draft.discard(backend).await,
            }
            match committed {
                Err(error) => Err(self.with_retained(error).await),
                committed => committed,
            }
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
            let backend = self.backend();
            let mut draft = Draft::new(operation, None);
            let staged = match self.attempt(&mut draft, stage, false).await {
                // Whoever commits may be on another machine, and syncs its own writes only.
                Ok(_) => backend.store().sync().await,
                Err(error) => Err(error),
            };
            match staged {
                Ok(()) => Ok(backend.send(draft)),
                Err(error) => {
                    draft.discard(backend).await;
                    Err(self.with_retained(error).await)
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
        if let Err(error) = self.backend().publish().await {
            // It can be built upon what is staged as well.
            tracing::warn!(url = %masked(self.url()), %error, "commits are not published");
        }
        self.snapshot().await
    }

    /// The optimistic loop: stages changes, stages those again that a concurrent commit invalidated,
    /// and commits if `commit` is set. Writers that have lost a race take turns, so that each of many
    /// writers to the same partitions is served.
    async fn attempt(&self, draft: &mut Draft, stage: &dyn Stage, commit: bool) -> Result<u64> {
        let mut trial = Trial { draft, stage, commit, only: None, last: None };
        if let Some(sequence) = self.attempts(&mut trial, ATTEMPTS_BEFORE_TURN).await? {
            return Ok(sequence);
        }
        let store = self.store();
        let committed = match store.lease(TURN).await {
            Ok(turn) => {
                let committed = turn.accompany(self.attempts(&mut trial, ATTEMPTS)).await;
                turn.release(store).await;
                committed
            }
            Err(error) => {
                let store = masked(store.url());
                tracing::debug!(%store, %error, "a writer goes on out of turn");
                self.attempts(&mut trial, ATTEMPTS).await
            }
        };
        if let Some(sequence) = committed? {
            return Ok(sequence);
        }
        Err(trial.last.unwrap_or_else(|| {
            Error::new(
                ErrorKind::CommitConflict,
                "other writers kept changing the same partitions; try again when they are done",
            )
            .with("attempts", ATTEMPTS_BEFORE_TURN + ATTEMPTS)
            .with("store", self.url())
        }))
    }

    /// Tries at most so many times; none if other commits were faster each time.
    async fn attempts(&self, trial: &mut Trial<'_>, most: u32) -> Result<Option<u64>> {
        let backend = self.backend();
        let Trial { draft, stage, commit, only, last } = trial;
        for _ in 0..most {
            let snapshot = self.settled().await?;
            if let Some(sequence) = draft.made_before(&snapshot).await? {
                draft.clear();
                return Ok(Some(sequence));
            }
            draft.begin_attempt(&snapshot);
            if let Err(error) = stage.stage(&snapshot, draft, only.as_deref()).await {
                // Objects that a concurrent commit is replacing may look damaged.
                let damaged = matches!(
                    error.kind(),
                    ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::OutOfSync
                );
                if !damaged || !snapshot.is_outdated().await? {
                    return Err(error);
                }
                (*only, *last) = (None, Some(error));
                draft.clear();
                continue;
            }
            let outcome = match commit {
                true => draft.commit(backend, &snapshot).await?,
                false => draft.check(&snapshot).await?,
            };
            match outcome {
                Outcome::Done(sequence) => return Ok(Some(sequence)),
                Outcome::Stale(paths) => *only = paths,
            }
            if only.is_none() {
                draft.clear();
            }
        }
        Ok(None)
    }
}

/// A commit that is being tried.
struct Trial<'a> {
    draft: &'a mut Draft,
    stage: &'a dyn Stage,
    /// Commit what was staged, rather than only stage it.
    commit: bool,
    /// The partitions whose changes have to be staged again; all if there is none.
    only: Option<Vec<String>>,
    /// The last error that a concurrent commit explains.
    last: Option<Error>,
}
