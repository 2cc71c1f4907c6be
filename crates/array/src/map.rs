//! Calling a function for each partition, and storing the values that it computes.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result};

use crate::collection::{Collection, Partition};
use crate::commit::{Change, Draft, PartitionFacts, Snapshot};
use crate::conform::build;
use crate::cores::Cores;
use crate::dataset::{Dataset, Variable, VariableSchema};
use crate::layout::{GroupPlan, read_listing};
use crate::options::{Depth, MapOptions, PartitionData, ReadOptions, UpdateFunction, concurrency};
use crate::partitioning::Key;
use crate::patch::Patch;
use crate::read::{Wanted, read_parts};
use crate::statistics::summarise;
use crate::transact::Stage;

/// Computes a result from a partition.
pub type MapFunction<T> = Arc<dyn Fn(PartitionData) -> Result<T> + Send + Sync>;

/// How often a partition is read again because commits replaced it during the read.
const ATTEMPTS: u32 = 20;

impl Collection {
    /// Calls a function for each selected partition, several concurrently, and returns the results
    /// in the order of the keys. Neighbours are those in the whole collection, also if they are not
    /// selected.
    ///
    /// # Errors
    /// The same as [`Collection::read`]; any error of the function, with the partition.
    pub async fn map<T: Send + 'static>(
        &self,
        function: MapFunction<T>,
        options: &MapOptions,
    ) -> Result<Vec<(Key, T)>> {
        let snapshot = self.snapshot().await?;
        let all = snapshot.neighbours(options).await?;
        let selected = snapshot.selected(options).await?;
        let progress = options.work.progress.as_ref();
        progress.start("map", Some(selected.len() as u64));
        let (at_once, cores) = concurrency(options.at_once);
        let one = async |partition: Partition| {
            let called = self.call_current(&all, &partition, &function, options, &cores).await;
            let called = called.map_err(|error| error.with("partition", &partition.path))?;
            progress.advance(1);
            Ok::<_, Error>((partition.key, called))
        };
        let calls = stream::iter(selected).map(one).buffered(at_once);
        let results = calls.try_collect().await;
        progress.finish();
        results
    }

    /// Reads a partition and calls the function, again until what was read is the state of one
    /// commit.
    async fn call_current<T: Send + 'static>(
        &self,
        all: &[Partition],
        partition: &Partition,
        function: &MapFunction<T>,
        options: &MapOptions,
        cores: &Cores,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot().await?;
            let (data, paths) = snapshot.looked_into(all, partition, options).await;
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            if snapshot.is_state_of(options.rows.as_ref(), &paths, false).await? {
                return call(function, data?, cores).await;
            }
        }
        Err(unsteady())
    }

    /// Computes new values of variables, partition by partition, and stores them in one commit: all
    /// of them become visible, or none if the function fails for a partition. Other variables are
    /// not written again; with a row selection, neither are chunks without selected rows. If
    /// another writer changes a partition meanwhile, the function is called again with its new
    /// content. Returns the partitions that were written, ordered by key; none if a commit with the
    /// same `key` was made before.
    ///
    /// # Errors
    /// The same as [`Collection::map`]; [`SchemaMismatch`](ErrorKind::SchemaMismatch) with the
    /// variable, if a variable that the function returns does not fit the collection;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a variable by which rows are
    /// partitioned; [`CommitConflict`](ErrorKind::CommitConflict),
    /// [`ReadOnly`](ErrorKind::ReadOnly) as [`Collection::insert`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn update(
        &self,
        function: UpdateFunction,
        options: &MapOptions,
    ) -> Result<Vec<Partition>> {
        let written = std::sync::Mutex::default();
        let update = Update { function, options, written: &written };
        let done = self.transact("update", options.key.as_deref(), &update).await;
        options.work.progress.finish();
        done?;
        let written = written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut written: Vec<Partition> = std::collections::BTreeSet::into_iter(written).collect();
        written.sort();
        Ok(written)
    }
}

fn unsteady() -> Error {
    Error::new(
        ErrorKind::CommitConflict,
        "other writers replaced the partition during each attempt to read it; try again",
    )
}

pub(crate) async fn call<T: Send + 'static>(
    function: &MapFunction<T>,
    data: PartitionData,
    cores: &Cores,
) -> Result<T> {
    let function = Arc::clone(function);
    cores.run(move || function(data)).await?
}

impl Snapshot {
    /// The partitions for which the function is called.
    async fn selected(&self, options: &MapOptions) -> Result<Vec<Partition>> {
        if options.rows.is_some() && options.depth != Depth::None {
            return Err(Error::invalid(
                "a function that is given selected rows cannot be given neighbours; leave out the \
                 depth",
            ));
        }
        let (rows, predicate) = (options.rows.as_ref(), options.predicate.as_ref());
        let mut selected = self.partitions_of(rows, predicate).await?;
        if let Some(paths) = &options.paths {
            let paths: HashSet<&str> = paths.iter().map(String::as_str).collect();
            selected.retain(|partition| paths.contains(partition.path.as_str()));
        }
        Ok(selected)
    }

    /// All partitions, among which neighbours are looked up; none if the function is given no
    /// neighbours.
    async fn neighbours(&self, options: &MapOptions) -> Result<Vec<Partition>> {
        match options.depth {
            Depth::None => Ok(Vec::new()),
            _ => self.partitions(None).await,
        }
    }

    /// The rows of a partition between those of its neighbours in `all`, with the range of its own
    /// rows and the partitions that were read.
    async fn window(
        &self,
        all: &[Partition],
        partition: &Partition,
        options: &MapOptions,
    ) -> Result<(PartitionData, Vec<String>)> {
        let at = all.partition_point(|other| other < partition);
        let (before, behind) = all.split_at(at.min(all.len()));
        let behind = behind.get(1..).unwrap_or_default();
        let (before, behind) = match options.depth {
            Depth::None => (Vec::new(), Vec::new()),
            Depth::Partitions(depth) => (
                before.iter().rev().take(depth).map(Wanted::whole).collect(),
                behind.iter().take(depth).map(Wanted::whole).collect(),
            ),
            Depth::Rows(depth) => (
                self.rows_of(before.iter().rev(), depth, true).await?,
                self.rows_of(behind.iter(), depth, false).await?,
            ),
        };
        let number = before.len();
        let mut wanted: Vec<Wanted<'_>> = before;
        wanted.reverse();
        let rows = options.rows.as_ref().map(|rows| rows.rows_of(partition).to_vec());
        wanted.push(Wanted { partition, rows });
        wanted.extend(behind);
        let read_options = ReadOptions {
            variables: options.variables.clone(),
            work: options.work.quiet(),
            ..ReadOptions::default()
        };
        if self.under.is_some() {
            let read: Vec<Partition> =
                wanted.iter().map(|wanted| wanted.partition.clone()).collect();
            self.check_synced(&read, &options.work).await?;
        }
        let (data, lengths) = read_parts(&self.source(), &wanted, &read_options).await?;
        let start: usize = lengths.iter().take(number).sum();
        let length = lengths.get(number).copied().unwrap_or(0);
        let paths = wanted.iter().map(|wanted| wanted.partition.path.clone()).collect();
        Ok((PartitionData { key: partition.key.clone(), data, own: start..start + length }, paths))
    }

    /// Like `window`, and appends the partitions that were read to `paths`, also if reading failed.
    async fn looked_into(
        &self,
        all: &[Partition],
        partition: &Partition,
        options: &MapOptions,
    ) -> (Result<PartitionData>, Vec<String>) {
        match self.window(all, partition, options).await {
            Ok((data, paths)) => (Ok(data), paths),
            Err(error) => (Err(error), vec![partition.path.clone()]),
        }
    }

    /// Like `window`; for views, reads again until the base snapshot is consistent, because
    /// committing the view does not validate the base.
    fn window_over_base<'a>(
        &'a self,
        all: &'a [Partition],
        partition: &'a Partition,
        options: &'a MapOptions,
    ) -> BoxFuture<'a, Result<PartitionData>> {
        async move {
            if self.under.is_none() {
                return Ok(self.window(all, partition, options).await?.0);
            }
            for _ in 0..ATTEMPTS {
                let newest = self.over_newest().await?;
                let (data, paths) = newest.looked_into(all, partition, options).await;
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                let Some(under) = &newest.under else { break };
                if under.is_state_of(options.rows.as_ref(), &paths, false).await? {
                    return data;
                }
            }
            Err(unsteady())
        }
        .boxed()
    }

    /// Selects `depth` rows from the nearest partitions, as many partitions as needed: the last
    /// rows of each with `from_end`, else the first ones.
    async fn rows_of<'a>(
        &self,
        partitions: impl Iterator<Item = &'a Partition>,
        depth: usize,
        from_end: bool,
    ) -> Result<Vec<Wanted<'a>>> {
        let mut wanted = Vec::new();
        let mut left = depth;
        for partition in partitions {
            if left == 0 {
                break;
            }
            let length = self.length(partition).await?;
            let taken = left.min(length);
            let rows = if from_end { length - taken..length } else { 0..taken };
            wanted.push(Wanted::range(partition, rows));
            left -= taken;
        }
        Ok(wanted)
    }
}

pub(crate) struct Update<'a> {
    pub function: UpdateFunction,
    pub options: &'a MapOptions,
    /// Receives the partitions that were written.
    pub written: &'a std::sync::Mutex<std::collections::BTreeSet<Partition>>,
}

impl Stage for Update<'_> {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        self.stage_all(snapshot, draft, only).boxed()
    }
}

impl Update<'_> {
    async fn stage_all(
        &self,
        snapshot: &Snapshot,
        draft: &mut Draft,
        only: Option<&[String]>,
    ) -> Result<()> {
        let all = snapshot.neighbours(self.options).await?;
        let mut selected = snapshot.selected(self.options).await?;
        if let Some(rows) = &self.options.rows {
            let paths: Vec<&str> = selected.iter().map(|found| found.path.as_str()).collect();
            snapshot.check_chosen(rows, &paths).await?;
        }
        if let Some(only) = only {
            selected.retain(|partition| only.contains(&partition.path));
            // A partition that was dropped meanwhile is not updated.
            only.iter().for_each(|path| draft.remove(path));
        } else {
            self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        }
        let progress = self.options.work.progress.as_ref();
        progress.start("update", Some(selected.len() as u64));
        let (all, stages) = (&all, &*draft);
        let (at_once, cores) = concurrency(self.options.at_once);
        let one = async |partition: Partition| {
            self.options.work.cancel.check()?;
            let staged =
                self.stage_partition(snapshot, stages.stage(), all, &partition, &cores).await;
            let staged = staged.map_err(|error| error.with("partition", &partition.path))?;
            progress.advance(1);
            Ok::<_, Error>(staged.map(|change| (partition, change)))
        };
        let calls = stream::iter(selected).map(one).buffer_unordered(at_once);
        let staged: Vec<Option<(Partition, Change)>> = calls.try_collect().await?;
        progress.finish();
        let mut written = self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (partition, change) in staged.into_iter().flatten() {
            draft.add(change, true);
            written.insert(partition);
        }
        Ok(())
    }

    async fn stage_partition(
        &self,
        snapshot: &Snapshot,
        stage: String,
        all: &[Partition],
        partition: &Partition,
        cores: &Cores,
    ) -> Result<Option<Change>> {
        let data = snapshot.window_over_base(all, partition, self.options).await?;
        let (mut own, rows) = (data.own.clone(), data.data.size(&snapshot.config.dimension));
        let found = call(&self.function, data, cores).await?;
        if found.is_empty() {
            return Ok(None);
        }
        if let Some(chosen) = &self.options.rows {
            let runs = chosen.rows_of(partition);
            let count = runs.iter().map(Range::len).sum();
            let dataset = updated(snapshot, found, &(0..count), count)?;
            let patch = Patch { snapshot, partition, runs, dataset: &dataset };
            return patch.stage(stage, &self.options.work).await.map(Some);
        }
        let total = match rows {
            Some(rows) => rows,
            // The function was given only variables that are not partitioned.
            None => {
                own = 0..snapshot.length(partition).await?;
                own.end
            }
        };
        let dataset = updated(snapshot, found, &own, total)?;
        let (config, path) = (&snapshot.config, &partition.path);
        let listing = read_listing(&snapshot.store, config, path).await?;
        let plan = GroupPlan::variables(config, path, &dataset, listing.as_deref(), &[])?;
        let replaced = plan.replaced(path, &[]);
        let work = self.options.work.quiet();
        let statistics = summarise(config, &dataset)?;
        let facts = PartitionFacts { statistics, ..PartitionFacts::default() };
        snapshot.stage_patch(stage, path, plan, replaced, facts, &work).await.map(Some)
    }
}

/// Makes a dataset of the variables that a function returned, cut to the partition's own rows.
fn updated(
    snapshot: &Snapshot,
    found: Vec<Variable>,
    own: &Range<usize>,
    total: usize,
) -> Result<Dataset> {
    let config = &snapshot.config;
    let dimension = config.dimension.as_str();
    let mut checked = Vec::with_capacity(found.len());
    for variable in found {
        let name = variable.name().to_owned();
        let variable = fit(snapshot, variable).map_err(|error| error.with("variable", &name))?;
        let rows = variable.size(dimension).unwrap_or(0);
        let cut = match rows {
            rows if rows == own.len() => variable,
            rows if rows == total => variable.take_ranges(dimension, std::slice::from_ref(own))?,
            rows => {
                return Err(Error::new(
                    ErrorKind::SchemaMismatch,
                    "the function returned another number of rows than it was given",
                )
                .with("variable", name)
                .with("expected", own.len())
                .with("found", rows));
            }
        };
        checked.push((name, cut));
    }
    let is_found = |path: &str| checked.iter().any(|(name, _)| name == path);
    let schema = config.schema.filtered(&|path, _| is_found(path));
    build(&schema, "", &|path, own: &VariableSchema| {
        let found = checked.iter().find(|(name, _)| name == path);
        found.map(|(_, variable)| variable.with_schema(own.clone())).transpose()
    })
}

fn fit(snapshot: &Snapshot, variable: Variable) -> Result<Variable> {
    let config = &snapshot.config;
    let expected = config.schema.variable(variable.name()).ok_or_else(|| {
        if snapshot.whole.schema.variable(variable.name()).is_some() {
            return Error::invalid(
                "the variable belongs to the base of the view, which is not changed through the \
                 view; add a variable to the view",
            );
        }
        Error::new(ErrorKind::SchemaMismatch, "the collection has no such variable; add it first")
    })?;
    if config.partitioning.variables().contains(&variable.name()) {
        return Err(Error::invalid(
            "rows are partitioned by this variable; to change it, insert the rows again",
        ));
    }
    if expected.axis(&config.dimension).is_none() {
        return Err(Error::invalid("the variable is the same for all partitions"));
    }
    let found = variable.schema();
    if found.dtype != expected.dtype || found.dimensions != expected.dimensions {
        let described =
            |own: &VariableSchema| format!("{} ({})", own.dtype, own.dimensions.join(", "));
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            "the variable has another type or other dimensions in the collection",
        )
        .with("expected", described(expected))
        .with("found", described(found)));
    }
    Ok(variable)
}
