//! Copying a collection into an Icechunk repository.
//!
//! Nothing becomes visible before the one commit at the end. The journal stores the locations of
//! staged chunks, which are otherwise kept in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::store::Lease;
use partita_core::{Error, Result, Store};
use uuid::Uuid;

use super::journal::{Copied, Journal};
use super::partition::{Copying, same};
use super::{
    ATTEMPTS, CopyOptions, LEASE, PARTITIONS_IN_FLIGHT, PARTITIONS_PER_ENTRY, forget_changed,
    is_settled,
};
use crate::backend::Backend;
use crate::collection::{Collection, Partition};
use crate::commit::{Action, Change, Draft, Outcome, Staged, refuse_existing};
use crate::conform::merged;
use crate::dataset::Dataset;
use crate::layout::{Config, GroupPlan, Layout, immutable_group};
use crate::read::read;
use crate::repository::{Repository, State, WriteDocuments};
use crate::statistics::summarise;

impl Collection {
    /// Copies the collection into a repository that does not contain one.
    pub(super) async fn copy_into(
        &self,
        repository: Repository,
        options: &CopyOptions,
    ) -> Result<Self> {
        let store = repository.store();
        refuse_existing(repository.state().await?.view()).await?;
        let lease = store.lease(LEASE).await?;
        let copied = lease.hold(self.copy_into_under(&lease, &repository, options)).await;
        lease.release(store).await;
        copied?;
        Self::open_backend(Arc::new(repository), self.base_of_copy(options)).await
    }

    fn copy_into_under<'a>(
        &'a self,
        lease: &'a Lease,
        repository: &'a Repository,
        options: &'a CopyOptions,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            for _ in 0..ATTEMPTS {
                let state = repository.state().await?;
                refuse_existing(state.view()).await?;
                let snapshot = self.snapshot().await?;
                let mut config = self.target_config(&snapshot.config, state.view(), options)?;
                if config.layout != Layout::ZarrV3 {
                    config = config.with_layout(Layout::ZarrV3);
                    config.check()?;
                }
                config.commit = Some(Uuid::new_v4().simple().to_string());
                let (journal, _) = Journal::open(repository.store(), self.url(), &config).await?;
                let mut draft = Draft::new("copy", None);
                draft.begin_attempt_at(state.latest());
                draft.set_config(config.clone());
                let copying = Copying {
                    snapshot: &snapshot,
                    target: state.view(),
                    config: &config,
                    options,
                    whole: false,
                };
                let mut staging = Staging { copying: &copying, repository, journal };
                let staged = staging.all(&mut draft, lease).await;
                let outcome = match (is_settled(&staged, &snapshot).await?, staged) {
                    (true, Ok(())) => copying.commit(&draft, repository, &state).await,
                    (true, Err(error)) => Err(error),
                    (false, _) => Ok(Outcome::Stale(None)),
                };
                repository.forget(draft.staged_directories());
                if let Outcome::Done(_) = outcome? {
                    Journal::forget(repository.store()).await;
                    return Ok(());
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }
}

/// Stages all partitions of a copy. The locations of staged chunks are noted in the journal, so
/// that an interrupted copy can continue.
struct Staging<'a> {
    copying: &'a Copying<'a>,
    repository: &'a Repository,
    journal: Journal,
}

impl Staging<'_> {
    async fn all(&mut self, draft: &mut Draft, lease: &Lease) -> Result<()> {
        let Copying { snapshot, options, .. } = self.copying;
        let partitions = snapshot.partitions(options.predicate.as_ref()).await?;
        forget_changed(&mut self.journal, snapshot).await?;
        self.forget_collected().await?;
        let work = &options.work;
        work.progress.start("copy", Some(partitions.len() as u64));
        let mut left = Vec::new();
        for partition in partitions {
            match self.journal.done.get(&partition.path).and_then(|done| done.staged.clone()) {
                Some(mut staged) => {
                    self.repository.receive(&mut staged);
                    draft.add(staged.change, false);
                    work.progress.advance(1);
                }
                None => left.push(partition),
            }
        }
        let stage = draft.stage();
        for batch in left.chunks(PARTITIONS_PER_ENTRY) {
            lease.check()?;
            self.batch(batch, draft, &stage).await?;
        }
        if let Some(change) = self.copying.stage_immutable(&stage).await? {
            draft.add(change, false);
        }
        Ok(())
    }

    async fn batch(&mut self, batch: &[Partition], draft: &mut Draft, stage: &str) -> Result<()> {
        let (copying, work) = (self.copying, &self.copying.options.work);
        let one = async |partition: Partition| {
            work.cancel.check()?;
            let staged = copying.stage_partition(&partition, stage).await;
            work.progress.advance(1);
            let change = staged.map_err(|error| error.with("partition", &partition.path))?;
            Ok::<_, Error>((partition.path, change))
        };
        let changes = stream::iter(batch.to_vec()).map(one).buffer_unordered(PARTITIONS_IN_FLIGHT);
        let changes: Vec<(String, Change)> = changes.try_collect().await?;
        let staging = self.repository.staging();
        let mut copied = Vec::with_capacity(changes.len());
        for (source, change) in changes {
            draft.add(change.clone(), false);
            let directory = change.staged_directory().unwrap_or_default();
            let (path, commit) = (change.path.clone(), copying.snapshot.latest);
            let objects = staging.under(&directory);
            let staged = Some(Staged { change, reads: false, base: 0, objects });
            copied.push(Copied { staged, ..Copied::new(source, path, commit) });
        }
        // Partitions must be durable before the journal lists them as done.
        self.repository.store().sync().await?;
        self.journal.add(self.repository.store(), copied).await
    }

    /// Removes partitions from the journal whose staged chunks were deleted by garbage collection,
    /// which cannot know that this copy needs them.
    async fn forget_collected(&mut self) -> Result<()> {
        if self.journal.done.is_empty() {
            return Ok(());
        }
        let there = self.repository.stored_chunks().await?;
        self.journal.done.retain(|_, done| {
            let staged = done.staged.as_ref();
            staged.is_some_and(|staged| {
                let mut objects = staged.objects.iter();
                objects.all(|(_, object)| object.chunk().is_none_or(|id| there.contains_key(&id)))
            })
        });
        Ok(())
    }
}

impl Copying<'_> {
    async fn commit(
        &self,
        draft: &Draft,
        repository: &Repository,
        state: &State,
    ) -> Result<Outcome> {
        let changes: Vec<Change> = draft.changes().cloned().collect();
        repository.check_copied(&changes).await?;
        let check = Check { copying: self };
        let check: Option<&dyn WriteDocuments> =
            if self.options.verify { Some(&check) } else { None };
        draft.commit_checked(repository, state, check).await
    }

    async fn stage_partition(&self, partition: &Partition, stage: &str) -> Result<Change> {
        let data = self.source_of(partition).await?;
        let path = self.path(partition);
        let (plan, rows) = self.group(partition, &path, &data).await?;
        let length = rows.size(&self.config.dimension).unwrap_or(0);
        let bytes = self.write_to(plan, stage).await?;
        let statistics = summarise(self.config, &rows)?;
        let replaced = Action::Replace { stage: stage.to_owned(), fresh: false };
        let rows = Some(length as u64);
        Ok(Change { rows, bytes, statistics, ..Change::new(&path, replaced) })
    }

    async fn stage_immutable(&self, stage: &str) -> Result<Option<Change>> {
        let Some(data) = self.immutable_source().await? else { return Ok(None) };
        let path = immutable_group(self.config.layout);
        let given = merged(&self.config.immutable(), &[&data], &|_| false, &|_| None)?;
        let plan = GroupPlan::group(self.config, path, None, &given)?;
        let bytes = self.write_to(plan, stage).await?;
        let replaced = Action::Replace { stage: stage.to_owned(), fresh: false };
        Ok(Some(Change { bytes, ..Change::new(path, replaced) }))
    }

    async fn write_to(&self, plan: GroupPlan, stage: &str) -> Result<u64> {
        let work = self.options.work.quiet();
        plan.write(self.target, stage, &work).await
    }

    async fn source_of(&self, partition: &Partition) -> Result<Dataset> {
        let names = self.config.partitioned().names();
        self.read(&self.snapshot.config, &self.snapshot.store, partition, &names).await
    }
}

/// Compares the staged copy with the source before it is committed.
struct Check<'a> {
    copying: &'a Copying<'a>,
}

impl Check<'_> {
    async fn compare(&self, made: &Store) -> Result<()> {
        let copying = self.copying;
        let config: &Config = copying.config;
        let names = config.partitioned().names();
        let partitions = copying.snapshot.partitions(copying.options.predicate.as_ref()).await?;
        let work = &copying.options.work;
        work.progress.start("verify", Some(partitions.len() as u64));
        let one = async |partition: Partition| {
            work.cancel.check()?;
            let copy = Partition { key: partition.key.clone(), path: copying.path(&partition) };
            let written = copying.read(config, made, &copy, &names).await?;
            let compared = same(&copying.source_of(&partition).await?, &written);
            work.progress.advance(1);
            compared.map_err(|error| error.with("partition", &partition.path))
        };
        let checks = stream::iter(partitions).map(one).buffer_unordered(PARTITIONS_IN_FLIGHT);
        checks.try_for_each(|()| async { Ok(()) }).await?;
        if let Some(data) = copying.immutable_source().await? {
            let names = data.schema().names();
            let written = read(made, config, &[], &copying.quietly(names)).await?;
            same(&data, &written)?;
        }
        Ok(())
    }
}

impl WriteDocuments for Check<'_> {
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>> {
        self.compare(target).map(|done| done.map(|()| true)).boxed()
    }
}
