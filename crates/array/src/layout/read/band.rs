//! Reading one row of chunks of an array.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::Opened;
use partita_core::{Error, Result, Store};

use super::jobs_in_flight;
use crate::buffer_pool::BufferPool;
use crate::codec::Pipeline;
use crate::cores::Cores;
use crate::dataset::{Buffer, DType, count, too_large};
use crate::layout::StoredArray;
use crate::layout::region::Region;
use crate::memory::UninitBuffer;

/// Objects of one band fetched concurrently.
const OBJECTS_IN_FLIGHT: usize = 8;

/// The largest chunk that is decoded into a preallocated buffer. A larger one is decoded into
/// memory that grows with the decoded data, since damaged metadata may claim any size.
const MAX_PREALLOCATED: usize = 64 << 20;

/// Up to this many bytes, decoding in place costs less than waking another thread.
const SMALL: usize = 32 << 10;

/// Rows of the first dimension of a stored array, all in one row of its objects.
pub(super) struct Band {
    pub array: Arc<StoredArray>,
    pub rows: Range<usize>,
}

/// The items of a band.
pub(super) enum Filled {
    Fixed(BytesMut),
    Variable(Buffer),
}

/// A chunk of an array, not yet decoded; without bytes if it is not stored.
struct Piece {
    /// The position of its first item in the array.
    origin: Vec<usize>,
    bytes: Option<Bytes>,
}

impl Band {
    /// Fetches the chunks, decodes them, and copies the rows of the band to `out`.
    pub async fn read(self, store: &Store, out: UninitBuffer, cores: &Cores) -> Result<Filled> {
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
            let (small, pool) = (out.size() <= SMALL, cores.buffers());
            let piece = pieces.into_iter().next();
            let piece = piece.map(|piece| (piece.origin, piece.bytes.map(Opened::from)));
            let fill = move || array.read_chunk(piece, &rows, out, &pool);
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
            stream::iter(pieces).map(decode).buffered(jobs_in_flight()).try_collect().await?;
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

    /// Reads rows that lie in one chunk with an object of its own. A local file is read by the
    /// thread that decodes it, so that it is still in the CPU caches.
    async fn read_object(
        self,
        store: &Store,
        object: &[usize],
        out: UninitBuffer,
        cores: &Cores,
    ) -> Result<Filled> {
        let Self { array, rows } = self;
        let key = array.key(object);
        let opened = match store.begin_get(&key).await? {
            Some(opened) => Some(opened),
            None => store.fall_back(&key).await?.map(Opened::from),
        };
        let pool = cores.buffers();
        let origin = array.origin(object);
        let fill = move || array.read_chunk(Some((origin, opened)), &rows, out, &pool);
        Ok(Filled::Fixed(cores.run(fill).await??))
    }

    /// Fetches the chunks that touch the rows.
    async fn fetch(&self, store: &Store) -> Result<Vec<Piece>> {
        let fetch = async |object: Vec<usize>| self.fetch_object(store, &object).await;
        let pieces: Vec<Vec<Piece>> = stream::iter(self.array.objects(&self.rows))
            .map(fetch)
            .buffered(OBJECTS_IN_FLIGHT)
            .try_collect()
            .await?;
        Ok(pieces.into_iter().flatten().collect())
    }

    async fn fetch_object(&self, store: &Store, object: &[usize]) -> Result<Vec<Piece>> {
        let key = self.array.key(object);
        let grid = self.array.pipeline.shape();
        let origin = self.array.origin(object);
        let Some(shard) = &self.array.shard else {
            let most = self.array.pipeline.most_stored();
            let bytes = match store.get_within(&key, most).await? {
                Some(bytes) => Some(bytes),
                None => store.fall_back(&key).await?,
            };
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
    /// The codecs of one chunk, in a shard or in an object of its own.
    fn chunk(&self) -> &Pipeline {
        self.shard.as_ref().map_or(&self.pipeline, |shard| &shard.chunk)
    }

    /// Decodes the rows, which lie in one chunk, from its object into `out`. `chunk` has the
    /// position of the chunk and its object, if that is stored.
    fn read_chunk(
        &self,
        chunk: Option<(Vec<usize>, Option<Opened>)>,
        rows: &Range<usize>,
        out: UninitBuffer,
        pool: &BufferPool,
    ) -> Result<BytesMut> {
        let Some((origin, object)) = chunk else { return Ok(out.zeroed()) };
        let placed = |out: UninitBuffer, items: Option<&[u8]>| {
            let mut out = out.zeroed();
            place(self, rows, &origin, items, &mut out);
            out
        };
        let Some(object) = object else { return Ok(placed(out, None)) };
        let chunk = self.chunk();
        let named = |error: Error| error.with("key", &self.prefix);
        if self.is_chunk(rows, &origin) {
            return out.filled(|memory| chunk.decode_into(object, pool, memory)).map_err(named);
        }
        let Some(size) = chunk.num_bytes().filter(|size| *size <= MAX_PREALLOCATED) else {
            let decoded = self.decode(Some(object.read_all(pool.take(), chunk.most_stored())?))?;
            return Ok(placed(out, decoded.as_ref().and_then(Buffer::as_fixed)));
        };
        let mut memory = pool.with_capacity(size)?;
        let empty = memory.spare_capacity_mut().get_mut(..size).unwrap_or_default();
        let decoded = chunk.decode_into(object, pool, empty).map_err(named)?;
        let filled = placed(out, Some(decoded));
        pool.give(memory);
        Ok(filled)
    }

    /// The position of an object's first item in the array.
    fn origin(&self, object: &[usize]) -> Vec<usize> {
        object.iter().zip(self.pipeline.shape()).map(|(i, size)| i * size).collect()
    }

    /// True if the rows are exactly those of the chunk at `origin`.
    fn is_chunk(&self, rows: &Range<usize>, origin: &[usize]) -> bool {
        let shape = self.chunk().shape();
        shape.get(1..) == self.shape.get(1..)
            && origin.first() == Some(&rows.start)
            && shape.first() == Some(&rows.len())
    }

    /// Decodes a chunk; none if it is not stored.
    fn decode(&self, bytes: Option<Bytes>) -> Result<Option<Buffer>> {
        let decode = |bytes| self.chunk().decode(bytes);
        bytes.map(decode).transpose().map_err(|error| error.with("key", &self.prefix))
    }
}

/// The part of a chunk in the rows `rows` of its array: its extent, its start in the chunk, and its
/// start in the rows.
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

/// Copies a chunk to its place among the rows; a chunk that is not stored has the fill value in all
/// items.
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

/// Gathers the items of the rows from the chunks, for items of variable length.
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

/// The size of an item in bytes; zero for items of variable length.
pub(super) fn row_item(dtype: DType) -> usize {
    dtype.item_size().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Schema, VariableSchema};
    use crate::layout::v2;

    #[test]
    fn memory_is_not_allocated_for_a_size_that_only_metadata_claim() {
        let own = VariableSchema::new("v", DType::UInt8, &["time"]);
        let array = v2::array("p", &own, vec![1 << 36], &Schema::default()).unwrap();
        assert!(array.pipeline.num_bytes().unwrap() > MAX_PREALLOCATED);
        let chunk = (vec![0], Some(Bytes::from_static(b"x").into()));
        let out = UninitBuffer::new(1).unwrap();
        let read = array.read_chunk(Some(chunk), &(0..1), out, &BufferPool::default());
        assert_eq!(read.unwrap_err().kind(), partita_core::ErrorKind::Corrupt);
    }
}
