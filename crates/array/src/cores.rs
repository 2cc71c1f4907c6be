//! Work that keeps cores busy.

use std::fmt;
use std::sync::Arc;

use partita_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::spare::Spare;

/// How many cores work may keep busy. Clones share them.
///
/// Jobs that wait for a store may be many; those that encode and decode are as many as there are
/// cores and no more, since each has tables and chunks of its own, and more of them drive each
/// other's out of the caches.
#[derive(Clone)]
pub struct Cores {
    idle: Arc<Semaphore>,
    spare: Arc<Spare>,
}

impl Cores {
    /// So many, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let idle = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { idle, spare: Arc::default() }
    }

    /// The memory in which chunks are encoded and decoded.
    pub(crate) fn spare(&self) -> Arc<Spare> {
        Arc::clone(&self.spare)
    }

    /// Waits for a core, and runs what keeps it busy.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let core = Arc::clone(&self.idle).acquire_owned().await.map_err(stopped)?;
        let run = move || {
            // Held until the work is done, also where nobody waits for it any more.
            let _core = core;
            work()
        };
        tokio::task::spawn_blocking(run).await.map_err(stopped)
    }
}

/// All that the process may use.
impl Default for Cores {
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(2, usize::from))
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores").field("idle", &self.idle.available_permits()).finish()
    }
}

fn stopped(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Interrupted, "the work was stopped").caused_by(error)
}
