//! Options for creating and writing tables.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatchReader;
use jiff::SignedDuration;
use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use partita_core::upkeep::GRACE;
use partita_core::{Cancel, Error, NoProgress, Progress, Result};
use serde_json::{Map, Value};

use crate::format::header::Encoding;
use crate::stage::{BucketPartition, DatePartition, Derivations, no_such_column};

/// Rows to write: a schema and batches, pulled one at a time.
pub type BatchSource = Box<dyn RecordBatchReader + Send>;

/// Options of a new table.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The columns whose values name the partitions, outermost first.
    pub partition_by: Vec<String>,
    /// Partition columns that are parts of a date; their names must be in `partition_by` too.
    pub date: Option<DatePartition>,
    /// The partition column with hash buckets of another; its name must be in `partition_by` too.
    pub bucket: Option<BucketPartition>,
    /// The columns with a secondary index.
    pub index: Vec<String>,
    /// Replace a table that exists already; otherwise that is an error.
    pub overwrite: bool,
    /// Annotations of the user.
    pub metadata: Map<String, Value>,
    /// The encoding of the header; a table that is replaced keeps its own.
    pub header: Encoding,
    /// Options of writing the data.
    pub write: WriteOptions,
}

impl CreateOptions {
    /// The partition columns that are derived from others.
    pub(crate) fn derived(&self) -> Derivations {
        Derivations { date: self.date.clone(), bucket: self.bucket.clone() }
    }
}

/// How data are treated whose columns or types differ from those of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaMode {
    /// Data must have all columns of the table and no others, and their values must fit its types.
    #[default]
    Fixed,
    /// Columns that the table has not are added to it; those that the data lack are null in the new
    /// rows; types get wider where a value needs it and nothing is lost.
    Merge,
}

type AnnotateFn = dyn Fn(&Map<String, Value>) -> Result<Map<String, Value>> + Send + Sync;

/// A function that computes annotations to set from the current ones: a null value removes an
/// annotation, and those that the result does not name stay. It is called with the newest
/// annotations on every commit attempt, so that concurrent writers do not undo each other's
/// changes.
#[derive(Clone)]
pub struct Annotate(Arc<AnnotateFn>);

impl Annotate {
    /// Wraps a function.
    pub fn new(
        function: impl Fn(&Map<String, Value>) -> Result<Map<String, Value>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(function))
    }

    pub(crate) fn call(&self, present: &Map<String, Value>) -> Result<Map<String, Value>> {
        (self.0)(present)
    }
}

impl fmt::Debug for Annotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Annotate")
    }
}

/// Options of writing and committing data.
#[derive(Clone)]
pub struct WriteOptions {
    /// The codec of the Parquet files.
    pub compression: Compression,
    /// Codecs of individual columns that differ from `compression`.
    pub column_compression: BTreeMap<String, Compression>,
    /// The columns to sort the rows of each file by, nulls last; the sort is stable. The rows of a
    /// file are held in memory until it is written.
    pub sort_by: Vec<String>,
    /// The columns that get bloom filters, with which reads by `==` and `in` skip row groups that
    /// lack a value. Given when a table is created, they become the default of all later writes;
    /// `None` uses the table's default.
    pub bloom_filters: Option<Vec<String>>,
    /// How data are treated whose columns or types are not those of the table.
    pub schema_mode: SchemaMode,
    /// The number of rows of a row group. Smaller groups prune better and decode in parallel,
    /// larger ones compress better.
    pub row_group_rows: usize,
    /// The size in bytes beyond which a file is closed and another one begun.
    pub target_file_bytes: u64,
    /// Annotations to set in the same commit.
    pub metadata: Map<String, Value>,
    /// Computes further annotations from the current ones.
    pub annotate: Option<Annotate>,
    /// A commit with the key of a commit in the history is treated as a repetition of that commit:
    /// nothing is done. Concurrent commits with the same key take effect once. A key costs one
    /// request, and is valid until its commit expires.
    pub idempotency_key: Option<String>,
    /// The grace period of garbage collections that may run concurrently. Files that were staged
    /// more than half of it ago are not committed.
    pub grace: SignedDuration,
    /// Receives the number of rows written.
    pub progress: Arc<dyn Progress>,
    /// Stops the write; nothing is committed then.
    pub cancel: Cancel,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Snappy,
            column_compression: BTreeMap::new(),
            sort_by: Vec::new(),
            bloom_filters: None,
            schema_mode: SchemaMode::Fixed,
            row_group_rows: 1 << 18,
            target_file_bytes: 512 << 20,
            metadata: Map::new(),
            annotate: None,
            idempotency_key: None,
            grace: GRACE,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
        }
    }
}

impl fmt::Debug for WriteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteOptions")
            .field("compression", &self.compression)
            .field("column_compression", &self.column_compression)
            .field("sort_by", &self.sort_by)
            .field("bloom_filters", &self.bloom_filters)
            .field("schema_mode", &self.schema_mode)
            .field("row_group_rows", &self.row_group_rows)
            .field("target_file_bytes", &self.target_file_bytes)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl WriteOptions {
    /// Checks the options for data of `schema`.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a size of zero,
    /// [`NotFound`](partita_core::ErrorKind::NotFound) for a column that the data lacks.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        for name in self.sort_by.iter().chain(self.column_compression.keys()) {
            schema.index_of(name).map_err(|_| no_such_column(name))?;
        }
        if self.row_group_rows == 0 || self.target_file_bytes == 0 {
            return Err(Error::invalid("row_group_rows and target_file_bytes must be positive"));
        }
        Ok(())
    }
}

/// The codec of Parquet pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// No compression.
    None,
    /// Snappy: fast, the default of plateau and pyarrow.
    #[default]
    Snappy,
    /// Zstandard at a level from 1 to 22.
    Zstd(i32),
    /// LZ4 in its raw framing.
    Lz4,
    /// Gzip at its default level.
    Gzip,
}

impl Compression {
    pub(crate) fn to_parquet(self) -> Result<ParquetCompression> {
        Ok(match self {
            Self::None => ParquetCompression::UNCOMPRESSED,
            Self::Snappy => ParquetCompression::SNAPPY,
            Self::Zstd(level) => {
                ParquetCompression::ZSTD(ZstdLevel::try_new(level).map_err(|error| {
                    Error::invalid("the zstd level is out of range").caused_by(error)
                })?)
            }
            Self::Lz4 => ParquetCompression::LZ4_RAW,
            Self::Gzip => ParquetCompression::GZIP(GzipLevel::default()),
        })
    }
}

impl FromStr for Compression {
    type Err = Error;

    /// Parses `none`, `snappy`, `zstd`, `zstd(7)`, `lz4` or `gzip`, ignoring case.
    fn from_str(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        let unknown = || {
            Error::invalid("unknown compression; use none, snappy, zstd, zstd(LEVEL), lz4 or gzip")
                .with("compression", text)
        };
        let compression = match lower.as_str() {
            "none" | "uncompressed" => Self::None,
            "snappy" => Self::Snappy,
            "zstd" => Self::Zstd(3),
            "lz4" => Self::Lz4,
            "gzip" => Self::Gzip,
            other => {
                let level = other.strip_prefix("zstd(").and_then(|rest| rest.strip_suffix(')'));
                Self::Zstd(level.and_then(|level| level.parse().ok()).ok_or_else(unknown)?)
            }
        };
        compression.to_parquet().map(|_| compression)
    }
}
