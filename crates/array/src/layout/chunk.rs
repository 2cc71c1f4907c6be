//! From rows to the object that stores a chunk.

use std::ops::Range;

use bytes::Bytes;
use partita_core::Result;

use super::StoredArray;
use super::region::Region;
use crate::dataset::{Array, Buffer, count, fill_with, too_large};
use crate::spare::Spare;

/// Rows of an array, as a part of what has them in memory.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    /// The row of the array with which they begin.
    pub start: usize,
    pub data: &'a Array,
    /// Which rows of `data` they are.
    pub rows: Range<usize>,
}

/// The object at a place of the grid, and the bytes of its items; none if it need not be stored
/// because every item is the fill value. `pieces` are rows of the chunk, in order; others are the
/// fill value.
pub(super) fn encode(
    array: &StoredArray,
    pieces: &[Piece<'_>],
    place: &[usize],
    spare: &Spare,
) -> Result<(Option<Bytes>, usize)> {
    let (chunk, is_copy) = gather(array, pieces, place, spare)?;
    let size = chunk.num_bytes();
    // Without a fill value Zarr v2 leaves open what an object that is missing means.
    let may_be_missing = array.schema.fill.is_some() || array.is_v3();
    let object = match may_be_missing && is_fill(&chunk, &array.fill) {
        true => None,
        false => Some(array.pipeline.encode(chunk.clone(), spare)?),
    };
    if let (Buffer::Fixed(items), true) = (chunk, is_copy) {
        spare.give_object(items);
    }
    Ok((object, size))
}

/// The items of a chunk, and whether they were copied to be so.
fn gather(
    array: &StoredArray,
    pieces: &[Piece<'_>],
    place: &[usize],
    spare: &Spare,
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
        return rows(array, pieces, first, size, spare);
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
    let mut chunk = spare.zeroed(size)?;
    fill_with(&mut chunk, &array.fill);
    for overlap in overlaps {
        let items = overlap.data.buffer().as_fixed().unwrap_or_default();
        overlap.region(shape).copy(items, &mut chunk, item_size);
    }
    Ok((Buffer::Fixed(chunk.into()), true))
}

/// The `size` bytes of a chunk that begins with the row `first` and is as wide as its array, and
/// whether they were copied.
fn rows(
    array: &StoredArray,
    pieces: &[Piece<'_>],
    first: usize,
    size: usize,
    spare: &Spare,
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
    let mut chunk = spare.room(size)?;
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
    /// Where they begin in the piece.
    from: Vec<usize>,
    /// Where they begin in the chunk.
    to: Vec<usize>,
}

impl<'a> Overlap<'a> {
    /// Of a chunk that is bounded so.
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
        /// Whatever the rows are cut into, whichever are missing, and whatever memory is used for it.
        #[test]
        fn every_item_of_a_chunk_is_in_its_place(
            lengths in prop::collection::vec((0..3usize, 1..5usize), 1..5),
            (columns, height, width) in (1..5usize, 1..6usize, 1..4usize),
        ) {
            let mut there: Vec<bool> = Vec::new();
            let mut data = Vec::new();
            for (missing, length) in lengths {
                there.resize(there.len() + missing, false);
                // In the same memory are a row before them and one behind them.
                data.push((there.len(), length, numbers(there.len(), length + 2, columns)));
                there.resize(there.len() + length, true);
            }
            let array = stored(there.len(), columns, height, width);
            let spare = Spare::default();
            spare.give(vec![7; 64]);
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
                    let (object, size) = encode(&array, &pieces, &[row, column], &spare).unwrap();
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
