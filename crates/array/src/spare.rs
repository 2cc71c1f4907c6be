//! Memory that is used again.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use partita_core::Result;

use crate::dataset::too_large;

/// Memory of chunks that are done with, for those that come next: memory that the system gives anew
/// takes as long to be touched as a chunk does to be decoded.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Empty, with the room of a buffer that was given back, if there is one.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Empty, with room for so many bytes.
    pub fn room(&self, size: usize) -> Result<Vec<u8>> {
        let mut buffer = self.take();
        buffer.try_reserve_exact(size).map_err(|_| too_large(size))?;
        Ok(buffer)
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
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
}
