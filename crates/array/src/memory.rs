//! Memory for the items of an array, which jobs fill side by side.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use partita_core::{Error, Result};

use crate::dataset::too_large;
use crate::pages;
use crate::spare::Spare;

/// A part of the memory of an array, with just the room for what is to be put there. Nothing is in
/// it yet, and the system may not even have given it.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: BytesMut,
    size: usize,
    /// The address at which the memory of the array ends; 0 if it was touched before.
    end: usize,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(size: usize) -> Result<Self> {
        // A plain allocation that fails ends the process.
        Vec::<u8>::new().try_reserve_exact(size).map_err(|_| too_large(size))?;
        let bytes = BytesMut::with_capacity(size);
        let end = bytes.as_ptr().addr().saturating_add(size);
        Ok(Self { bytes, size, end })
    }

    /// Room for so many bytes, in memory that was used before if there is some.
    pub fn reused(size: usize, spare: &Spare) -> Result<Self> {
        if size == 0 {
            return Self::new(0);
        }
        let memory = Bytes::from(spare.room(size)?);
        // Nobody else has it, and nothing is in it that would be copied otherwise.
        let bytes = memory.try_into_mut().unwrap_or_else(|_| BytesMut::with_capacity(size));
        Ok(Self { bytes, size, end: 0 })
    }

    /// Cuts the first `size` bytes off, or what there is.
    pub fn split(&mut self, size: usize) -> Self {
        let size = size.min(self.size);
        let rest = self.bytes.split_off(size);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        self.size -= size;
        Self { bytes, size, end: self.end }
    }

    /// Bytes that it has room for.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Has it filled. `fill` gives all of it back.
    ///
    /// # Errors
    /// Those of `fill`.
    #[expect(unsafe_code, reason = "memory need not be cleared to be filled")]
    pub fn filled(
        mut self,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<&mut [u8]>,
    ) -> Result<BytesMut> {
        pages::touch(self.bytes.as_ptr().addr(), self.size, self.end);
        let empty = self.bytes.spare_capacity_mut();
        let empty = empty.get_mut(..self.size).ok_or_else(|| too_large(self.size))?;
        let all = empty.as_ptr_range();
        let filled = fill(empty)?.as_ptr_range();
        if all.start.cast() != filled.start || all.end.cast() != filled.end {
            return Err(Error::corrupt("a part of an array is not filled"));
        }
        // SAFETY: items with a value have been given for just this memory.
        unsafe { self.bytes.set_len(self.size) };
        Ok(self.bytes)
    }

    /// Has it filled with zeros.
    pub fn zeroed(mut self) -> BytesMut {
        pages::touch(self.bytes.as_ptr().addr(), self.size, self.end);
        self.bytes.resize(self.size, 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever it is cut into, and in which order parts are filled.
        #[test]
        fn parts_are_one_piece_again(
            sizes in prop::collection::vec(0..5_000_000usize, 1..6),
            backwards: bool,
        ) {
            let mut rest = Room::new(sizes.iter().sum()).unwrap();
            let start = rest.bytes.as_ptr();
            let mut rooms: Vec<Room> = sizes.iter().map(|size| rest.split(*size)).collect();
            prop_assert_eq!(rest.size(), 0);
            if backwards {
                rooms.reverse();
            }
            let fill = |(number, room): (usize, Room)| match number % 2 {
                0 => room.zeroed(),
                _ => room.filled(|empty| Ok(empty.write_copy_of_slice(&vec![7; empty.len()]))).unwrap(),
            };
            let mut parts: Vec<BytesMut> = rooms.into_iter().enumerate().map(fill).collect();
            if backwards {
                parts.reverse();
            }
            prop_assert_eq!(parts.iter().map(BytesMut::len).collect::<Vec<_>>(), sizes);
            let mut whole = BytesMut::new();
            parts.into_iter().for_each(|part| whole.unsplit(part));
            prop_assert!(whole.is_empty() || whole.as_ptr() == start);
        }
    }

    #[test]
    fn what_is_not_filled_is_an_error() {
        let all = Room::new(8).unwrap();
        assert!(all.filled(|empty| Ok(empty[..7].write_copy_of_slice(&[1; 7]))).is_err());
        assert!(Room::new(usize::MAX).is_err());
    }
}
