//! Reading the arrays of partitions.
//!
//! The memory of a variable is allocated once and split into bands, one per row of chunks. Each
//! band is filled by a job of its own, which fetches its chunks, decodes them and copies them into
//! place. The bands are then joined without copying.

mod band;

use std::ops::Range;
use std::sync::Arc;

use band::{Band, Filled, row_item};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, Result, Store, cores};

use super::StoredArray;
use crate::cores::Cores;
use crate::dataset::{Array, Buffer, DType, VariableSchema, count, fill_item, fill_with};
use crate::memory::UninitBuffer;
use crate::options::Work;

/// Objects in flight from a remote store: up to this many, and this many decoded bytes.
const OBJECTS_IN_FLIGHT: usize = 128;
const BYTES_IN_FLIGHT: usize = 64 << 20;

/// Rows of one variable in one partition.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Rows along the partitioned dimension of a stored array; all rows for an array without that
    /// dimension.
    Stored { array: Arc<StoredArray>, rows: Option<Range<usize>> },
    /// Rows of a variable that the partition lacks, with the fill value.
    Missing { shape: Vec<usize> },
}

/// Reads each variable from its parts, which are in one store, joined along `dimension`. All parts
/// of a variable have the type in its schema.
pub(crate) async fn read_variables(
    variables: Vec<(&Store, VariableSchema, Vec<Part>)>,
    dimension: &str,
    work: &Work,
) -> Result<Vec<Array>> {
    let progress = work.progress.as_ref();
    let mut targets = Vec::new();
    let mut jobs = Vec::new();
    for (number, (_, schema, parts)) in variables.iter().enumerate() {
        let planned = plan(number, schema, parts, dimension, &mut jobs);
        targets.push(planned.map_err(|error| error.with("variable", &schema.name))?);
    }
    let total = jobs.iter().map(Job::num_bytes).sum::<usize>();
    progress.start("read", Some(total as u64));
    let run = async |job: Job| {
        work.cancel.check()?;
        let bytes = job.num_bytes();
        let (store, schema, _) = variables.get(job.variable).ok_or_else(nothing)?;
        let done = job
            .run(store, &work.cores)
            .await
            .map_err(|error| error.with("variable", &schema.name))?;
        progress.advance(bytes as u64);
        Ok::<_, Error>(done)
    };
    let average = total.checked_div(jobs.len()).unwrap_or(0);
    let is_local = variables.iter().all(|(store, _, _)| store.is_local());
    let at_once = match is_local {
        true => jobs_in_flight(),
        false => (BYTES_IN_FLIGHT / average.max(1)).clamp(jobs_in_flight(), OBJECTS_IN_FLIGHT),
    };
    let done: Result<Vec<Done>> =
        stream::iter(jobs).map(run).buffer_unordered(at_once).try_collect().await;
    progress.finish();
    let mut done = done?;
    done.sort_by_key(|done| (done.variable, done.target, done.start));
    let mut done = done.into_iter().peekable();
    let mut arrays = Vec::with_capacity(targets.len());
    for (variable, ((_, schema, _), targets)) in variables.iter().zip(targets).enumerate() {
        let mut filled = Vec::with_capacity(targets.len());
        for (number, target) in targets.into_iter().enumerate() {
            let mine = |done: &Done| done.variable == variable && done.target == number;
            let bands = std::iter::from_fn(|| done.next_if(mine));
            filled.push(target.finish(bands, schema)?);
        }
        let filled: Vec<&Array> = filled.iter().collect();
        let joined = match schema.axis(dimension) {
            Some(axis) => Array::concat(&filled, axis),
            None => filled.first().map(|array| (*array).clone()).ok_or_else(nothing),
        };
        arrays.push(joined.map_err(|error| error.with("variable", &schema.name))?);
    }
    Ok(arrays)
}

/// Reads rows of a stored array that lie in one row of its objects, into pooled memory if there is
/// some.
pub(super) async fn read_band(
    store: &Store,
    array: &Arc<StoredArray>,
    rows: Range<usize>,
    cores: &Cores,
) -> Result<Array> {
    let mut shape = array.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    let dtype = array.schema.dtype;
    let size = row_bytes(dtype, &shape)?.checked_mul(rows.len()).ok_or_else(nothing)?;
    let out = UninitBuffer::reused(size, &cores.buffers())?;
    let buffer = match (Band { array: Arc::clone(array), rows }).read(store, out, cores).await? {
        Filled::Fixed(bytes) => Buffer::Fixed(bytes.freeze()),
        Filled::Variable(items) => items,
    };
    Array::new(dtype, shape, buffer)
}

/// More jobs than cores, since jobs also wait for the store.
fn jobs_in_flight() -> usize {
    cores().saturating_mul(8).clamp(16, 64)
}

fn nothing() -> Error {
    Error::invalid("there is nothing to read")
}

/// Memory that jobs fill, and the range to cut out of it afterwards.
struct Target {
    shape: Vec<usize>,
    cut: Option<(usize, Range<usize>)>,
    ready: Option<Array>,
}

/// The buffer for some rows of the first dimension, and the band that is read into it.
struct Job {
    variable: usize,
    target: usize,
    /// The first row, counted in the target.
    start: usize,
    /// None for rows of a variable that the partition lacks.
    band: Option<Band>,
    /// The item for places where nothing is stored.
    fill: Bytes,
    /// Empty for items of variable length.
    out: UninitBuffer,
}

struct Done {
    variable: usize,
    target: usize,
    start: usize,
    out: Filled,
}

/// Plans the jobs for one variable, and allocates its memory.
fn plan(
    variable: usize,
    schema: &VariableSchema,
    parts: &[Part],
    dimension: &str,
    jobs: &mut Vec<Job>,
) -> Result<Vec<Target>> {
    let axis = schema.axis(dimension);
    for part in parts {
        if let Part::Stored { array, .. } = part {
            check_same(schema, array)?;
        }
    }
    if axis == Some(0) && schema.dtype.item_size().is_some() {
        return Ok(vec![plan_rows(variable, schema, parts, jobs)?]);
    }
    let mut targets = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let (array, rows) = match part {
            Part::Missing { shape } => {
                let ready = Array::full(schema.dtype, shape.clone(), schema.fill.as_ref())?;
                targets.push(Target { shape: shape.clone(), cut: None, ready: Some(ready) });
                continue;
            }
            Part::Stored { array, rows } => (array, rows.clone()),
        };
        // Only rows of the first dimension are contiguous; of another one, all rows are read, and
        // the selected ones are cut out afterwards.
        let (all, cut) = match (axis, rows) {
            (Some(0), Some(rows)) => (rows, None),
            (Some(axis), Some(rows)) => (0..array.rows(), Some((axis, rows))),
            _ => (0..array.rows(), None),
        };
        let mut shape = array.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = all.len();
        }
        let row = row_bytes(schema.dtype, &array.shape)?;
        let mut memory = UninitBuffer::new(row.checked_mul(all.len()).ok_or_else(nothing)?)?;
        for rows in array.bands(&all) {
            let out = memory.split(row * rows.len());
            let start = rows.start - all.start;
            let (fill, band) = (array.fill.clone(), Band { array: Arc::clone(array), rows });
            jobs.push(Job { variable, target: number, start, band: Some(band), fill, out });
        }
        targets.push(Target { shape, cut, ready: None });
    }
    Ok(targets)
}

/// Plans one target for all parts, which are contiguous in it.
fn plan_rows(
    variable: usize,
    schema: &VariableSchema,
    parts: &[Part],
    jobs: &mut Vec<Job>,
) -> Result<Target> {
    let shape_of = |part: &Part| match part {
        Part::Missing { shape } => shape.clone(),
        Part::Stored { array, rows } => {
            let mut shape = array.shape.clone();
            if let (Some(first), Some(rows)) = (shape.first_mut(), rows) {
                *first = rows.len();
            }
            shape
        }
    };
    let mut shape = parts.first().map(shape_of).ok_or_else(nothing)?;
    let mut total = 0;
    for part in parts {
        let mut other = shape_of(part);
        total += other.first().copied().unwrap_or(0);
        if let (Some(mine), Some(theirs)) = (shape.first_mut(), other.first_mut()) {
            *mine = *theirs;
        }
        if shape != other {
            return Err(Error::corrupt("a dimension has different sizes in different partitions")
                .with("expected", format!("{shape:?}"))
                .with("found", format!("{other:?}")));
        }
    }
    if let Some(first) = shape.first_mut() {
        *first = total;
    }
    let row = row_bytes(schema.dtype, &shape)?;
    let mut memory = UninitBuffer::new(row.checked_mul(total).ok_or_else(nothing)?)?;
    let missing = fill_item(schema.dtype, schema.fill.as_ref())?;
    let mut start = 0;
    for part in parts {
        let (array, all) = match part {
            Part::Stored { array, rows } => {
                (array, rows.clone().unwrap_or_else(|| 0..array.rows()))
            }
            Part::Missing { shape } => {
                let rows = shape.first().copied().unwrap_or(0);
                let out = memory.split(row * rows);
                let fill = missing.clone();
                jobs.push(Job { variable, target: 0, start, band: None, fill, out });
                start += rows;
                continue;
            }
        };
        for rows in array.bands(&all) {
            let out = memory.split(row * rows.len());
            let length = rows.len();
            let (fill, band) = (array.fill.clone(), Band { array: Arc::clone(array), rows });
            jobs.push(Job { variable, target: 0, start, band: Some(band), fill, out });
            start += length;
        }
    }
    Ok(Target { shape, cut: None, ready: None })
}

/// The bytes of a row of the first dimension; zero for items of variable length.
fn row_bytes(dtype: DType, shape: &[usize]) -> Result<usize> {
    let items = count(shape.get(1..).unwrap_or_default())?;
    items.checked_mul(row_item(dtype)).ok_or_else(nothing)
}

/// Refuses to read a stored array that differs from the schema of the collection.
pub(super) fn check_same(schema: &VariableSchema, array: &StoredArray) -> Result<()> {
    let stored = &array.schema;
    if stored.dtype == schema.dtype && stored.dimensions == schema.dimensions {
        return Ok(());
    }
    let describe =
        |schema: &VariableSchema| format!("{} ({})", schema.dtype, schema.dimensions.join(", "));
    Err(Error::corrupt(
        "an array has another type or other dimensions than in the schema of the collection",
    )
    .with("key", &array.prefix)
    .with("expected", describe(schema))
    .with("found", describe(stored)))
}

impl Target {
    fn finish(self, bands: impl Iterator<Item = Done>, schema: &VariableSchema) -> Result<Array> {
        if let Some(ready) = self.ready {
            return Ok(ready);
        }
        let mut whole = BytesMut::new();
        let mut items = Vec::new();
        for band in bands {
            match band.out {
                Filled::Fixed(bytes) => whole.unsplit(bytes),
                Filled::Variable(buffer) => items.push(buffer),
            }
        }
        let array = if schema.dtype.item_size().is_some() {
            Array::from_bytes(schema.dtype, self.shape, whole.freeze())?
        } else {
            let mut bands = Vec::with_capacity(items.len());
            for buffer in items {
                let rest = self.shape.get(1..).unwrap_or_default();
                let length = match &buffer {
                    Buffer::Variable { offsets, .. } => offsets.len().saturating_sub(1),
                    Buffer::Fixed(_) => 0,
                };
                let mut shape = vec![length / count(rest)?.max(1)];
                shape.extend(rest);
                // An array without dimensions counts as one row.
                bands.push(Array::new(schema.dtype, shape, buffer)?);
            }
            let bands: Vec<&Array> = bands.iter().collect();
            match bands.is_empty() {
                true => Array::full(schema.dtype, self.shape, None)?,
                false => {
                    let joined = Array::concat(&bands, 0)?;
                    Array::new(schema.dtype, self.shape, joined.buffer().clone())?
                }
            }
        };
        match self.cut {
            Some((axis, rows)) => array.slice(axis, rows),
            None => Ok(array),
        }
    }
}

impl Job {
    fn num_bytes(&self) -> usize {
        self.out.size()
    }

    async fn run(self, store: &Store, cores: &Cores) -> Result<Done> {
        let Self { variable, target, start, band, fill, out } = self;
        let out = match band {
            Some(band) => band.read(store, out, cores).await?,
            None => {
                let fill = move || {
                    let mut out = out.zeroed();
                    fill_with(&mut out, &fill);
                    out
                };
                Filled::Fixed(cores.run(fill).await?)
            }
        };
        Ok(Done { variable, target, start, out })
    }
}
