//! Blocking work on local files, run by a thread for an asynchronous caller.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use object_store::Result;

use super::local::{LocalFiles, blocking};
use super::lock::KeyLock;

/// The locks that are held as leases. Work that began under one of them keeps it until the work has
/// ended, even if the caller dropped its future long before.
#[derive(Debug, Default)]
pub(super) struct HeldLocks(Mutex<Vec<Weak<KeyLock>>>);

impl HeldLocks {
    /// Registers a lock.
    pub fn add(&self, lock: &Arc<KeyLock>) {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|lock| lock.strong_count() > 0);
        locks.push(Arc::downgrade(lock));
    }

    fn all(&self) -> Vec<Arc<KeyLock>> {
        let locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Work in progress.
pub(super) struct Work {
    locks: Vec<Arc<KeyLock>>,
    awaited: Weak<()>,
    /// The number of steps after which a test cancels the work.
    #[cfg(test)]
    pub steps: std::sync::atomic::AtomicUsize,
}

impl Work {
    fn new(locks: Vec<Arc<KeyLock>>, awaited: &Arc<()>) -> Self {
        Self {
            locks,
            awaited: Arc::downgrade(awaited),
            #[cfg(test)]
            steps: usize::MAX.into(),
        }
    }

    #[cfg(test)]
    pub fn of_test(awaited: &Arc<()>) -> Self {
        Self::new(Vec::new(), awaited)
    }

    /// Called between two steps. It signals progress to those who wait for the locks.
    ///
    /// # Errors
    /// `Interrupted` if nobody awaits the work any more: its lease may have been lost.
    pub fn step(&self) -> io::Result<()> {
        self.locks.iter().for_each(|lock| lock.progress());
        #[cfg(test)]
        if self.steps.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            return Err(given_up());
        }
        if self.awaited.strong_count() == 0 { Err(given_up()) } else { Ok(()) }
    }
}

fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "nobody waits for it any more")
}

impl LocalFiles {
    /// Runs blocking work of many steps on a thread that may block.
    pub async fn work<T: Send + 'static>(
        &self,
        steps: impl FnOnce(&Self, &Work) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let waits = Arc::new(());
        let work = Work::new(self.held.all(), &waits);
        let files = self.clone();
        let done = blocking(move || steps(&files, &work)).await;
        drop(waits);
        done
    }
}
