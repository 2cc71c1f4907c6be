//! Record batches as text or Parquet.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use partita::Error;

use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::{Sink, print};

/// A form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    Table,
    /// Comma-separated values with a heading.
    Csv,
    /// One JSON object per line.
    #[value(alias = "ndjson")]
    Jsonl,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// The format that a file's ending names.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Writes batches in one format.
pub(crate) struct Encoder {
    form: Form,
    closed: Arc<AtomicBool>,
}

enum Form {
    Table(Grid, Sink),
    Csv(Box<arrow::csv::Writer<Sink>>),
    Jsonl(Box<LineDelimitedWriter<Sink>>),
    Parquet(Box<ArrowWriter<Sink>>),
}

impl Encoder {
    /// An encoder for batches of `schema`.
    pub(crate) fn new(format: Format, schema: &SchemaRef, sink: Sink) -> Result<Self, Failure> {
        let closed = sink.closed();
        let form = match format {
            Format::Table => {
                let columns = schema.fields().iter().map(|f| (f.name(), align(f.data_type())));
                Form::Table(Grid::new(columns), sink)
            }
            Format::Csv => Form::Csv(Box::new(arrow::csv::Writer::new(sink))),
            Format::Jsonl => Form::Jsonl(Box::new(LineDelimitedWriter::new(sink))),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties));
                Form::Parquet(Box::new(writer.map_err(|error| parquet_failure(error, &closed))?))
            }
        };
        let mut encoder = Self { form, closed };
        if let Form::Csv(_) = encoder.form {
            // The heading belongs there even if no row follows.
            encoder.write(&RecordBatch::new_empty(schema.clone()))?;
        }
        Ok(encoder)
    }

    /// Adds a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match &mut self.form {
            Form::Table(grid, _) => add_rows(grid, batch).map_err(|e| Failure::Engine(e.into())),
            Form::Csv(writer) => {
                writer.write(batch).map_err(|error| arrow_failure(error, &self.closed))
            }
            Form::Jsonl(writer) => {
                writer.write(batch).map_err(|error| arrow_failure(error, &self.closed))
            }
            Form::Parquet(writer) => {
                writer.write(batch).map_err(|error| parquet_failure(error, &self.closed))
            }
        }
    }

    /// Writes what is left and makes the result visible.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let closed = self.closed;
        let sink = match self.form {
            Form::Table(grid, sink) if sink.is_stdout() => return print(&grid.render()),
            Form::Table(grid, mut sink) => {
                std::io::Write::write_all(&mut sink, grid.plain().as_bytes())
                    .map_err(|error| Failure::io("cannot write the rows", error))?;
                sink
            }
            Form::Csv(writer) => writer.into_inner(),
            Form::Jsonl(mut writer) => {
                writer.finish().map_err(|error| arrow_failure(error, &closed))?;
                writer.into_inner()
            }
            Form::Parquet(writer) => {
                writer.into_inner().map_err(|error| parquet_failure(error, &closed))?
            }
        };
        sink.finish()
    }
}

fn align(data_type: &DataType) -> Align {
    if data_type.is_numeric() { Align::Right } else { Align::Left }
}

fn add_rows(grid: &mut Grid, batch: &RecordBatch) -> Result<(), ArrowError> {
    let options = FormatOptions::default().with_null("null");
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        grid.row(formatters.iter().map(|formatter| formatter.value(row).to_string()));
    }
    Ok(())
}

fn arrow_failure(error: ArrowError, closed: &AtomicBool) -> Failure {
    if closed.load(Ordering::Relaxed) {
        return Failure::Closed;
    }
    match error {
        ArrowError::IoError(_, error) => Failure::io("cannot write the rows", error),
        other => {
            Error::invalid("the rows cannot be written in this format").caused_by(other).into()
        }
    }
}

fn parquet_failure(error: ParquetError, closed: &AtomicBool) -> Failure {
    if closed.load(Ordering::Relaxed) {
        return Failure::Closed;
    }
    Error::invalid("the rows cannot be written as Parquet").caused_by(error).into()
}
