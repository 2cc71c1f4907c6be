//! Reading partitions into one dataset.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Predicate, Result, Store};

use crate::collection::{Collection, Partition};
use crate::commit::Snapshot;
use crate::dataset::{Array, Dataset, Schema, Variable, VariableSchema};
use crate::layout::{
    Config, KnownArrays, OpenGroup, Part, StoredArray, immutable_group, open_group,
    open_known_group, read_variables,
};
use crate::options::{ReadOptions, Work};
use crate::select::{Candidate, RowSelection, needs_rows};
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
    /// partitions alone; [`Interrupted`](ErrorKind::Interrupted) once cancelled.
    pub async fn read(&self, options: &ReadOptions) -> Result<Dataset> {
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot().await?;
            let mut paths = vec![immutable_group(snapshot.config.layout).to_owned()];
            let found = snapshot.read(options, &mut paths).await;
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            if snapshot.is_current(&paths, false).await? {
                return found;
            }
        }
        Err(self.unsteady())
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
    pub async fn sizes(&self, predicate: Option<&Predicate>) -> Result<Vec<PartitionSize>> {
        let snapshot = self.snapshot().await?;
        let (options, known) = (ReadOptions::default(), KnownArrays::default());
        let size = async |partition: Partition| {
            let extent = snapshot.extent(&partition, &options, &known).await;
            let (rows, _) = extent?;
            let objects = self.store().list(&format!("{}/", partition.path));
            let (objects, bytes) = objects
                .try_fold((0, 0), async |(count, bytes), info| Ok((count + 1, bytes + info.size)))
                .await?;
            Ok(PartitionSize { partition, rows, objects, bytes })
        };
        let partitions = snapshot.partitions(predicate).await?;
        stream::iter(partitions).map(size).buffered(AT_ONCE).try_collect().await
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
        let rows = options.predicate.as_ref().filter(|p| needs_rows(p, &config.partitioning));
        let Some(predicate) = rows else {
            let partitions = self.partitions(options.predicate.as_ref()).await?;
            paths.extend(partitions.iter().map(|partition| partition.path.clone()));
            self.check_synced(&partitions, &options.work).await?;
            let whole = |partition| Chosen { partition, runs: None };
            return Ok(partitions.into_iter().map(whole).collect());
        };
        let partitions = self.partitions(None).await?;
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
        let chosen: Vec<Vec<Chosen>> =
            stream::iter(batches).buffered(BATCHES_AT_ONCE).try_collect().await?;
        Ok(chosen.into_iter().flatten().collect())
    }

    /// Reads the rows chosen.
    pub(crate) async fn read_chosen(
        &self,
        chosen: &[Chosen],
        options: &ReadOptions,
    ) -> Result<Dataset> {
        let wanted: Vec<Wanted<'_>> = chosen.iter().map(Chosen::hull).collect();
        let (whole, lengths) = read_parts(&self.source(), &wanted, options).await?;
        let runs = || chosen.iter().map(|chosen| &chosen.runs);
        if runs().flatten().all(|runs| runs.len() == 1) {
            return Ok(whole);
        }
        // What lies between the rows that are wanted was read with them.
        let mut rows = Vec::new();
        let mut start = 0;
        for ((wanted, runs), length) in wanted.iter().zip(runs()).zip(lengths) {
            let first = wanted.rows.as_ref().map_or(0, |hull| hull.start);
            let shift = |run: &Range<usize>| start + run.start - first..start + run.end - first;
            match runs {
                Some(runs) => rows.extend(runs.iter().map(shift)),
                None => rows.push(start..start + length),
            }
            start += length;
        }
        whole.take_ranges(&self.whole.dimension, &rows)
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
type Runs = Vec<Range<usize>>;

/// A partition, and the rows of it that are wanted; all if nothing is said.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub partition: Partition,
    pub runs: Option<Runs>,
}

impl Chosen {
    /// From the first row that is wanted to the last.
    fn hull(&self) -> Wanted<'_> {
        let hull = |runs: &Runs| {
            let ends = runs.first().zip(runs.last());
            ends.map_or(0..0, |(first, last)| first.start..last.end)
        };
        Wanted { partition: &self.partition, rows: self.runs.as_ref().map(hull) }
    }
}

/// A partition, and which of its rows are wanted: all, or those of a range.
pub(crate) struct Wanted<'a> {
    pub partition: &'a Partition,
    pub rows: Option<Range<usize>>,
}

impl<'a> Wanted<'a> {
    pub fn whole(partition: &'a Partition) -> Self {
        Self { partition, rows: None }
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
        let wanted = wanted.rows.clone().unwrap_or(0..rows);
        Ok::<_, Error>((arrays, wanted.start.min(rows)..wanted.end.min(rows)))
    };
    let opened: Vec<(Arrays, Range<usize>)> = match partitioned.paths().is_empty() {
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
    let parts_of = |path: &str, variable: &VariableSchema| -> Vec<Part> {
        let missing = |rows: usize| {
            let size = |name: &String| match name.as_str() == dimension {
                true => rows,
                false => sizes.get(name).copied().unwrap_or(0),
            };
            Part::Missing { shape: variable.dimensions.iter().map(size).collect() }
        };
        let stored = |array: &Arc<StoredArray>, rows: Option<&Range<usize>>| Part::Stored {
            array: Arc::clone(array),
            rows: rows.cloned(),
        };
        if variable.axis(dimension).is_none() {
            return vec![shared.get(path).map_or_else(|| missing(0), |array| stored(array, None))];
        }
        let part = |(arrays, rows): &(Arrays, Range<usize>)| match arrays.get(path) {
            Some(array) => stored(array, Some(rows)),
            None => missing(rows.len()),
        };
        let parts: Vec<Part> = opened.iter().map(part).collect();
        if parts.is_empty() { vec![missing(0)] } else { parts }
    };
    let paths = schema.paths();
    let variable = |(path, variable): &(String, &VariableSchema)| {
        let layer =
            source.layer(path).ok_or_else(|| Error::invalid("there is no such variable"))?;
        Ok((layer.store, (*variable).clone(), parts_of(path, variable)))
    };
    let variables = paths.iter().map(variable).collect::<Result<Vec<_>>>()?;
    let (progress, cancel) = (options.work.progress.as_ref(), &options.work.cancel);
    let arrays = read_variables(variables, dimension, progress, cancel).await?;
    let mut arrays: HashMap<String, Array> =
        paths.into_iter().map(|(path, _)| path).zip(arrays).collect();
    let lengths = opened.iter().map(|(_, rows)| rows.len()).collect();
    Ok((assemble(&schema, "", &mut arrays)?, lengths))
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
