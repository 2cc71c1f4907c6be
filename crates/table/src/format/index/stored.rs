//! The stored form of an index, defined by plateau: a Parquet file with two columns, the values
//! and, under the name `partition`, lists of labels.
//!
//! Partita writes the values sorted and in small pages, so that a look-up reads only the pages that
//! can contain the sought values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::arrow::{ArrowWriter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use partita_core::predicate::{BoundPredicate, Bounds, Facts};
use partita_core::store::LARGEST;
use partita_core::{Digest, Error, Result, Store, guarded, guarded_async};
use partita_parquet::{check_pages, load};
use serde::{Deserialize, Serialize};

use super::{Gathered, Index};
use crate::format::footer::{ParquetObject, named, unreadable};

const LABELS: &str = "partition";

/// The number of values in a row group.
const ROW_GROUP: usize = 1 << 16;

/// The number of values in a page; small, so that a look-up decodes little.
const PAGE: usize = 1 << 12;

/// An index file up to this size in bytes is fetched as a whole.
const WHOLE: u64 = 1 << 18;
/// The size of a file that is read to be compared with its digest, whatever its recorded size.
const HARMLESS: u64 = 1 << 26;

/// The entry of an index file in a snapshot: its lengths, which save a request, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// The length of the file.
    pub bytes: u64,
    /// The length of its end, which contains the page index and the footer.
    pub tail: u64,
    /// The digest of the whole file; absent in early snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// An encoded index.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// Its lengths.
    pub lengths: IndexFile,
}

impl Index {
    /// The stored form.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if there are more than 2^31
    /// labels in all, which the format cannot hold.
    pub fn encode(&self, column: &str) -> Result<Encoded> {
        let cannot = |error: parquet::errors::ParquetError| {
            Error::invalid("the index cannot be written").with("column", column).caused_by(error)
        };
        if i32::try_from(self.codes.len()).is_err() {
            return Err(Error::invalid("the index has grown beyond what its format holds")
                .with("column", column));
        }
        let lists = self.lists()?;
        let values = Field::new(column, self.values.data_type().clone(), true);
        let labels = Field::new(LABELS, lists.data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![values.clone(), labels]));
        let columns: Vec<ArrayRef> = vec![Arc::clone(&self.values), Arc::new(lists)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;

        // The dictionary of the labels is an in-memory form that other readers need not know.
        let text = Arc::new(Field::new("element", DataType::Utf8, true));
        let plain = Schema::new(vec![values, Field::new(LABELS, DataType::List(text), true)]);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_data_page_row_count_limit(PAGE)
            // Each value occurs once, and a look-up would have to read the whole dictionary.
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .build();
        add_encoded_arrow_schema_to_metadata(&plain, &mut properties);
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let mut writer =
            ArrowWriter::try_new_with_options(Vec::new(), schema, options).map_err(cannot)?;
        writer.write(&batch).map_err(cannot)?;
        let metadata = writer.finish().map_err(cannot)?;
        let pages = metadata.row_groups().first().and_then(|group| {
            let first = group.columns().first()?;
            u64::try_from(first.column_index_offset()?).ok()
        });
        let bytes = Bytes::from(std::mem::take(writer.inner_mut()));
        let length = bytes.len() as u64;
        let tail = length - pages.unwrap_or(0).min(length);
        let digest = Some(Digest::of(&bytes));
        Ok(Encoded { lengths: IndexFile { bytes: length, tail, digest }, bytes })
    }

    /// Reads all of a stored index, which is compared with what is recorded of it. One request.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if it is missing or is not what was committed;
    /// as [`Index::decode`].
    pub async fn fetch(
        store: &Store,
        key: &str,
        recorded: Option<&IndexFile>,
        column: &str,
        data_type: &DataType,
    ) -> Result<Self> {
        let most = recorded.map_or(LARGEST, |recorded| recorded.bytes.max(HARMLESS));
        let bytes = store.get_within(key, most).await?.ok_or_else(|| gone(key, column))?;
        let digest = recorded.and_then(|recorded| recorded.digest);
        let digest = digest.filter(|_| store.compares_digests());
        if digest.is_some_and(|digest| digest != Digest::of(&bytes)) {
            return Err(Error::corrupt("an index is not what was committed")
                .with("key", key)
                .with("column", column));
        }
        Self::decode(bytes, key, column, data_type)
    }

    /// Decodes a stored index with values of type `data_type`.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the bytes are not an index of the column.
    pub fn decode(bytes: Bytes, key: &str, column: &str, data_type: &DataType) -> Result<Self> {
        guarded(|| Self::decode_checked(bytes, key, column, data_type))
            .map_err(|error| named(error, key))
    }

    fn decode_checked(bytes: Bytes, key: &str, column: &str, data_type: &DataType) -> Result<Self> {
        let metadata = load(&bytes, ArrowReaderOptions::new())?;
        check_pages(&bytes, metadata.metadata())?;
        let metadata = with_dictionary(&metadata, key)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
            .with_batch_size(ROW_GROUP)
            .build()
            .map_err(|error| unreadable(key, error))?;
        let of = Of { key, column, data_type };
        let mut gathered = Gathered::default();
        for batch in reader {
            let batch = batch.map_err(|error| of.wrong("cannot be read").caused_by(error))?;
            of.add(&mut gathered, &batch)?;
        }
        gathered.finish(data_type)
    }

    /// Reads the pages of a stored index whose values may satisfy `predicate`. `table` is the type
    /// of the column in the table.
    ///
    /// # Errors
    /// The errors are those of [`Index::decode`].
    pub async fn lookup(
        store: &Store,
        key: &str,
        lengths: Option<IndexFile>,
        (column, table): (&str, &DataType),
        predicate: &BoundPredicate,
    ) -> Result<Self> {
        let data_type = &super::value_type(table);
        guarded_async(Self::lookup_checked(
            store,
            key,
            lengths,
            (column, table),
            data_type,
            predicate,
        ))
        .await
        .map_err(|error| named(error, key))
    }

    async fn lookup_checked(
        store: &Store,
        key: &str,
        lengths: Option<IndexFile>,
        (column, table): (&str, &DataType),
        data_type: &DataType,
        predicate: &BoundPredicate,
    ) -> Result<Self> {
        let lengths = match lengths {
            Some(lengths) if lengths.bytes > WHOLE => lengths,
            _ => return Self::fetch(store, key, lengths.as_ref(), column, data_type).await,
        };
        let footer = lengths.tail.saturating_sub(8);
        let mut object = ParquetObject::open(store, key, Some(lengths.bytes), Some(footer)).await?;
        let metadata = with_dictionary(&object.metadata(true).await?, key)?;
        let chosen = choose(&metadata, column, table, predicate)?;
        let of = Of { key, column, data_type };
        let mut batches = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata)
            .with_row_groups(chosen.row_groups)
            .with_row_selection(chosen.rows)
            .with_batch_size(ROW_GROUP)
            .build()
            .map_err(|error| unreadable(key, error))?;
        let mut gathered = Gathered::default();
        while let Some(batch) = batches.try_next().await.map_err(|e| unreadable(key, e))? {
            of.add(&mut gathered, &batch)?;
        }
        gathered.finish(data_type)
    }
}

/// The error for an index file that the dataset names but the store lacks.
pub(crate) fn gone(key: &str, column: &str) -> Error {
    Error::corrupt("an index that the dataset names is not in the store")
        .with("key", key)
        .with("column", column)
}

/// The object and column being read, for messages.
struct Of<'a> {
    key: &'a str,
    column: &'a str,
    data_type: &'a DataType,
}

impl Of<'_> {
    fn wrong(&self, what: &str) -> Error {
        Error::corrupt(format!("an index file {what}"))
            .with("key", self.key)
            .with("column", self.column)
    }

    /// Adds a batch of the file. Other widths of lists and text are supported too.
    fn add(&self, gathered: &mut Gathered, batch: &RecordBatch) -> Result<()> {
        let values =
            batch.column_by_name(self.column).ok_or_else(|| self.wrong("lacks its column"))?;
        let lists = batch.column_by_name(LABELS).ok_or_else(|| self.wrong("lacks its labels"))?;
        let values =
            cast(values, self.data_type).map_err(|_| self.wrong("has values of a wrong type"))?;
        let lists = cast(lists, &DataType::List(dictionary("element")))
            .map_err(|_| self.wrong("has labels of a wrong type"))?;
        gathered.add(&values, lists.as_list::<i32>())
    }
}

fn dictionary(name: &str) -> Arc<Field> {
    let data_type = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    Arc::new(Field::new(name, data_type, true))
}

/// The metadata with labels decoded as a dictionary if they are lists of text as usual: each label
/// is then processed once per row group.
fn with_dictionary(metadata: &ArrowReaderMetadata, key: &str) -> Result<ArrowReaderMetadata> {
    let fields = metadata.schema().fields().iter().map(|field| match field.data_type() {
        DataType::List(item) if field.name() == LABELS && *item.data_type() == DataType::Utf8 => {
            let item = dictionary(item.name()).as_ref().clone().with_nullable(item.is_nullable());
            Arc::new(field.as_ref().clone().with_data_type(DataType::List(Arc::new(item))))
        }
        _ => Arc::clone(field),
    });
    let schema: SchemaRef = Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        metadata.schema().metadata().clone(),
    ));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
        .map_err(|error| unreadable(key, error))
}

/// The row groups to read, and the rows within them.
struct Chosen {
    row_groups: Vec<usize>,
    rows: RowSelection,
}

fn choose(
    metadata: &ArrowReaderMetadata,
    column: &str,
    table: &DataType,
    predicate: &BoundPredicate,
) -> Result<Chosen> {
    let parquet = metadata.metadata();
    let bounds = |error| unreadable(column, error);
    let converter =
        StatisticsConverter::try_new(column, metadata.schema(), metadata.parquet_schema())
            .map_err(bounds)?;
    let groups = parquet.row_groups();
    let min = converter.row_group_mins(groups).map_err(bounds)?;
    let max = converter.row_group_maxes(groups).map_err(bounds)?;
    let keep = possible(column, table, predicate, &min, &max)?;
    let row_groups: Vec<usize> = (0..groups.len()).filter(|group| keep.value(*group)).collect();

    let total = |group: &usize| {
        groups.get(*group).map_or(0, |group| group.num_rows().unsigned_abs() as usize)
    };
    let rows = row_groups.iter().map(total).sum();
    let Some(pages) = parquet.page_index() else {
        let all = std::iter::once(0..rows);
        return Ok(Chosen { row_groups, rows: RowSelection::from_consecutive_ranges(all, rows) });
    };
    let pages = pages.as_ref();
    let min = converter.data_page_mins(pages, &row_groups).map_err(bounds)?;
    let max = converter.data_page_maxes(pages, &row_groups).map_err(bounds)?;
    let counts = converter.data_page_row_counts(pages, groups, &row_groups).map_err(bounds)?;
    let Some(counts) = counts.filter(|counts| counts.len() == min.len()) else {
        return Err(
            Error::corrupt("an index file has an incomplete page index").with("column", column)
        );
    };
    let keep = possible(column, table, predicate, &min, &max)?;
    let rows = RowSelection::from_consecutive_ranges(ranges(&counts, &keep).into_iter(), rows);
    Ok(Chosen { row_groups, rows })
}

/// The row ranges of the pages to keep; adjacent ranges are merged.
fn ranges(counts: &UInt64Array, keep: &BooleanArray) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    let mut first = 0;
    for (page, count) in counts.values().iter().enumerate() {
        let end = first + *count as usize;
        if keep.value(page) {
            match ranges.last_mut() {
                Some(last) if last.end == first => last.end = end,
                _ => ranges.push(first..end),
            }
        }
        first = end;
    }
    ranges
}

fn possible(
    column: &str,
    table: &DataType,
    predicate: &BoundPredicate,
    min: &ArrayRef,
    max: &ArrayRef,
) -> Result<BooleanArray> {
    predicate.may_match(&Pages { column, min: cast(min, table)?, max: cast(max, table)? })
}

/// Bounds of the values of an index, by row group or page. An index contains no nulls.
struct Pages<'a> {
    column: &'a str,
    min: ArrayRef,
    max: ArrayRef,
}

impl Facts for Pages<'_> {
    fn len(&self) -> usize {
        self.min.len()
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        (column == self.column).then(|| Bounds {
            min: Arc::clone(&self.min),
            max: Arc::clone(&self.max),
            null_count: Some(UInt64Array::from(vec![0; self.min.len()])),
            rows: None,
        })
    }
}
