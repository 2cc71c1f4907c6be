//! Progress reports and cooperative cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, ErrorKind, Result};

/// Receives the progress of a long operation. Called from several threads.
pub trait Progress: Send + Sync {
    /// Work of `total` units named `what` begins; `None` where the total is not known.
    fn start(&self, what: &str, total: Option<u64>);
    /// `amount` further units are done.
    fn advance(&self, amount: u64);
    /// The work begun last has ended, successfully or not.
    fn finish(&self);
}

/// Ignores every report.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _amount: u64) {}
    fn finish(&self) {}
}

/// A flag that asks running work to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the work to stop at its next check.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns [`ErrorKind::Interrupted`] once [`Cancel::cancel`] was called.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "the operation was interrupted"));
        }
        Ok(())
    }
}
