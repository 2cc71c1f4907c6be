//! Counting the requests and bytes of reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Store;

/// Counts read requests and the bytes that they fetch.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// Requests so far; those that failed count too.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes fetched so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Store {
    /// The same store with its reads counted by `meter`.
    #[must_use]
    pub fn metered(&self, meter: Arc<Meter>) -> Self {
        let mut store = self.clone();
        store.meter = Some(meter);
        store
    }

    pub(super) fn count_request(&self) {
        if let Some(meter) = &self.meter {
            meter.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_bytes(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}
