//! How collections are created and read.

use std::fmt;
use std::sync::Arc;

use partita_core::{Cancel, NoProgress, Predicate, Progress};

use crate::layout::Layout;

/// What a new collection is to be.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// How it is stored.
    pub layout: Layout,
    /// Keep a list of the partitions, which saves listing directories; Zarr v3 only.
    pub catalog: bool,
}

/// What of a collection is to be read.
#[derive(Clone)]
pub struct ReadOptions {
    /// Which partitions; all if there is none. The columns are the fields of the keys, such as
    /// `year` and `month`.
    pub predicate: Option<Predicate>,
    /// Which variables, by their paths; all if there are none.
    pub variables: Option<Vec<String>>,
    /// Told about bytes read, after decompression.
    pub progress: Arc<dyn Progress>,
    /// Stops the work.
    pub cancel: Cancel,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            predicate: None,
            variables: None,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
        }
    }
}

impl fmt::Debug for ReadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOptions")
            .field("predicate", &self.predicate)
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}
