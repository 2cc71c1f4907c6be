//! The memory with the items of an array.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use partita_core::{Error, Result};

/// Items in memory. Clones and slices share memory.
#[derive(Debug, Clone)]
pub enum Buffer {
    /// Items of one size.
    Fixed(Bytes),
    /// Items of variable length: item `i` is `bytes[offsets[i]..offsets[i + 1]]`.
    Variable {
        /// One more than there are items; never decreasing.
        offsets: Arc<[usize]>,
        /// The items' bytes.
        bytes: Bytes,
    },
}

impl Buffer {
    /// A buffer of items of variable length.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if there is not enough memory.
    pub fn of_items<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Result<Self> {
        let items = items.into_iter();
        let (least, _) = items.size_hint();
        let mut offsets = Vec::new();
        let many = least.saturating_add(1);
        offsets.try_reserve_exact(many).map_err(|_| too_large(many))?;
        offsets.push(0);
        let mut bytes = Vec::new();
        for item in items {
            let item = item.as_ref();
            bytes.try_reserve(item.len()).map_err(|_| too_large(item.len()))?;
            bytes.extend_from_slice(item);
            offsets.push(bytes.len());
        }
        Ok(Self::Variable { offsets: offsets.into(), bytes: bytes.into() })
    }

    /// A buffer of `size` zero bytes.
    pub(crate) fn zeroed(size: usize) -> Result<BytesMut> {
        // An infallible allocation would abort the process.
        Vec::<u8>::new().try_reserve_exact(size).map_err(|_| too_large(size))?;
        Ok(BytesMut::zeroed(size))
    }

    /// The bytes of items of one size; none for items of variable length.
    pub(crate) fn as_fixed(&self) -> Option<&[u8]> {
        match self {
            Self::Fixed(bytes) => Some(bytes),
            Self::Variable { .. } => None,
        }
    }

    /// The size in memory in bytes.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Variable { offsets, .. } => {
                let ends = offsets.first().zip(offsets.last());
                ends.map_or(0, |(start, end)| end.saturating_sub(*start))
            }
        }
    }

    /// The bytes of item `index`; `item_size` is the size of fixed-size items.
    #[must_use]
    pub fn item(&self, index: usize, item_size: usize) -> Option<&[u8]> {
        match self {
            Self::Fixed(bytes) => {
                let start = index.checked_mul(item_size)?;
                bytes.get(start..start.checked_add(item_size)?)
            }
            Self::Variable { offsets, bytes } => {
                bytes.get(*offsets.get(index)?..*offsets.get(index + 1)?)
            }
        }
    }

    /// True if the buffer has exactly this many items, and its offsets are consistent.
    pub(crate) fn is_whole(&self, items: usize, item_size: usize) -> bool {
        match self {
            Self::Fixed(bytes) => items.checked_mul(item_size) == Some(bytes.len()),
            Self::Variable { offsets, bytes } => {
                offsets.len() == items + 1
                    && offsets.is_sorted()
                    && offsets.last().is_some_and(|end| *end <= bytes.len())
            }
        }
    }

    /// The items of the ranges, concatenated. A single range shares memory.
    pub(crate) fn gather(
        &self,
        ranges: impl Iterator<Item = Range<usize>> + Clone,
        item_size: usize,
    ) -> Result<Self> {
        let mut first_two = ranges.clone();
        if let (Some(range), None) = (first_two.next(), first_two.next()) {
            return self.cut(&range, item_size);
        }
        match self {
            Self::Fixed(bytes) => {
                let items =
                    ranges.clone().fold(0usize, |sum, range| sum.saturating_add(range.len()));
                let size = items.checked_mul(item_size).ok_or_else(|| too_large(items))?;
                let mut out = Vec::new();
                out.try_reserve_exact(size).map_err(|_| too_large(size))?;
                for range in ranges {
                    let cut = bytes.get(range.start * item_size..range.end * item_size);
                    out.extend_from_slice(cut.ok_or_else(outside)?);
                }
                Ok(Self::Fixed(out.into()))
            }
            Self::Variable { offsets, bytes } => {
                let mut starts = vec![0];
                let mut out = Vec::new();
                for range in ranges {
                    let cut = offsets.get(range.start..=range.end).ok_or_else(outside)?;
                    let (Some(from), Some(to)) = (cut.first(), cut.last()) else { continue };
                    let base = out.len();
                    out.extend_from_slice(bytes.get(*from..*to).ok_or_else(outside)?);
                    starts.extend(cut.iter().skip(1).map(|end| base + end - from));
                }
                Ok(Self::Variable { offsets: starts.into(), bytes: out.into() })
            }
        }
    }

    fn cut(&self, range: &Range<usize>, item_size: usize) -> Result<Self> {
        match self {
            Self::Fixed(bytes) => {
                let (start, end) = (range.start * item_size, range.end * item_size);
                bytes.get(start..end).ok_or_else(outside)?;
                Ok(Self::Fixed(bytes.slice(start..end)))
            }
            Self::Variable { offsets, bytes } => {
                let offsets = offsets.get(range.start..=range.end).ok_or_else(outside)?.into();
                Ok(Self::Variable { offsets, bytes: bytes.clone() })
            }
        }
    }
}

pub(crate) fn too_large(size: usize) -> Error {
    Error::invalid("there is not enough memory for the array; select fewer items")
        .with("bytes", size)
}

fn outside() -> Error {
    Error::invalid("the selection reaches beyond the array")
}
