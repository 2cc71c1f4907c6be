//! Snapshots: the state of a table at one version, as a Parquet file beside the data.
//!
//! The rows are the manifest (see [`statistics`](super::statistics)); what is not per file stands
//! in the key-value metadata. A snapshot names the hash of the header that it describes: when
//! plateau has committed since, the hash differs and the snapshot's statistics are not used.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use indexmap::IndexMap;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use partita_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::footer::unreadable;
use super::index::stored::Lengths;
use super::pandas::ExtensionTypes;
use crate::stage::Derivations;

const DOCUMENT: &str = "partita.snapshot";
const SCHEMA: &str = "partita.schema";

/// The version of the snapshot format that this code writes.
const FORMAT: u32 = 1;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The table was made, or made anew.
    Create,
    /// Files were added.
    Append,
    /// Files in a scope were replaced.
    Replace,
    /// Rows, or whole files, in a scope were removed.
    Delete,
    /// Rows took the place of those with the same key.
    Upsert,
    /// Files were put together.
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

/// What a snapshot says besides its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    format: u32,
    /// The version; each commit of Partita adds one.
    pub version: u64,
    /// The id of the commit.
    pub commit: String,
    /// The key of the snapshot before this one.
    pub parent: Option<String>,
    /// When the writer made it, by its own clock; RFC 3339.
    pub time: String,
    /// What the commit did.
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
    /// The columns of which files get bloom filters.
    #[serde(default)]
    pub bloom_filters: Vec<String>,
    /// Index files by column.
    pub indices: IndexMap<String, Value>,
    /// True if every file is in every index, so that an index may exclude files it lacks.
    pub indices_complete: bool,
    /// The lengths of the index files.
    #[serde(default)]
    pub index_lengths: BTreeMap<String, Lengths>,
    /// The user's annotations.
    pub metadata: Map<String, Value>,
    /// Pandas extension types by column.
    #[serde(default)]
    pub extension_types: ExtensionTypes,
    /// Files after the commit.
    pub files: u64,
    /// Rows after the commit, as far as known.
    pub rows: u64,
    /// Bytes after the commit, as far as known.
    pub bytes: u64,
    /// Files added and removed by the commit, and the rows in them.
    pub change: Totals,
}

/// Amounts added and removed by one commit.
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
    /// A document of the current format; the caller fills the fields.
    #[must_use]
    pub fn new(version: u64, commit: &str, operation: Operation, time: String) -> Self {
        Self {
            format: FORMAT,
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
            files: 0,
            rows: 0,
            bytes: 0,
            change: Totals::default(),
        }
    }
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it says besides its files.
    pub document: Document,
    /// The stored schema of the table.
    pub schema: Schema,
    /// Its files.
    pub manifest: RecordBatch,
}

impl Snapshot {
    /// The stored form.
    ///
    /// # Errors
    /// None that data can cause; Arrow's are passed on.
    pub fn encode(&self) -> Result<Bytes> {
        let unwritable = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::invalid("the snapshot cannot be written").caused_by(error)
        };
        let document = serde_json::to_string(&self.document).map_err(|e| unwritable(e.into()))?;
        let schema = STANDARD.encode(encode_schema(&self.schema)?);
        let level = ZstdLevel::try_new(1).map_err(|e| unwritable(e.into()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_key_value_metadata(Some(vec![
                KeyValue::new(DOCUMENT.to_owned(), document),
                KeyValue::new(SCHEMA.to_owned(), schema),
            ]))
            .build();
        let write = || {
            let schema = self.manifest.schema();
            let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
            writer.write(&self.manifest)?;
            writer.into_inner()
        };
        write().map(Bytes::from).map_err(|error| unwritable(error.into()))
    }

    /// Reads a stored snapshot.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the bytes are none, or of a later format.
    pub fn decode(bytes: Bytes, key: &str) -> Result<Self> {
        let damaged = |what: &str| Error::corrupt(format!("a snapshot {what}")).with("key", key);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .map_err(|error| unreadable(key, error))?;
        let document = document_of(builder.metadata().file_metadata().key_value_metadata(), key)?;
        let schema = entry(builder.metadata().file_metadata().key_value_metadata(), SCHEMA)
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| decode_schema(&bytes).ok())
            .ok_or_else(|| damaged("names no schema"))?;
        let rows = builder.metadata().file_metadata().num_rows();
        let manifest_schema = Arc::new(Schema::new(builder.schema().fields().clone()));
        let rows = usize::try_from(rows).map_err(|_| damaged("has an impossible size"))?;
        let reader = builder
            .with_batch_size(rows.clamp(1, 1 << 20))
            .build()
            .map_err(|error| unreadable(key, error))?;
        let batches: Vec<RecordBatch> = reader
            .collect::<Result<_, _>>()
            .map_err(|error| damaged("cannot be decoded").caused_by(error))?;
        let manifest = arrow::compute::concat_batches(&manifest_schema, &batches)
            .map_err(|error| damaged("cannot be decoded").caused_by(error))?;
        for required in ["label", "key", "rows", "bytes", "footer"] {
            if manifest.column_by_name(required).is_none() {
                return Err(damaged("lacks a column").with("column", required));
            }
        }
        Ok(Self { document, schema, manifest })
    }
}

/// Reads only the document of a snapshot out of its footer.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) as [`Snapshot::decode`].
pub fn decode_document(metadata: &ArrowReaderMetadata, key: &str) -> Result<Document> {
    document_of(metadata.metadata().file_metadata().key_value_metadata(), key)
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
    Ok(document)
}

fn entry<'a>(entries: Option<&'a Vec<KeyValue>>, key: &str) -> Option<&'a str> {
    entries?.iter().find(|entry| entry.key == key)?.value.as_deref()
}

/// An Arrow schema as the bytes of an empty IPC stream.
///
/// # Errors
/// None that data can cause; Arrow's are passed on.
pub fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// The reverse of [`encode_schema`].
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt).
pub fn decode_schema(bytes: &[u8]) -> Result<Schema> {
    let reader = StreamReader::try_new(bytes, None)
        .map_err(|error| Error::corrupt("a stored schema cannot be read").caused_by(error))?;
    let schema: SchemaRef = reader.schema();
    Ok(schema.as_ref().clone())
}
