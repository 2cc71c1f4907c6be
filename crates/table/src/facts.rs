//! Statistics of files that other writers added: taken from an earlier snapshot if it contains
//! them, otherwise read from the files' footers.

use arrow::array::{Array, ArrayRef, LargeStringArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, is_null, not, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;
use partita_core::{Cancel, Error, ErrorKind, Result, Store};
use std::sync::Arc;

use crate::format::digests::FileDigests;
use crate::format::footer::ParquetObject;
use crate::format::statistics::{FileFacts, align, manifest, of_file};
use crate::scan::is_csv;
use crate::stage::texts;

/// The maximum number of footer reads in flight.
const FOOTERS: usize = 64;

/// The manifest of `files` (label and key) with the statistics of `earlier`. Data files are
/// immutable, so statistics of a key stay valid.
pub(crate) fn remembered(
    files: &[(&str, &str)],
    earlier: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let earlier = align(earlier, schema)?;
    let rows: HashMap<&str, u64> = texts(&earlier, "key").zip(0..).collect();
    let rows: UInt64Array = files.iter().map(|(_, key)| rows.get(key).copied()).collect();
    let named = |of: fn(&(&str, &str)) -> String| -> ArrayRef {
        Arc::new(LargeStringArray::from_iter_values(files.iter().map(of)))
    };
    let columns: Result<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .zip(earlier.columns())
        .map(|(field, column)| match field.name().as_str() {
            "label" => Ok(named(|(label, _)| (*label).to_owned())),
            "key" => Ok(named(|(_, key)| (*key).to_owned())),
            _ => Ok(take(column, &rows, None)?),
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}

/// The error for a manifest that should have been completed first.
pub(crate) fn missing_row_counts() -> Error {
    Error::corrupt("the row counts of some files are not known")
}

/// True if rows, size and bounds of every file are known.
pub(crate) fn is_complete(manifest: &RecordBatch) -> bool {
    manifest.column_by_name("rows").is_some_and(|rows| rows.null_count() == 0)
}

/// Fills unknown statistics of the manifest from the footers of the files; two requests for each of
/// those files.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a file is missing or is not Parquet.
pub(crate) async fn complete(
    store: &Store,
    known: &RecordBatch,
    table: &SchemaRef,
    cancel: &Cancel,
) -> Result<RecordBatch> {
    let schema = known.schema();
    let rows = known.column_by_name("rows").ok_or_else(missing_row_counts)?;
    let unknown = is_null(rows)?;
    let files = filter_record_batch(known, &unknown)?;
    let files: Vec<(String, String)> = texts(&files, "label")
        .zip(texts(&files, "key"))
        .map(|(label, key)| (label.to_owned(), key.to_owned()))
        .collect();
    if let Some((_, key)) = files.iter().find(|(_, key)| is_csv(key)) {
        return Err(Error::new(
            ErrorKind::ReadOnly,
            "a table with partitions in CSV can be read, not changed",
        )
        .with("key", key));
    }
    let learned: Vec<FileFacts> = stream::iter(files)
        .map(|(label, key)| async move {
            cancel.check()?;
            facts(store, label, key, None, table).await
        })
        .buffered(FOOTERS)
        .try_collect()
        .await?;
    let parts = [filter_record_batch(known, &not(&unknown)?)?, manifest(&learned, &schema)?];
    // Restore the order of the header, which readers see.
    let (mut old, mut new) = (0, parts[0].num_rows() as u64);
    let order: UInt64Array = unknown
        .values()
        .iter()
        .map(|is_new| {
            let next = if is_new { &mut new } else { &mut old };
            *next += 1;
            Some(*next - 1)
        })
        .collect();
    Ok(take_record_batch(&concat_batches(&schema, &parts)?, &order)?)
}

/// Reads the statistics in the footer of a file, which is compared with `digests`; two requests.
pub(crate) async fn facts(
    store: &Store,
    label: String,
    key: String,
    digests: Option<FileDigests>,
    table: &SchemaRef,
) -> Result<FileFacts> {
    let object = ParquetObject::open(store, &key, None, None).await?;
    let mut object = object.committed_as(digests);
    let footer = object.metadata(false).await?;
    let metadata = footer.metadata();
    Ok(FileFacts {
        rows: u64::try_from(metadata.file_metadata().num_rows()).ok(),
        bytes: Some(object.bytes()),
        footer: None,
        groups: Some(metadata.num_row_groups() as u64),
        buckets: None,
        digests,
        columns: of_file(metadata, footer.schema(), table),
        label,
        key,
    })
}
