//! Inserting rows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result};

use crate::collection::{Collection, Partition};
use crate::commit::{Change, Draft, PartitionFacts, Snapshot};
use crate::conform::{Fitting, Missing, build, conform, given_sizes, merged};
use crate::dataset::{Array, Dataset, Variable, VariableSchema};
use crate::layout::{Config, GroupPlan, Joined, StoredArray, immutable_group, open_group};
use crate::merge::{Merge, Plan};
use crate::options::{InsertOptions, MergeFunction, MergeWith, ReadOptions};
use crate::partitioning::{Group, Key};
use crate::read::{OpenPartition, read};
use crate::statistics::summarise;
use crate::transact::Stage;

/// Bytes of partitions that are worked on at once, and how many partitions at most.
const BYTES_AT_ONCE: usize = 512 << 20;
const MOST_AT_ONCE: usize = 16;

impl Collection {
    /// Inserts the rows of a dataset, each into its partition, in one commit: either all of them
    /// become visible, or nothing. Rows may come in any order. Returns the partitions that the rows
    /// belong to, ordered by key.
    ///
    /// Variables that are missing are filled: with what the options say, else with their fill values,
    /// else with "not a number" or "not a time". Where a merge puts a new row in the place of an old
    /// one, that keeps its values in them. Attributes, fill values and codecs are those of the
    /// collection. Without a merge, what a partition held is replaced. With
    /// one, chunks without a row that changes or moves are not written again.
    ///
    /// Variables that are not partitioned are stored by the first insert that has them, and must be
    /// the same in later ones.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch), with the variable, if the dataset has one that
    /// the collection does not have, or has with another type, other dimensions or another size, or
    /// with other values where it is not partitioned, or if a variable is missing and nothing can
    /// stand for its values;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) as
    /// [`Partitioning::split`](crate::Partitioning::split) and [`Merge::plan`];
    /// [`CommitConflict`](ErrorKind::CommitConflict) if other writers never left the partitions
    /// alone; [`ReadOnly`](ErrorKind::ReadOnly); [`Store`](ErrorKind::Store). Nothing is inserted
    /// then.
    pub async fn insert(&self, data: &Dataset, options: &InsertOptions) -> Result<Vec<Partition>> {
        let insert = Insert { data, options, shared: true };
        let total = data.num_bytes() as u64;
        options.work.progress.start("insert", Some(total));
        let done = self.transact("insert", options.key.as_deref(), &insert).await;
        options.work.progress.finish();
        done?;
        Ok(self.places(data)?.into_iter().map(|place| place.partition).collect())
    }
}

impl Collection {
    /// Datasets of rows merged one after the other, as if each were inserted into what those before
    /// it have left; a function is not called. Nothing is stored.
    ///
    /// # Errors
    /// As [`Collection::insert`].
    pub async fn merge_rows(&self, data: &[Dataset], options: &InsertOptions) -> Result<Dataset> {
        let snapshot = self.snapshot().await?;
        let config = &snapshot.config;
        let sizes = stored_sizes(&snapshot, &snapshot.partitions(None).await?).await?;
        let MergeWith::Strategy(merge) = &options.merge else {
            return Err(Error::invalid("rows are merged by a strategy"));
        };
        let axis = config.rows_variable().unwrap_or_default();
        let mut merged: Option<Dataset> = None;
        for new in data {
            let new = conform(new, config, &sizes, &options.fill)?;
            let Some(old) = merged else {
                merged = Some(new.filled()?);
                continue;
            };
            let axes = (old.require(&axis)?.data(), new.rows.require(&axis)?.data());
            let rows = match kept(merge, axes, &new.missing)? {
                Some(plan) => completed(config, &plan, &old, &new.missing, &new.rows)?,
                None => new.rows.clone(),
            };
            let plan = merge.plan(axes.0, axes.1)?;
            merged = Some(plan.apply(&old, &rows, &config.dimension)?);
        }
        merged.ok_or_else(|| Error::invalid("there is nothing to merge"))
    }
}

pub(crate) struct Insert<'a> {
    pub data: &'a Dataset,
    pub options: &'a InsertOptions,
    /// Variables that are not partitioned are stored too.
    pub shared: bool,
}

impl Stage for Insert<'_> {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        self.stage_all(snapshot, draft, only).boxed()
    }
}

/// A change of one partition, and whether it was made from what the partition held. None where
/// nothing changes.
type Staged = Option<(Change, bool)>;

impl Insert<'_> {
    async fn stage_all(
        &self,
        snapshot: &Snapshot,
        draft: &mut Draft,
        only: Option<&[String]>,
    ) -> Result<()> {
        let config = &snapshot.config;
        config.check_no_view("rows are inserted into the base of a view; then sync the view")?;
        let partitions = snapshot.partitions(None).await?;
        let sizes = stored_sizes(snapshot, &partitions).await?;
        let Fitting { rows, immutable, missing } =
            conform(self.data, config, &sizes, &self.options.fill)?;
        let paths: BTreeMap<Key, String> =
            partitions.into_iter().map(|found| (found.key, found.path)).collect();
        let groups = config.partitioning.split(&rows)?;
        let average = rows.num_bytes().checked_div(groups.len()).unwrap_or(0).max(1);
        let at_once = (BYTES_AT_ONCE / average).clamp(1, MOST_AT_ONCE);
        let place = |group: Group| {
            let exists = paths.get(&group.key);
            let made = || config.partitioning.path(&group.key, config.layout.digits());
            let (path, exists) = (exists.cloned().unwrap_or_else(made), exists.is_some());
            let partition = Partition { key: group.key.clone(), path };
            (group, partition, exists)
        };
        let wanted = |partition: &Partition| only.is_none_or(|only| only.contains(&partition.path));
        let places: Vec<_> =
            groups.into_iter().map(place).filter(|(_, partition, _)| wanted(partition)).collect();
        let (rows, stages, missing) = (&rows, &*draft, missing.as_slice());
        let staged: Vec<(String, Staged)> = stream::iter(places)
            .map(async |(group, partition, exists)| {
                let own = rows.take_ranges(&config.dimension, &group.rows)?;
                let merging = Merging {
                    snapshot,
                    stage: stages.stage(),
                    partition: &partition,
                    fresh: !exists,
                    insert: self,
                    missing,
                };
                let staged = self.stage_partition(merging, own).await;
                let staged = staged.map_err(|error| error.with("partition", &partition.path))?;
                Ok::<_, Error>((partition.path, staged))
            })
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        for (path, staged) in staged {
            match staged {
                Some((change, reads)) => draft.add(change, reads),
                None => draft.remove(&path),
            }
        }
        let path = immutable_group(config.layout);
        if self.shared && only.is_none_or(|only| only.iter().any(|stale| stale == path)) {
            self.stage_immutable(snapshot, draft, immutable, &sizes).await?;
        }
        Ok(())
    }

    async fn stage_partition(&self, merging: Merging<'_>, rows: Dataset) -> Result<Staged> {
        let merge = match &self.options.merge {
            MergeWith::Strategy(merge) if *merge != Merge::Replace && !merging.fresh => {
                return merging.merge(merge, rows).await;
            }
            merge => merge,
        };
        // There are no old rows, or none that are kept, that could have what is missing.
        merging.missing.iter().try_for_each(Missing::check)?;
        match merge {
            MergeWith::Strategy(Merge::Replace) => merging.replace_by(rows, false).await,
            // Another writer may make the partition meanwhile.
            MergeWith::Strategy(merge) => merging.create(merge, rows).await,
            MergeWith::Function(_) if merging.fresh => merging.replace_by(rows, true).await,
            MergeWith::Function(function) => merging.call(function.clone(), rows).await,
        }
    }

    /// Stores the variables that are not partitioned and were not stored yet.
    async fn stage_immutable(
        &self,
        snapshot: &Snapshot,
        draft: &mut Draft,
        given: Dataset,
        sizes: &HashMap<String, usize>,
    ) -> Result<()> {
        let config = &snapshot.config;
        let schema = config.immutable();
        if schema.paths().is_empty() {
            return Ok(());
        }
        let path = immutable_group(config.layout);
        let opened = open_group(&snapshot.store, config, path, &schema).await?;
        let is_stored = |path: &str| {
            let arrays = opened.iter().flatten();
            arrays.clone().any(|(name, array)| name == path && array.is_some())
        };
        let stored: Vec<String> =
            schema.names().into_iter().filter(|path| is_stored(path)).collect();
        let options = ReadOptions {
            variables: Some(stored.clone()),
            work: self.options.work.quiet(),
            ..ReadOptions::default()
        };
        let old = read(&snapshot.store, config, &[], &options).await?;
        for path in &stored {
            if let (Some(old), Some(new)) = (old.variable(path), given.variable(path))
                && !old.data().same_values(new.data())
            {
                return Err(Error::new(
                    ErrorKind::SchemaMismatch,
                    "a variable without the partitioned dimension is stored once, and is stored with \
                     other values; leave it out, or replace it for the whole collection",
                )
                .with("variable", path));
            }
        }
        let known = given_sizes(&given);
        let size = |name: &str| known.get(name).or_else(|| sizes.get(name)).copied();
        // ZCollection cannot read a collection that lacks some, so they are filled if they can be.
        let fills = |own: &VariableSchema| own.dimensions.iter().all(|name| size(name).is_some());
        let group = merged(&schema, &[&old, &given], &fills, &size)?;
        let missing = group.schema().paths().into_iter().any(|(path, _)| !is_stored(&path));
        if missing {
            let stage = draft.stage();
            let plan = GroupPlan::group(config, path, None, &group)?;
            let work = self.options.work.quiet();
            let facts = PartitionFacts::default();
            draft.add(snapshot.stage_replacement(stage, path, plan, facts, &work).await?, true);
        }
        Ok(())
    }
}

/// The sizes of the dimensions that do not grow, from the schema and from a partition.
pub(crate) async fn stored_sizes(
    snapshot: &Snapshot,
    partitions: &[Partition],
) -> Result<HashMap<String, usize>> {
    let config = &snapshot.config;
    let mut sizes = config.schema.sizes();
    let first = partitions.first().map(|partition| partition.path.as_str());
    let groups =
        [(first, config.partitioned()), (Some(immutable_group(config.layout)), config.immutable())];
    for (path, schema) in groups {
        let (Some(path), false) = (path, schema.paths().is_empty()) else { continue };
        let opened = open_group(&snapshot.store, config, path, &schema).await?;
        for array in opened.into_iter().flatten().filter_map(|(_, array)| array) {
            let shape = array.shape.iter().copied();
            sizes.extend(array.schema.dimensions.iter().cloned().zip(shape));
        }
    }
    sizes.remove(&config.dimension);
    Ok(sizes)
}

/// Rows of one partition on their way into it.
struct Merging<'a> {
    snapshot: &'a Snapshot,
    stage: String,
    partition: &'a Partition,
    /// The partition is new.
    fresh: bool,
    insert: &'a Insert<'a>,
    /// The variables that the rows lack.
    missing: &'a [Missing],
}

impl Merging<'_> {
    /// The partition becomes these rows.
    async fn replace_by(self, rows: Dataset, reads: bool) -> Result<Staged> {
        let config = &self.snapshot.config;
        let statistics = summarise(config, &rows)?;
        let (path, key) = (&self.partition.path, &self.partition.key);
        let plan = GroupPlan::group(config, path, Some(key), &rows)?;
        let rows = rows.size(&config.dimension);
        let facts = PartitionFacts { rows, statistics, is_new: self.fresh };
        Ok(Some((self.replace(plan, facts).await?, reads)))
    }

    /// The partition becomes a group of which this is known.
    async fn replace(self, plan: GroupPlan, facts: PartitionFacts) -> Result<Change> {
        let (path, work) = (&self.partition.path, &self.insert.options.work);
        self.snapshot.stage_replacement(self.stage, path, plan, facts, work).await
    }

    /// The partition is new: a merge still orders its rows.
    async fn create(self, merge: &Merge, rows: Dataset) -> Result<Staged> {
        let dimension = self.snapshot.config.dimension.clone();
        let rows = match self.snapshot.config.axis_variable() {
            Some(axis) => {
                let none = rows.slice(&dimension, 0..0)?;
                let plan = merge.plan(none.require(&axis)?.data(), rows.require(&axis)?.data())?;
                plan.apply(&none, &rows, &dimension)?
            }
            None if *merge == Merge::Concat => rows,
            None => return Err(no_axis()),
        };
        self.replace_by(rows, true).await
    }

    async fn merge(self, merge: &Merge, rows: Dataset) -> Result<Staged> {
        let config = &self.snapshot.config;
        let dimension = config.dimension.as_str();
        // Which of the old rows stay is seen from the axis, and for joining any variable will do.
        let axis = match (config.axis_variable(), merge) {
            (Some(axis), _) => axis,
            (None, Merge::Concat) => {
                config.partitioning.variables().first().copied().unwrap_or_default().to_owned()
            }
            (None, _) => return Err(no_axis()),
        };
        let store = &self.snapshot.store;
        let opened = OpenPartition::new(store, config, self.partition).await?;
        let summarised = config.summarised();
        let is_summarised = |path: &str| summarised.iter().any(|name| name == path);
        let is_known = |path: &str, own: &VariableSchema| {
            let is_across = own.axis(dimension).is_some_and(|axis| axis > 0);
            is_across || path == axis || is_summarised(path)
        };
        let known = config.partitioned().filtered(&is_known).names();
        let known = opened.read(&known, &self.insert.options.work.quiet()).await?;
        let rows = self.with_old_values(merge, &axis, &opened, &known, rows).await?;
        let plan = merge.plan(known.require(&axis)?.data(), rows.require(&axis)?.data())?;
        let (total, changes) = (plan.len(), plan.changes(opened.rows));
        if changes.is_empty() && total == opened.rows {
            return Ok(None);
        }
        let [old, new] = [&known, &rows].map(|of| of.filtered(&|path, _| is_summarised(path)));
        let statistics = summarise(config, &plan.apply(&old, &new, dimension)?)?;
        let stored: Vec<Arc<StoredArray>> = opened.arrays.values().cloned().collect();
        let (path, key) = (&self.partition.path, &self.partition.key);
        let joined = Joined { plan: Arc::new(plan), store, path, stored: &stored, known: &known };
        let mut group = GroupPlan::joined_group(config, path, Some(key), &rows, Some(&joined))?;
        let written = chunks(&group, &stored, dimension, changes, total);
        let facts = PartitionFacts { rows: Some(total), statistics, is_new: false };
        if written == (0..total) {
            return Ok(Some((self.replace(group, facts).await?, true)));
        }
        group.keep_all_but(&written);
        let replaced = group.replaced(path, &stored);
        let work = &self.insert.options.work;
        let change = self.snapshot.stage_patch(self.stage, path, group, replaced, facts, work);
        Ok(Some((change.await?, true)))
    }

    /// The rows, with the values of old ones of which they take the place in the variables that
    /// they lack.
    async fn with_old_values(
        &self,
        merge: &Merge,
        axis: &str,
        opened: &OpenPartition<'_>,
        known: &Dataset,
        rows: Dataset,
    ) -> Result<Dataset> {
        let axes = (known.require(axis)?.data(), rows.require(axis)?.data());
        let Some(plan) = kept(merge, axes, self.missing)? else { return Ok(rows) };
        let names: Vec<String> = self.missing.iter().map(|one| one.path.clone()).collect();
        let old = opened.read(&names, &self.insert.options.work.quiet()).await?;
        completed(&self.snapshot.config, &plan, &old, self.missing, &rows)
    }

    async fn call(self, function: MergeFunction, rows: Dataset) -> Result<Staged> {
        let config = &self.snapshot.config;
        let opened = OpenPartition::new(&self.snapshot.store, config, self.partition).await?;
        let all = config.partitioned().names();
        let old = opened.read(&all, &self.insert.options.work.quiet()).await?;
        let called = tokio::task::spawn_blocking(move || function(old, rows)).await;
        let merged = called.map_err(|error| {
            Error::new(ErrorKind::Interrupted, "the merge did not end").caused_by(error)
        })??;
        let fills = &self.insert.options.fill;
        let merged = conform(&merged, config, &HashMap::new(), fills)?.filled()?;
        let misplaced = config.partitioning.split(&merged)?;
        if let Some(other) = misplaced.iter().find(|group| group.key != self.partition.key) {
            return Err(Error::invalid("the merge gave rows that belong to another partition")
                .with("found", &other.key));
        }
        self.replace_by(merged, true).await
    }
}

/// Which old rows of an axis new ones take the place of; none if there are no variables missing, or no
/// such rows.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if there are others, and nothing stands for what is
/// missing.
fn kept(merge: &Merge, (old, new): (&Array, &Array), missing: &[Missing]) -> Result<Option<Plan>> {
    if missing.is_empty() {
        return Ok(None);
    }
    let places = match merge {
        Merge::Replace | Merge::Concat => vec![None; new.len()],
        _ => merge.places(old, new)?,
    };
    if places.iter().any(Option::is_none) {
        missing.iter().try_for_each(Missing::check)?;
    }
    Ok(places.iter().any(Option::is_some).then(|| Plan::of_places(&places)))
}

/// The rows with the values of old ones, as the plan says, in the variables that they lack.
fn completed(
    config: &Config,
    plan: &Plan,
    old: &Dataset,
    missing: &[Missing],
    rows: &Dataset,
) -> Result<Dataset> {
    build(&config.partitioned(), "", &|path, own| {
        let given = rows.require(path)?;
        let is_missing = missing.iter().any(|one| one.path == path);
        let (true, Some(along)) = (is_missing, own.axis(&config.dimension)) else {
            return Ok(Some(given.clone()));
        };
        let joined = plan.join(old.require(path)?.data(), given.data(), along)?;
        Variable::new(own.clone(), joined).map(Some)
    })
}

/// The rows of the chunks that have to be written, where the rows `changes` change and `total` is how
/// many there will be: they begin and end with chunks of all variables. All rows, if some variable is
/// chunked otherwise than it was, or lies across.
fn chunks(
    group: &GroupPlan,
    stored: &[Arc<StoredArray>],
    dimension: &str,
    changes: Range<usize>,
    total: usize,
) -> Range<usize> {
    let height = |array: &StoredArray| {
        let old = stored.iter().find(|old| old.prefix == array.prefix)?;
        let is_same = old.form == array.form && array.schema.axis(dimension) == Some(0);
        is_same.then(|| array.object_rows())
    };
    let Some(heights) = group.arrays().map(height).collect::<Option<Vec<usize>>>() else {
        return 0..total;
    };
    let Range { mut start, mut end } = changes;
    let cut = |row: usize| heights.iter().find(|height| !row.is_multiple_of(**height));
    while let Some(height) = cut(start) {
        start = start / height * height;
    }
    while let Some(height) = cut(end).filter(|_| end < total) {
        end = end.next_multiple_of(*height);
    }
    start..end.min(total)
}

fn no_axis() -> Error {
    Error::invalid(
        "the collection has no variable along its axis by which rows can be ordered; replace \
         partitions, or join rows without order",
    )
}
