//! Bringing a view in line with its base.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, Predicate, Result, masked};

use super::{View, ViewOptions, condition};
use crate::collection::Partition;
use crate::commit::{Change, Draft, PartitionFacts, Snapshot};
use crate::conform::{build, fill};
use crate::dataset::{Array, Dataset};
use crate::layout::{Config, GroupPlan};
use crate::options::{ReadOptions, Work};
use crate::read::{Wanted, read};
use crate::sizes::partitions_and_sizes;
use crate::transact::Stage;
use crate::view::agree::out_of_sync;

/// Partitions processed concurrently.
const PARTITIONS_IN_FLIGHT: usize = 8;
/// How often a comparison is repeated because writers changed partitions during it.
const ATTEMPTS: u32 = 20;

impl View {
    /// True if the view has exactly the partitions of its base that it covers, with the same rows.
    ///
    /// # Errors
    /// [`InvalidPredicate`](partita_core::ErrorKind::InvalidPredicate) if ZCollection stored a
    /// condition that Partita does not support; the errors of reading.
    pub fn is_synced(&self) -> BoxFuture<'_, Result<bool>> {
        async move {
            for _ in 0..ATTEMPTS {
                let snapshot = self.snapshot().await?;
                let Some(under) = &snapshot.under else { return Ok(true) };
                let (own, plans) = compare(&snapshot, &Work::default()).await?;
                let paths: Vec<&str> =
                    own.iter().map(|partition| partition.path.as_str()).collect();
                if under.is_current(&paths, true).await?
                    && snapshot.is_current(&paths, true).await?
                {
                    return Ok(plans.iter().all(|(_, need)| matches!(need, Need::Note(_))));
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }

    /// Brings the view in line with its base, in one commit. New partitions of the base that the
    /// view covers are created and filled; partitions that the base does not have any more are
    /// dropped. If rows changed, values of rows that still exist are kept, matched by the values of
    /// the axis (rows with equal values in their order), and new rows are filled. Returns the
    /// partitions that were written, ordered by key; none if a commit with the same `key` was made
    /// before.
    ///
    /// A predicate replaces the condition on the partitions that the view covers. Partitions that
    /// the view has already stay.
    ///
    /// # Errors
    /// [`InvalidPredicate`](partita_core::ErrorKind::InvalidPredicate);
    /// [`OutOfSync`](partita_core::ErrorKind::OutOfSync) if rows changed in a partition for which
    /// ZCollection stored no axis; [`ReadOnly`](partita_core::ErrorKind::ReadOnly);
    /// [`CommitConflict`](partita_core::ErrorKind::CommitConflict).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %masked(self.url())))]
    pub async fn sync(&self, options: &ViewOptions) -> Result<Vec<Partition>> {
        let key = options.key.as_deref();
        self.bring_in_line("sync", key, options.predicate.as_ref(), &options.work).await
    }

    /// Creates the partitions of a new view.
    pub(super) async fn fill(&self, work: &Work) -> Result<Vec<Partition>> {
        self.bring_in_line("create", None, None, work).await
    }

    fn bring_in_line<'a>(
        &'a self,
        operation: &'static str,
        key: Option<&'a str>,
        covered: Option<&'a Predicate>,
        work: &'a Work,
    ) -> BoxFuture<'a, Result<Vec<Partition>>> {
        async move {
            let written = Mutex::default();
            let sync = Sync { covered, work, written: &written };
            let done = self.transact(operation, key, &sync).await;
            work.progress.finish();
            done?;
            let written: BTreeSet<Partition> =
                written.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok(written.into_iter().collect())
        }
        .boxed()
    }
}

/// The change that a partition of a view needs to be in sync.
enum Need {
    /// The view lacks the partition.
    Create(Array),
    /// The rows of the base changed.
    Match(Array),
    /// The rows are those of the base, but the partition stores no copy of the axis.
    Note(Array),
    /// The base does not have the partition any more.
    Drop,
}

/// The partitions of a view, and the changes of those that are out of sync with its base.
async fn compare(
    snapshot: &Snapshot,
    work: &Work,
) -> Result<(Vec<Partition>, Vec<(Partition, Need)>)> {
    let (Some(under), Some(view)) = (&snapshot.under, &snapshot.config.view) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let covered = condition::stored(view)?;
    let own = snapshot.partitions(None).await?;
    let base: HashSet<String> =
        under.partitions(None).await?.into_iter().map(|found| found.path).collect();
    let known: HashSet<&str> = own.iter().map(|found| found.path.as_str()).collect();
    let mut new = under.partitions(covered.as_ref()).await?;
    new.retain(|found| !known.contains(found.path.as_str()));
    let old = own.iter().cloned().map(|found| (found, true));
    let all: Vec<_> = old.chain(new.into_iter().map(|found| (found, false))).collect();
    let need = async |(partition, exists): (Partition, bool)| {
        work.cancel.check()?;
        if !base.contains(&partition.path) {
            return Ok(Some((partition, Need::Drop)));
        }
        let Some(axis) = snapshot.axis_below(&partition, work).await? else {
            return Err(changed_meanwhile(&partition));
        };
        if !exists {
            return Ok(Some((partition, Need::Create(axis))));
        }
        let copy = snapshot.copy_of_axis(&partition).await?;
        let agrees = snapshot.agrees(&partition, &axis, copy.as_ref()).await?;
        Ok::<_, Error>(match (agrees, copy) {
            (true, Some(_)) => None,
            (true, None) => Some((partition, Need::Note(axis))),
            (false, _) => Some((partition, Need::Match(axis))),
        })
    };
    let needs: Vec<Option<_>> =
        stream::iter(all).map(need).buffered(PARTITIONS_IN_FLIGHT).try_collect().await?;
    Ok((own, needs.into_iter().flatten().collect()))
}

fn changed_meanwhile(partition: &Partition) -> Error {
    out_of_sync("the base of the view was changed while it was compared; try again", partition)
}

struct Sync<'a> {
    /// The new condition on the partitions that the view covers, if it changes.
    covered: Option<&'a Predicate>,
    work: &'a Work,
    /// Receives the partitions that were written.
    written: &'a Mutex<BTreeSet<Partition>>,
}

impl Stage for Sync<'_> {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        _only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        self.stage_all(snapshot, draft).boxed()
    }
}

impl Sync<'_> {
    async fn stage_all(&self, snapshot: &Snapshot, draft: &mut Draft) -> Result<()> {
        draft.clear();
        let mut snapshot = snapshot.clone();
        if let Some(covered) = self.covered {
            let mut config = snapshot.config.as_ref().clone();
            if let Some(view) = &mut config.view {
                view.filter = condition::text(covered)?;
            }
            draft.set_config(config.clone());
            snapshot.config = std::sync::Arc::new(config);
        }
        let Some(under) = &snapshot.under else { return Ok(()) };
        let (own, needs) = compare(&snapshot, self.work).await?;
        let progress = self.work.progress.as_ref();
        progress.start("sync", Some(needs.len() as u64));
        let (_, sizes) = partitions_and_sizes(under).await?;
        let (snapshot, stages) = (&snapshot, &*draft);
        let one = async |(partition, need): (Partition, Need)| {
            self.work.cancel.check()?;
            let made = self.make(snapshot, stages.stage(), &partition, need, &sizes).await;
            let change = made.map_err(|error| error.with("partition", &partition.path))?;
            progress.advance(1);
            Ok::<_, Error>((partition, change))
        };
        let made = stream::iter(needs).map(one).buffer_unordered(PARTITIONS_IN_FLIGHT);
        let made: Vec<(Partition, Change)> = made.try_collect().await?;
        // The content that was read of the base must be the state of one commit.
        let read = own.iter().chain(made.iter().map(|(partition, _)| partition));
        let paths: Vec<&str> = read.map(|partition| partition.path.as_str()).collect();
        if !under.is_current(&paths, true).await? {
            let any = made.first().map(|(partition, _)| partition).or(own.first());
            let nowhere = || Error::invalid("the base of the view was changed; try again");
            return Err(any.map_or_else(nowhere, changed_meanwhile));
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.clear();
        for (partition, change) in made {
            let gone = change.action == crate::commit::Action::Drop;
            draft.add(change, true);
            if !gone {
                written.insert(partition);
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        snapshot: &Snapshot,
        stage: String,
        partition: &Partition,
        need: Need,
        sizes: &HashMap<String, usize>,
    ) -> Result<Change> {
        let config = snapshot.config.as_ref();
        let (path, work) = (&partition.path, self.work.quiet());
        let variable = snapshot.axis_of_base()?;
        let (axis, dataset) = match need {
            Need::Drop => return Ok(Change::drop(path)),
            Need::Note(axis) => {
                let mut plan = GroupPlan::default();
                plan.add_axis(config, path, &variable, &axis)?;
                let replaced = plan.replaced(path, &[]);
                let facts = PartitionFacts::default();
                return snapshot.stage_patch(stage, path, plan, replaced, facts, &work).await;
            }
            Need::Create(axis) => {
                let dataset = filled(config, axis.len(), sizes)?;
                (axis, dataset)
            }
            Need::Match(axis) => {
                let dataset = self.matched(snapshot, partition, &axis, sizes).await?;
                (axis, dataset)
            }
        };
        let mut plan = GroupPlan::group(config, path, None, &dataset)?;
        plan.add_axis(config, path, &variable, &axis)?;
        let facts = PartitionFacts { rows: Some(axis.len()), ..PartitionFacts::default() };
        snapshot.stage_replacement(stage, path, plan, facts, &work).await
    }

    /// The new content of a partition, for the present rows of its base.
    async fn matched(
        &self,
        snapshot: &Snapshot,
        partition: &Partition,
        axis: &Array,
        sizes: &HashMap<String, usize>,
    ) -> Result<Dataset> {
        let config = snapshot.config.as_ref();
        let Some(rows) = snapshot.own_rows(partition).await? else {
            return filled(config, axis.len(), sizes);
        };
        let Some(copy) = snapshot.copy_of_axis(partition).await? else {
            return Err(out_of_sync(
                "the rows of the base changed, and the view does not store which rows it was made \
                 for, since ZCollection wrote it; create the view again",
                partition,
            ));
        };
        if copy.rows() != rows {
            return Err(Error::corrupt(
                "the variables of the partition have other rows than the view was made for",
            ));
        }
        let old = copy.read(&snapshot.store, self.work).await?;
        let work = self.work.quiet();
        let options = ReadOptions { work, ..ReadOptions::default() };
        let wanted = [Wanted::whole(partition)];
        let data = read(&snapshot.store, config, &wanted, &options).await?;
        let found = matches(&old, axis);
        let missing = found.iter().filter(|row| row.is_none()).count();
        let mut next = rows;
        let indices: Vec<usize> = found
            .into_iter()
            .map(|row| {
                row.unwrap_or_else(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        let data = match missing {
            0 => data,
            missing => {
                let blank = filled(config, missing, sizes)?;
                Dataset::concat(&[&data, &blank], &config.dimension)?
            }
        };
        data.take(&config.dimension, &indices)
    }
}

/// The variables of a view for `rows` rows, filled with their fill values.
fn filled(config: &Config, rows: usize, sizes: &HashMap<String, usize>) -> Result<Dataset> {
    let size = |name: &str| match name == config.dimension {
        true => Some(rows),
        false => sizes.get(name).copied(),
    };
    build(&config.schema, "", &|path, own| fill(path, own, &size).map(Some))
}

/// The previous position of each row, found by its value on the axis; rows with equal values are
/// matched in their order.
fn matches(old: &Array, new: &Array) -> Vec<Option<usize>> {
    let mut known: HashMap<&[u8], VecDeque<usize>> = HashMap::with_capacity(old.len());
    for at in 0..old.len() {
        known.entry(old.item(at).unwrap_or_default()).or_default().push_back(at);
    }
    let mut find = |at: usize| known.get_mut(new.item(at)?)?.pop_front();
    (0..new.len()).map(&mut find).collect()
}
