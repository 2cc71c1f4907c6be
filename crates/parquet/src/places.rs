//! Validation of offsets in a footer. The decoder panics if they are negative.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use partita_core::{Error, Result};

use crate::damaged;

/// Rejects metadata with offsets outside of a file of `size` bytes, or negative numbers of rows.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt).
pub fn check_places(metadata: &ParquetMetaData, size: u64) -> Result<()> {
    let rows = metadata.file_metadata().num_rows();
    if rows < 0 {
        return Err(damaged("has a negative number of rows").with("rows", rows));
    }
    let mut total = 0i64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let wrong = |error: Error| error.with("row_group", number);
        let rows = group.num_rows();
        total = total
            .checked_add(rows)
            .filter(|_| rows >= 0)
            .ok_or_else(|| wrong(damaged("has a row group with an invalid number of rows")))?;
        for column in group.columns() {
            check_column(column, size)
                .map_err(|error| wrong(error.with("column", column.column_path().string())))?;
        }
    }
    if total != rows {
        return Err(damaged("has row groups whose rows do not add up to its total")
            .with("rows", rows)
            .with("found", total));
    }
    Ok(())
}

fn check_column(column: &ColumnChunkMetaData, size: u64) -> Result<()> {
    let dictionary = column.dictionary_page_offset();
    let start = dictionary.unwrap_or_else(|| column.data_page_offset());
    within(Some(start), Some(column.compressed_size()), size)?;
    within(Some(column.data_page_offset()), None, size)?;
    within(column.column_index_offset(), column.column_index_length().map(i64::from), size)?;
    within(column.offset_index_offset(), column.offset_index_length().map(i64::from), size)?;
    within(column.bloom_filter_offset(), column.bloom_filter_length().map(i64::from), size)?;
    if column.num_values() < 0 || column.uncompressed_size() < 0 {
        return Err(damaged("has a column with a negative size"));
    }
    Ok(())
}

fn within(start: Option<i64>, length: Option<i64>, size: u64) -> Result<()> {
    let Some(start) = start else { return Ok(()) };
    let end = u64::try_from(start)
        .ok()
        .zip(u64::try_from(length.unwrap_or(0)).ok())
        .and_then(|(start, length)| start.checked_add(length));
    match end {
        Some(end) if end <= size => Ok(()),
        _ => Err(damaged("has an offset outside of the file")
            .with("start", start)
            .with("size", size)),
    }
}
