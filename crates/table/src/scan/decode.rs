//! Opening files, pruning their row groups, decoding the rest.
//!
//! A small file is fetched whole in one request and decoded at once. Of a larger one the footer is
//! read, row groups that cannot match are dropped, and each of the others is a unit of work of its
//! own; only the needed columns are fetched, and columns outside the predicate only for rows that
//! pass it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use partita_core::predicate::{Bounds, Facts};
use partita_core::{Cancel, Error, ErrorKind, Result, Store};

use super::assemble::{Assemble, project};
use super::rows::RowTest;
use crate::feed::{unwrapped, wrapped};
use crate::format::footer::{ParquetObject, missing, unreadable};
use crate::format::statistics::has_bounds;

/// Files up to this size are fetched whole: one request costs more than the bytes saved.
const WHOLE: u64 = 1 << 20;

/// A file to read.
#[derive(Debug, Clone)]
pub(super) struct FileTask {
    pub key: String,
    pub bytes: Option<u64>,
    pub footer: Option<u64>,
    /// One row: its partition values.
    pub partition: RecordBatch,
}

/// What all files of a scan share.
pub(super) struct Decoder {
    pub store: Store,
    pub schema: SchemaRef,
    pub table: SchemaRef,
    /// Which rows to return; all where there is none.
    pub test: Option<Arc<dyn RowTest>>,
    pub batch_rows: usize,
    pub cancel: Cancel,
}

/// Work that gives batches: a whole small file, decoded already, or a row group of a large one.
pub(super) enum Unit {
    Decoded(Vec<RecordBatch>),
    RowGroup { decoder: Arc<Decoder>, file: OpenFile, row_group: usize },
}

/// A large file whose footer was read.
#[derive(Clone)]
pub(super) struct OpenFile {
    object: ParquetObject,
    metadata: ArrowReaderMetadata,
    key: Arc<str>,
    partition: RecordBatch,
}

impl Decoder {
    /// Opens a file and says what there is to decode.
    pub async fn open(self: Arc<Self>, task: FileTask) -> Result<Vec<Unit>> {
        self.cancel.check()?;
        let mut object =
            ParquetObject::open(&self.store, &task.key, task.bytes, task.footer).await?;
        if object.bytes() <= WHOLE {
            let bytes = self.store.get_opt(&task.key).await?.ok_or_else(|| missing(&task.key))?;
            let decoder = Arc::clone(&self);
            let decoded = tokio::task::spawn_blocking(move || decoder.decode_whole(bytes, &task));
            return Ok(vec![Unit::Decoded(decoded.await.map_err(stopped)??)]);
        }
        let metadata = object.metadata(self.test.is_some()).await?;
        let groups = self.row_groups(&metadata)?;
        let file = OpenFile { object, metadata, key: task.key.into(), partition: task.partition };
        Ok(groups
            .into_iter()
            .map(|row_group| Unit::RowGroup {
                decoder: Arc::clone(&self),
                file: file.clone(),
                row_group,
            })
            .collect())
    }

    fn decode_whole(&self, bytes: bytes::Bytes, task: &FileTask) -> Result<Vec<RecordBatch>> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .map_err(|error| unreadable(&task.key, error))?;
        let assemble = Assemble::new(Arc::clone(&self.schema), task.partition.clone());
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(builder.metadata()), Default::default())
                .map_err(|error| unreadable(&task.key, error))?;
        let groups = self.row_groups(&metadata)?;
        let filter = self.filter(&metadata, &task.partition)?;
        let mask = mask(&metadata, assemble.file_columns());
        let mut builder =
            builder.with_row_groups(groups).with_projection(mask).with_batch_size(self.batch_rows);
        if let Some(filter) = filter {
            builder = builder.with_row_filter(filter);
        }
        let reader = builder.build().map_err(|error| unreadable(&task.key, error))?;
        reader
            .map(|batch| {
                self.cancel.check()?;
                assemble.batch(&batch.map_err(|error| undecodable(&task.key, error))?)
            })
            .filter(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0))
            .map(|batch| batch.map_err(|error| named(error, &task.key)))
            .collect()
    }

    /// The row groups that the test cannot exclude by their statistics.
    fn row_groups(&self, metadata: &ArrowReaderMetadata) -> Result<Vec<usize>> {
        let count = metadata.metadata().num_row_groups();
        let facts = GroupFacts { metadata, table: &self.table };
        let keep = self.test.as_ref().map(|test| test.may_match(&facts)).transpose()?.flatten();
        Ok((0..count).filter(|group| keep.as_ref().is_none_or(|keep| keep.value(*group))).collect())
    }

    /// The test as a filter that the decoder runs before it decodes the other columns.
    fn filter(
        &self,
        metadata: &ArrowReaderMetadata,
        partition: &RecordBatch,
    ) -> Result<Option<RowFilter>> {
        let Some(rows) = self.test.clone() else { return Ok(None) };
        let columns = rows.columns();
        let assemble = Assemble::new(project(&self.table, columns.into_iter())?, partition.clone());
        let mask = mask(metadata, assemble.file_columns());
        let test = move |batch: RecordBatch| -> Result<BooleanArray, ArrowError> {
            let batch = assemble.batch(&batch).map_err(wrapped)?;
            rows.test(&batch).map_err(wrapped)
        };
        Ok(Some(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, test))])))
    }
}

impl Unit {
    /// Decodes; on a task of its own, so that units run on all cores.
    pub async fn run(self) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Decoded(batches) => Ok(batches),
            Self::RowGroup { decoder, file, row_group } => {
                let key = Arc::clone(&file.key);
                let task = tokio::spawn(async move { file.decode(&decoder, row_group).await });
                task.await.map_err(stopped)?.map_err(|error| named(error, &key))
            }
        }
    }
}

impl OpenFile {
    async fn decode(self, decoder: &Decoder, row_group: usize) -> Result<Vec<RecordBatch>> {
        decoder.cancel.check()?;
        let assemble = Assemble::new(Arc::clone(&decoder.schema), self.partition.clone());
        let mask = mask(&self.metadata, assemble.file_columns());
        let filter = decoder.filter(&self.metadata, &self.partition)?;
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            self.object.clone(),
            self.metadata.clone(),
        )
        .with_row_groups(vec![row_group])
        .with_projection(mask)
        .with_batch_size(decoder.batch_rows);
        if let Some(filter) = filter {
            builder = builder.with_row_filter(filter);
        }
        let mut stream = builder.build().map_err(|error| unreadable(&self.key, error))?;
        let mut batches = Vec::new();
        while let Some(batch) =
            stream.try_next().await.map_err(|error| unreadable(&self.key, error))?
        {
            decoder.cancel.check()?;
            if batch.num_rows() > 0 {
                batches.push(assemble.batch(&batch)?);
            }
        }
        Ok(batches)
    }
}

/// The leaves of those of the columns named that the file has. One that was added to the table
/// later is null in the older files.
fn mask<'a>(
    metadata: &ArrowReaderMetadata,
    columns: impl Iterator<Item = &'a str>,
) -> ProjectionMask {
    let schema = metadata.schema();
    let roots: Vec<usize> = columns.filter_map(|name| schema.index_of(name).ok()).collect();
    ProjectionMask::roots(metadata.parquet_schema(), roots)
}

/// Statistics of the row groups of one file.
struct GroupFacts<'a> {
    metadata: &'a ArrowReaderMetadata,
    table: &'a SchemaRef,
}

impl Facts for GroupFacts<'_> {
    fn len(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        let target: &DataType = self.table.field_with_name(column).ok()?.data_type();
        if !has_bounds(target) {
            return None;
        }
        let groups = self.metadata.metadata().row_groups();
        let converter = StatisticsConverter::try_new(
            column,
            self.metadata.schema(),
            self.metadata.parquet_schema(),
        )
        .ok()?
        .with_missing_null_counts_as_zero(false);
        let values = |values: ArrayRef| arrow::compute::cast(&values, target).ok();
        Some(Bounds {
            min: values(converter.row_group_mins(groups).ok()?)?,
            max: values(converter.row_group_maxes(groups).ok()?)?,
            null_count: converter.row_group_null_counts(groups).ok(),
            rows: converter.row_group_row_counts(groups).ok().flatten(),
        })
    }
}

/// The error of a batch that the decoder could not give; ours come back as they were.
fn undecodable(key: &str, error: ArrowError) -> Error {
    unwrapped(error, || Error::corrupt("a data file cannot be decoded").with("key", key))
}

/// Adds the file to an error that does not name it.
fn named(error: Error, key: &str) -> Error {
    if error.context().iter().any(|(name, _)| *name == "key") {
        error
    } else {
        error.with("key", key)
    }
}

fn stopped(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Interrupted, "a task of the read was stopped").caused_by(error)
}
