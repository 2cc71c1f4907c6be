//! Writing record batches as text or Parquet.

mod csv;
mod json;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::{LineDelimitedWriter, WriterBuilder};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use partita::Error;
use partita::convert::to_texts;

use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::{Sink, print};

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for the terminal.
    Table,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per line.
    #[value(alias = "ndjson")]
    Jsonl,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// The format for the extension of an input file; text may be compressed.
    pub(crate) fn of_input(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Self::of(Path::new(path.file_stem()?)).filter(|f| *f != Self::Parquet),
            _ => Self::of(path),
        }
    }

    /// The format for the extension of a file.
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
    Csv(Sink),
    Jsonl(Box<LineDelimitedWriter<Sink>>),
    Parquet(Box<ArrowWriter<Sink>>),
}

impl Encoder {
    /// An encoder for batches of `schema`.
    pub(crate) fn new(format: Format, schema: &SchemaRef, mut sink: Sink) -> Result<Self, Failure> {
        let closed = sink.closed();
        let form = match format {
            Format::Table => {
                let columns = schema.fields().iter().map(|f| (f.name(), align(f.data_type())));
                Form::Table(Grid::new(columns), sink)
            }
            Format::Csv => {
                // The header line is written even if no row follows.
                csv::heading(schema, &mut sink)
                    .map_err(|error| Failure::io("cannot write the rows", error))?;
                Form::Csv(sink)
            }
            Format::Jsonl => {
                let builder = WriterBuilder::new().with_encoder_factory(Arc::new(json::Forms));
                Form::Jsonl(Box::new(builder.build(sink)))
            }
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties));
                Form::Parquet(Box::new(writer.map_err(|error| parquet_failure(error, &closed))?))
            }
        };
        Ok(Self { form, closed })
    }

    /// Writes a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match &mut self.form {
            Form::Table(grid, _) => {
                let rows = texts(batch, "null").map_err(Error::from)?;
                rows.into_iter().for_each(|row| grid.row(row));
                Ok(())
            }
            Form::Csv(sink) => {
                csv::rows(batch, sink).map_err(|error| arrow_failure(error, &self.closed))
            }
            Form::Jsonl(writer) => {
                writer.write(batch).map_err(|error| arrow_failure(error, &self.closed))
            }
            Form::Parquet(writer) => {
                writer.write(batch).map_err(|error| parquet_failure(error, &self.closed))
            }
        }
    }

    /// Writes the rest and makes the result visible.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let closed = self.closed;
        let sink = match self.form {
            Form::Table(grid, sink) if sink.is_stdout() => return print(&grid.render()),
            Form::Table(grid, mut sink) => {
                std::io::Write::write_all(&mut sink, grid.plain().as_bytes())
                    .map_err(|error| Failure::io("cannot write the rows", error))?;
                sink
            }
            Form::Csv(sink) => sink,
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

/// The values of each row as text, with `null` for null.
pub(crate) fn texts(batch: &RecordBatch, null: &str) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null(null);
    let columns: Vec<ArrayRef> = batch.columns().iter().map(zones_spelled_out).collect();
    let formatters = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    let text = |row| formatters.iter().map(|column| column.value(row).to_string()).collect();
    Ok((0..batch.num_rows()).map(text).collect())
}

/// Times formatted with the exact offset of their zone: the formatter rounds offsets to minutes.
fn zones_spelled_out(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            to_texts(column).map_or_else(|_| Arc::clone(column), |texts| Arc::new(texts))
        }
        _ => Arc::clone(column),
    }
}

fn arrow_failure(error: ArrowError, closed: &AtomicBool) -> Failure {
    if closed.load(Ordering::Relaxed) {
        return Failure::Closed;
    }
    match error {
        ArrowError::IoError(_, error) => Failure::io("cannot write the rows", error),
        ArrowError::ExternalError(inner) if inner.is::<Error>() => {
            match inner.downcast::<Error>() {
                Ok(error) => (*error).into(),
                Err(inner) => Error::invalid("the rows cannot be written").caused_by(inner).into(),
            }
        }
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
