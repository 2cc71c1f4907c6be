//! Planning the reads of each variable, and assembling the resulting dataset.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result, Store};

use super::source::{Arrays, Source};
use super::{PARTITIONS_IN_FLIGHT, Runs, Wanted};
use crate::collection::Partition;
use crate::dataset::{Array, Dataset, Schema, Variable, VariableSchema};
use crate::layout::{Config, KnownArrays, Part, StoredArray, read_variables};
use crate::options::{ReadOptions, Work};
use crate::selection::shares_chunk;

/// Reads partitions of a collection into one dataset, in the given order; for a view, only the
/// variables that it stores itself.
pub(crate) async fn read(
    store: &Store,
    config: &Config,
    partitions: &[Wanted<'_>],
    options: &ReadOptions,
) -> Result<Dataset> {
    Ok(read_parts(&Source::own(store, config), partitions, options).await?.0)
}

/// Reads partitions into one dataset, and returns the number of rows of each. These are empty if
/// none of the variables is partitioned.
pub(crate) async fn read_parts(
    source: &Source<'_>,
    partitions: &[Wanted<'_>],
    options: &ReadOptions,
) -> Result<(Dataset, Vec<usize>)> {
    let schema = selected(&source.config.schema, options.variables.as_deref())?;
    let opened = Opened::new(source, &schema, partitions, &options.work).await?;
    let data = opened.read(source, &schema, &options.work).await?;
    Ok((data, opened.partitions.iter().map(|(_, runs)| count(runs)).collect()))
}

/// The open partitioned arrays of a partition.
pub(crate) struct OpenPartition<'a> {
    source: Source<'a>,
    pub arrays: Arrays,
    /// The number of rows.
    pub rows: usize,
}

impl<'a> OpenPartition<'a> {
    /// Opens all partitioned arrays.
    pub async fn new(store: &'a Store, config: &'a Config, partition: &Partition) -> Result<Self> {
        let source = Source::own(store, config);
        let known = KnownArrays::default();
        let (arrays, rows) = source.open(&config.partitioned(), partition, &known).await?;
        Ok(Self { source, arrays, rows })
    }

    /// Reads some of the variables.
    pub async fn read(&self, variables: &[String], work: &Work) -> Result<Dataset> {
        let config = self.source.config;
        let schema = selected(&config.schema, Some(variables))?;
        let all = std::iter::once(0..self.rows).collect();
        let partitions = vec![(self.arrays.clone(), all)];
        let opened = Opened::of(&config.schema, partitions, Arrays::new());
        opened.read(&self.source, &schema, work).await
    }
}

/// The open arrays of the variables to be read.
struct Opened {
    /// The arrays of each partition, with the runs of rows to be read.
    partitions: Vec<(Arrays, Runs)>,
    /// The arrays that are not partitioned.
    shared: Arrays,
    /// The known sizes of dimensions.
    sizes: HashMap<String, usize>,
}

impl Opened {
    async fn new(
        source: &Source<'_>,
        schema: &Schema,
        partitions: &[Wanted<'_>],
        work: &Work,
    ) -> Result<Self> {
        let config = source.config;
        let is_partitioned = |variable: &VariableSchema| variable.axis(&config.dimension).is_some();
        let partitioned = schema.filtered(&|_, variable| is_partitioned(variable));
        let immutable = schema.filtered(&|_, variable| !is_partitioned(variable));
        let known = KnownArrays::default();
        let open = async |wanted: &Wanted<'_>| {
            work.cancel.check()?;
            let (arrays, rows) = source.open(&partitioned, wanted.partition, &known).await?;
            let whole = 0..rows;
            let runs = wanted.rows.as_deref().unwrap_or(std::slice::from_ref(&whole));
            let runs = runs.iter().map(|run| run.start.min(rows)..run.end.min(rows)).collect();
            Ok::<_, Error>((arrays, runs))
        };
        let partitions: Vec<(Arrays, Runs)> = match partitioned.paths().is_empty() {
            true => Vec::new(),
            false => {
                stream::iter(partitions)
                    .map(open)
                    .buffered(PARTITIONS_IN_FLIGHT)
                    .try_collect()
                    .await?
            }
        };
        let shared = source.open_shared(&immutable).await?;
        Ok(Self::of(&config.schema, partitions, shared))
    }

    fn of(schema: &Schema, partitions: Vec<(Arrays, Runs)>, shared: Arrays) -> Self {
        let mut sizes = schema.sizes();
        let arrays = partitions.iter().map(|(arrays, _)| arrays).chain([&shared]);
        for array in arrays.flat_map(HashMap::values) {
            sizes.extend(array.schema.dimensions.iter().cloned().zip(array.shape.iter().copied()));
        }
        Self { partitions, shared, sizes }
    }

    /// Reads the selected rows of the variables of a schema.
    async fn read(&self, source: &Source<'_>, schema: &Schema, work: &Work) -> Result<Dataset> {
        let dimension = source.config.dimension.as_str();
        let paths = schema.paths();
        let mut cuts = Vec::with_capacity(paths.len());
        let mut variables = Vec::with_capacity(paths.len());
        for (path, variable) in &paths {
            let layer =
                source.layer(path).ok_or_else(|| Error::invalid("no layer has this variable"))?;
            let pieces = self.pieces(path, variable, dimension);
            cuts.push(pieces.is_cut.then_some(pieces.rows));
            variables.push((layer.store, (*variable).clone(), pieces.parts));
        }
        let arrays = read_variables(variables, dimension, work).await?;
        let mut found: HashMap<String, Array> = HashMap::with_capacity(paths.len());
        for (((path, variable), array), cut) in paths.into_iter().zip(arrays).zip(cuts) {
            let array = match (cut, variable.axis(dimension)) {
                (Some(rows), Some(axis)) => array.take_ranges(axis, &rows)?,
                _ => array,
            };
            found.insert(path, array);
        }
        assemble(schema, "", &mut found)
    }

    /// The parts that are read of a variable.
    fn pieces(&self, path: &str, variable: &VariableSchema, dimension: &str) -> Pieces {
        let missing = |rows: usize| {
            let size = |name: &String| match name.as_str() == dimension {
                true => rows,
                false => self.sizes.get(name).copied().unwrap_or(0),
            };
            Part::Missing { shape: variable.dimensions.iter().map(size).collect() }
        };
        let mut pieces = Pieces::default();
        if variable.axis(dimension).is_none() {
            let stored = |array| Part::Stored { array: Arc::clone(array), rows: None };
            pieces.parts.push(self.shared.get(path).map_or_else(|| missing(0), stored));
            return pieces;
        }
        for (arrays, runs) in &self.partitions {
            match arrays.get(path) {
                Some(array) => pieces.add(array, variable.axis(dimension), runs),
                None => pieces.add_whole(missing(count(runs)), runs),
            }
        }
        if pieces.parts.is_empty() {
            pieces.parts.push(missing(0));
        }
        pieces
    }
}

/// The total number of rows in the runs.
fn count(runs: &[Range<usize>]) -> usize {
    runs.iter().map(Range::len).sum()
}

/// The parts that are read of one variable, and the selected rows in them.
#[derive(Default)]
struct Pieces {
    parts: Vec<Part>,
    /// The selected rows, counted over all parts.
    rows: Runs,
    /// True if the parts also have other rows, because these lie in the same chunks.
    is_cut: bool,
    length: usize,
}

impl Pieces {
    /// Adds runs of an array. Runs that share a chunk are read as one part, since the chunk is then
    /// decoded once.
    fn add(&mut self, array: &Arc<StoredArray>, axis: Option<usize>, runs: &[Range<usize>]) {
        let height = array.chunk_rows();
        let mut segment: Option<Range<usize>> = None;
        for run in runs {
            let joins = |before: &Range<usize>| {
                // Runs along another axis than the first one share all chunks.
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

    /// Adds a part for a segment of the rows of an array.
    fn end(&mut self, array: &Arc<StoredArray>, segment: Option<Range<usize>>) {
        let Some(rows) = segment else { return };
        self.length += rows.len();
        self.parts.push(Part::Stored { array: Arc::clone(array), rows: Some(rows) });
    }

    /// Adds a part of which every row is selected.
    fn add_whole(&mut self, part: Part, runs: &[Range<usize>]) {
        let rows = count(runs);
        self.rows.push(self.length..self.length + rows);
        self.length += rows;
        self.parts.push(part);
    }
}

/// Assembles the dataset of a schema from the arrays of its variables.
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

/// The schema reduced to the requested variables.
pub(super) fn selected(schema: &Schema, variables: Option<&[String]>) -> Result<Schema> {
    let Some(wanted) = variables else { return Ok(schema.clone()) };
    if let Some(unknown) = wanted.iter().find(|path| schema.variable(path).is_none()) {
        let known = schema.names();
        return Err(Error::new(ErrorKind::NotFound, "the collection has no such variable")
            .with("variable", unknown)
            .with("variables", known.join(", ")));
    }
    Ok(schema.filtered(&|path, _| wanted.iter().any(|wanted| wanted == path)))
}
