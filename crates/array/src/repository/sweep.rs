//! What garbage collection deletes, or would.

use std::sync::{Arc, Mutex, PoisonError};

use partita_core::upkeep::Garbage;
use partita_core::{Cancel, Result};

/// An account of objects that are deleted, shared with whoever asked for it.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    /// Nothing is changed, neither by deletes nor by writes.
    trial: bool,
    cancel: Cancel,
    gone: Arc<Mutex<Garbage>>,
}

impl Sweep {
    pub fn new(trial: bool, cancel: Cancel) -> Self {
        Self { trial, cancel, gone: Arc::default() }
    }

    pub fn is_trial(&self) -> bool {
        self.trial
    }

    /// Refuses to go on if the caller wants to stop.
    pub fn check(&self) -> Result<()> {
        self.cancel.check()
    }

    pub fn add(&self, objects: Vec<(String, u64)>) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, size) in objects {
            gone.bytes += size;
            gone.keys.push(key);
        }
    }

    /// What was deleted, in order.
    pub fn finish(self) -> Garbage {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        gone.keys.sort();
        gone
    }
}
