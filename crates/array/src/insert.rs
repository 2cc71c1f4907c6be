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
use crate::sizes::partitions_and_sizes;
use crate::statistics::summarise;
use crate::transact::Stage;

/// Partitions in flight: up to this many uncompressed bytes, and this many partitions.
const BYTES_IN_FLIGHT: usize = 512 << 20;
const PARTITIONS_IN_FLIGHT: usize = 16;

impl Collection {
    /// Inserts the rows of a dataset, each into its partition, in one commit: all of them become
    /// visible or none. Rows may come in any order. Returns the partitions that the rows belong to,
    /// ordered by key.
    ///
    /// Missing variables are filled with the values given in the options, else with their fill
    /// values, else with "not a number" or "not a time". Where a merge replaces an old row with a
    /// new one, the row keeps its old values of missing variables. Attributes, fill values and
    /// codecs are those of the collection. Without a merge, the previous rows of a partition are
    /// replaced. With one, only chunks with a row that changes or moves are written again.
    ///
    /// Variables that are not partitioned are stored by the first insert that contains them, and
    /// must have the same values in later ones.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch), with the variable, if the collection does not
    /// have a variable of the dataset, or has it with another type, other dimensions or another
    /// size, or, for one that is not partitioned, with other values; or if a variable is missing
    /// and there is no value to fill it with; [`InvalidArgument`](ErrorKind::InvalidArgument) as
    /// [`Partitioning::split`](crate::Partitioning::split) and [`Merge::plan`];
    /// [`CommitConflict`](ErrorKind::CommitConflict) if other writers kept changing the partitions;
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`Store`](ErrorKind::Store). After an error nothing is
    /// inserted.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
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
    /// Merges datasets one after the other, as if each were inserted into the result of those
    /// before it. Merge functions are not supported. Nothing is stored.
    ///
    /// # Errors
    /// The same as [`Collection::insert`].
    pub async fn merge_rows(&self, data: &[Dataset], options: &InsertOptions) -> Result<Dataset> {
        let snapshot = self.snapshot().await?;
        let config = &snapshot.config;
        let (_, sizes) = partitions_and_sizes(&snapshot).await?;
        let MergeWith::Strategy(merge) = &options.merge else {
            return Err(Error::invalid(
                "rows are merged by a strategy here; a merge function is not supported",
            ));
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
        merged.ok_or_else(|| Error::invalid("there are no datasets to merge"))
    }
}

pub(crate) struct Insert<'a> {
    pub data: &'a Dataset,
    pub options: &'a InsertOptions,
    /// Also stores the variables that are not partitioned.
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

/// The change of a partition, and whether it depends on the previous rows of the partition. None if
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
        let (partitions, sizes) = partitions_and_sizes(snapshot).await?;
        let Fitting { rows, immutable, missing } =
            conform(self.data, config, &sizes, &self.options.fill)?;
        let paths: BTreeMap<Key, String> =
            partitions.into_iter().map(|found| (found.key, found.path)).collect();
        let groups = config.partitioning.split(&rows, &config.schema)?;
        let average = rows.num_bytes().checked_div(groups.len()).unwrap_or(0).max(1);
        let in_flight = (BYTES_IN_FLIGHT / average).clamp(1, PARTITIONS_IN_FLIGHT);
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
            .buffer_unordered(in_flight)
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
        // A new partition has no old rows that could provide missing values, nor does one that is
        // replaced.
        merging.missing.iter().try_for_each(Missing::check)?;
        match merge {
            MergeWith::Strategy(Merge::Replace) => merging.replace_by(rows, false).await,
            // The change counts as dependent, since another writer may create the partition
            // meanwhile.
            MergeWith::Strategy(merge) => merging.create(merge, rows).await,
            MergeWith::Function(_) if merging.fresh => merging.replace_by(rows, true).await,
            MergeWith::Function(function) => merging.call(function.clone(), rows).await,
        }
    }

    /// Stores the variables that are not partitioned and were not stored before.
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
                    "a variable without the partitioned dimension is stored once, and was stored \
                     with other values; leave it out, or replace it for the whole collection",
                )
                .with("variable", path));
            }
        }
        let known = given_sizes(&given);
        let size = |name: &str| known.get(name).or_else(|| sizes.get(name)).copied();
        // ZCollection cannot read a collection that lacks some of them, so the others are filled if
        // possible.
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

/// The insertion of rows into one partition.
struct Merging<'a> {
    snapshot: &'a Snapshot,
    stage: String,
    partition: &'a Partition,
    /// True if the partition is new.
    fresh: bool,
    insert: &'a Insert<'a>,
    /// The variables that the dataset lacks.
    missing: &'a [Missing],
}

impl Merging<'_> {
    /// Replaces the content of the partition with these rows.
    async fn replace_by(self, rows: Dataset, reads: bool) -> Result<Staged> {
        let config = &self.snapshot.config;
        let statistics = summarise(config, &rows)?;
        let (path, key) = (&self.partition.path, &self.partition.key);
        let plan = GroupPlan::group(config, path, Some(key), &rows)?;
        let rows = rows.size(&config.dimension);
        let facts = PartitionFacts { rows, statistics, is_new: self.fresh };
        Ok(Some((self.replace(plan, facts).await?, reads)))
    }

    /// Replaces the partition with the planned group; `facts` are its known properties.
    async fn replace(self, plan: GroupPlan, facts: PartitionFacts) -> Result<Change> {
        let (path, work) = (&self.partition.path, &self.insert.options.work);
        self.snapshot.stage_replacement(self.stage, path, plan, facts, work).await
    }

    /// Creates the partition. The merge strategy still orders its rows.
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
        // The plan of the merge needs the axis alone. For concatenating rows any variable will do.
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

    /// Returns the new rows, in which missing variables have the values of the old rows that they
    /// replace.
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
            Error::new(ErrorKind::Interrupted, "the merge function did not end").caused_by(error)
        })??;
        let fills = &self.insert.options.fill;
        let merged = conform(&merged, config, &HashMap::new(), fills)?.filled()?;
        let misplaced = config.partitioning.split(&merged, &config.schema)?;
        if let Some(other) = misplaced.iter().find(|group| group.key != self.partition.key) {
            return Err(Error::invalid(
                "the merge function returned rows that belong to another partition",
            )
            .with("found", &other.key));
        }
        self.replace_by(merged, true).await
    }
}

/// The plan of which new rows replace which old ones, by the values of the axis; none if no
/// variables are missing, or no row is replaced.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if there are rows that replace none, and a missing
/// variable has no value to fill it with.
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

/// Takes the values of missing variables from the old rows that the plan says are replaced.
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

/// The range of rows that has to be written, rounded to whole chunks of every variable, given that
/// the rows in `changes` change and the partition will have `total` rows. These are all rows if the
/// chunks of a variable change, or its partitioned dimension is not the first.
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
         partitions, or concatenate rows without ordering them",
    )
}
