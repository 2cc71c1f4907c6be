//! Sorting rows before they are written.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take, take_record_batch};
use partita_core::{Error, ErrorKind, Result};

/// The rows sorted by the named columns; nulls last, and stable. Partition columns, which a file
/// does not contain, are equal in all of its rows.
pub(super) fn sorted(rows: &RecordBatch, by: &[String]) -> Result<RecordBatch> {
    let mut columns: Vec<SortColumn> = Vec::with_capacity(by.len() + 1);
    for values in by.iter().filter_map(|name| rows.column_by_name(name)) {
        let options = SortOptions { descending: false, nulls_first: false };
        let values = match values.as_any_dictionary_opt() {
            Some(dictionary) => take(dictionary.values(), dictionary.keys(), None)?,
            None => Arc::clone(values),
        };
        columns.push(SortColumn { values, options: Some(options) });
    }
    if columns.is_empty() {
        return Ok(rows.clone());
    }
    let position = UInt64Array::from_iter_values(0..rows.num_rows() as u64);
    columns.push(SortColumn { values: Arc::new(position), options: None });
    Ok(take_record_batch(rows, &lexsort_to_indices(&columns, None)?)?)
}

/// The error for a sort column that does not exist.
pub(crate) fn no_such_column(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "the table has no such column").with("column", name)
}
