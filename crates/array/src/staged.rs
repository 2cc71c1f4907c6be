//! Staging by many, and one commit of what they staged.
//!
//! Any number of processes stage, each with an open collection of its own, and send what they get
//! to one that commits. What nobody commits is garbage, and is collected as such.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{ErrorKind, Result};
use tracing::Instrument;

use crate::collection::Collection;
use crate::commit::{Draft, Outcome, Staged};
use crate::dataset::Dataset;
use crate::insert::Insert;
use crate::map::Update;
use crate::options::{InsertOptions, MapOptions, UpdateFunction};

/// How a commit of staged changes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It is visible, under this number; 0 if there was nothing to commit.
    Done(u64),
    /// Nothing was committed: other writers have touched what the changes of these partitions were
    /// made from. They have to be staged again; the others are good as they are.
    Stale(Vec<String>),
}

impl Collection {
    /// Stages the rows of a dataset as [`Collection::insert`] would commit them. Without `shared`,
    /// variables that are not partitioned are left out.
    ///
    /// # Errors
    /// As [`Collection::insert`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn stage_insert(
        &self,
        data: &Dataset,
        options: &InsertOptions,
        shared: bool,
    ) -> Result<Vec<Staged>> {
        options.work.progress.start("stage", Some(data.num_bytes() as u64));
        let staged = self.stage("insert", &Insert { data, options, shared }).await;
        options.work.progress.finish();
        staged
    }

    /// Stages what a function works out, as [`Collection::update`] would commit it.
    ///
    /// # Errors
    /// As [`Collection::update`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn stage_update(
        &self,
        function: UpdateFunction,
        options: &MapOptions,
    ) -> Result<Vec<Staged>> {
        let written = Mutex::new(BTreeSet::new());
        let staged = self.stage("update", &Update { function, options, written: &written }).await;
        options.work.progress.finish();
        staged
    }

    /// Commits staged changes, all of them or nothing. Of several for one partition, as a task that
    /// ran twice leaves them, the first counts. `operation` names the commit in the history; with a
    /// `key` that a commit in the history has, nothing is committed and that one is returned. A change that was committed before is not
    /// committed again.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`CommitConflict`](ErrorKind::CommitConflict) if other
    /// writers were always faster; [`StagedExpired`](ErrorKind::StagedExpired) if something was
    /// staged longer ago than half the grace period, or garbage collection has taken it: nothing is
    /// committed then; [`Corrupt`](ErrorKind::Corrupt) if a change names other places than a
    /// partition; [`CommitUnknown`](ErrorKind::CommitUnknown); [`Store`](ErrorKind::Store).
    pub fn commit_staged<'a>(
        &'a self,
        operation: &'a str,
        staged: Vec<Staged>,
        key: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Committed>> {
        async move {
            self.check_writable()?;
            staged.iter().try_for_each(|one| one.change.check())?;
            let backend = self.backend();
            let snapshot = self.settled().await?;
            let mut draft = Draft::new(operation, key);
            if let Some(sequence) = draft.made_before(&snapshot).await? {
                // They may be what that commit names, sent twice, so they are not removed.
                return Ok(Committed::Done(sequence));
            }
            let all = staged.iter().map(|one| one.change.path.clone()).collect();
            let directories: Vec<String> =
                staged.iter().filter_map(|one| one.change.staged_directory()).collect();
            for mut one in staged.into_iter().rev() {
                backend.receive(&mut one);
                draft.add_staged(one);
            }
            let committed = draft.take_back_committed(&snapshot).await?;
            if let (true, Some(sequence)) = (draft.is_empty(), committed) {
                return Ok(Committed::Done(sequence));
            }
            snapshot.check_received(draft.staged()).await?;
            let outcome = draft.commit(backend, &snapshot).await;
            backend.forget(directories);
            Ok(match outcome? {
                Outcome::Done(sequence) => Committed::Done(sequence),
                Outcome::Stale(stale) => Committed::Stale(stale.unwrap_or(all)),
            })
        }
        .instrument(tracing::debug_span!("commit_staged", dataset = %self.place()))
        .boxed()
    }

    /// Removes what was staged and is not to be committed. What a commit names stays, and so does
    /// what a commit may name that is not known any more.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if a change names other places than a partition;
    /// [`Store`](ErrorKind::Store); what is left then is garbage.
    pub async fn discard<'a>(&'a self, staged: &'a [Staged]) -> Result<()> {
        staged.iter().try_for_each(|one| one.change.check())?;
        let snapshot = self.snapshot().await?;
        for one in staged {
            let Some(directory) = one.change.staged_directory() else { continue };
            if snapshot.may_name(one).await? {
                continue;
            }
            match self.backend().discard(&directory).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
