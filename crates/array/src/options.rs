//! Options for creating, reading and changing collections.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use partita_core::{Cancel, NoProgress, Predicate, Progress, Result, cores};

use crate::cores::Cores;
use crate::dataset::{Dataset, FillValue, Variable};
use crate::layout::Layout;
use crate::merge::Merge;
use crate::partitioning::Key;
use crate::selection::Selection;

/// Options of a new collection.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The layout in which it is stored.
    pub layout: Layout,
    /// Keep a catalog of the partitions, which saves listing directories; Zarr v3 only.
    pub catalog: bool,
    /// The variables, besides the axis, of which statistics are kept: see
    /// [`Collection::set_statistics`](crate::Collection::set_statistics).
    pub statistics: Vec<String>,
}

/// How an operation reports progress, how it is cancelled, and how many cores it uses.
#[derive(Clone)]
pub struct Work {
    /// Receives progress in bytes, before compression.
    pub progress: Arc<dyn Progress>,
    /// Cancels the operation.
    pub cancel: Cancel,
    /// The cores that encode and decode.
    pub cores: Cores,
}

impl Default for Work {
    fn default() -> Self {
        let progress = Arc::new(NoProgress);
        Self { progress, cancel: Cancel::default(), cores: Cores::default() }
    }
}

impl Work {
    /// A copy that reports no progress, for a part of an operation that is reported as a whole.
    pub(crate) fn quiet(&self) -> Self {
        Self { progress: Arc::new(NoProgress), ..self.clone() }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// Which part of a collection is read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Selects partitions and rows; all if there is none. The columns are the fields of the keys,
    /// such as `year` and `month`, and the variables that have the partitioned dimension alone,
    /// such as the axis. A name that is both means the field.
    pub predicate: Option<Predicate>,
    /// Reads only these rows of the selected partitions; all if there is none.
    pub rows: Option<Selection>,
    /// The paths of the variables; all if there are none.
    pub variables: Option<Vec<String>>,
    /// Receives progress in bytes read, after decompression.
    pub work: Work,
}

/// Merges the existing rows of a partition with new ones: `(old, new)`, each with all partitioned
/// variables. The rows of the result must belong to the same partition.
pub type MergeFunction = Arc<dyn Fn(Dataset, Dataset) -> Result<Dataset> + Send + Sync>;

/// How inserted rows are merged with the existing rows of a partition.
#[derive(Clone)]
pub enum MergeWith {
    /// By one of the built-in strategies.
    Strategy(Merge),
    /// By a function of the caller.
    Function(MergeFunction),
}

impl Default for MergeWith {
    fn default() -> Self {
        Self::Strategy(Merge::Replace)
    }
}

impl fmt::Debug for MergeWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strategy(merge) => f.debug_tuple("Strategy").field(merge).finish(),
            Self::Function(_) => f.debug_tuple("Function").finish_non_exhaustive(),
        }
    }
}

/// Options of an insert.
#[derive(Debug, Clone, Default)]
pub struct InsertOptions {
    /// How the rows are merged with existing ones.
    pub merge: MergeWith,
    /// The values that are stored for variables that the data lacks, by the paths of the variables.
    /// They take precedence over fill values.
    pub fill: HashMap<String, FillValue>,
    /// The idempotency key of the commit: a commit with the same key is not made twice.
    pub key: Option<String>,
    /// Receives progress in bytes written, before compression.
    pub work: Work,
}

/// How many rows of neighbouring partitions a function is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// None: the partition's own rows only.
    #[default]
    None,
    /// All rows of this many partitions before and after, of the whole collection.
    Partitions(usize),
    /// This many rows before and after, from as many partitions of the whole collection as needed.
    Rows(usize),
}

/// The argument of a function that is called for each partition.
#[derive(Debug)]
pub struct PartitionData {
    /// The key of the partition.
    pub key: Key,
    /// The rows of the partition, between those of its neighbours.
    pub data: Dataset,
    /// The range of rows that belong to the partition itself.
    pub own: std::ops::Range<usize>,
}

/// Computes new values of variables from a partition. They have either the partition's own rows, or
/// all rows that the function was given; the neighbours' rows are then cut off.
pub type UpdateFunction = Arc<dyn Fn(PartitionData) -> Result<Vec<Variable>> + Send + Sync>;

/// Options of a call of a function for each partition.
#[derive(Debug, Clone, Default)]
pub struct MapOptions {
    /// Selects partitions; all if there is none. The columns are the fields of the keys.
    pub predicate: Option<Predicate>,
    /// Uses only the selected partitions at these paths; all if there is none.
    pub paths: Option<Vec<String>>,
    /// Passes only these rows of the selected partitions to the function. Neighbours cannot be
    /// given then.
    pub rows: Option<Selection>,
    /// The paths of the variables that the function is given; all if there are none.
    pub variables: Option<Vec<String>>,
    /// How many neighbouring rows the function is given.
    pub depth: Depth,
    /// How many partitions are processed concurrently, from reading to writing. By default the
    /// function runs for as many partitions as there are cores, while as many others are read or
    /// written.
    pub at_once: Option<usize>,
    /// The idempotency key of the commit of an update: a commit with the same key is not made
    /// twice.
    pub key: Option<String>,
    /// Receives progress in partitions.
    pub work: Work,
}

/// The number of partitions in flight, and the cores on which functions are called for them. By
/// default it is twice the number of cores, so that other partitions are read or written while
/// functions run on all cores.
pub(crate) fn concurrency(at_once: Option<usize>) -> (usize, Cores) {
    let cores = cores();
    (at_once.unwrap_or(2 * cores).max(1), Cores::new(at_once.unwrap_or(cores)))
}
