//! Memory that is used again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use partita_core::Result;

use crate::dataset::too_large;
use crate::pages;

/// Memory from this size on is taken in large pages.
const LARGE: usize = 1 << 20;
/// No more is touched before it is needed.
const LARGEST: usize = 64 << 20;

/// Memory of chunks that are done with, for those that come next: memory that the system gives anew
/// takes as long to be touched as a chunk does to be decoded.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Empty, with the room of a buffer that was given back, if there is one.
    pub fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Empty, with room for so many bytes.
    pub fn room(&self, size: usize) -> Result<Vec<u8>> {
        if let Some(kept) = self.fitting(size) {
            return Ok(kept);
        }
        let mut buffer: Vec<u8> = Vec::new();
        let is_large = (LARGE..=LARGEST).contains(&size);
        let room = if is_large { pages::whole(size) } else { size };
        buffer.try_reserve_exact(room).map_err(|_| too_large(size))?;
        if is_large {
            pages::touch_all(buffer.as_ptr().addr(), buffer.capacity());
        }
        Ok(buffer)
    }

    /// The smallest buffer with room for so many bytes.
    fn fitting(&self, size: usize) -> Option<Vec<u8>> {
        let mut kept = self.lock();
        let fitting = kept.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= size);
        let (at, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        Some(kept.swap_remove(at))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many zero bytes.
    pub fn zeroed(&self, size: usize) -> Result<Vec<u8>> {
        let mut buffer = self.room(size)?;
        buffer.resize(size, 0);
        Ok(buffer)
    }

    /// Takes a buffer back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.lock().push(buffer);
    }

    /// Takes back the memory of an object, if nobody else has it.
    pub fn give_object(&self, object: Bytes) {
        if let Ok(mut memory) = object.try_into_mut() {
            // What is in it would be copied.
            memory.clear();
            self.give(memory.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_empty_and_only_if_nobody_has_it() {
        let spare = Spare::default();
        let object = Bytes::from(vec![1; 1000]);
        spare.give_object(object.clone());
        assert_eq!(spare.take().capacity(), 0);
        let at = object.as_ptr();
        spare.give_object(object);
        let again = spare.take();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (at, 0, 1000));
        assert_eq!(spare.take().capacity(), 0);
    }

    #[test]
    fn the_smallest_that_has_room_is_used() {
        let spare = Spare::default();
        for capacity in [300, 100, 200] {
            spare.give(Vec::with_capacity(capacity));
        }
        for (size, capacity) in [(150, 200), (0, 100), (150, 300), (150, 150)] {
            assert_eq!(spare.room(size).unwrap().capacity(), capacity);
        }
        spare.give(Vec::with_capacity(10));
        assert_eq!(spare.zeroed(20).unwrap(), [0; 20]);
        assert_eq!(spare.take().capacity(), 10);
        assert!(spare.room(usize::MAX).is_err());
    }

    #[test]
    fn large_memory_fills_large_pages() {
        for size in [LARGE, 3_840_000, LARGEST] {
            let capacity = Spare::default().room(size).unwrap().capacity();
            assert!(capacity >= size && capacity < size + (2 << 20));
            assert_eq!(capacity, pages::whole(size));
        }
        assert_eq!(Spare::default().room(LARGE - 1).unwrap().capacity(), LARGE - 1);
    }
}
