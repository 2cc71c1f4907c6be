//! Statistics of files that other writers added: taken from an earlier snapshot if it contains
//! them, otherwise read from the files' footers.

use arrow::array::UInt64Array;
use arrow::compute::{is_null, not};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, future, stream};
use hashbrown::HashSet;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use partita_core::{Cancel, Error, ErrorKind, Result, Store};
use std::sync::Arc;

use crate::format::categories::without_order;
use crate::format::columns::{given_of, with_given};
use crate::format::digests::FileDigests;
use crate::format::footer::ParquetObject;
use crate::format::given::{as_others_write, holds_all};
use crate::format::manifest::Manifest;
use crate::format::statistics::{FileFacts, of_file};
use crate::scan::is_csv;
use crate::stage::CREATED_BY;

/// The maximum number of footer reads in flight.
pub(crate) const FOOTERS: usize = 64;

/// The files that the manifest `earlier` does not name.
pub(crate) fn unknown(files: &[(&str, &str)], earlier: &Manifest) -> Vec<String> {
    let known: HashSet<&str> = earlier.keys().collect();
    let keys = files.iter().map(|(_, key)| *key).filter(|key| !known.contains(key));
    keys.map(str::to_owned).collect()
}

/// The stored schema after another library has written the files `new`. It writes what it makes of
/// the values: a column of which a new file may hold other values than those of its given type is
/// read in the table's type from now on, and any may hold nulls. Files of Partita that a lost
/// snapshot named hold values of the given types. Two requests for each file, if the schema has
/// given fields.
pub(crate) async fn widened_by(store: &Store, stored: Schema, new: Vec<String>) -> Result<Schema> {
    if new.is_empty() || !stored.fields().iter().any(|field| given_of(field).is_some()) {
        return Ok(stored);
    }
    let schemas: Vec<SchemaRef> = stream::iter(new.into_iter().filter(|key| !is_csv(key)))
        .map(|key| async move {
            let mut object = ParquetObject::open(store, &key, None, None).await?;
            let footer = object.metadata(false).await?;
            let writer = footer.metadata().file_metadata().created_by();
            let ours = writer.is_some_and(|writer| writer.starts_with(CREATED_BY));
            Ok::<_, Error>((!ours).then(|| Arc::clone(footer.schema())))
        })
        .buffer_unordered(FOOTERS)
        .try_filter_map(|schema| future::ready(Ok::<_, Error>(schema)))
        .try_collect()
        .await?;
    if schemas.is_empty() {
        return Ok(stored);
    }
    let fields = stored.fields().iter().map(|field| {
        let Some(given) = given_of(field) else { return field.as_ref().clone() };
        let given = as_others_write(&without_order(&given));
        let mut found = schemas.iter().filter_map(|file| file.field_with_name(field.name()).ok());
        let stays = found.all(|file| match (file.data_type(), given.data_type()) {
            // Times of microseconds that nanoseconds do not reach fail when they are read.
            (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => from <= to,
            (file, given) => given.is_temporal() || holds_all(file, given),
        });
        with_given(field, stays.then_some(&given))
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// The error for a manifest that should have been completed first.
pub(crate) fn missing_row_counts() -> Error {
    Error::corrupt("the row counts of some files are not known")
}

/// Fills unknown statistics of the manifest from the footers of the files; two requests for each of
/// those files.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a file is missing or is not Parquet.
pub(crate) async fn complete(
    store: &Store,
    known: &Manifest,
    table: &SchemaRef,
    cancel: &Cancel,
) -> Result<Manifest> {
    let schema = known.schema();
    let rows = known.row_counts().ok_or_else(missing_row_counts)?;
    let unknown = is_null(rows)?;
    let files = known.filter(&unknown)?;
    let files: Vec<(String, String)> = files
        .labels()
        .zip(files.keys())
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
    let parts = [known.filter(&not(&unknown)?)?, Manifest::of(&learned, &schema)?];
    // Restore the order of the header, which readers see.
    let (mut old, mut new) = (0, parts[0].len() as u64);
    let order: UInt64Array = unknown
        .values()
        .iter()
        .map(|is_new| {
            let next = if is_new { &mut new } else { &mut old };
            *next += 1;
            Some(*next - 1)
        })
        .collect();
    Manifest::concat(&schema, &parts)?.take(&order)
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
