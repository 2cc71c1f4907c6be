//! What other processes are doing to a collection, as far as its store shows it.

use jiff::Timestamp;
use partita_core::Result;

use crate::collection::Collection;

/// What other processes are doing to a collection. Times are those of the clock of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// The leases that are held. Locks of local files are not among them.
    pub leases: Vec<HeldLease>,
    /// What writers have staged and not committed, the one that has waited longest first.
    pub staged: Vec<StagedWork>,
}

/// A lease that a process holds, or held when it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    /// What the process does under it.
    pub task: LeasedTask,
    /// The last renewal. A process at work renews its lease every ten seconds.
    pub renewed: Timestamp,
}

/// What is done under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasedTask {
    /// Publishing commits.
    Publish,
    /// Committing, by a writer that has lost two races.
    Commit,
}

impl LeasedTask {
    /// The name of the task.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Commit => "commit",
        }
    }
}

/// What a writer has staged and no commit names: the writer is at work, will commit later, or was
/// stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedWork {
    /// The id of the writer.
    pub writer: String,
    /// The number of its staged objects.
    pub objects: u64,
    /// Their size together.
    pub bytes: u64,
    /// When it last staged one.
    pub changed: Timestamp,
}

impl Collection {
    /// What other processes are doing to the collection. Of a collection in an Icechunk repository
    /// nothing is known, since writers leave no trace there before they commit. Costs a listing of
    /// what is staged, and a request for each record.
    ///
    /// # Errors
    /// [`Store`](partita_core::ErrorKind::Store); [`Corrupt`](partita_core::ErrorKind::Corrupt) if a
    /// record cannot be read.
    pub async fn activity(&self) -> Result<Activity> {
        self.backend().activity().await
    }
}
