//! How tables are created and written.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatchReader;
use jiff::SignedDuration;
use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use partita_core::{Cancel, Error, NoProgress, Progress, Result};
use serde_json::{Map, Value};

use crate::format::header::Encoding;
use crate::garbage::GRACE;
use crate::stage::{BucketPartition, DatePartition, Derivations, no_such_column};

/// Rows to write: a schema and batches, pulled one at a time.
pub type BatchSource = Box<dyn RecordBatchReader + Send>;

/// What a new table is to be.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The columns whose values name the partitions, outermost first.
    pub partition_by: Vec<String>,
    /// Partition columns that are parts of a date; their names stand in `partition_by` too.
    pub date: Option<DatePartition>,
    /// The partition column that is the hash bucket of another; its name stands in `partition_by` too.
    pub bucket: Option<BucketPartition>,
    /// The columns with a secondary index.
    pub index: Vec<String>,
    /// Replace a table that exists already; otherwise that is an error.
    pub overwrite: bool,
    /// Annotations of the user.
    pub metadata: Map<String, Value>,
    /// The form of the header; a table that is replaced keeps its own.
    pub header: Encoding,
    /// How the data is written.
    pub write: WriteOptions,
}

impl CreateOptions {
    /// The partition columns that are derived from others.
    pub(crate) fn derived(&self) -> Derivations {
        Derivations { date: self.date.clone(), bucket: self.bucket.clone() }
    }
}

type AnnotateFn = dyn Fn(&Map<String, Value>) -> Result<Map<String, Value>> + Send + Sync;

/// A function of the annotations of a table that gives those to set: a value of null removes one,
/// and those that it does not name stay. It is called with what is newest on every attempt to
/// commit, so that none of several writers undoes what another has set.
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

/// How data is written and committed.
#[derive(Clone)]
pub struct WriteOptions {
    /// The codec of the Parquet files.
    pub compression: Compression,
    /// Codecs of single columns, where they differ.
    pub column_compression: BTreeMap<String, Compression>,
    /// The rows of each file are sorted by these columns, nulls last, equal rows as they came. A
    /// file's rows are held in memory until it is written.
    pub sort_by: Vec<String>,
    /// The columns of which files get bloom filters, which tell reads by `==` and `in` which row
    /// groups lack a value. Where a table is made, all later writes keep to it; where none are given,
    /// those of the table.
    pub bloom_filters: Option<Vec<String>>,
    /// Rows of a row group. Smaller groups prune better and decode in parallel, larger ones
    /// compress better.
    pub row_group_rows: usize,
    /// A file that has grown past this many bytes is closed and another begun.
    pub target_file_bytes: u64,
    /// Annotations to set in the same commit.
    pub metadata: Map<String, Value>,
    /// Works out further annotations from those that are there.
    pub annotate: Option<Annotate>,
    /// A commit whose key is that of a commit which the history holds is taken to be that commit,
    /// sent again: nothing is done. Whoever sends the same commit with the same key at the same time
    /// takes part in one commit. A key costs one request, and holds until its commit expires.
    pub idempotency_key: Option<String>,
    /// The grace of the collections of garbage that may run beside the commit. Files that were staged
    /// longer than half of it ago are not committed.
    pub grace: SignedDuration,
    /// Told about rows written.
    pub progress: Arc<dyn Progress>,
    /// Stops the work; nothing is committed then.
    pub cancel: Cancel,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Snappy,
            column_compression: BTreeMap::new(),
            sort_by: Vec::new(),
            bloom_filters: None,
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
    /// [`NotFound`](partita_core::ErrorKind::NotFound) for a column that the data has not.
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
    /// None.
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

    /// Reads `none`, `snappy`, `zstd`, `zstd(7)`, `lz4` or `gzip`, in any case.
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
