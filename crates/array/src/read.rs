//! Reading partitions into one dataset.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Predicate, Result, Store};

use crate::collection::{Collection, Partition};
use crate::commit::Snapshot;
use crate::dataset::{Array, Dataset, Schema, Variable, VariableSchema};
use crate::layout::{
    Config, KnownArrays, OpenGroup, Part, StoredArray, immutable_group, open_group,
    open_known_group, read_variables,
};
use crate::options::{ReadOptions, Work};
use crate::select::{Candidate, RowSelection, needs_rows, select};
use crate::selection::{Selection, common, shares_chunk};
use crate::view::{OTHER_ROWS, out_of_sync};

/// How often a read is begun again because commits replaced what was read.
const ATTEMPTS: u32 = 20;
/// Partitions opened at once.
const AT_ONCE: usize = 32;
/// So many times as many partitions in which rows are looked for.
const BATCHES_AT_ONCE: usize = 2;

/// The arrays of a group that hold the variables asked for, by their paths.
type Arrays = HashMap<String, Arc<StoredArray>>;

impl Collection {
    /// Reads the selected partitions and variables into one dataset, joined along the partitioned
    /// dimension in the order of the keys. Where no partition is selected, that dimension has no
    /// items. What is read is the state that one commit left: if another one replaces a partition
    /// meanwhile, the read is begun again.
    ///
    /// A condition on the axis, or on another variable along the partitioned dimension, selects
    /// rows: of a date, first by the keys, then by reading the variable; only chunks with such rows
    /// are fetched of the others.
    ///
    /// Variables, partitions and chunks are read side by side, each chunk straight into its place;
    /// a variable that a partition lacks is filled with its fill value.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if a variable does not exist;
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate names what is neither a
    /// field of the keys nor such a variable; [`Corrupt`](ErrorKind::Corrupt) if what is stored
    /// cannot be read; [`CommitConflict`](ErrorKind::CommitConflict) if writers never left the
    /// partitions alone, or changed one since its rows were chosen;
    /// [`Interrupted`](ErrorKind::Interrupted) once cancelled.
    pub fn read<'a>(&'a self, options: &'a ReadOptions) -> BoxFuture<'a, Result<Dataset>> {
        async move {
            for _ in 0..ATTEMPTS {
                let snapshot = self.snapshot().await?;
                let mut paths = vec![immutable_group(snapshot.config.layout).to_owned()];
                let found = snapshot.read(options, &mut paths).await;
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                if snapshot.is_state_of(options.rows.as_ref(), &paths, false).await? {
                    return found;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }
}

/// How large a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSize {
    /// The partition.
    pub partition: Partition,
    /// The rows along the partitioned dimension.
    pub rows: usize,
    /// The objects that it is stored in.
    pub objects: usize,
    /// The size of these objects.
    pub bytes: u64,
}

impl Collection {
    /// How large the selected partitions are, ordered by key. Their metadata are read, and their
    /// objects listed.
    ///
    /// # Errors
    /// As [`Collection::partitions`]; [`Corrupt`](ErrorKind::Corrupt) if a partition is not
    /// complete.
    pub fn sizes<'a>(
        &'a self,
        predicate: Option<&'a Predicate>,
    ) -> BoxFuture<'a, Result<Vec<PartitionSize>>> {
        async move {
            let snapshot = self.snapshot().await?;
            let (options, known) = (ReadOptions::default(), KnownArrays::default());
            let size = async |partition: Partition| {
                let extent = snapshot.extent(&partition, &options, &known).await;
                let (rows, _) = extent?;
                let objects = snapshot.base().list(&format!("{}/", partition.path));
                let (objects, bytes) = objects
                    .try_fold((0, 0), async |(count, bytes), info| {
                        Ok((count + 1, bytes + info.size))
                    })
                    .await?;
                Ok(PartitionSize { partition, rows, objects, bytes })
            };
            let partitions = snapshot.partitions(predicate).await?;
            stream::iter(partitions).map(size).buffered(AT_ONCE).try_collect().await
        }
        .boxed()
    }
}

impl Snapshot {
    /// Reads what is selected. `paths` gets the partitions that were looked into.
    async fn read(&self, options: &ReadOptions, paths: &mut Vec<String>) -> Result<Dataset> {
        let chosen = self.chosen(options, paths).await?;
        self.read_chosen(&chosen, options).await
    }

    /// Where what this state holds is read from.
    pub(crate) fn source(&self) -> Source<'_> {
        let own = Layer { store: &self.store, config: &self.config };
        let under = self.under.as_deref();
        let under = under.map(|under| Layer { store: &under.store, config: &under.config });
        Source { config: &self.whole, layers: std::iter::once(own).chain(under).collect() }
    }

    /// The partitions in which rows are wanted. `paths` gets those that were looked into.
    pub(crate) async fn chosen(
        &self,
        options: &ReadOptions,
        paths: &mut Vec<String>,
    ) -> Result<Vec<Chosen>> {
        let config = &self.whole;
        let chosen = options.rows.as_ref();
        let rows = options.predicate.as_ref().filter(|p| needs_rows(p, &config.partitioning));
        let Some(predicate) = rows else {
            let partitions = self.partitions_of(chosen, options.predicate.as_ref()).await?;
            paths.extend(partitions.iter().map(|partition| partition.path.clone()));
            self.check_synced(&partitions, &options.work).await?;
            let of = |partition: Partition| {
                let runs = chosen.map(|rows| rows.rows_of(&partition).to_vec());
                Chosen { partition, runs }
            };
            return Ok(partitions.into_iter().map(of).collect());
        };
        let partitions = self.partitions_of(chosen, None).await?;
        let (selection, candidates) = RowSelection::new(predicate, partitions, config)?;
        paths.extend(candidates.iter().map(|candidate| candidate.partition.path.clone()));
        let candidates = self.pruned(&selection, candidates).await?;
        if self.under.is_some() {
            let looked_into: Vec<Partition> =
                candidates.iter().map(|candidate| candidate.partition.clone()).collect();
            self.check_synced(&looked_into, &options.work).await?;
        }
        let batches = candidates.chunks(AT_ONCE);
        let batches = batches.map(|batch| self.rows(&selection, batch, options));
        let batches: Vec<_> = batches.collect();
        let batches: Vec<Vec<Chosen>> =
            stream::iter(batches).buffered(BATCHES_AT_ONCE).try_collect().await?;
        let mut found: Vec<Chosen> = batches.into_iter().flatten().collect();
        if let Some(rows) = chosen {
            for one in &mut found {
                let wanted = rows.rows_of(&one.partition);
                let within = one.runs.take().map(|runs| common(&runs, wanted));
                one.runs = Some(within.unwrap_or_else(|| wanted.to_vec()));
            }
            found.retain(|one| one.runs.as_ref().is_none_or(|runs| !runs.is_empty()));
        }
        Ok(found)
    }

    /// The partitions for which the predicate on the fields of keys is true: of the collection, or
    /// of rows that were chosen, which takes no listing but of a view.
    pub(crate) async fn partitions_of(
        &self,
        chosen: Option<&Selection>,
        predicate: Option<&Predicate>,
    ) -> Result<Vec<Partition>> {
        let Some(rows) = chosen else { return self.partitions(predicate).await };
        if self.under.is_some() {
            let mut covered = self.partitions(predicate).await?;
            covered.retain(|partition| !rows.rows_of(partition).is_empty());
            return Ok(covered);
        }
        select(rows.places(), &self.config.partitioning, predicate)
    }

    /// True if nothing that was read from these partitions can have changed meanwhile.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict) if one was changed since its rows were chosen.
    pub(crate) async fn is_state_of(
        &self,
        chosen: Option<&Selection>,
        paths: &[&str],
        listed: bool,
    ) -> Result<bool> {
        let Some(rows) = chosen else { return self.is_current(paths, listed).await };
        if let Some(under) = &self.under {
            let below = Box::pin(under.is_state_of(chosen, paths, listed)).await?;
            return Ok(below && self.is_steady(&self.since(self.latest).await?, paths, false));
        }
        let since = self.since(rows.commit().min(self.latest)).await?;
        rows.check(&since, paths)?;
        Ok(self.is_steady(&since, paths, false))
    }

    /// Refuses rows of partitions that were changed since they were chosen. Those of a view are
    /// chosen of its base.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict).
    pub(crate) async fn check_chosen(&self, rows: &Selection, paths: &[&str]) -> Result<()> {
        let of = self.under.as_deref().unwrap_or(self);
        rows.check(&of.since(rows.commit().min(of.latest)).await?, paths)
    }

    /// Reads the rows chosen.
    pub(crate) fn read_chosen<'a>(
        &'a self,
        chosen: &'a [Chosen],
        options: &'a ReadOptions,
    ) -> BoxFuture<'a, Result<Dataset>> {
        async move {
            let wanted = chosen
                .iter()
                .map(|chosen| Wanted { partition: &chosen.partition, rows: chosen.runs.clone() });
            let wanted: Vec<Wanted<'_>> = wanted.collect();
            Ok(read_parts(&self.source(), &wanted, options).await?.0)
        }
        .boxed()
    }

    /// How many rows a partition has. Of a view, those of its base, if it is synced.
    pub(crate) async fn length(&self, partition: &Partition) -> Result<usize> {
        if let Some(under) = &self.under {
            self.check_synced(std::slice::from_ref(partition), &Work::default()).await?;
            return Box::pin(under.length(partition)).await;
        }
        let (options, known) = (ReadOptions::default(), KnownArrays::default());
        Ok(self.extent(partition, &options, &known).await?.0)
    }

    /// How many rows a partition has, and at most in a chunk of the variables to be read. `known`
    /// is for partitions with the same options.
    pub(crate) async fn extent(
        &self,
        partition: &Partition,
        options: &ReadOptions,
        known: &KnownArrays,
    ) -> Result<(usize, usize)> {
        let dimension = self.whole.dimension.as_str();
        let schema = selected(&self.whole.schema, options.variables.as_deref())?;
        let schema = schema.filtered(&|_, variable| variable.axis(dimension).is_some());
        let (arrays, rows) = self.source().open(&schema, partition, known).await?;
        let chunk = |array: &Arc<StoredArray>| {
            array.pipeline.shape().get(array.schema.axis(dimension)?).copied()
        };
        Ok((rows, arrays.values().filter_map(chunk).max().unwrap_or(rows)))
    }

    /// The rows of these partitions that are wanted.
    async fn rows(
        &self,
        selection: &RowSelection,
        candidates: &[Candidate],
        options: &ReadOptions,
    ) -> Result<Vec<Chosen>> {
        let config = &self.whole;
        let open = candidates.iter().filter(|candidate| !candidate.whole);
        let open: Vec<Partition> = open.map(|candidate| candidate.partition.clone()).collect();
        let options = ReadOptions {
            variables: Some(selection.variables.clone()),
            work: options.work.quiet(),
            ..ReadOptions::default()
        };
        let mut runs = Vec::new();
        if !open.is_empty() {
            let wanted: Vec<Wanted<'_>> = open.iter().map(Wanted::whole).collect();
            let (data, lengths) = read_parts(&self.source(), &wanted, &options).await?;
            runs = selection.rows(&open, &lengths, &config.partitioning, &data)?;
        }
        let mut runs = runs.into_iter();
        let chosen = |candidate: &Candidate| {
            let runs = if candidate.whole { None } else { Some(runs.next().unwrap_or_default()) };
            Chosen { partition: candidate.partition.clone(), runs }
        };
        let is_wanted = |chosen: &Chosen| chosen.runs.as_ref().is_none_or(|runs| !runs.is_empty());
        Ok(candidates.iter().map(chosen).filter(is_wanted).collect())
    }
}

/// Runs of rows, in order.
pub(crate) type Runs = Vec<Range<usize>>;

/// A partition, and the rows of it that are wanted; all if nothing is said.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub partition: Partition,
    pub runs: Option<Runs>,
}

/// A partition, and which of its rows are wanted: all, or those of some runs, in order.
pub(crate) struct Wanted<'a> {
    pub partition: &'a Partition,
    pub rows: Option<Runs>,
}

impl<'a> Wanted<'a> {
    pub fn whole(partition: &'a Partition) -> Self {
        Self { partition, rows: None }
    }

    pub fn range(partition: &'a Partition, rows: Range<usize>) -> Self {
        Self { partition, rows: Some(vec![rows]) }
    }
}

/// Where variables are read from: a collection, or a view and the collection under it.
pub(crate) struct Source<'a> {
    /// What can be read.
    config: &'a Config,
    /// A variable is in the first that has it.
    layers: Vec<Layer<'a>>,
}

struct Layer<'a> {
    store: &'a Store,
    config: &'a Config,
}

impl<'a> Source<'a> {
    fn layer(&self, path: &str) -> Option<&Layer<'a>> {
        self.layers.iter().find(|layer| layer.config.schema.variable(path).is_some())
    }

    /// The arrays of a partition that hold the variables of `schema`, and how many rows it has.
    async fn open(
        &self,
        schema: &Schema,
        partition: &Partition,
        known: &KnownArrays,
    ) -> Result<(Arrays, usize)> {
        let named = |error: Error| error.with("partition", &partition.path);
        let (mut arrays, mut rows) = (Arrays::new(), None);
        for layer in &self.layers {
            let is_own = |path: &str| self.layer(path).is_some_and(|own| std::ptr::eq(own, layer));
            let schema = schema.filtered(&|path, _| is_own(path));
            if schema.paths().is_empty() {
                continue;
            }
            let opened = layer.open(&schema, partition, known).await.map_err(named)?;
            let (found, length) = opened;
            if rows.is_some() && length.is_some() && rows != length {
                return Err(out_of_sync(OTHER_ROWS, partition));
            }
            rows = rows.or(length);
            arrays.extend(found);
        }
        // None of the variables asked for is there; those that partition always are.
        let rows = match (rows, self.layers.last()) {
            (None, Some(layer)) => layer.length(partition).await.map_err(named)?,
            (rows, _) => rows.unwrap_or(0),
        };
        Ok((arrays, rows))
    }
}

impl Layer<'_> {
    /// The arrays of a partition, and how many rows they have; none if there is no array.
    async fn open(
        &self,
        schema: &Schema,
        partition: &Partition,
        known: &KnownArrays,
    ) -> Result<(Arrays, Option<usize>)> {
        let config = self.config;
        let opened = open_known_group(self.store, config, &partition.path, schema, known).await?;
        let arrays = by_path(opened.unwrap_or_default());
        let mut rows = None;
        for (path, array) in &arrays {
            let size = array.size(&config.dimension);
            if rows.is_some() && size.is_some() && rows != size {
                return Err(Error::corrupt(
                    "the variables of the partition have different lengths",
                )
                .with("variable", path));
            }
            rows = rows.or(size);
        }
        Ok((arrays, rows))
    }

    /// How many rows a partition has, by the variables that partition.
    async fn length(&self, partition: &Partition) -> Result<usize> {
        let config = self.config;
        let keys = config.partitioning.variables();
        let keys = config.schema.filtered(&|path, _| keys.contains(&path));
        let opened = open_group(self.store, config, &partition.path, &keys).await?;
        let arrays = by_path(opened.unwrap_or_default());
        arrays.values().find_map(|array| array.size(&config.dimension)).ok_or_else(|| {
            Error::corrupt(
                "the partition is not complete: its writer died, or it was removed while it was read",
            )
        })
    }
}

/// Reads partitions of a collection into one dataset, in the order in which they are given; of a
/// view, the variables that it stores itself.
pub(crate) async fn read(
    store: &Store,
    config: &Config,
    partitions: &[Wanted<'_>],
    options: &ReadOptions,
) -> Result<Dataset> {
    let source = Source { config, layers: vec![Layer { store, config }] };
    Ok(read_parts(&source, partitions, options).await?.0)
}

/// Reads partitions into one dataset, and says how many rows are of which; nothing, if none of the
/// variables is partitioned.
pub(crate) async fn read_parts(
    source: &Source<'_>,
    partitions: &[Wanted<'_>],
    options: &ReadOptions,
) -> Result<(Dataset, Vec<usize>)> {
    let config = source.config;
    let schema = selected(&config.schema, options.variables.as_deref())?;
    let dimension = config.dimension.as_str();
    let partitioned = schema.filtered(&|_, variable| variable.axis(dimension).is_some());
    let immutable = schema.filtered(&|_, variable| variable.axis(dimension).is_none());
    let known = KnownArrays::default();
    let open = async |wanted: &Wanted<'_>| {
        options.work.cancel.check()?;
        let (arrays, rows) = source.open(&partitioned, wanted.partition, &known).await?;
        let whole = 0..rows;
        let runs = wanted.rows.as_deref().unwrap_or(std::slice::from_ref(&whole));
        let runs = runs.iter().map(|run| run.start.min(rows)..run.end.min(rows)).collect();
        Ok::<_, Error>((arrays, runs))
    };
    let opened: Vec<(Arrays, Runs)> = match partitioned.paths().is_empty() {
        true => Vec::new(),
        false => stream::iter(partitions).map(open).buffered(AT_ONCE).try_collect().await?,
    };
    // Views have no variables of this kind.
    let shared = match (immutable.paths().is_empty(), source.layers.last()) {
        (false, Some(layer)) => {
            let path = immutable_group(config.layout);
            open_group(layer.store, layer.config, path, &immutable).await?
        }
        _ => None,
    };
    let shared = by_path(shared.unwrap_or_default());
    let sizes = sizes(config, opened.iter().map(|(arrays, _)| arrays).chain([&shared]));
    let parts_of = |path: &str, variable: &VariableSchema| -> Pieces {
        let missing = |rows: usize| {
            let size = |name: &String| match name.as_str() == dimension {
                true => rows,
                false => sizes.get(name).copied().unwrap_or(0),
            };
            Part::Missing { shape: variable.dimensions.iter().map(size).collect() }
        };
        let mut pieces = Pieces::default();
        if variable.axis(dimension).is_none() {
            let stored = |array| Part::Stored { array: Arc::clone(array), rows: None };
            pieces.parts.push(shared.get(path).map_or_else(|| missing(0), stored));
            return pieces;
        }
        for (arrays, runs) in &opened {
            match arrays.get(path) {
                Some(array) => pieces.add(array, variable.axis(dimension), runs),
                None => pieces.add_whole(missing(runs.iter().map(Range::len).sum()), runs),
            }
        }
        if pieces.parts.is_empty() {
            pieces.parts.push(missing(0));
        }
        pieces
    };
    let paths = schema.paths();
    let mut cuts = Vec::with_capacity(paths.len());
    let mut variables = Vec::with_capacity(paths.len());
    for (path, variable) in &paths {
        let layer =
            source.layer(path).ok_or_else(|| Error::invalid("there is no such variable"))?;
        let pieces = parts_of(path, variable);
        cuts.push(pieces.is_cut.then_some(pieces.rows));
        variables.push((layer.store, (*variable).clone(), pieces.parts));
    }
    let arrays = read_variables(variables, dimension, &options.work).await?;
    let mut found: HashMap<String, Array> = HashMap::with_capacity(paths.len());
    for (((path, variable), array), cut) in paths.into_iter().zip(arrays).zip(cuts) {
        let array = match (cut, variable.axis(dimension)) {
            (Some(rows), Some(axis)) => array.take_ranges(axis, &rows)?,
            _ => array,
        };
        found.insert(path, array);
    }
    let lengths = opened.iter().map(|(_, runs)| runs.iter().map(Range::len).sum()).collect();
    Ok((assemble(&schema, "", &mut found)?, lengths))
}

/// What is read of one variable, and which of these rows are wanted.
#[derive(Default)]
struct Pieces {
    parts: Vec<Part>,
    /// The rows that are wanted, counted over all parts.
    rows: Runs,
    /// Rows between them are read too, since they lie in the same chunks.
    is_cut: bool,
    length: usize,
}

impl Pieces {
    /// Adds runs of an array. Those that share a chunk are read as one, since it is decoded once.
    fn add(&mut self, array: &Arc<StoredArray>, axis: Option<usize>, runs: &[Range<usize>]) {
        let height = array.chunk_rows();
        let mut segment: Option<Range<usize>> = None;
        for run in runs {
            let joins = |before: &Range<usize>| {
                // Only rows of the first dimension lie together.
                let same = axis != Some(0) || shares_chunk(before, run, height);
                same && run.start >= before.end
            };
            segment = Some(match segment.take() {
                Some(before) if joins(&before) => {
                    self.is_cut = true;
                    before.start..run.end
                }
                before => {
                    self.end(array, before);
                    run.clone()
                }
            });
            let first = segment.as_ref().map_or(run.start, |segment| segment.start);
            let start = self.length + run.start - first;
            self.rows.push(start..start + run.len());
        }
        self.end(array, segment.or(runs.is_empty().then_some(0..0)));
    }

    /// Adds the rows of an array that are read as one.
    fn end(&mut self, array: &Arc<StoredArray>, segment: Option<Range<usize>>) {
        let Some(rows) = segment else { return };
        self.length += rows.len();
        self.parts.push(Part::Stored { array: Arc::clone(array), rows: Some(rows) });
    }

    /// Adds a part of which every row is wanted.
    fn add_whole(&mut self, part: Part, runs: &[Range<usize>]) {
        let rows: usize = runs.iter().map(Range::len).sum();
        self.rows.push(self.length..self.length + rows);
        self.length += rows;
        self.parts.push(part);
    }
}

/// The schema with only the variables asked for.
fn selected(schema: &Schema, variables: Option<&[String]>) -> Result<Schema> {
    let Some(wanted) = variables else { return Ok(schema.clone()) };
    if let Some(unknown) = wanted.iter().find(|path| schema.variable(path).is_none()) {
        let known = schema.names();
        return Err(Error::new(ErrorKind::NotFound, "the collection has no such variable")
            .with("variable", unknown)
            .with("variables", known.join(", ")));
    }
    Ok(schema.filtered(&|path, _| wanted.iter().any(|wanted| wanted == path)))
}

fn by_path(group: OpenGroup) -> Arrays {
    let stored = |(path, array): (String, Option<StoredArray>)| Some((path, Arc::new(array?)));
    group.into_iter().filter_map(stored).collect()
}

/// The sizes of all dimensions, as far as they are known.
fn sizes<'a>(config: &Config, groups: impl Iterator<Item = &'a Arrays>) -> HashMap<String, usize> {
    let mut sizes = HashMap::new();
    let mut schemas = vec![&config.schema];
    while let Some(schema) = schemas.pop() {
        let known =
            |dimension: &crate::dataset::Dimension| Some((dimension.name.clone(), dimension.size?));
        sizes.extend(schema.dimensions.iter().filter_map(known));
        schemas.extend(schema.groups.values());
    }
    for array in groups.flat_map(HashMap::values) {
        sizes.extend(array.schema.dimensions.iter().cloned().zip(array.shape.iter().copied()));
    }
    sizes
}

/// The dataset of a schema, with the arrays of its variables.
fn assemble(schema: &Schema, prefix: &str, arrays: &mut HashMap<String, Array>) -> Result<Dataset> {
    let mut dataset = Dataset::new(Vec::new(), schema.attributes.clone())?;
    for (name, variable) in &schema.variables {
        let array = arrays.remove(&format!("{prefix}{name}"));
        let array = array.ok_or_else(|| Error::invalid("a variable was not read"))?;
        dataset.add(Variable::new(variable.clone(), array)?)?;
    }
    for (name, group) in &schema.groups {
        dataset.add_group(name, assemble(group, &format!("{prefix}{name}/"), arrays)?)?;
    }
    Ok(dataset.with_schema_of(schema))
}
