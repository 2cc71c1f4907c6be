//! A pool of buffers for the encoding and decoding of chunks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use partita_core::Result;

use crate::dataset::too_large;
use crate::pages;

/// Buffers from this size on are allocated in whole huge pages.
const MIN_POPULATED: usize = 1 << 20;
/// Larger buffers are not populated in advance: their pages are mapped when they are first written.
const MAX_POPULATED: usize = 64 << 20;

/// Buffers of finished chunks, kept for later ones. The first write to fresh memory faults its
/// pages in, which takes as long as decoding a chunk.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<Vec<u8>>>);

impl BufferPool {
    /// Takes any buffer from the pool; it is empty. Without one, returns a buffer without capacity.
    pub fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Returns an empty buffer with capacity for `size` bytes, from the pool if one is large
    /// enough.
    pub fn with_capacity(&self, size: usize) -> Result<Vec<u8>> {
        if let Some(kept) = self.fitting(size) {
            return Ok(kept);
        }
        let mut buffer: Vec<u8> = Vec::new();
        let is_large = (MIN_POPULATED..=MAX_POPULATED).contains(&size);
        let capacity = if is_large { pages::whole(size) } else { size };
        buffer.try_reserve_exact(capacity).map_err(|_| too_large(size))?;
        if is_large {
            pages::touch_all(buffer.as_ptr().addr(), buffer.capacity());
        }
        Ok(buffer)
    }

    /// Removes the smallest buffer with capacity for `size` bytes from the pool.
    fn fitting(&self, size: usize) -> Option<Vec<u8>> {
        let mut kept = self.lock();
        let fitting = kept.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= size);
        let (at, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        Some(kept.swap_remove(at))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a buffer of `size` zero bytes.
    pub fn zeroed(&self, size: usize) -> Result<Vec<u8>> {
        let mut buffer = self.with_capacity(size)?;
        buffer.resize(size, 0);
        Ok(buffer)
    }

    /// Returns a buffer to the pool.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.lock().push(buffer);
    }

    /// Returns the memory of an object to the pool, if this is the only reference to it.
    pub fn give_object(&self, object: Bytes) {
        if let Ok(mut memory) = object.try_into_mut() {
            // The conversion would copy the content.
            memory.clear();
            self.give(memory.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_empty_and_only_if_it_is_not_shared() {
        let pool = BufferPool::default();
        let object = Bytes::from(vec![1; 1000]);
        pool.give_object(object.clone());
        assert_eq!(pool.take().capacity(), 0);
        let at = object.as_ptr();
        pool.give_object(object);
        let again = pool.take();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (at, 0, 1000));
        assert_eq!(pool.take().capacity(), 0);
    }

    #[test]
    fn the_smallest_buffer_that_is_large_enough_is_used() {
        let pool = BufferPool::default();
        for capacity in [300, 100, 200] {
            pool.give(Vec::with_capacity(capacity));
        }
        for (size, capacity) in [(150, 200), (0, 100), (150, 300), (150, 150)] {
            assert_eq!(pool.with_capacity(size).unwrap().capacity(), capacity);
        }
        pool.give(Vec::with_capacity(10));
        assert_eq!(pool.zeroed(20).unwrap(), [0; 20]);
        assert_eq!(pool.take().capacity(), 10);
        assert!(pool.with_capacity(usize::MAX).is_err());
    }

    #[test]
    fn large_buffers_fill_whole_huge_pages() {
        for size in [MIN_POPULATED, 3_840_000, MAX_POPULATED] {
            let capacity = BufferPool::default().with_capacity(size).unwrap().capacity();
            assert!(capacity >= size && capacity < size + (2 << 20));
            assert_eq!(capacity, pages::whole(size));
        }
        assert_eq!(
            BufferPool::default().with_capacity(MIN_POPULATED - 1).unwrap().capacity(),
            MIN_POPULATED - 1
        );
    }
}
