//! Snapshots: the state of a table at one version, as a Parquet file beside the data.
//!
//! The rows are the manifest (see [`Manifest`]) and the files that the commit
//! removed; all other data is in the key-value metadata. A snapshot contains the hash of the header
//! that it describes: if plateau has committed since, the hash differs and the snapshot's
//! statistics are not used.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, RecordBatch, StringArray,
    new_null_array,
};
use arrow::compute::{cast, concat_batches, not};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use indexmap::IndexMap;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use partita_core::store::LARGEST;
use partita_core::{Error, Result, Store, guarded};
use partita_parquet::{check_pages, check_seal, load, sealed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::footer::{named, unreadable};
use super::header::LAST_VERSION;
use super::index::stored::IndexFile;
use super::ipc::{decode_schema, encode_schema};
use super::manifest::{FOOTER, Manifest};
use super::pandas::ExtensionTypes;
use crate::stage::Derivations;

const DOCUMENT: &str = "partita.snapshot";
const SCHEMA: &str = "partita.schema";

/// The format number for releases that only know format 1. They ignore a snapshot with a higher
/// number and continue as after a commit by plateau, so the number stays; see [`REFUSED`].
const FORMAT: u32 = 1;

/// The revision of the snapshot format that this code writes.
const REVISION: u32 = 2;

/// The features that this release supports beyond revision 2.
const KNOWN: [&str; 0] = [];

/// The column of the footer lengths.
const FOOTER_LENGTH: &str = "footer_length";

/// In [`FOOTER`], releases that only know format 1 expect the footer lengths. There is a column of
/// this name with a type that they cannot convert, and their error shows the name of that type's
/// field.
const REFUSED: &str = "this table needs a later release of partita";

/// The column that tells whether the commit added or removed a file.
const CHANGE: &str = "change";
const ADDED: &str = "added";
const REMOVED: &str = "removed";

/// The kind of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The table was created or replaced.
    Create,
    /// Files were added.
    Append,
    /// Files in a scope were replaced.
    Replace,
    /// Rows, or whole files, in a scope were removed.
    Delete,
    /// Rows replaced those with the same key.
    Upsert,
    /// Small files were merged into larger ones.
    Optimize,
    /// The schema was changed.
    Alter,
    /// Indices were built or dropped.
    Index,
    /// An older version was made the newest.
    Restore,
}

impl Operation {
    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Append => "append",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Upsert => "upsert",
            Self::Optimize => "optimize",
            Self::Alter => "alter",
            Self::Index => "index",
            Self::Restore => "restore",
        }
    }
}

/// The content of a snapshot other than its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    format: u32,
    /// 2; 1 if the document has no revision.
    #[serde(default = "first_revision")]
    revision: u32,
    /// The features that a reader must support to read the snapshot.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The attempt to commit that wrote it; empty in revision 1.
    #[serde(default)]
    pub attempt: String,
    /// The idempotency key of the commit.
    #[serde(default)]
    pub key: Option<String>,
    /// The ids of the staged descriptors that it committed.
    #[serde(default)]
    pub staged: Vec<String>,
    /// The index files of the version before that this one does not name.
    #[serde(default)]
    pub removed_indices: Vec<String>,
    /// The version; each commit of Partita adds one.
    pub version: u64,
    /// The id of the commit.
    pub commit: String,
    /// The key of the snapshot before this one.
    pub parent: Option<String>,
    /// When the snapshot was created, by the writer's clock; RFC 3339.
    pub time: String,
    /// The kind of the commit.
    pub operation: Operation,
    /// The BLAKE3 hash of the header described, in hexadecimal.
    pub header_hash: String,
    /// The table's name inside the dataset.
    pub table_name: String,
    /// The columns in the order in which the table was created.
    pub columns: Vec<String>,
    /// The partition columns.
    pub partition_by: Vec<String>,
    /// Partition columns that are derived from others; absent in early snapshots.
    #[serde(default)]
    pub derived: Option<Derivations>,
    /// The columns that get bloom filters.
    #[serde(default)]
    pub bloom_filters: Vec<String>,
    /// Index files by column.
    pub indices: IndexMap<String, Value>,
    /// True if every file is in every index, so that an index may exclude files it lacks.
    pub indices_complete: bool,
    /// The lengths of the index files.
    #[serde(default)]
    pub index_lengths: BTreeMap<String, IndexFile>,
    /// The user's annotations.
    pub metadata: Map<String, Value>,
    /// Pandas extension types by column.
    #[serde(default)]
    pub extension_types: ExtensionTypes,
    /// The largest id that a column has ever had.
    #[serde(default)]
    pub last_column_id: i32,
    /// The schemas of the table by number.
    #[serde(default)]
    pub schemas: Schemas,
    /// Number of files after the commit.
    pub files: u64,
    /// Number of rows after the commit, as far as known.
    pub rows: u64,
    /// Size in bytes after the commit, as far as known.
    pub bytes: u64,
    /// Files added and removed by the commit, and the rows in them.
    pub change: Totals,
}

/// The number of the schema of a table, and the schemas in which files of it were written before. A
/// schema has the number of the version that brought it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schemas {
    /// The number of the schema; zero where it has none yet.
    pub current: u64,
    /// Older schemas by number, as Arrow streams in base64.
    pub older: BTreeMap<u64, String>,
}

impl Schemas {
    /// Gives the schema of `version` its number, if it is another one than `before`, or has none.
    ///
    /// # Errors
    /// None that data can cause; Arrow's are passed on.
    pub fn advance(&mut self, before: &Schema, after: &Schema, version: u64) -> Result<()> {
        if before != after {
            self.retire(before)?;
        }
        if self.current == 0 {
            self.current = version;
        }
        Ok(())
    }

    /// The schema is no longer `before`, and has no number yet.
    ///
    /// # Errors
    /// As [`Schemas::advance`].
    pub fn retire(&mut self, before: &Schema) -> Result<()> {
        let number = std::mem::take(&mut self.current);
        if number > 0 {
            self.older.insert(number, encode_schema(before)?);
        }
        Ok(())
    }
}

/// Totals of the additions and removals of one commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Files added.
    pub files_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Rows added.
    pub rows_added: u64,
    /// Rows removed, as far as known.
    pub rows_removed: u64,
    /// Bytes added.
    pub bytes_added: u64,
}

impl Document {
    /// A document of the current format; the caller fills in the fields.
    #[must_use]
    pub fn new(version: u64, commit: &str, operation: Operation, time: String) -> Self {
        Self {
            format: FORMAT,
            revision: REVISION,
            requires: Vec::new(),
            attempt: String::new(),
            key: None,
            staged: Vec::new(),
            removed_indices: Vec::new(),
            version,
            commit: commit.to_owned(),
            parent: None,
            time,
            operation,
            header_hash: String::new(),
            table_name: String::new(),
            columns: Vec::new(),
            partition_by: Vec::new(),
            derived: None,
            bloom_filters: Vec::new(),
            indices: IndexMap::new(),
            indices_complete: true,
            index_lengths: BTreeMap::new(),
            metadata: Map::new(),
            extension_types: ExtensionTypes::new(),
            last_column_id: 0,
            schemas: Schemas::default(),
            files: 0,
            rows: 0,
            bytes: 0,
            change: Totals::default(),
        }
    }

    /// A copy for a commit that restores this version; the caller fills in its own fields.
    #[must_use]
    pub fn again(&self, version: u64, commit: &str, operation: Operation) -> Self {
        Self {
            format: FORMAT,
            revision: REVISION,
            version,
            commit: commit.to_owned(),
            operation,
            time: crate::commit::now(),
            staged: Vec::new(),
            key: None,
            ..self.clone()
        }
    }

    /// Sets the revision that [`Snapshot::encode`] writes.
    pub fn renew(&mut self) {
        self.revision = REVISION;
    }

    /// True if the snapshot records which files its commit added and removed.
    #[must_use]
    pub fn records_changes(&self) -> bool {
        self.revision >= REVISION
    }
}

fn first_revision() -> u32 {
    1
}

/// Fails for a feature that this release does not support.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) naming the first unknown feature.
pub fn check_requirements<'a>(requires: impl IntoIterator<Item = &'a str>) -> Result<()> {
    match requires.into_iter().find(|name| !KNOWN.contains(name)) {
        Some(name) => {
            Err(Error::corrupt("the table needs a later release of Partita").with("feature", name))
        }
        None => Ok(()),
    }
}

/// The state of a table at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// All content other than its files.
    pub document: Document,
    /// The stored schema of the table.
    pub schema: Schema,
    /// Its files.
    pub manifest: Manifest,
    /// The files that its commit added and removed; `None` in revision 1.
    pub delta: Option<Delta>,
}

/// The files that a commit added and removed.
#[derive(Debug, Clone)]
pub struct Delta {
    /// Which rows of the manifest the commit added.
    pub added: BooleanArray,
    /// The rows of the previous manifest for the files that the commit removed.
    pub removed: Manifest,
}

impl Snapshot {
    /// Encodes the snapshot.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn encode(&self) -> Result<Bytes> {
        let unwritable = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::invalid("the snapshot cannot be written").caused_by(error)
        };
        let document = serde_json::to_string(&self.document).map_err(|e| unwritable(e.into()))?;
        let schema = encode_schema(&self.schema)?;
        let level = ZstdLevel::try_new(1).map_err(|e| unwritable(e.into()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_key_value_metadata(Some(vec![
                KeyValue::new(DOCUMENT.to_owned(), document),
                KeyValue::new(SCHEMA.to_owned(), schema),
            ]))
            .build();
        let rows = self.rows()?;
        let write = || {
            let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
            writer.write(&rows)?;
            writer.into_inner()
        };
        write().map(|file| sealed(file).into()).map_err(|error| unwritable(error.into()))
    }

    /// Reads a stored snapshot. One request.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound) if there is none; otherwise as
    /// [`Snapshot::decode`].
    pub async fn fetch(store: &Store, key: &str) -> Result<Self> {
        let bytes = store.get_within(key, LARGEST).await?.ok_or_else(|| store.missing(key))?;
        Self::decode(bytes, key)
    }

    /// Decodes a stored snapshot.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the bytes are not a snapshot, or of a later
    /// format.
    pub fn decode(bytes: Bytes, key: &str) -> Result<Self> {
        guarded(|| Self::decode_checked(bytes, key)).map_err(|error| named(error, key))
    }

    fn decode_checked(bytes: Bytes, key: &str) -> Result<Self> {
        let damaged = |what: &str| Error::corrupt(format!("a snapshot {what}")).with("key", key);
        check_seal(&bytes)?;
        let metadata = load(&bytes, ArrowReaderOptions::new())?;
        check_pages(&bytes, metadata.metadata())?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
        let document = document_of(builder.metadata().file_metadata().key_value_metadata(), key)?;
        let schema = schema_of(builder.metadata().file_metadata().key_value_metadata(), key)?;
        let rows = builder.metadata().file_metadata().num_rows();
        let stored_schema = Arc::new(Schema::new(builder.schema().fields().clone()));
        let rows = usize::try_from(rows).map_err(|_| damaged("has an impossible size"))?;
        let reader = builder
            .with_batch_size(rows.clamp(1, 1 << 20))
            .build()
            .map_err(|error| unreadable(key, error))?;
        let batches: Vec<RecordBatch> = reader
            .collect::<Result<_, _>>()
            .map_err(|error| damaged("cannot be decoded").caused_by(error))?;
        let rows = concat_batches(&stored_schema, &batches)
            .map_err(|error| damaged("cannot be decoded").caused_by(error))?;
        let (manifest, delta) = match document.records_changes() {
            true => split(&rows).map_err(|error| error.with("key", key))?,
            false => (Manifest::new(rows).map_err(|error| error.with("key", key))?, None),
        };
        Ok(Self { document, schema, manifest, delta })
    }

    /// The rows in stored form: the manifest, and the files that the commit removed.
    fn rows(&self) -> Result<RecordBatch> {
        let before = self.manifest.schema();
        // Deleted values would stay in the store as bounds of removed files.
        let removed =
            self.delta.as_ref().map(|delta| delta.removed.without_bounds()).transpose()?;
        let all = Manifest::concat(&before, [&self.manifest].into_iter().chain(&removed))?;
        let fields = before.fields().iter().map(|field| match field.name().as_str() {
            FOOTER => Arc::new(field.as_ref().clone().with_name(FOOTER_LENGTH)),
            _ => Arc::clone(field),
        });
        let mut fields: Vec<_> = fields.collect();
        let mut columns = all.as_batch().columns().to_vec();
        let change = self.changes(all.len());
        for (name, column) in [(CHANGE, change), (FOOTER, refusal(all.len()))] {
            fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    fn changes(&self, rows: usize) -> ArrayRef {
        let added = |row| self.delta.as_ref().is_some_and(|delta| delta.added.value(row));
        let present = self.manifest.len();
        let change = |row| match row < present {
            true => added(row).then_some(ADDED),
            false => Some(REMOVED),
        };
        Arc::new((0..rows).map(change).collect::<StringArray>())
    }
}

/// A column that releases that only know format 1 cannot convert.
fn refusal(rows: usize) -> ArrayRef {
    let field = Field::new(REFUSED, DataType::Boolean, true);
    new_null_array(&DataType::Struct(vec![field].into()), rows)
}

/// Splits the stored rows into the manifest and the changes of the commit.
fn split(rows: &RecordBatch) -> Result<(Manifest, Option<Delta>)> {
    let damaged =
        |column: &'static str| Error::corrupt("a snapshot lacks a column").with("column", column);
    let change = rows.column_by_name(CHANGE).ok_or_else(|| damaged(CHANGE))?;
    let change = cast(change, &DataType::LargeUtf8)?;
    let change: &LargeStringArray = change.as_string_opt().ok_or_else(|| damaged(CHANGE))?;
    let is = |what: &str| -> BooleanArray {
        change.iter().map(|change| Some(change == Some(what))).collect()
    };
    let stored = rows.schema();
    let kept: Vec<usize> = (0..)
        .zip(stored.fields())
        .filter(|(_, field)| ![CHANGE, FOOTER].contains(&field.name().as_str()))
        .map(|(position, _)| position)
        .collect();
    let plain = rows.project(&kept)?;
    let stored = plain.schema();
    let fields = stored.fields().iter().map(|field| match field.name().as_str() {
        FOOTER_LENGTH => Arc::new(field.as_ref().clone().with_name(FOOTER)),
        _ => Arc::clone(field),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let plain = Manifest::new(RecordBatch::try_new(schema, plain.columns().to_vec())?)?;
    let removed = is(REMOVED);
    let added = is(ADDED);
    if removed.true_count() == 0 {
        let removed = Manifest::empty(plain.schema());
        return Ok((plain, Some(Delta { added, removed })));
    }
    let present = not(&removed)?;
    let added = arrow::compute::filter(&added, &present)?.as_boolean().clone();
    let delta = Delta { added, removed: plain.filter(&removed)? };
    Ok((plain.filter(&present)?, Some(delta)))
}

/// Reads the document of a snapshot from its footer, without the rows.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt), see [`Snapshot::decode`].
pub fn decode_document(metadata: &ArrowReaderMetadata, key: &str) -> Result<Document> {
    document_of(metadata.metadata().file_metadata().key_value_metadata(), key)
}

/// Reads only the stored schema of a snapshot out of its footer.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) as [`Snapshot::decode`].
pub fn decode_snapshot_schema(metadata: &ArrowReaderMetadata, key: &str) -> Result<Schema> {
    schema_of(metadata.metadata().file_metadata().key_value_metadata(), key)
}

fn schema_of(entries: Option<&Vec<KeyValue>>, key: &str) -> Result<Schema> {
    entry(entries, SCHEMA)
        .and_then(|text| decode_schema(text).ok())
        .ok_or_else(|| Error::corrupt("a snapshot names no schema").with("key", key))
}

fn document_of(entries: Option<&Vec<KeyValue>>, key: &str) -> Result<Document> {
    let damaged = |what: &str| Error::corrupt(format!("a snapshot {what}")).with("key", key);
    let text = entry(entries, DOCUMENT).ok_or_else(|| damaged("lacks its document"))?;
    let document: Document = serde_json::from_str(text)
        .map_err(|error| damaged("has a document that cannot be read").caused_by(error))?;
    if document.format > FORMAT {
        return Err(
            damaged("is of a later format; use a newer release").with("format", document.format)
        );
    }
    check_requirements(document.requires.iter().map(String::as_str))
        .map_err(|error| error.with("key", key))?;
    if document.version >= LAST_VERSION {
        return Err(damaged("has an impossible number").with("version", document.version));
    }
    Ok(document)
}

fn entry<'a>(entries: Option<&'a Vec<KeyValue>>, key: &str) -> Option<&'a str> {
    entries?.iter().find(|entry| entry.key == key)?.value.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::UInt64Array;

    fn manifest(keys: &[&str]) -> Manifest {
        let schema = Manifest::schema_of(&Schema::empty(), &[]);
        let texts = || Arc::new(LargeStringArray::from(keys.to_vec())) as ArrayRef;
        let numbers = || Arc::new(UInt64Array::from(vec![7; keys.len()])) as ArrayRef;
        let columns = schema.fields().iter().map(|field| match field.data_type() {
            DataType::LargeUtf8 => texts(),
            DataType::UInt64 => numbers(),
            other => new_null_array(other, keys.len()),
        });
        let columns = columns.collect();
        Manifest::new(RecordBatch::try_new(schema, columns).unwrap()).unwrap()
    }

    fn snapshot(present: &[&str], added: usize, removed: &[&str]) -> Snapshot {
        let old = present.len() - added;
        Snapshot {
            document: Document::new(3, "id", Operation::Replace, "now".to_owned()),
            schema: Schema::new(vec![Field::new("a", DataType::Int64, true)]),
            manifest: manifest(present),
            delta: Some(Delta {
                added: (0..present.len()).map(|row| Some(row >= old)).collect(),
                removed: manifest(removed),
            }),
        }
    }

    const SHAPES: [(&[&str], usize, &[&str]); 4] =
        [(&["a", "b"], 1, &["c", "d"]), (&["a"], 0, &[]), (&[], 0, &["c"]), (&[], 0, &[])];

    #[test]
    fn comes_back_as_written() {
        for (present, added, removed) in SHAPES {
            let written = snapshot(present, added, removed);
            let read = Snapshot::decode(written.encode().unwrap(), "k").unwrap();
            assert_eq!(read.manifest, written.manifest);
            let (read, written) = (read.delta.unwrap(), written.delta.unwrap());
            assert_eq!(read.added, written.added);
            assert_eq!(read.removed, written.removed);
        }
    }

    /// Imitates a release that only knows format 1: it reads all columns, finds those that it
    /// needs, accepts the format number, and converts the columns to its own types.
    #[test]
    fn releases_of_format_1_refuse_it() {
        for (present, added, removed) in SHAPES {
            let stored = snapshot(present, added, removed).encode().unwrap();
            let builder = ParquetRecordBatchReaderBuilder::try_new(stored).unwrap();
            let entries = builder.metadata().file_metadata().key_value_metadata().cloned();
            let document: Value =
                serde_json::from_str(entry(entries.as_ref(), DOCUMENT).unwrap()).unwrap();
            assert_eq!(document["format"], 1, "it would pass over a higher number");
            let schema = Arc::clone(builder.schema());
            let batches: Vec<RecordBatch> =
                builder.build().unwrap().collect::<Result<_, _>>().unwrap();
            let rows = concat_batches(&schema, &batches).unwrap();
            for needed in ["label", "key", "rows", "bytes", "footer"] {
                assert!(rows.column_by_name(needed).is_some(), "{needed}");
            }
            let footers = rows.column_by_name(FOOTER).unwrap();
            let error = cast(footers, &DataType::UInt64).unwrap_err();
            assert!(error.to_string().contains(REFUSED), "{error}");
        }
    }

    #[test]
    fn a_feature_that_is_not_known_is_refused() {
        let mut later = snapshot(&["a"], 1, &[]);
        later.document.requires.push("delete-vectors".to_owned());
        let error = Snapshot::decode(later.encode().unwrap(), "k").unwrap_err();
        assert!(error.to_string().contains("delete-vectors"), "{error}");
    }
}
