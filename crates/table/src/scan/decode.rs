//! Opening files, pruning within them, and decoding the rest.
//!
//! A small file is fetched as a whole in one request and decoded at once. Of a larger one the
//! footer is read; row groups and pages that cannot match are pruned, and each remaining row group
//! is a separate unit of work. Only the needed pages are fetched, and columns outside the predicate
//! only for rows that pass it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions,
    ParquetRecordBatchReaderBuilder, RowFilter, RowGroupSelection,
};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use partita_core::store::coalesced;
use partita_core::{Cancel, Error, ErrorKind, Result, Store, guarded, guarded_async};
use partita_parquet::{check_chunk, load};

use super::assemble::{Assemble, project};
use super::bloom::Filters;
use super::bounds::{Room, rows_by_dictionaries, rows_within_bounds};
use super::csv::is_csv;
use super::groups::Groups;
use super::pages::{PagedFile, Part};
use super::rows::RowTest;
use crate::explain::{Account, Reading};
use crate::feed::{unwrapped, wrapped};
use crate::format::digests::{self, ChunkDigests, FileDigests};
use crate::format::footer::{ParquetObject, missing, named, readable, unreadable};

/// Files up to this size in bytes are fetched as a whole: another request costs more than the bytes
/// saved.
const WHOLE: u64 = 1 << 20;
/// Columns outside of the predicate are fetched together with those of the predicate if they take
/// at most so many bytes in a row group, for the same reason.
const TOGETHER: u64 = 1 << 20;
/// How much longer than it should be a file may be to be fetched; what is wrong with it is said then.
const SLACK: u64 = 64 << 20;

/// A file to read.
#[derive(Debug, Clone)]
pub(super) struct FileTask {
    pub key: String,
    pub bytes: Option<u64>,
    pub footer: Option<u64>,
    /// The number of row groups, if known.
    pub groups: Option<u64>,
    /// The number of rows, if known.
    pub rows: Option<u64>,
    /// The digests that were committed, where they are known.
    pub digests: Option<FileDigests>,
    /// The partition values, as a batch of one row.
    pub partition: RecordBatch,
}

/// The settings that all files of a scan share.
pub(super) struct Decoder {
    pub store: Store,
    pub schema: SchemaRef,
    pub table: SchemaRef,
    /// The test of rows to return; `None` returns all.
    pub test: Option<Arc<dyn RowTest>>,
    pub batch_rows: usize,
    pub account: Arc<Account>,
    pub cancel: Cancel,
}

/// A unit of work that yields batches: a small file, already decoded, or a row group of a large
/// one.
pub(super) enum Unit {
    Decoded(Vec<RecordBatch>),
    RowGroup { decoder: Arc<Decoder>, file: Arc<OpenFile>, part: Part },
}

/// A large file whose footer has been read.
pub(super) struct OpenFile {
    object: ParquetObject,
    metadata: ArrowReaderMetadata,
    key: Arc<str>,
    partition: RecordBatch,
}

/// A file with the parts of it to read.
enum Opened {
    Whole(ParquetObject),
    Parts(OpenFile, Vec<Part>, Reading),
}

impl Decoder {
    /// Opens a file and returns the units to decode.
    pub async fn open(self: Arc<Self>, task: FileTask) -> Result<Vec<Unit>> {
        self.cancel.check()?;
        match self.opened(&task).await? {
            Opened::Whole(object) => {
                let most = object.bytes().saturating_add(SLACK);
                let bytes = self.store.get_within(&task.key, most).await?;
                let bytes = bytes.ok_or_else(|| missing(&task.key))?;
                let decoder = Arc::clone(&self);
                let decoded = tokio::task::spawn_blocking(move || {
                    let decoded = guarded(|| match is_csv(&task.key) {
                        true => decoder.decode_csv(&bytes, &task),
                        false => decoder.decode_whole(bytes, &task),
                    });
                    decoded.map_err(|error| named(error, &task.key))
                });
                Ok(vec![Unit::Decoded(decoded.await.map_err(stopped)??)])
            }
            Opened::Parts(file, parts, reading) => {
                self.account.add(reading);
                let file = Arc::new(file);
                Ok(parts
                    .into_iter()
                    .map(|part| Unit::RowGroup {
                        decoder: Arc::clone(&self),
                        file: Arc::clone(&file),
                        part,
                    })
                    .collect())
            }
        }
    }

    /// The estimated cost of reading a file, apart from the requests made for the estimate; its
    /// rows, if known, and whether it would be fetched as a whole.
    pub async fn foresee(&self, task: FileTask) -> Result<(Reading, Option<u64>, bool)> {
        self.cancel.check()?;
        match self.opened(&task).await? {
            Opened::Whole(object) => {
                let groups = task.groups.unwrap_or(0);
                let reading = Reading {
                    row_groups: groups,
                    row_groups_read: groups,
                    requests: 1,
                    bytes: object.bytes(),
                    ..Reading::default()
                };
                Ok((reading, task.rows, true))
            }
            Opened::Parts(file, parts, mut reading) => {
                let mut rows = 0;
                for part in parts {
                    rows += file.rows(&part);
                    let (requests, bytes) = file.cost(self, part)?;
                    reading.requests += requests;
                    reading.bytes += bytes;
                }
                Ok((reading, Some(rows), false))
            }
        }
    }

    async fn opened(&self, task: &FileTask) -> Result<Opened> {
        let opened = guarded_async(self.opened_checked(task)).await;
        opened.map_err(|error| named(error, &task.key))
    }

    async fn opened_checked(&self, task: &FileTask) -> Result<Opened> {
        let object = ParquetObject::open(&self.store, &task.key, task.bytes, task.footer).await?;
        let mut object = object.committed_as(task.digests);
        if object.bytes() <= WHOLE || is_csv(&task.key) {
            return Ok(Opened::Whole(object));
        }
        if self.test.is_some() {
            object = object.with_index_ahead();
        }
        let mut metadata = object.metadata(false).await?;
        let count = metadata.metadata().num_row_groups();
        let mut reading = Reading { row_groups: count as u64, ..Reading::default() };
        let whole = |row_group| Part { row_group, rows: None };
        let parts = match self.test.as_deref() {
            None => (0..count).map(whole).collect(),
            Some(test) => {
                let groups =
                    self.chosen_groups(&mut object, &metadata, &task.partition, test).await;
                let groups = groups.map_err(|error| named(error, &task.key))?.count(&mut reading);
                if groups.is_empty() {
                    Vec::new()
                } else {
                    let mask = self.columns(&metadata, &task.partition);
                    let leaves: Vec<usize> = (0..metadata.parquet_schema().num_columns())
                        .filter(|leaf| mask.leaf_included(*leaf))
                        .collect();
                    metadata = object.with_page_index(&metadata, &groups, &leaves).await?;
                    let paged = PagedFile {
                        metadata: &metadata,
                        table: &self.table,
                        partition: &task.partition,
                        bytes: object.bytes(),
                    };
                    let parts = paged
                        .check(&groups, &leaves)
                        .and_then(|()| paged.parts(&groups, test, &mask, &mut reading));
                    parts.map_err(|error| named(error, &task.key))?
                }
            }
        };
        reading.row_groups_read = parts.len() as u64;
        let (key, partition) = (task.key.as_str().into(), task.partition.clone());
        Ok(Opened::Parts(OpenFile { object, metadata, key, partition }, parts, reading))
    }

    /// The row groups that are excluded neither by statistics nor by bloom filters.
    async fn chosen_groups(
        &self,
        object: &mut ParquetObject,
        metadata: &ArrowReaderMetadata,
        partition: &RecordBatch,
        test: &dyn RowTest,
    ) -> Result<ChosenGroups> {
        let (left, places) = {
            let groups = Groups { metadata, table: &self.table, partition, test };
            let left = groups.by_statistics()?;
            let places = groups.filters(&left, object.bytes())?;
            (left, places)
        };
        if places.is_empty() {
            return Ok(ChosenGroups { by_statistics: left.len(), left });
        }
        let ranges: Vec<_> = places.iter().map(|place| place.range.clone()).collect();
        let fetched = object.ranges(&ranges).await?;
        let filters = Filters::read(metadata, left.len(), &places, fetched);
        let groups = Groups { metadata, table: &self.table, partition, test };
        Ok(ChosenGroups { by_statistics: left.len(), left: groups.by_filters(&left, &filters)? })
    }

    fn decode_whole(&self, bytes: bytes::Bytes, task: &FileTask) -> Result<Vec<RecordBatch>> {
        let digests = task.digests.filter(|_| self.store.compares_digests());
        if let Some(digests) = &digests {
            digests.check_footer_of(&bytes)?;
        }
        let loaded = load(&bytes, ArrowReaderOptions::new());
        let loaded = loaded.map_err(|error| named(error, &task.key))?;
        let metadata = readable(loaded).map_err(|error| unreadable(&task.key, error))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone());
        let assemble = Assemble::new(Arc::clone(&self.schema), task.partition.clone());
        let count = metadata.metadata().num_row_groups();
        let mut reading = Reading { row_groups: count as u64, ..Reading::default() };
        let groups = match self.test.as_deref() {
            None => (0..count).collect(),
            Some(test) => self
                .groups_within(&bytes, &metadata, &task.partition, test)
                .map_err(|error| named(error, &task.key))?
                .count(&mut reading),
        };
        reading.row_groups_read = groups.len() as u64;
        self.account.add(reading);
        let mut batch_rows = self.batch_rows.min(rows_within_bounds(&metadata));
        let wanted = self.wanted(&metadata, &groups, &task.partition);
        match &digests {
            Some(digests) => check_chunks(digests, &bytes, &metadata, &wanted)?,
            None => {
                wanted.iter().try_for_each(|(_, chunk)| check_chunk(&bytes, chunk))?;
                let by_dictionaries = rows_by_dictionaries(&bytes, &wanted);
                let most = by_dictionaries.map_err(|error| unreadable(&task.key, error))?;
                batch_rows = batch_rows.min(most);
            }
        }
        let mut room = Room::of(wanted.into_iter(), self.test.is_none())?;
        let builder =
            self.configured(builder.with_row_groups(groups), &metadata, &task.partition)?;
        let reader = builder.with_batch_size(batch_rows).build();
        let mut batches = Vec::new();
        for batch in reader.map_err(|error| unreadable(&task.key, error))? {
            self.cancel.check()?;
            let batch = batch.map_err(|error| undecodable(&task.key, error))?;
            if batch.num_rows() > 0 {
                room.take(&batch)?;
                let batch = assemble.batch(batch);
                batches.push(batch.map_err(|error| named(error, &task.key))?);
            }
        }
        Ok(batches)
    }

    /// The column chunks to be decoded of some row groups.
    fn wanted<'a>(
        &self,
        metadata: &'a ArrowReaderMetadata,
        groups: &[usize],
        partition: &RecordBatch,
    ) -> Vec<(&'a RowGroupMetaData, &'a ColumnChunkMetaData)> {
        let wanted = self.columns(metadata, partition);
        let groups = groups.iter().filter_map(|group| metadata.metadata().row_groups().get(*group));
        let chunks = groups.flat_map(|group| {
            group.columns().iter().enumerate().map(move |(leaf, chunk)| (leaf, (group, chunk)))
        });
        let chosen = chunks.filter(|(leaf, _)| wanted.leaf_included(*leaf));
        chosen.map(|(_, chunk)| chunk).collect()
    }

    /// Like [`Decoder::chosen_groups`], for a file in memory.
    fn groups_within(
        &self,
        file: &bytes::Bytes,
        metadata: &ArrowReaderMetadata,
        partition: &RecordBatch,
        test: &dyn RowTest,
    ) -> Result<ChosenGroups> {
        let groups = Groups { metadata, table: &self.table, partition, test };
        let left = groups.by_statistics()?;
        let by_statistics = left.len();
        let places = groups.filters(&left, file.len() as u64)?;
        if places.is_empty() {
            return Ok(ChosenGroups { by_statistics, left });
        }
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let fetched = places.iter().map(|p| file.slice(index(p.range.start)..index(p.range.end)));
        let filters = Filters::read(metadata, left.len(), &places, fetched.collect());
        Ok(ChosenGroups { by_statistics, left: groups.by_filters(&left, &filters)? })
    }

    /// A reader of the columns of this scan, which tests rows before it decodes the other columns.
    fn configured<T>(
        &self,
        builder: ArrowReaderBuilder<T>,
        metadata: &ArrowReaderMetadata,
        partition: &RecordBatch,
    ) -> Result<ArrowReaderBuilder<T>> {
        let assemble = Assemble::new(Arc::clone(&self.schema), partition.clone());
        let builder = builder
            .with_projection(mask(metadata, assemble.file_columns()))
            .with_batch_size(self.batch_rows.min(rows_within_bounds(metadata)));
        Ok(match self.filter(metadata, partition)? {
            Some(filter) => builder.with_row_filter(filter),
            None => builder,
        })
    }

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
            let batch = assemble.batch(batch).map_err(wrapped)?;
            rows.test(&batch).map_err(wrapped)
        };
        Ok(Some(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, test))])))
    }

    /// The columns of the test.
    fn tested(&self, metadata: &ArrowReaderMetadata) -> ProjectionMask {
        let columns = self.test.as_ref().map(|test| test.columns()).unwrap_or_default();
        mask(metadata, columns.iter().map(String::as_str))
    }

    /// All columns read: those tested and those returned.
    fn columns(&self, metadata: &ArrowReaderMetadata, partition: &RecordBatch) -> ProjectionMask {
        let assemble = Assemble::new(Arc::clone(&self.schema), partition.clone());
        let mut columns = mask(metadata, assemble.file_columns());
        columns.union(&self.tested(metadata));
        columns
    }
}

/// Compares column chunks of a file in memory with the digests that were committed.
fn check_chunks(
    digests: &FileDigests,
    file: &bytes::Bytes,
    metadata: &ArrowReaderMetadata,
    wanted: &[(&RowGroupMetaData, &ColumnChunkMetaData)],
) -> Result<()> {
    digests.check_rest_of(file, metadata.metadata())?;
    let Some(chunks) = ChunkDigests::of(metadata.metadata()) else { return Ok(()) };
    wanted.iter().try_for_each(|(_, chunk)| chunks.check_in(&digests::range(chunk), file))
}

/// The row groups left after statistics and then bloom filters.
struct ChosenGroups {
    by_statistics: usize,
    left: Vec<usize>,
}

impl ChosenGroups {
    /// Counts the pruned groups, and returns the remaining ones.
    fn count(self, reading: &mut Reading) -> Vec<usize> {
        let by_statistics = self.by_statistics as u64;
        reading.row_groups_pruned_by_statistics = reading.row_groups - by_statistics;
        reading.row_groups_pruned_by_bloom_filter = by_statistics - self.left.len() as u64;
        self.left
    }
}

impl Unit {
    /// Decodes the unit, on a separate task, so that units run on all cores.
    pub fn run(self) -> BoxFuture<'static, Result<Vec<RecordBatch>>> {
        async move {
            match self {
                Self::Decoded(batches) => Ok(batches),
                Self::RowGroup { decoder, file, part } => {
                    let key = Arc::clone(&file.key);
                    let decoded = async move { file.decode(&decoder, part).await };
                    let task = tokio::spawn(guarded_async(decoded));
                    task.await.map_err(stopped)?.map_err(|error| named(error, &key))
                }
            }
        }
        .boxed()
    }
}

impl OpenFile {
    async fn decode(&self, decoder: &Decoder, part: Part) -> Result<Vec<RecordBatch>> {
        decoder.cancel.check()?;
        let assemble = Assemble::new(Arc::clone(&decoder.schema), self.partition.clone());
        let wanted = decoder.wanted(&self.metadata, &[part.row_group], &self.partition);
        let all = decoder.test.is_none() && part.rows.is_none();
        let mut room = Room::of(wanted.into_iter(), all)?;
        let mut object = self.object.clone();
        if decoder.test.is_some() && !decoder.store.is_local() {
            let [first, then] = self.fetches(decoder, part.clone())?;
            if bytes_in(&then) <= TOGETHER {
                object.fetch_ahead([first, then].concat()).await?;
            }
        }
        let builder =
            ParquetRecordBatchStreamBuilder::new_with_metadata(object, self.metadata.clone())
                .with_row_group_selections(vec![part.selection()]);
        let builder = decoder.configured(builder, &self.metadata, &self.partition)?;
        let mut stream = builder.build().map_err(|error| unreadable(&self.key, error))?;
        let mut batches = Vec::new();
        while let Some(batch) =
            stream.try_next().await.map_err(|error| unreadable(&self.key, error))?
        {
            decoder.cancel.check()?;
            if batch.num_rows() > 0 {
                room.take(&batch)?;
                batches.push(assemble.batch(batch)?);
            }
        }
        Ok(batches)
    }

    /// The requests and bytes of decoding a part if all tested rows pass.
    fn cost(&self, decoder: &Decoder, part: Part) -> Result<(u64, u64)> {
        let fetches = self.fetches(decoder, part)?.concat();
        Ok((fetches.len() as u64, bytes_in(&fetches)))
    }

    /// The requests of decoding a part if all tested rows pass: those for the columns of the
    /// predicate, and those for the other columns.
    fn fetches(&self, decoder: &Decoder, part: Part) -> Result<[Vec<Range<u64>>; 2]> {
        let builder = ParquetPushDecoderBuilder::new_with_metadata(self.metadata.clone())
            .with_row_group_selections(vec![part.selection()]);
        let builder = decoder.configured(builder, &self.metadata, &self.partition)?;
        let planned = builder.build().map_err(|error| unreadable(&self.key, error))?;
        let tested = decoder.tested(&self.metadata);
        let (first, then): (Vec<_>, Vec<_>) =
            planned.scan_plan().partition(|planned| tested.leaf_included(planned.column));
        Ok([first, then].map(|step| {
            let ranges: Vec<_> = step.into_iter().map(|planned| planned.range).collect();
            coalesced(&ranges)
        }))
    }

    fn rows(&self, part: &Part) -> u64 {
        let group = self.metadata.metadata().row_groups().get(part.row_group);
        let all = group.map_or(0, |group| u64::try_from(group.num_rows()).unwrap_or(0));
        part.rows.as_ref().map_or(all, |rows| rows.row_count() as u64)
    }
}

/// The number of bytes in disjoint ranges.
fn bytes_in(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

impl Part {
    fn selection(self) -> RowGroupSelection {
        RowGroupSelection::new(self.row_group, self.rows)
    }
}

/// The leaves of the named columns that the file has. A column that was added to the table later is
/// null in older files.
fn mask<'a>(
    metadata: &ArrowReaderMetadata,
    columns: impl Iterator<Item = &'a str>,
) -> ProjectionMask {
    let schema = metadata.schema();
    let roots: Vec<usize> = columns.filter_map(|name| schema.index_of(name).ok()).collect();
    ProjectionMask::roots(metadata.parquet_schema(), roots)
}

/// The error of a batch that cannot be decoded; wrapped errors of the engine are returned
/// unchanged.
fn undecodable(key: &str, error: ArrowError) -> Error {
    unwrapped(error, || Error::corrupt("a data file cannot be decoded").with("key", key))
}

fn stopped(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Interrupted, "a task of the read was stopped").caused_by(error)
}
