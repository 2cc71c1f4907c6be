//! Uninitialised output buffers, which several jobs fill in parallel.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use partita_core::{Error, Result};

use crate::buffer_pool::BufferPool;
use crate::dataset::too_large;
use crate::pages;

/// An uninitialised slice of an array's output buffer. Its pages may not be mapped yet.
#[derive(Debug)]
pub(crate) struct UninitBuffer {
    bytes: BytesMut,
    size: usize,
    /// The address at which the whole buffer of the array ends; 0 if the memory comes from the pool,
    /// which populates it itself.
    end: usize,
}

impl UninitBuffer {
    /// Allocates a buffer of `size` bytes.
    pub fn new(size: usize) -> Result<Self> {
        // An infallible allocation would abort the process.
        Vec::<u8>::new().try_reserve_exact(size).map_err(|_| too_large(size))?;
        let bytes = BytesMut::with_capacity(size);
        let end = bytes.as_ptr().addr().saturating_add(size);
        Ok(Self { bytes, size, end })
    }

    /// Allocates a buffer of `size` bytes, from the pool if it holds one that is large enough.
    pub fn reused(size: usize, pool: &BufferPool) -> Result<Self> {
        if size == 0 {
            return Self::new(0);
        }
        let memory = Bytes::from(pool.with_capacity(size)?);
        // This is the only reference to the memory, which is empty, so that nothing is copied.
        let bytes = memory.try_into_mut().unwrap_or_else(|_| BytesMut::with_capacity(size));
        Ok(Self { bytes, size, end: 0 })
    }

    /// Splits off the first `size` bytes, or all bytes if there are fewer.
    pub fn split(&mut self, size: usize) -> Self {
        let size = size.min(self.size);
        let rest = self.bytes.split_off(size);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        self.size -= size;
        Self { bytes, size, end: self.end }
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Fills the buffer with `fill`, which must return the whole slice that it was given.
    ///
    /// # Errors
    /// The errors of `fill`; [`Corrupt`](partita_core::ErrorKind::Corrupt) if it returns less than
    /// the whole slice.
    #[expect(
        unsafe_code,
        reason = "clearing the memory before it is filled would cost a second pass"
    )]
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
            return Err(Error::corrupt("a part of an array was not filled"));
        }
        // SAFETY: `fill` returned initialised bytes that cover exactly this memory.
        unsafe { self.bytes.set_len(self.size) };
        Ok(self.bytes)
    }

    /// Fills the buffer with zeros.
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
        /// The parts join into one buffer, whatever their sizes and the order in which they are
        /// filled.
        #[test]
        fn parts_are_one_piece_again(
            sizes in prop::collection::vec(0..5_000_000usize, 1..6),
            backwards: bool,
        ) {
            let mut rest = UninitBuffer::new(sizes.iter().sum()).unwrap();
            let start = rest.bytes.as_ptr();
            let mut buffers: Vec<_> = sizes.iter().map(|size| rest.split(*size)).collect();
            prop_assert_eq!(rest.size(), 0);
            if backwards {
                buffers.reverse();
            }
            let fill = |(number, buffer): (usize, UninitBuffer)| match number % 2 {
                0 => buffer.zeroed(),
                _ => buffer.filled(|empty| Ok(empty.write_copy_of_slice(&vec![7; empty.len()]))).unwrap(),
            };
            let mut parts: Vec<BytesMut> = buffers.into_iter().enumerate().map(fill).collect();
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
    fn a_part_that_is_not_filled_is_an_error() {
        let all = UninitBuffer::new(8).unwrap();
        assert!(all.filled(|empty| Ok(empty[..7].write_copy_of_slice(&[1; 7]))).is_err());
        assert!(UninitBuffer::new(usize::MAX).is_err());
    }
}
