//! Copying a collection into an Icechunk repository.
//!
//! Nothing is seen before the one commit that ends it, so there is no journal: what was staged by a
//! copy that is broken off is garbage.

use std::collections::HashMap;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{ErrorKind, Result, Store};
use uuid::Uuid;

use super::partition::{Copying, same};
use super::{AT_ONCE, ATTEMPTS, CopyOptions, refuse_existing};
use crate::collection::{Collection, Partition};
use crate::commit::{Change, Draft, Home, Outcome};
use crate::conform::{conform, merged};
use crate::dataset::Dataset;
use crate::layout::{Config, GroupPlan, Layout, immutable_group};
use crate::read::read;
use crate::repository::{Repository, WriteDocuments};

impl Collection {
    /// Copies the collection into a repository that has none.
    pub(super) async fn copy_into(
        &self,
        repository: Repository,
        options: &CopyOptions,
    ) -> Result<Self> {
        let target = Home::Repository(repository.clone());
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
            let mut draft = Draft::new("copy", None);
            draft.begin_attempt_at(state.latest());
            draft.set_config(config.clone());
            let whole = false;
            let copying = Copying {
                snapshot: &snapshot,
                target: state.view(),
                config: &config,
                options,
                whole,
            };
            let staged = copying.stage_all(&mut draft).await;
            if !snapshot.is_outdated().await? {
                let outcome = match staged {
                    Ok(()) => {
                        let check = Check { copying: &copying };
                        let check: Option<&dyn WriteDocuments> =
                            if options.verify { Some(&check) } else { None };
                        draft.commit_checked(&repository, &state, check).await
                    }
                    Err(error) => Err(error),
                };
                target.forget(draft.staged_directories());
                match outcome? {
                    Outcome::Done(_) => return Self::open_home(target).await,
                    Outcome::Stale(_) => continue,
                }
            }
            draft.discard(&target).await;
            // What others are replacing may look damaged.
            if let Err(error) = staged
                && !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
            {
                return Err(error);
            }
        }
        Err(self.unsteady())
    }
}

impl Copying<'_> {
    async fn stage_all(&self, draft: &mut Draft) -> Result<()> {
        let partitions = self.snapshot.partitions(self.options.predicate.as_ref()).await?;
        let work = &self.options.work;
        work.progress.start("copy", Some(partitions.len() as u64));
        let stage = draft.stage();
        let one = async |partition: Partition| {
            work.cancel.check()?;
            let staged = self.stage_partition(&partition, &stage).await;
            work.progress.advance(1);
            staged.map_err(|error| error.with("partition", &partition.path))
        };
        let staged = stream::iter(partitions).map(one).buffer_unordered(AT_ONCE);
        let changes: Vec<Change> = staged.try_collect().await?;
        changes.into_iter().for_each(|change| draft.add(change, false));
        if let Some(change) = self.stage_immutable(&stage).await? {
            draft.add(change, false);
        }
        Ok(())
    }

    async fn stage_partition(&self, partition: &Partition, stage: &str) -> Result<Change> {
        let data = self.source_of(partition).await?;
        let (rows, _) = conform(&data, self.config, &HashMap::new())?;
        let path = self.path(partition);
        let plan = GroupPlan::group(self.config, &path, Some(&partition.key), &rows, 0)?;
        let length = rows.size(&self.config.dimension).unwrap_or(0);
        let bytes = self.write_to(plan, stage).await?;
        Ok(Change::replace(&path, stage.to_owned(), true, length, bytes))
    }

    async fn stage_immutable(&self, stage: &str) -> Result<Option<Change>> {
        let Some(data) = self.immutable_source().await? else { return Ok(None) };
        let path = immutable_group(self.config.layout);
        let given = merged(&self.config.immutable(), &[&data], &|_| false, &|_| None)?;
        let plan = GroupPlan::group(self.config, path, None, &given, 0)?;
        let bytes = self.write_to(plan, stage).await?;
        Ok(Some(Change::replace(path, stage.to_owned(), true, 0, bytes)))
    }

    async fn write_to(&self, plan: GroupPlan, stage: &str) -> Result<u64> {
        let work = self.options.work.quiet();
        plan.write(self.target, stage, work.progress.as_ref(), &work.cancel).await
    }

    async fn source_of(&self, partition: &Partition) -> Result<Dataset> {
        let names = self.config.partitioned().names();
        self.read(&self.snapshot.config, &self.snapshot.store, partition, &names).await
    }
}

/// Compares what is about to be committed with the source.
struct Check<'a> {
    copying: &'a Copying<'a>,
}

impl Check<'_> {
    async fn compare(&self, made: &Store) -> Result<()> {
        let copying = self.copying;
        let config: &Config = copying.config;
        let names = config.partitioned().names();
        let partitions = copying.snapshot.partitions(copying.options.predicate.as_ref()).await?;
        let one = async |partition: Partition| {
            copying.options.work.cancel.check()?;
            let copy = Partition { key: partition.key.clone(), path: copying.path(&partition) };
            let written = copying.read(config, made, &copy, &names).await?;
            let compared = same(&copying.source_of(&partition).await?, &written);
            compared.map_err(|error| error.with("partition", &partition.path))
        };
        let checks = stream::iter(partitions).map(one).buffer_unordered(AT_ONCE);
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
