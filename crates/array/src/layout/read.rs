//! Reading the arrays of partitions.
//!
//! The memory of a variable is allocated once and cut into bands, one per row of chunks; each band
//! goes to a job of its own, which fetches its chunks, decodes them and copies them into place. In
//! the end the bands are one piece again, without a copy.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::Opened;
use partita_core::{Error, Result, Store, cores};

use super::StoredArray;
use super::region::Region;
use crate::codec::Pipeline;
use crate::cores::Cores;
use crate::dataset::{
    Array, Buffer, DType, VariableSchema, count, fill_item, fill_with, too_large,
};
use crate::memory::Room;
use crate::options::Work;
use crate::spare::Spare;

/// Objects of one band fetched at once.
const OBJECTS_AT_ONCE: usize = 8;

/// Larger chunks are decoded into memory that grows with them, whatever their array says.
const LARGEST_SPARE: usize = 64 << 20;

/// Bytes that are decoded sooner than another thread is woken.
const SMALL: usize = 32 << 10;

/// Some rows of one variable in one partition.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Rows along the partitioned dimension of a stored array; all of one that lacks it.
    Stored { array: Arc<StoredArray>, rows: Option<Range<usize>> },
    /// So many rows of a variable that the partition lacks.
    Missing { shape: Vec<usize> },
}

/// Reads each variable from its parts, all in one store, joined along `dimension`. Parts of a
/// variable are of the type that its schema says.
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
    let done: Result<Vec<Done>> =
        stream::iter(jobs).map(run).buffer_unordered(jobs_at_once()).try_collect().await;
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

/// More than there are cores, since jobs also wait for the store.
fn jobs_at_once() -> usize {
    cores().saturating_mul(8).clamp(16, 64)
}

fn nothing() -> Error {
    Error::invalid("there is nothing to read")
}

/// Memory to be filled by jobs, and what to cut out of it when it is.
struct Target {
    shape: Vec<usize>,
    cut: Option<(usize, Range<usize>)>,
    ready: Option<Array>,
}

/// Memory of some rows of the first dimension, and what is to be read into it.
struct Job {
    variable: usize,
    target: usize,
    /// Where the rows begin in the target.
    start: usize,
    /// None for rows of a variable that the partition lacks.
    band: Option<Band>,
    /// One item where nothing is stored.
    fill: Bytes,
    /// Nothing for items of any length.
    out: Room,
}

/// Rows of the first dimension of a stored array, all in one row of its objects.
struct Band {
    array: Arc<StoredArray>,
    rows: Range<usize>,
}

struct Done {
    variable: usize,
    target: usize,
    start: usize,
    out: Filled,
}

enum Filled {
    Fixed(BytesMut),
    Variable(Buffer),
}

/// Says what is to be read for one variable, and allocates its memory.
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
        // Only rows of the first dimension lie together; others are cut out afterwards.
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
        let mut memory = Room::new(row.checked_mul(all.len()).ok_or_else(nothing)?)?;
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

/// One target for all parts, which lie one after the other.
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
            return Err(Error::corrupt("partitions disagree about the size of a dimension")
                .with("expected", format!("{shape:?}"))
                .with("found", format!("{other:?}")));
        }
    }
    if let Some(first) = shape.first_mut() {
        *first = total;
    }
    let row = row_bytes(schema.dtype, &shape)?;
    let mut memory = Room::new(row.checked_mul(total).ok_or_else(nothing)?)?;
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

fn row_item(dtype: DType) -> usize {
    dtype.item_size().unwrap_or(0)
}

/// Bytes of a row of the first dimension; none for items of any length.
fn row_bytes(dtype: DType, shape: &[usize]) -> Result<usize> {
    let items = count(shape.get(1..).unwrap_or_default())?;
    items.checked_mul(row_item(dtype)).ok_or_else(nothing)
}

/// An array that the collection's schema does not describe cannot be read as if it did.
fn check_same(schema: &VariableSchema, array: &StoredArray) -> Result<()> {
    let stored = &array.schema;
    if stored.dtype == schema.dtype && stored.dimensions == schema.dimensions {
        return Ok(());
    }
    let describe =
        |schema: &VariableSchema| format!("{} ({})", schema.dtype, schema.dimensions.join(", "));
    Err(Error::corrupt("an array has another type or other dimensions than the collection says")
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
                // An array without dimensions is joined as one row.
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

/// A chunk of an array, not yet decoded; none if it is not stored.
struct Piece {
    /// Where it begins in the array.
    origin: Vec<usize>,
    bytes: Option<Bytes>,
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

impl Band {
    async fn read(self, store: &Store, out: Room, cores: &Cores) -> Result<Filled> {
        if out.size() > SMALL
            && self.array.shard.is_none()
            && let [object] = self.array.objects(&self.rows).as_slice()
        {
            return self.read_object(store, object, out, cores).await;
        }
        let pieces = self.fetch(store).await?;
        let Self { array, rows } = self;
        if array.schema.dtype.item_size().is_none() {
            let gather = move || gather(&array, &rows, pieces);
            return Ok(Filled::Variable(cores.run(gather).await??));
        }
        if pieces.len() <= 1 {
            let (small, spare) = (out.size() <= SMALL, cores.spare());
            let piece = pieces.into_iter().next();
            let piece = piece.map(|piece| (piece.origin, piece.bytes.map(Opened::from)));
            let fill = move || array.read_chunk(piece, &rows, out, &spare);
            if small {
                return Ok(Filled::Fixed(fill()?));
            }
            return Ok(Filled::Fixed(cores.run(fill).await??));
        }
        let decode = |piece: Piece| {
            let array = Arc::clone(&array);
            let decode = move || Ok::<_, Error>((piece.origin, array.decode(piece.bytes)?));
            async { cores.run(decode).await? }
        };
        let decoded: Vec<_> =
            stream::iter(pieces).map(decode).buffered(jobs_at_once()).try_collect().await?;
        let fill = move || {
            let mut out = out.zeroed();
            for (origin, decoded) in decoded {
                let items = decoded.as_ref().and_then(Buffer::as_fixed);
                place(&array, &rows, &origin, items, &mut out);
            }
            out
        };
        Ok(Filled::Fixed(cores.run(fill).await?))
    }

    /// The rows, which lie in one chunk that is an object of its own. Whoever decodes a local file
    /// reads it, so that it is still in the caches.
    async fn read_object(
        self,
        store: &Store,
        object: &[usize],
        out: Room,
        cores: &Cores,
    ) -> Result<Filled> {
        let Self { array, rows } = self;
        let opened = store.begin_get(&array.key(object)).await?;
        let spare = cores.spare();
        let origin = array.origin(object);
        let fill = move || array.read_chunk(Some((origin, opened)), &rows, out, &spare);
        Ok(Filled::Fixed(cores.run(fill).await??))
    }

    /// The chunks that touch the rows.
    async fn fetch(&self, store: &Store) -> Result<Vec<Piece>> {
        let fetch = async |object: Vec<usize>| self.fetch_object(store, &object).await;
        let pieces: Vec<Vec<Piece>> = stream::iter(self.array.objects(&self.rows))
            .map(fetch)
            .buffered(OBJECTS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(pieces.into_iter().flatten().collect())
    }

    async fn fetch_object(&self, store: &Store, object: &[usize]) -> Result<Vec<Piece>> {
        let key = self.array.key(object);
        let grid = self.array.pipeline.shape();
        let origin = self.array.origin(object);
        let Some(shard) = &self.array.shard else {
            let bytes = store.get_opt(&key).await?;
            return Ok(vec![Piece { origin, bytes }]);
        };
        let wanted = origin.iter().zip(grid).zip(&self.array.shape).enumerate();
        let wanted: Vec<Range<usize>> = wanted
            .map(|(axis, ((origin, size), extent))| {
                let (from, to) = match axis {
                    0 => (self.rows.start.max(*origin), self.rows.end.min(*extent)),
                    _ => (*origin, *extent),
                };
                from - origin..to.min(origin + size) - origin
            })
            .collect();
        let chunks = shard.fetch(store, &key, &wanted).await?;
        let piece = |(place, bytes): (Vec<usize>, Option<Bytes>)| {
            let within = place.iter().zip(shard.chunk.shape()).map(|(i, size)| i * size);
            Piece { origin: origin.iter().zip(within).map(|(a, b)| a + b).collect(), bytes }
        };
        Ok(chunks.into_iter().map(piece).collect())
    }
}

impl StoredArray {
    /// How one chunk is encoded, in a shard or by itself.
    fn chunk(&self) -> &Pipeline {
        self.shard.as_ref().map_or(&self.pipeline, |shard| &shard.chunk)
    }

    /// The rows, which lie in the chunk that begins there and is stored in this object, if it is.
    fn read_chunk(
        &self,
        chunk: Option<(Vec<usize>, Option<Opened>)>,
        rows: &Range<usize>,
        out: Room,
        spare: &Spare,
    ) -> Result<BytesMut> {
        let Some((origin, object)) = chunk else { return Ok(out.zeroed()) };
        let placed = |out: Room, items: Option<&[u8]>| {
            let mut out = out.zeroed();
            place(self, rows, &origin, items, &mut out);
            out
        };
        let Some(object) = object else { return Ok(placed(out, None)) };
        let chunk = self.chunk();
        let named = |error: Error| error.with("key", &self.prefix);
        if self.is_chunk(rows, &origin) {
            return out.filled(|memory| chunk.decode_into(object, spare, memory)).map_err(named);
        }
        let Some(size) = chunk.num_bytes().filter(|size| *size <= LARGEST_SPARE) else {
            let decoded = self.decode(Some(object.read_all(spare.take())?))?;
            return Ok(placed(out, decoded.as_ref().and_then(Buffer::as_fixed)));
        };
        let mut memory = spare.room(size)?;
        let empty = memory.spare_capacity_mut().get_mut(..size).unwrap_or_default();
        let decoded = chunk.decode_into(object, spare, empty).map_err(named)?;
        let filled = placed(out, Some(decoded));
        spare.give(memory);
        Ok(filled)
    }

    /// Where an object begins in the array.
    fn origin(&self, object: &[usize]) -> Vec<usize> {
        object.iter().zip(self.pipeline.shape()).map(|(i, size)| i * size).collect()
    }

    /// Whether the rows are just those of the chunk that begins at `origin`.
    fn is_chunk(&self, rows: &Range<usize>, origin: &[usize]) -> bool {
        let shape = self.chunk().shape();
        shape.get(1..) == self.shape.get(1..)
            && origin.first() == Some(&rows.start)
            && shape.first() == Some(&rows.len())
    }

    /// The items of a chunk; none if it is not stored.
    fn decode(&self, bytes: Option<Bytes>) -> Result<Option<Buffer>> {
        let decode = |bytes| self.chunk().decode(bytes);
        bytes.map(decode).transpose().map_err(|error| error.with("key", &self.prefix))
    }
}

/// The part of a chunk that lies in the rows `rows` of its array: its extent, where it begins in the
/// chunk, and where in the rows.
fn overlap(
    array: &StoredArray,
    rows: &Range<usize>,
    origin: &[usize],
) -> (Vec<usize>, Vec<usize>, Vec<usize>, Vec<usize>) {
    let (mut extent, mut from, mut to, mut band) = (vec![], vec![], vec![], vec![]);
    for (axis, ((origin, size), whole)) in
        origin.iter().zip(array.chunk().shape()).zip(&array.shape).enumerate()
    {
        let bounds = if axis == 0 { rows.clone() } else { 0..*whole };
        let (start, end) = ((*origin).max(bounds.start), (origin + size).min(bounds.end));
        extent.push(end.saturating_sub(start));
        from.push(start.saturating_sub(*origin));
        to.push(start.saturating_sub(bounds.start));
        band.push(bounds.len());
    }
    (extent, from, to, band)
}

/// Copies a chunk to its place among the rows; a chunk that is not stored is all fill value.
fn place(
    array: &StoredArray,
    rows: &Range<usize>,
    origin: &[usize],
    decoded: Option<&[u8]>,
    out: &mut BytesMut,
) {
    let (extent, from, to, band) = overlap(array, rows, origin);
    let shape = array.chunk().shape();
    let region =
        Region { extent: &extent, from_shape: shape, from: &from, to_shape: &band, to: &to };
    let size = row_item(array.schema.dtype);
    match decoded {
        Some(items) => region.copy(items, out, size),
        _ if array.fill.iter().all(|byte| *byte == 0) => {}
        _ => region.runs(|_, target, items| {
            for place in out.chunks_exact_mut(size).skip(target).take(items) {
                place.copy_from_slice(&array.fill);
            }
        }),
    }
}

/// The items of the rows, where items are of any length.
fn gather(array: &StoredArray, rows: &Range<usize>, pieces: Vec<Piece>) -> Result<Buffer> {
    let mut band = array.shape.clone();
    if let Some(first) = band.first_mut() {
        *first = rows.len();
    }
    let items = count(&band)?;
    let mut sources: Vec<Option<(usize, usize)>> = Vec::new();
    sources.try_reserve_exact(items).map_err(|_| too_large(items))?;
    sources.resize(items, None);
    let mut decoded = Vec::with_capacity(pieces.len());
    for (number, piece) in pieces.into_iter().enumerate() {
        let (extent, from, to, band) = overlap(array, rows, &piece.origin);
        let shape = array.chunk().shape();
        let region =
            Region { extent: &extent, from_shape: shape, from: &from, to_shape: &band, to: &to };
        let buffer = array.decode(piece.bytes)?;
        if buffer.is_some() {
            region.runs(|source, target, items| {
                for (offset, place) in sources.iter_mut().skip(target).take(items).enumerate() {
                    *place = Some((number, source + offset));
                }
            });
        }
        decoded.push(buffer);
    }
    Buffer::of_items(sources.iter().map(|source| {
        let item = source.and_then(|(piece, item)| decoded.get(piece)?.as_ref()?.item(item, 0));
        item.unwrap_or(&array.fill)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Schema;
    use crate::layout::v2;

    #[test]
    fn memory_is_not_allocated_because_metadata_say_so() {
        let own = VariableSchema::new("v", DType::UInt8, &["time"]);
        let array = v2::array("p", &own, vec![1 << 36], &Schema::default()).unwrap();
        assert!(array.pipeline.num_bytes().unwrap() > LARGEST_SPARE);
        let chunk = (vec![0], Some(Bytes::from_static(b"x").into()));
        let out = Room::new(1).unwrap();
        let read = array.read_chunk(Some(chunk), &(0..1), out, &Spare::default());
        assert_eq!(read.unwrap_err().kind(), partita_core::ErrorKind::Corrupt);
    }
}
