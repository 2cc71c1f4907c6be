//! From rows to the object that stores a chunk.

use std::ops::Range;

use bytes::Bytes;
use partita_core::Result;

use super::StoredArray;
use super::region::Region;
use crate::dataset::{Array, Buffer, count, fill_with, too_large};
use crate::spare::Spare;

/// Some rows of an array, and the row with which they begin.
pub(super) type Piece = (usize, Array);

/// The object at a place of the grid, and the bytes of its items; none if it need not be stored
/// because every item is the fill value. `pieces` are all rows of the chunk, and maybe others.
pub(super) fn encode(
    array: &StoredArray,
    pieces: &[Piece],
    place: &[usize],
    spare: &Spare,
) -> Result<(Option<Bytes>, usize)> {
    let (chunk, is_copy) = gather(array, pieces, place, spare)?;
    let size = chunk.num_bytes();
    // Without a fill value Zarr v2 leaves open what an object that is missing means.
    let may_be_missing = array.schema.fill.is_some() || array.is_v3();
    let object = match may_be_missing && is_fill(&chunk, &array.fill) {
        true => None,
        false => Some(array.pipeline.encode(chunk.clone(), spare.take())?),
    };
    if let (Buffer::Fixed(items), true) = (chunk, is_copy) {
        spare.give_object(items);
    }
    Ok((object, size))
}

/// The items of a chunk, and whether they were copied to be so.
fn gather(
    array: &StoredArray,
    pieces: &[Piece],
    place: &[usize],
    spare: &Spare,
) -> Result<(Buffer, bool)> {
    let shape = array.pipeline.shape();
    let bounds = place.iter().zip(shape).zip(&array.shape);
    let bounds: Vec<Range<usize>> = bounds
        .map(|((i, size), whole)| (i * size).min(*whole)..((i + 1) * size).min(*whole))
        .collect();
    let overlaps = pieces.iter().map(|(start, data)| Overlap::new(&bounds, *start, data));
    let overlaps: Vec<Overlap<'_>> = overlaps.collect();
    if let Some(rows) = rows(&overlaps, shape, spare)? {
        return Ok(rows);
    }
    let items = count(shape)?;
    let Some(item_size) = array.schema.dtype.item_size() else {
        let mut found: Vec<&[u8]> = vec![&array.fill; items];
        for overlap in &overlaps {
            let buffer = overlap.data.buffer();
            overlap.region(shape).runs(|source, target, length| {
                for (offset, item) in found.iter_mut().skip(target).take(length).enumerate() {
                    *item = buffer.item(source + offset, 0).unwrap_or_default();
                }
            });
        }
        return Ok((Buffer::of_items(found)?, true));
    };
    let size = items.checked_mul(item_size).ok_or_else(|| too_large(items))?;
    let mut chunk = spare.zeroed(size)?;
    fill_with(&mut chunk, &array.fill);
    for overlap in &overlaps {
        let items = overlap.data.buffer().as_fixed().unwrap_or_default();
        overlap.region(shape).copy(items, &mut chunk, item_size);
    }
    Ok((Buffer::Fixed(chunk.into()), true))
}

/// The items of a chunk of which all rows lie together in the pieces, and whether they were copied.
fn rows(
    overlaps: &[Overlap<'_>],
    shape: &[usize],
    spare: &Spare,
) -> Result<Option<(Buffer, bool)>> {
    let height: usize = overlaps.iter().filter_map(|overlap| overlap.extent.first()).sum();
    if height != shape.first().copied().unwrap_or(0) {
        return Ok(None);
    }
    let runs: Option<Vec<Buffer>> = overlaps.iter().map(|overlap| overlap.rows(shape)).collect();
    match runs.as_deref() {
        None | Some([]) => return Ok(None),
        Some([only]) => return Ok(Some((only.clone(), false))),
        Some(_) => {}
    }
    let runs: Vec<&[u8]> = runs.iter().flatten().filter_map(Buffer::as_fixed).collect();
    if runs.len() < overlaps.len() {
        return Ok(None);
    }
    let mut chunk = spare.room(runs.iter().map(|run| run.len()).sum())?;
    runs.into_iter().for_each(|run| chunk.extend_from_slice(run));
    Ok(Some((Buffer::Fixed(chunk.into()), true)))
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
    /// Of a chunk that is bounded so, and a piece that begins with the row `start`.
    fn new(bounds: &[Range<usize>], start: usize, data: &'a Array) -> Self {
        let (mut extent, mut from, mut to) = (vec![], vec![], vec![]);
        for (axis, (bound, size)) in bounds.iter().zip(data.shape()).enumerate() {
            let begin = if axis == 0 { start } else { 0 };
            let first = bound.start.max(begin);
            extent.push(bound.end.min(begin + size).saturating_sub(first));
            from.push(first - begin);
            to.push(first - bound.start);
        }
        Self { data, extent, from, to }
    }

    fn region<'b>(&'b self, shape: &'b [usize]) -> Region<'b> {
        let Self { data, extent, from, to } = self;
        Region { extent, from_shape: data.shape(), from, to_shape: shape, to }
    }

    /// The items, if they are whole rows of the chunk and lie together in the piece.
    fn rows(&self, shape: &[usize]) -> Option<Buffer> {
        let whole = self.data.shape();
        if self.extent.get(1..) != shape.get(1..) || shape.get(1..) != whole.get(1..) {
            return None;
        }
        if self.extent == whole {
            return Some(self.data.buffer().clone());
        }
        let Buffer::Fixed(bytes) = self.data.buffer() else { return None };
        let (rows, first) = (*whole.first()?, *self.from.first()?);
        let row = bytes.len().checked_div(rows)?;
        let (start, end) = (first * row, (first + self.extent.first()?) * row);
        (end <= bytes.len()).then(|| Buffer::Fixed(bytes.slice(start..end)))
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
        /// Whatever the rows are cut into, and whatever memory is used for it.
        #[test]
        fn every_item_of_a_chunk_is_in_its_place(
            lengths in prop::collection::vec(1..5usize, 1..5),
            (columns, height, width) in (1..5usize, 1..6usize, 1..4usize),
        ) {
            let rows = lengths.iter().sum();
            let array = stored(rows, columns, height, width);
            let spare = Spare::default();
            spare.give(vec![7; 64]);
            let pieces: Vec<Piece> = lengths
                .iter()
                .scan(0, |next, length| {
                    let start = *next;
                    *next += length;
                    Some((start, numbers(start, *length, columns)))
                })
                .collect();
            let (height, width) = (array.pipeline.shape()[0], array.pipeline.shape()[1]);
            for row in 0..rows.div_ceil(height) {
                for column in 0..columns.div_ceil(width) {
                    let (object, size) = encode(&array, &pieces, &[row, column], &spare).unwrap();
                    prop_assert_eq!(size, height * width * 2);
                    let found = array.pipeline.decode(object.unwrap()).unwrap();
                    for item in 0..height * width {
                        let (i, j) = (row * height + item / width, column * width + item % width);
                        let expected = match i < rows && j < columns {
                            true => (i * columns + j) as u16,
                            false => u16::MAX,
                        };
                        prop_assert_eq!(found.item(item, 2).unwrap(), &expected.to_le_bytes());
                    }
                }
            }
        }
    }
}
