//! Assembling rows into chunks, and encoding these as objects.

use std::ops::Range;

use bytes::Bytes;
use partita_core::Result;

use super::StoredArray;
use super::region::Region;
use crate::buffer_pool::BufferPool;
use crate::dataset::{Array, Buffer, count, fill_with, too_large};

/// A run of rows of an array, as a range of rows in memory.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    /// The first row, counted in the stored array.
    pub start: usize,
    pub data: &'a Array,
    /// The rows, counted in `data`.
    pub rows: Range<usize>,
}

/// Encodes the chunk at a place of the grid. Returns the object and the size of its items in bytes;
/// the object is none if it need not be stored because every item is the fill value. `pieces` are
/// rows of the chunk, in order; other rows have the fill value.
pub(super) fn encode(
    array: &StoredArray,
    pieces: &[Piece<'_>],
    place: &[usize],
    pool: &BufferPool,
) -> Result<(Option<Bytes>, usize)> {
    let (chunk, is_copy) = gather(array, pieces, place, pool)?;
    let size = chunk.num_bytes();
    // In Zarr v2 without a fill value, the content of a missing object is undefined.
    let may_be_missing = array.schema.fill.is_some() || array.is_v3();
    let object = match may_be_missing && is_fill(&chunk, &array.fill) {
        true => None,
        false => Some(array.pipeline.encode(chunk.clone(), pool)?),
    };
    if let (Buffer::Fixed(items), true) = (chunk, is_copy) {
        pool.give_object(items);
    }
    Ok((object, size))
}

/// The items of a chunk, and true if they had to be copied.
fn gather(
    array: &StoredArray,
    pieces: &[Piece<'_>],
    place: &[usize],
    pool: &BufferPool,
) -> Result<(Buffer, bool)> {
    let shape = array.pipeline.shape();
    let items = count(shape)?;
    let item_size = array.schema.dtype.item_size();
    let size = item_size.map(|size| items.checked_mul(size).ok_or_else(|| too_large(items)));
    let size = size.transpose()?;
    if let (Some(size), Some(height)) = (size, shape.first())
        && shape.get(1..) == array.shape.get(1..)
    {
        let first = place.first().copied().unwrap_or(0) * height;
        return rows(array, pieces, first, size, pool);
    }
    let bounds = place.iter().zip(shape).zip(&array.shape);
    let bounds: Vec<Range<usize>> = bounds
        .map(|((i, size), whole)| (i * size).min(*whole)..((i + 1) * size).min(*whole))
        .collect();
    let overlaps = pieces.iter().map(|piece| Overlap::new(&bounds, piece));
    let (Some(item_size), Some(size)) = (item_size, size) else {
        let mut found: Vec<&[u8]> = vec![&array.fill; items];
        for overlap in overlaps {
            let buffer = overlap.data.buffer();
            overlap.region(shape).runs(|source, target, length| {
                for (offset, item) in found.iter_mut().skip(target).take(length).enumerate() {
                    *item = buffer.item(source + offset, 0).unwrap_or_default();
                }
            });
        }
        return Ok((Buffer::of_items(found)?, true));
    };
    let mut chunk = pool.zeroed(size)?;
    fill_with(&mut chunk, &array.fill);
    for overlap in overlaps {
        let items = overlap.data.buffer().as_fixed().unwrap_or_default();
        overlap.region(shape).copy(items, &mut chunk, item_size);
    }
    Ok((Buffer::Fixed(chunk.into()), true))
}

/// The `size` bytes of a chunk that begins with row `first` and has the full width of its array,
/// and true if they had to be copied.
fn rows(
    array: &StoredArray,
    pieces: &[Piece<'_>],
    first: usize,
    size: usize,
    pool: &BufferPool,
) -> Result<(Buffer, bool)> {
    let height = array.object_rows();
    let row = size / height;
    let bytes = |piece: &Piece<'_>| {
        let Buffer::Fixed(items) = piece.data.buffer() else { return None };
        let bytes = piece.rows.start * row..piece.rows.end * row;
        items.get(bytes.clone())?;
        Some(items.slice(bytes))
    };
    if let [only] = pieces
        && only.rows.len() == height
        && let Some(bytes) = bytes(only)
    {
        return Ok((Buffer::Fixed(bytes), false));
    }
    let mut chunk = pool.with_capacity(size)?;
    let pad = |chunk: &mut Vec<u8>, end: usize| {
        let begin = chunk.len();
        chunk.resize(end, 0);
        fill_with(chunk.get_mut(begin..).unwrap_or_default(), &array.fill);
    };
    for piece in pieces {
        let start = piece.start.saturating_sub(first) * row;
        if chunk.len() < start {
            pad(&mut chunk, start);
        }
        chunk.extend_from_slice(&bytes(piece).unwrap_or_default());
    }
    pad(&mut chunk, size);
    Ok((Buffer::Fixed(chunk.into()), true))
}

fn is_fill(chunk: &Buffer, fill: &[u8]) -> bool {
    match chunk {
        Buffer::Fixed(bytes) => bytes.chunks(fill.len().max(1)).all(|item| item == fill),
        Buffer::Variable { offsets, .. } => {
            (0..offsets.len().saturating_sub(1)).all(|i| chunk.item(i, 0) == Some(fill))
        }
    }
}

/// The items of a piece that lie in a chunk.
struct Overlap<'a> {
    data: &'a Array,
    extent: Vec<usize>,
    /// The position of the first item in the piece.
    from: Vec<usize>,
    /// The position of the first item in the chunk.
    to: Vec<usize>,
}

impl<'a> Overlap<'a> {
    /// The overlap with a chunk that has these bounds.
    fn new(bounds: &[Range<usize>], piece: &Piece<'a>) -> Self {
        let (mut extent, mut from, mut to) = (vec![], vec![], vec![]);
        for (axis, (bound, size)) in bounds.iter().zip(piece.data.shape()).enumerate() {
            let (begin, own) = match axis {
                0 => (piece.start, piece.rows.clone()),
                _ => (0, 0..*size),
            };
            let first = bound.start.max(begin);
            extent.push(bound.end.min(begin + own.len()).saturating_sub(first));
            from.push(first - begin + own.start);
            to.push(first - bound.start);
        }
        Self { data: piece.data, extent, from, to }
    }

    fn region<'b>(&'b self, shape: &'b [usize]) -> Region<'b> {
        let Self { data, extent, from, to } = self;
        Region { extent, from_shape: data.shape(), from, to_shape: shape, to }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::{Chunks, DType, Dimension, FillValue, Schema, VariableSchema};
    use crate::layout::v2;

    /// A stored array of `rows` by `columns` numbers in chunks of `height` by `width`.
    fn stored(rows: usize, columns: usize, height: usize, width: usize) -> StoredArray {
        let mut own = VariableSchema::new("v", DType::UInt16, &["time", "x"]);
        own.fill = Some(FillValue::from_bytes(vec![0xff, 0xff]));
        let chunked = |name: &str, size| Dimension {
            chunks: Some(Chunks::Size(size)),
            ..Dimension::new(name)
        };
        let schema =
            Schema::new(vec![chunked("time", height), chunked("x", width)], vec![own.clone()]);
        v2::array("p", &own, vec![rows, columns], &schema.unwrap()).unwrap()
    }

    fn numbers(from: usize, rows: usize, columns: usize) -> Array {
        let items = from * columns..(from + rows) * columns;
        let bytes: Vec<u8> = items.flat_map(|item| (item as u16).to_le_bytes()).collect();
        Array::from_bytes(DType::UInt16, vec![rows, columns], bytes).unwrap()
    }

    proptest! {
        /// This holds for any division of the rows into pieces, any missing rows, and fresh or
        /// reused memory.
        #[test]
        fn every_item_of_a_chunk_is_in_its_place(
            lengths in prop::collection::vec((0..3usize, 1..5usize), 1..5),
            (columns, height, width) in (1..5usize, 1..6usize, 1..4usize),
        ) {
            let mut there: Vec<bool> = Vec::new();
            let mut data = Vec::new();
            for (missing, length) in lengths {
                there.resize(there.len() + missing, false);
                // The same memory also holds one row before these and one after them.
                data.push((there.len(), length, numbers(there.len(), length + 2, columns)));
                there.resize(there.len() + length, true);
            }
            let array = stored(there.len(), columns, height, width);
            let pool = BufferPool::default();
            pool.give(vec![7; 64]);
            let (height, width) = (array.pipeline.shape()[0], array.pipeline.shape()[1]);
            for row in 0..there.len().div_ceil(height) {
                let of_chunk = |(start, length, data)| {
                    let first = (row * height).max(start);
                    let end = ((row + 1) * height).min(start + length);
                    let rows = first + 1 - start.min(first)..(end + 1).saturating_sub(start);
                    (first < end).then_some(Piece { start: first, data, rows })
                };
                let pieces = data.iter().map(|(start, length, data)| (*start, *length, data));
                let pieces: Vec<Piece<'_>> = pieces.filter_map(of_chunk).collect();
                for column in 0..columns.div_ceil(width) {
                    let (object, size) = encode(&array, &pieces, &[row, column], &pool).unwrap();
                    prop_assert_eq!(size, height * width * 2);
                    prop_assert_eq!(object.is_none(), pieces.is_empty());
                    let Some(object) = object else { continue };
                    let found = array.pipeline.decode(object).unwrap();
                    for item in 0..height * width {
                        let (i, j) = (row * height + item / width, column * width + item % width);
                        let expected = match there.get(i) == Some(&true) && j < columns {
                            true => ((i + 1) * columns + j) as u16,
                            false => u16::MAX,
                        };
                        prop_assert_eq!(found.item(item, 2).unwrap(), &expected.to_le_bytes());
                    }
                }
            }
        }
    }
}
