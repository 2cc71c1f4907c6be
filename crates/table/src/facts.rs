//! Statistics of files that other writers added: taken from an earlier snapshot if it contains
//! them, otherwise read from the files' footers.

use arrow::array::{Array, ArrayRef, LargeStringArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, is_null, not, take, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::{HashMap, HashSet};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use partita_core::{Cancel, Error, ErrorKind, Result, Store};
use std::sync::Arc;

use crate::format::categories::without_order;
use crate::format::columns::{given_of, with_given};
use crate::format::digests::FileDigests;
use crate::format::footer::ParquetObject;
use crate::format::given::holds_all;
use crate::format::statistics::{FileFacts, align, manifest, of_file};
use crate::scan::is_csv;
use crate::stage::texts;

/// The maximum number of footer reads in flight.
pub(crate) const FOOTERS: usize = 64;

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

/// The files that the manifest `earlier` does not name.
pub(crate) fn unknown(files: &[(&str, &str)], earlier: &RecordBatch) -> Vec<String> {
    let known: HashSet<&str> = texts(earlier, "key").collect();
    let keys = files.iter().map(|(_, key)| *key).filter(|key| !known.contains(key));
    keys.map(str::to_owned).collect()
}

/// The stored schema after another library has written the files `new`. It writes what it makes of
/// the values: a column of which a new file may hold other values than those of its given type is
/// read in the table's type from now on, and any may hold nulls. Two requests for each file, if the
/// schema has given fields.
pub(crate) async fn widened_by(store: &Store, stored: Schema, new: Vec<String>) -> Result<Schema> {
    if new.is_empty() || !stored.fields().iter().any(|field| given_of(field).is_some()) {
        return Ok(stored);
    }
    let schemas: Vec<SchemaRef> = stream::iter(new.into_iter().filter(|key| !is_csv(key)))
        .map(|key| async move {
            let mut object = ParquetObject::open(store, &key, None, None).await?;
            Ok::<_, Error>(Arc::clone(object.metadata(false).await?.schema()))
        })
        .buffer_unordered(FOOTERS)
        .try_collect()
        .await?;
    let fields = stored.fields().iter().map(|field| {
        let Some(given) = given_of(field) else { return field.as_ref().clone() };
        let mut found = schemas.iter().filter_map(|file| file.field_with_name(field.name()).ok());
        // Other libraries write times in no coarser unit than the stored one.
        let stays = given.data_type().is_temporal()
            || found.all(|file| holds_all(file.data_type(), given.data_type()));
        with_given(field, stays.then(|| without_order(&given).with_nullable(true)).as_ref())
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
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
    Ok(stated((label, key), object.bytes(), digests, &footer, table))
}

/// The statistics of a file of `bytes` that its footer states.
pub(crate) fn stated(
    (label, key): (String, String),
    bytes: u64,
    digests: Option<FileDigests>,
    footer: &ArrowReaderMetadata,
    table: &SchemaRef,
) -> FileFacts {
    let metadata = footer.metadata();
    FileFacts {
        rows: u64::try_from(metadata.file_metadata().num_rows()).ok(),
        groups: Some(metadata.num_row_groups() as u64),
        digests,
        columns: of_file(metadata, footer.schema(), table),
        ..FileFacts::unknown(label, key, Some(bytes))
    }
}
