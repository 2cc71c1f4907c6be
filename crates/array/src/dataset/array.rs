//! Arrays: items of one type in a shape.

use std::ops::Range;

use bytes::Bytes;
use partita_core::{Error, ErrorKind, Result};

use super::buffer::too_large;
use super::dtype::NAT;
use super::{Buffer, DType, FillValue};

/// Items of one type in a shape, in C order. Clones share memory.
#[derive(Debug, Clone)]
pub struct Array {
    dtype: DType,
    shape: Vec<usize>,
    buffer: Buffer,
}

impl Array {
    /// An array of `buffer`'s items in `shape`.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if the number or size of the items does not
    /// match the shape and type.
    pub fn new(dtype: DType, shape: Vec<usize>, buffer: Buffer) -> Result<Self> {
        let items = count(&shape)?;
        let fits = match (&buffer, dtype.item_size()) {
            (Buffer::Fixed(_), Some(size)) => buffer.is_whole(items, size),
            (Buffer::Variable { .. }, None) => buffer.is_whole(items, 0),
            _ => false,
        };
        if !fits {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                "the size of the data does not match the shape and the type",
            )
            .with("dtype", dtype)
            .with("shape", format!("{shape:?}"))
            .with("bytes", buffer.num_bytes()));
        }
        Ok(Self { dtype, shape, buffer })
    }

    /// An array of fixed-size items from their bytes, little-endian.
    ///
    /// # Errors
    /// The same as [`Array::new`].
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, bytes: impl Into<Bytes>) -> Result<Self> {
        Self::new(dtype, shape, Buffer::Fixed(bytes.into()))
    }

    /// A one-dimensional array of texts or byte strings of variable length.
    ///
    /// # Errors
    /// The same as [`Buffer::of_items`].
    pub fn from_texts<T: AsRef<str>>(texts: &[T]) -> Result<Self> {
        let buffer = Buffer::of_items(texts.iter().map(AsRef::as_ref))?;
        Self::new(DType::Text, vec![texts.len()], buffer)
    }

    /// An array in which every item is `fill`; without one, items are zeros, empty texts or "not a
    /// time".
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if the fill value is of another size;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if there is not enough memory.
    pub fn full(dtype: DType, shape: Vec<usize>, fill: Option<&FillValue>) -> Result<Self> {
        let items = count(&shape)?;
        let item = fill_item(dtype, fill)?;
        let buffer = match dtype.item_size() {
            Some(size) => {
                let total = items.checked_mul(size).ok_or_else(|| too_large(items))?;
                let mut bytes = Buffer::zeroed(total)?;
                fill_with(&mut bytes, &item);
                Buffer::Fixed(bytes.freeze())
            }
            None => Buffer::of_items(std::iter::repeat_n(item, items))?,
        };
        Self::new(dtype, shape, buffer)
    }

    /// The type of the items.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of items along each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The items.
    #[must_use]
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The buffer; its memory is not shared if the array was its only owner.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.buffer
    }

    /// The bytes of fixed-size items; none for items of variable length.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.buffer {
            Buffer::Fixed(bytes) => Some(bytes),
            Buffer::Variable { .. } => None,
        }
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True if there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the item with this number in C order.
    #[must_use]
    pub fn item(&self, index: usize) -> Option<&[u8]> {
        self.buffer.item(index, self.dtype.item_size().unwrap_or(0))
    }

    /// The items in `range` along the dimension `axis`. Shares memory if they are contiguous.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the range reaches beyond the array.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Result<Self> {
        self.take_ranges(axis, &[range])
    }

    /// The items in the ranges along the dimension `axis`, concatenated.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if a range reaches beyond the array.
    pub fn take_ranges(&self, axis: usize, ranges: &[Range<usize>]) -> Result<Self> {
        let (outer, extent, inner) = self.strides(axis)?;
        let outside = ranges.iter().find(|range| range.start > range.end || range.end > extent);
        if let Some(range) = outside {
            return Err(Error::invalid("the selection reaches beyond the array")
                .with("selection", format!("{}..{}", range.start, range.end))
                .with("size", extent));
        }
        let size = self.dtype.item_size().unwrap_or(0);
        let total = ranges.iter().map(Range::len).sum();
        let mut shape = self.shape.clone();
        if let Some(along) = shape.get_mut(axis) {
            *along = total;
        }
        let all = ranges.len() == 1 && total == extent;
        let buffer = if all {
            self.buffer.clone()
        } else {
            let items = (0..outer).flat_map(|block| {
                let base = block * extent * inner;
                let at = move |r: &Range<usize>| base + r.start * inner..base + r.end * inner;
                ranges.iter().map(at)
            });
            self.buffer.gather(items, size)?
        };
        Self::new(self.dtype, shape, buffer)
    }

    /// The items at the indices along the dimension `axis`, in the order of the indices.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if an index is out of range.
    pub fn take(&self, axis: usize, indices: &[usize]) -> Result<Self> {
        self.take_ranges(axis, &runs_of(indices))
    }

    /// Concatenates arrays along the dimension `axis`.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if their types differ, or their shapes in
    /// another dimension; [`InvalidArgument`](ErrorKind::InvalidArgument) if there are none.
    pub fn concat(arrays: &[&Self], axis: usize) -> Result<Self> {
        let first =
            *arrays.first().ok_or_else(|| Error::invalid("there are no arrays to concatenate"))?;
        let (outer, _, inner) = first.strides(axis)?;
        let mut shape = first.shape.clone();
        let mut total = 0;
        for array in arrays {
            total += array.strides(axis)?.1;
            let mut other = array.shape.clone();
            if let (Some(mine), Some(theirs)) = (shape.get_mut(axis), other.get_mut(axis)) {
                *mine = *theirs;
            }
            if array.dtype != first.dtype || other != shape {
                return Err(Error::new(
                    ErrorKind::SchemaMismatch,
                    "the types or shapes of the arrays do not match",
                )
                .with("expected", format!("{} {:?}", first.dtype, first.shape))
                .with("found", format!("{} {:?}", array.dtype, array.shape)));
            }
        }
        if let [only] = arrays {
            return Ok((*only).clone());
        }
        if let Some(along) = shape.get_mut(axis) {
            *along = total;
        }
        let size = first.dtype.item_size();
        let mut bytes = Vec::new();
        let all: usize = arrays.iter().map(|array| array.buffer.num_bytes()).sum();
        bytes.try_reserve_exact(all).map_err(|_| too_large(all))?;
        let mut offsets = vec![0];
        for block in 0..outer {
            for array in arrays {
                let items = array.strides(axis)?.1 * inner;
                let range = block * items..(block + 1) * items;
                match array.buffer.gather(std::iter::once(range), size.unwrap_or(0))? {
                    Buffer::Fixed(part) => bytes.extend_from_slice(&part),
                    Buffer::Variable { offsets: ends, bytes: part } => {
                        let (base, from) = (bytes.len(), ends.first().copied().unwrap_or(0));
                        let to = ends.last().copied().unwrap_or(from);
                        bytes.extend_from_slice(part.get(from..to).unwrap_or_default());
                        offsets.extend(ends.iter().skip(1).map(|end| base + end - from));
                    }
                }
            }
        }
        let bytes = bytes.into();
        let buffer = match size {
            Some(_) => Buffer::Fixed(bytes),
            None => Buffer::Variable { offsets: offsets.into(), bytes },
        };
        Self::new(first.dtype, shape, buffer)
    }

    /// The items as integers, if they are integers, booleans, times or durations. "Not a time" is
    /// the least 64-bit integer.
    #[must_use]
    pub fn integers(&self) -> Option<Vec<i128>> {
        fn read<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> i128) -> Vec<i128> {
            bytes.as_chunks::<N>().0.iter().map(|item| value(*item)).collect()
        }
        let bytes = self.bytes()?;
        Some(match self.dtype {
            DType::Bool | DType::UInt8 => read(bytes, |item| u8::from_le_bytes(item).into()),
            DType::UInt16 => read(bytes, |item| u16::from_le_bytes(item).into()),
            DType::UInt32 => read(bytes, |item| u32::from_le_bytes(item).into()),
            DType::UInt64 => read(bytes, |item| u64::from_le_bytes(item).into()),
            DType::Int8 => read(bytes, |item| i8::from_le_bytes(item).into()),
            DType::Int16 => read(bytes, |item| i16::from_le_bytes(item).into()),
            DType::Int32 => read(bytes, |item| i32::from_le_bytes(item).into()),
            DType::Int64 | DType::DateTime(..) | DType::TimeDelta(..) => {
                read(bytes, |item| i64::from_le_bytes(item).into())
            }
            _ => return None,
        })
    }

    /// The numbers of items outside, along and inside of the dimension `axis`.
    fn strides(&self, axis: usize) -> Result<(usize, usize, usize)> {
        let extent = *self.shape.get(axis).ok_or_else(|| {
            Error::invalid("the array has no such dimension")
                .with("dimension", axis)
                .with("shape", format!("{:?}", self.shape))
        })?;
        let product = |sizes: Option<&[usize]>| sizes.unwrap_or_default().iter().product();
        Ok((product(self.shape.get(..axis)), extent, product(self.shape.get(axis + 1..))))
    }
}

/// Compares types, shapes and bytes; NaN equals NaN with the same bits.
impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        let same = self.dtype == other.dtype && self.shape == other.shape;
        same && match (&self.buffer, &other.buffer) {
            (Buffer::Fixed(a), Buffer::Fixed(b)) => a == b,
            _ => (0..self.len()).all(|index| self.item(index) == other.item(index)),
        }
    }
}

/// The number of items of a shape.
pub(crate) fn count(shape: &[usize]) -> Result<usize> {
    let product = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    product.ok_or_else(|| too_large(usize::MAX).with("shape", format!("{shape:?}")))
}

/// The item for places where nothing is stored.
pub(crate) fn fill_item(dtype: DType, fill: Option<&FillValue>) -> Result<Bytes> {
    let item = match (fill, dtype) {
        (Some(fill), _) => fill.item(),
        (None, DType::DateTime(..) | DType::TimeDelta(..)) => {
            Bytes::copy_from_slice(&NAT.to_le_bytes())
        }
        (None, _) => vec![0; dtype.item_size().unwrap_or(0)].into(),
    };
    if dtype.item_size().is_some_and(|size| size != item.len()) {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            "the size of the fill value does not match the type",
        )
        .with("dtype", dtype));
    }
    Ok(item)
}

/// Writes `item` repeatedly; if it is all zeros, leaves the zeroed memory untouched.
pub(crate) fn fill_with(bytes: &mut [u8], item: &[u8]) {
    if item.iter().any(|byte| *byte != 0) {
        for place in bytes.chunks_exact_mut(item.len()) {
            place.copy_from_slice(item);
        }
    }
}

/// Converts indices to ranges of consecutive ones, in the same order.
pub(crate) fn runs_of(indices: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index.saturating_add(1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(shape: &[usize]) -> Array {
        let items: usize = shape.iter().product();
        let bytes: Vec<u8> = (0..items as u32).flat_map(u32::to_le_bytes).collect();
        Array::from_bytes(DType::UInt32, shape.to_vec(), bytes).unwrap()
    }

    /// The same array with each number replaced by a text of a length that depends on it.
    fn spelled(array: &Array) -> Array {
        let texts = array.integers().unwrap().into_iter().map(|v| "x".repeat(v as usize % 5));
        let buffer = Buffer::of_items(texts).unwrap();
        Array::new(DType::Text, array.shape().to_vec(), buffer).unwrap()
    }

    fn shape() -> impl Strategy<Value = (Vec<usize>, usize)> {
        prop::collection::vec(0..5usize, 1..4)
            .prop_flat_map(|shape| (Just(shape.clone()), 0..shape.len()))
    }

    proptest! {
        #[test]
        fn pieces_make_the_whole((shape, axis) in shape(), cuts in prop::collection::vec(0..5usize, 0..3)) {
            for whole in [numbered(&shape), spelled(&numbered(&shape))] {
                let extent = shape[axis];
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (extent + 1)).collect();
                cuts.extend([0, extent]);
                cuts.sort_unstable();
                let pieces: Vec<Array> = cuts
                    .windows(2)
                    .map(|pair| whole.slice(axis, pair[0]..pair[1]).unwrap())
                    .collect();
                let pieces: Vec<&Array> = pieces.iter().collect();
                prop_assert_eq!(&Array::concat(&pieces, axis).unwrap(), &whole);
            }
        }

        #[test]
        fn taking_finds_each_item((shape, axis) in shape(), picks in prop::collection::vec(0..5usize, 0..6)) {
            let whole = numbered(&shape);
            let extent = shape[axis];
            let picks: Vec<usize> =
                if extent == 0 { Vec::new() } else { picks.iter().map(|pick| pick % extent).collect() };
            let taken = whole.take(axis, &picks).unwrap();
            let singles: Vec<Array> =
                picks.iter().map(|pick| whole.slice(axis, *pick..pick + 1).unwrap()).collect();
            let singles: Vec<&Array> = singles.iter().collect();
            if !singles.is_empty() {
                prop_assert_eq!(&taken, &Array::concat(&singles, axis).unwrap());
            }
            let texts = spelled(&whole).take(axis, &picks).unwrap();
            prop_assert_eq!(texts, spelled(&taken));
        }
    }

    #[test]
    fn a_selection_outside_is_refused() {
        let array = numbered(&[3, 2]);
        assert!(array.slice(0, 2..4).is_err());
        assert!(array.take(1, &[2]).is_err());
        assert!(array.slice(2, 0..0).is_err());
        assert!(array.take(0, &[usize::MAX]).is_err());
        assert!(Array::from_bytes(DType::UInt32, vec![3], vec![0; 11]).is_err());
        assert!(Array::full(DType::Float64, vec![1 << 40, 1 << 40], None).is_err());
    }

    #[test]
    fn a_slice_along_the_first_dimension_shares_memory() {
        let array = numbered(&[4, 2]);
        let slice = array.slice(0, 1..3).unwrap();
        assert_eq!(slice.bytes().unwrap().as_ptr(), array.bytes().unwrap()[8..].as_ptr());
    }

    #[test]
    fn unfilled_times_are_no_times() {
        let (dtype, _) = DType::parse("<M8[s]").unwrap();
        let array = Array::full(dtype, vec![2], None).unwrap();
        assert_eq!(array.integers().unwrap(), [i128::from(i64::MIN); 2]);
    }
}
