//! The statistics of a table and its columns, from the manifest and the footers of the data files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use partita_core::{Cancel, Result, Store};
use tracing::Instrument;

use crate::Table;
use crate::facts::{FOOTERS, stated};
use crate::format::digests::FileDigests;
use crate::format::footer::ParquetObject;
use crate::format::manifest::Manifest;
use crate::format::statistics::{ColumnBounds, FileFacts, extreme};
use crate::scan::is_csv;
use crate::state::State;

/// The statistics of a table, which are known without decoding its rows.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// The number of rows; `None` if that of a file is not known.
    pub rows: Option<u64>,
    /// The columns, in the order of the schema.
    pub columns: Vec<ColumnStatistics>,
    /// Two rows: the smallest and the largest value of each column. They are null for a column
    /// without values, and where they are not known. NaN does not count.
    pub bounds: RecordBatch,
}

/// The statistics of a column, which are known without decoding its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnStatistics {
    /// The column.
    pub name: String,
    /// The number of nulls, if known.
    pub nulls: Option<u64>,
    /// The size of its encoded values in the data files, if known.
    pub bytes: Option<u64>,
    /// True if both bounds are values of the column, or it has no values. Otherwise they are not
    /// known, or are texts that may have been cut, between which all values lie.
    pub exact: bool,
}

impl Table {
    /// The statistics of the rows that reads see. Without `footers` there is no request, and the
    /// size of columns, the exactness of text and the statistics of files that plateau has written
    /// are not known. With `footers`, the footer of each data file is read: one request for each
    /// file, and another one for each that plateau has written.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a file is missing or is not Parquet;
    /// [`Store`](partita_core::ErrorKind::Store);
    /// [`Interrupted`](partita_core::ErrorKind::Interrupted) if `cancel` is set.
    pub fn statistics<'a>(
        &'a self,
        footers: bool,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<Statistics>> {
        async move {
            let state = self.state();
            let known = match footers {
                true => Known::read(self.store(), &state, cancel).await?,
                false => Known::without_footers(&state),
            };
            known.summary(&state)
        }
        .instrument(tracing::debug_span!("statistics", dataset = %self.place()))
        .boxed()
    }
}

/// The statistics of each data file.
struct Known {
    manifest: Manifest,
    /// The column chunks of each file, by the position of their column; `None` if they were not
    /// read.
    chunks: Vec<Option<Vec<Chunks>>>,
}

impl Known {
    fn without_footers(state: &State) -> Self {
        Self { manifest: state.manifest.clone(), chunks: vec![None; state.num_files()] }
    }

    async fn read(store: &Store, state: &State, cancel: &Cancel) -> Result<Self> {
        let read: Vec<(FileFacts, Option<Vec<Chunks>>)> = stream::iter(files(&state.manifest))
            .map(|file| async move {
                cancel.check()?;
                file.read(store, &state.schema).await
            })
            .buffered(FOOTERS)
            .try_collect()
            .await?;
        let (facts, chunks): (Vec<FileFacts>, Vec<_>) = read.into_iter().unzip();
        Ok(Self { manifest: Manifest::of(&facts, &state.manifest.schema())?, chunks })
    }

    fn summary(&self, state: &State) -> Result<Statistics> {
        let partitions = state.partition_values()?;
        let rows: Vec<Option<u64>> = self.manifest.rows().collect();
        let (mut columns, mut bounds) = (Vec::new(), Vec::new());
        for (place, field) in state.schema.fields().iter().enumerate() {
            let parts = match partitions.column_by_name(field.name()) {
                Some(keys) => Parts::of_keys(keys, &rows),
                None => self.parts(place, field),
            };
            let (known, both) = parts.bounds(field.data_type(), &rows)?;
            columns.push(ColumnStatistics {
                name: field.name().clone(),
                nulls: parts.nulls.iter().sum(),
                bytes: self.chunks.iter().map(|file| Some(file.as_ref()?.get(place)?.bytes)).sum(),
                exact: known && (parts.exact || both.null_count() == both.len()),
            });
            bounds.push(both);
        }
        let fields = state.schema.fields().iter();
        let fields = fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let two = RecordBatchOptions::new().with_row_count(Some(2));
        Ok(Statistics {
            rows: rows.into_iter().sum(),
            columns,
            bounds: RecordBatch::try_new_with_options(schema, bounds, &two)?,
        })
    }

    /// The statistics of a column that is in the files.
    fn parts(&self, place: usize, field: &Field) -> Parts {
        let name = field.name();
        let of_file = |file: &Option<Vec<Chunks>>| file.as_ref()?.get(place).copied();
        let nulls: UInt64Array = match self.manifest.nulls(name) {
            Some(nulls) => nulls.clone(),
            None => self.chunks.iter().map(|file| of_file(file)?.nulls).collect(),
        };
        // Statistics of text are cut beyond 64 bytes, which only the footer tells.
        let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8);
        Parts {
            min: self.manifest.min(name).cloned(),
            max: self.manifest.max(name).cloned(),
            nulls,
            exact: !is_text
                || self.chunks.iter().all(|file| of_file(file).is_some_and(|chunks| chunks.exact)),
        }
    }
}

/// The statistics of one column, with an element for each file.
struct Parts {
    min: Option<ArrayRef>,
    max: Option<ArrayRef>,
    nulls: UInt64Array,
    /// True if a bound that is known is a value of its file.
    exact: bool,
}

impl Parts {
    /// The statistics of a partition column, of which each file has one value.
    fn of_keys(keys: &ArrayRef, rows: &[Option<u64>]) -> Self {
        let nulls = rows.iter().enumerate();
        let nulls = nulls.map(|(file, rows)| if keys.is_null(file) { *rows } else { Some(0) });
        Self {
            min: Some(Arc::clone(keys)),
            max: Some(Arc::clone(keys)),
            nulls: nulls.collect(),
            exact: true,
        }
    }

    /// The smallest and the largest value of all files, null if there are none, and whether they
    /// are known.
    fn bounds(&self, data_type: &DataType, rows: &[Option<u64>]) -> Result<(bool, ArrayRef)> {
        if rows.is_empty() {
            return Ok((true, new_null_array(data_type, 2)));
        }
        // A file of which the rows are not known is not taken to be without values.
        let rows: Vec<u64> = rows.iter().map(|rows| rows.unwrap_or(u64::MAX)).collect();
        let bound = |values: &Option<ArrayRef>, descending| {
            extreme(values.as_ref()?, &self.nulls, &rows, descending)
        };
        match (bound(&self.min, false), bound(&self.max, true)) {
            (Some(min), Some(max)) => Ok((true, concat(&[min.as_ref(), max.as_ref()])?)),
            _ => Ok((false, new_null_array(data_type, 2))),
        }
    }
}

/// A data file to read the footer of.
struct File {
    label: String,
    key: String,
    bytes: Option<u64>,
    footer: Option<u64>,
    digests: Option<FileDigests>,
}

fn files(manifest: &Manifest) -> Vec<File> {
    manifest
        .labels()
        .zip(manifest.keys())
        .zip(manifest.bytes().zip(manifest.footers()))
        .zip(manifest.digests())
        .map(|(((label, key), (bytes, footer)), digests)| File {
            label: label.to_owned(),
            key: key.to_owned(),
            bytes,
            footer,
            digests,
        })
        .collect()
}

impl File {
    async fn read(
        self,
        store: &Store,
        table: &SchemaRef,
    ) -> Result<(FileFacts, Option<Vec<Chunks>>)> {
        let Self { label, key, bytes, footer, digests } = self;
        if is_csv(&key) {
            return Ok((FileFacts::unknown(label, key, bytes), None));
        }
        let object = ParquetObject::open(store, &key, bytes, footer).await?;
        let mut object = object.committed_as(digests);
        let footer = object.metadata(false).await?;
        let mut facts = stated((label, key), object.bytes(), digests, &footer, table);
        // A column that the file lacks is null in its rows.
        let file = footer.schema();
        let lacking = table.fields().iter().filter(|f| file.field_with_name(f.name()).is_err());
        facts.columns.extend(lacking.map(|field| ColumnBounds {
            name: field.name().clone(),
            min: new_null_array(field.data_type(), 1),
            max: new_null_array(field.data_type(), 1),
            nulls: facts.rows,
        }));
        Ok((facts, Some(chunks(footer.metadata(), table))))
    }
}

/// The column chunks of a column in one file.
#[derive(Debug, Clone, Copy)]
struct Chunks {
    bytes: u64,
    nulls: Option<u64>,
    exact: bool,
}

impl Chunks {
    fn add(&mut self, chunk: &ColumnChunkMetaData) {
        let statistics = chunk.statistics();
        let nulls = statistics.and_then(|known| known.null_count_opt());
        // Of a nested column, the nulls of a leaf are not those of the column.
        let flat = nulls.filter(|_| chunk.column_path().parts().len() == 1);
        self.bytes += u64::try_from(chunk.compressed_size()).unwrap_or(0);
        self.nulls = self.nulls.zip(flat).map(|(before, more)| before.saturating_add(more));
        let empty = nulls.is_some() && nulls == u64::try_from(chunk.num_values()).ok();
        let exact = statistics.is_some_and(|known| known.min_is_exact() && known.max_is_exact());
        self.exact &= empty || exact;
    }
}

/// The column chunks of a file for each column of the table.
fn chunks(metadata: &ParquetMetaData, table: &Schema) -> Vec<Chunks> {
    let mut found: HashMap<&str, Chunks> = HashMap::new();
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        if let Some(name) = chunk.column_path().parts().first() {
            let none = Chunks { bytes: 0, nulls: Some(0), exact: true };
            found.entry(name.as_str()).or_insert(none).add(chunk);
        }
    }
    let rows = u64::try_from(metadata.file_metadata().num_rows()).ok();
    let lacking = Chunks { bytes: 0, nulls: rows, exact: true };
    let of = |name: &str| found.get(name).copied().unwrap_or(lacking);
    table.fields().iter().map(|field| of(field.name())).collect()
}
