//! How collections are created, read and changed.

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

/// What a new collection is to be.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// How it is stored.
    pub layout: Layout,
    /// Keep a list of the partitions, which saves listing directories; Zarr v3 only.
    pub catalog: bool,
    /// The variables of which statistics are kept, beside the axis: see
    /// [`Collection::set_statistics`](crate::Collection::set_statistics).
    pub statistics: Vec<String>,
}

/// Who is told about the work, who can stop it, and how much of the machine it takes.
#[derive(Clone)]
pub struct Work {
    /// Told about bytes, before compression.
    pub progress: Arc<dyn Progress>,
    /// Stops the work.
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
    /// The same, telling nobody: for parts of work that is reported as a whole.
    pub(crate) fn quiet(&self) -> Self {
        Self { progress: Arc::new(NoProgress), ..self.clone() }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// What of a collection is to be read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Which partitions and rows; all if there is none. The columns are the fields of the keys, such
    /// as `year` and `month`, and the variables that have the partitioned dimension alone, such as
    /// the axis. Of a name that is both, the field is meant.
    pub predicate: Option<Predicate>,
    /// Of these only the rows that were chosen beforehand.
    pub rows: Option<Selection>,
    /// Which variables, by their paths; all if there are none.
    pub variables: Option<Vec<String>>,
    /// Told about bytes read, after decompression.
    pub work: Work,
}

/// Merges the rows of a partition with new ones: `(old, new)`, each with all partitioned variables.
/// The rows of the result must belong to the same partition.
pub type MergeFunction = Arc<dyn Fn(Dataset, Dataset) -> Result<Dataset> + Send + Sync>;

/// How inserted rows are merged with those that a partition has.
#[derive(Clone)]
pub enum MergeWith {
    /// By a strategy.
    Strategy(Merge),
    /// By a function.
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

/// How a dataset is inserted.
#[derive(Debug, Clone, Default)]
pub struct InsertOptions {
    /// How its rows are merged with those that are there.
    pub merge: MergeWith,
    /// The values that are stored for variables that the data lacks, by the paths of the variables.
    /// They take precedence over fill values.
    pub fill: HashMap<String, FillValue>,
    /// The caller's name for this commit: one that was made before is not made again.
    pub key: Option<String>,
    /// Told about bytes written, before compression.
    pub work: Work,
}

/// How far a function sees beyond its partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Its own rows only.
    #[default]
    None,
    /// So many partitions before and behind, of the whole collection.
    Partitions(usize),
    /// So many rows before and behind, of however many partitions of the whole collection.
    Rows(usize),
}

/// What a function is called with.
#[derive(Debug)]
pub struct PartitionData {
    /// The partition.
    pub key: Key,
    /// Its rows, between those of its neighbours.
    pub data: Dataset,
    /// Which rows are its own.
    pub own: std::ops::Range<usize>,
}

/// Works out new values of variables from a partition. They have either the partition's own rows,
/// or those that the function was given, of which the neighbours' are cut off.
pub type UpdateFunction = Arc<dyn Fn(PartitionData) -> Result<Vec<Variable>> + Send + Sync>;

/// Which partitions a function is called with, and how.
#[derive(Debug, Clone, Default)]
pub struct MapOptions {
    /// Which partitions; all if there is none. The columns are the fields of the keys.
    pub predicate: Option<Predicate>,
    /// Of these only the ones at these paths.
    pub paths: Option<Vec<String>>,
    /// Of these only the rows that were chosen beforehand: the function sees no others. There are no
    /// neighbours then.
    pub rows: Option<Selection>,
    /// Which variables the function is given, by their paths; all if there are none.
    pub variables: Option<Vec<String>>,
    /// How far the function sees.
    pub depth: Depth,
    /// How many partitions are worked on at once, from reading to writing. If nothing is said, the
    /// function is called for as many as there are cores, while as many others are read or written.
    pub at_once: Option<usize>,
    /// Of an update, the caller's name for its commit: one that was made before is not made again.
    pub key: Option<String>,
    /// Told about partitions.
    pub work: Work,
}

/// How many partitions are worked on at once, and the cores on which functions are called for them.
/// While functions take all, others are read or written.
pub(crate) fn concurrency(at_once: Option<usize>) -> (usize, Cores) {
    let cores = cores();
    (at_once.unwrap_or(2 * cores).max(1), Cores::new(at_once.unwrap_or(cores)))
}
