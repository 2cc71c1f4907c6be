//! What garbage collection and verification of tables and collections take and return.

use std::fmt;

use jiff::SignedDuration;

use crate::progress::Cancel;

/// The default grace period of garbage collection.
pub const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Options of a garbage collection.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// Objects that were written, or dropped from the dataset, less than this ago by the store's
    /// clock are kept: a writer may be about to commit them, or a reader may still read them.
    pub grace: SignedDuration,
    /// Report the objects to remove, and remove nothing.
    pub dry_run: bool,
    /// Stops the work between requests.
    pub cancel: Cancel,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self { grace: GRACE, dry_run: false, cancel: Cancel::default() }
    }
}

/// The objects that garbage collection removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The keys, in order.
    pub keys: Vec<String>,
    /// The total size of the objects in bytes.
    pub bytes: u64,
    /// Of a table, objects that versions of the history name but that are missing in the store, in
    /// order: another program, such as plateau's own garbage collection, has removed them.
    pub missing: Vec<String>,
}

/// The subject of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// An object that the dataset names is not in the store; or a partition of a collection lacks a
    /// variable, or what makes it one.
    Missing,
    /// An object cannot be read.
    Damaged,
    /// The recorded size, row count, bounds or statistics are wrong.
    Statistics,
    /// An index does not agree with the data.
    Index,
    /// The schema file differs from that of the newest commit.
    Schema,
    /// There are two headers, of which readers use the JSON one; or the header is neither the one that
    /// was committed nor one of another library.
    Header,
    /// A snapshot that the history needs is missing or damaged.
    History,
    /// Rows lie in a partition to which they do not belong.
    Misplaced,
    /// The list of partitions is wrong.
    Catalog,
    /// A view has other rows than its base.
    Unsynced,
}

impl ProblemKind {
    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Statistics => "statistics",
            Self::Index => "index",
            Self::Schema => "schema",
            Self::Header => "header",
            Self::History => "history",
            Self::Misplaced => "misplaced",
            Self::Catalog => "catalog",
            Self::Unsynced => "unsynced",
        }
    }
}

/// A fault found in a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The subject of the problem.
    pub kind: ProblemKind,
    /// The key of the object, or the path of the partition.
    pub at: String,
    /// A description of the fault.
    pub message: String,
    /// True if it was repaired.
    pub repaired: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repaired = if self.repaired { " (repaired)" } else { "" };
        write!(f, "{}: {}: {}{repaired}", self.kind.name(), self.at, self.message)
    }
}
