//! Parquet files.

use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::ChunkReader;
use partita::Error;
use partita_parquet::load;

use super::bytes::Input;
use super::{Arrow, BATCH_BYTES, BATCH_ROWS, external};

/// The number of rows that are read first, to estimate the size of rows.
const SAMPLE_ROWS: usize = 64;

/// The schema of a file.
pub(super) fn look(input: &Input) -> Arrow<SchemaRef> {
    Ok(Arc::clone(
        match input {
            Input::File(path) => metadata(&File::open(path)?)?,
            Input::Read(bytes) => metadata(bytes)?,
        }
        .schema(),
    ))
}

/// The rows of a file, in batches of limited size in bytes.
pub(super) fn read(input: &Input) -> Arrow<Box<dyn Iterator<Item = Arrow<RecordBatch>> + Send>> {
    match input {
        Input::File(path) => rows(&|| File::open(path)),
        Input::Read(bytes) => rows(&|| Ok::<Bytes, io::Error>(bytes.clone())),
    }
}

fn rows<R: ChunkReader + 'static>(
    open: &dyn Fn() -> io::Result<R>,
) -> Arrow<Box<dyn Iterator<Item = Arrow<RecordBatch>> + Send>> {
    let metadata = metadata(&open()?)?;
    check_int96(&metadata, open)?;
    let builder = |file| ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mut sample =
        builder(open()?).with_batch_size(SAMPLE_ROWS).with_limit(SAMPLE_ROWS).build()?;
    let row_bytes = match sample.next().transpose()? {
        Some(batch) if batch.num_rows() > 0 => {
            let columns = batch.columns().iter();
            let bytes: usize = columns.map(|column| column.get_array_memory_size()).sum();
            bytes / batch.num_rows()
        }
        _ => 0,
    };
    let batch_rows = (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS);
    Ok(Box::new(builder(open()?).with_batch_size(batch_rows).build()?))
}

/// The metadata of a file, with types that do not limit the size of a batch.
fn metadata(file: &impl ChunkReader) -> Arrow<ArrowReaderMetadata> {
    let metadata = load(file, ArrowReaderOptions::new()).map_err(external)?;
    check_rows(&metadata)?;
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_data_type(with_wide_offsets(field.data_type())))
        .collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    if schema == **metadata.schema() {
        return Ok(metadata);
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    Ok(ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?)
}

/// The type with 64-bit offsets, and with dictionaries expanded if their indices may be too narrow
/// for all values of a file.
fn with_wide_offsets(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::LargeUtf8,
        DataType::Binary => DataType::LargeBinary,
        DataType::Dictionary(_, values) if values.is_string() || values.is_binary() => {
            DataType::Dictionary(Box::new(DataType::Int32), values.clone())
        }
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}

/// Rejects INT96 timestamps outside the range of nanoseconds, which would wrap around. They are
/// read a second time in microseconds, which cannot wrap, and compared.
fn check_int96<R: ChunkReader + 'static>(
    metadata: &ArrowReaderMetadata,
    open: &dyn Fn() -> io::Result<R>,
) -> Arrow<()> {
    let parquet = metadata.parquet_schema();
    let roots: Vec<usize> = (0..parquet.num_columns())
        .filter(|leaf| parquet.column(*leaf).physical_type() == parquet::basic::Type::INT96)
        .map(|leaf| parquet.get_column_root_idx(leaf))
        .collect();
    if roots.is_empty() {
        return Ok(());
    }
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = metadata.schema().fields().iter().enumerate().map(|(place, field)| {
        let field = field.as_ref().clone();
        match field.data_type() {
            DataType::Timestamp(_, None) if roots.contains(&place) => {
                field.with_data_type(micros.clone())
            }
            _ => field,
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let coarse = ArrowReaderMetadata::try_new(
        Arc::clone(metadata.metadata()),
        ArrowReaderOptions::new().with_schema(schema),
    )?;
    let read = |metadata: &ArrowReaderMetadata| -> Arrow<_> {
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.clone());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(open()?, metadata.clone());
        Ok(builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?)
    };
    let mut first_row = 0;
    for (fine, coarse) in read(metadata)?.zip(read(&coarse)?) {
        let (fine, coarse) = (fine?, coarse?);
        for ((field, fine), coarse) in
            fine.schema_ref().fields().iter().zip(fine.columns()).zip(coarse.columns())
        {
            if *coarse.data_type() != micros {
                continue;
            }
            let (fine, coarse) = (cast(fine, &DataType::Int64)?, cast(coarse, &DataType::Int64)?);
            let pairs =
                fine.as_primitive::<Int64Type>().iter().zip(coarse.as_primitive::<Int64Type>());
            let wrapped = |(fine, coarse): (Option<i64>, Option<i64>)| {
                fine.map(|nanos| nanos.div_euclid(1000)) != coarse
            };
            if let Some(row) = pairs.into_iter().position(wrapped) {
                return Err(external(
                    Error::invalid(
                        "a time of the type INT96 lies outside the years 1677 to 2262, which \
                         nanoseconds reach; write the file with timestamps in microseconds",
                    )
                    .with("column", field.name())
                    .with("row", first_row + row),
                ));
            }
        }
        first_row += fine.num_rows();
    }
    Ok(())
}

/// Rejects a file whose row groups have another total number of rows than the file declares: a
/// reader would omit rows.
fn check_rows(metadata: &ArrowReaderMetadata) -> Arrow<()> {
    let metadata = metadata.metadata();
    let said = metadata.file_metadata().num_rows();
    let held: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    if said == held {
        return Ok(());
    }
    Err(external(
        Error::corrupt("the rows of the file's row groups do not add up to its total")
            .with("expected", said)
            .with("found", held),
    ))
}
