//! Tests that select the rows of a file that a read returns.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{not, prep_null_mask_filter};
use partita_core::Result;
use partita_core::predicate::{BoundPredicate, Facts};

/// A test of rows. It receives the columns it names, in the types of the table.
pub(crate) trait RowTest: fmt::Debug + Send + Sync {
    /// The columns that the test needs.
    fn columns(&self) -> Vec<String>;

    /// True for the rows to return; null counts as false.
    fn test(&self, batch: &RecordBatch) -> Result<BooleanArray>;

    /// False for row groups that contain no such row according to their statistics; `None` if
    /// statistics do not help.
    fn may_match(&self, facts: &dyn Facts) -> Result<Option<BooleanArray>>;
}

impl RowTest for BoundPredicate {
    fn columns(&self) -> Vec<String> {
        self.columns().iter().cloned().collect()
    }

    fn test(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.evaluate(batch)
    }

    fn may_match(&self, facts: &dyn Facts) -> Result<Option<BooleanArray>> {
        BoundPredicate::may_match(self, facts).map(Some)
    }
}

/// The complement of another test.
#[derive(Debug)]
pub(crate) struct Except(pub Arc<dyn RowTest>);

impl RowTest for Except {
    fn columns(&self) -> Vec<String> {
        self.0.columns()
    }

    fn test(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mask = self.0.test(batch)?;
        let certain = if mask.null_count() > 0 { prep_null_mask_filter(&mask) } else { mask };
        Ok(not(&certain)?)
    }

    fn may_match(&self, _facts: &dyn Facts) -> Result<Option<BooleanArray>> {
        Ok(None)
    }
}
