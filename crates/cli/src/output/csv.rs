//! CSV: null is an empty field, and the empty text a pair of quotes; lists, structs and maps are
//! JSON.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeStringArray, RecordBatch};
use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::make_encoder;
use partita::convert::to_texts;

use super::json;

/// Writes the header line.
pub(super) fn heading(schema: &Schema, out: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    for (place, field) in schema.fields().iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        push(field.name(), &mut line);
    }
    line.push(b'\n');
    out.write_all(&line)
}

/// Writes the rows of a batch.
pub(super) fn rows(batch: &RecordBatch, out: &mut impl Write) -> Result<(), ArrowError> {
    let columns: Result<Vec<LargeStringArray>, ArrowError> = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| texts(field, column))
        .collect();
    let columns = columns?;
    let mut line = Vec::new();
    for row in 0..batch.num_rows() {
        line.clear();
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                line.push(b',');
            }
            if column.is_valid(row) {
                push(column.value(row), &mut line);
            } else if columns.len() == 1 && !batch.column(0).data_type().is_string() {
                // An empty line would not be read as a row; quotes are null in all but text
                // columns.
                line.extend_from_slice(b"\"\"");
            } else if columns.len() == 1 {
                return Err(ArrowError::CsvError(
                    "a null in the only column, of text, cannot be written as CSV; write JSON lines or \
                     Parquet"
                        .into(),
                ));
            }
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

fn push(text: &str, line: &mut Vec<u8>) {
    let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']);
    if plain {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}

fn texts(field: &FieldRef, column: &ArrayRef) -> Result<LargeStringArray, ArrowError> {
    let nested = match column.data_type() {
        arrow::datatypes::DataType::Dictionary(_, values) => values.is_nested(),
        other => other.is_nested(),
    };
    if !nested {
        return to_texts(column).map_err(|error| {
            ArrowError::ExternalError(Box::new(error.with("column", field.name())))
        });
    }
    let options = json::options();
    let field = Arc::clone(field);
    let mut encoder = make_encoder(&field, column.as_ref(), &options)?;
    let nulls = column.logical_nulls();
    let mut out = Vec::new();
    (0..column.len())
        .map(|row| {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return Ok(None);
            }
            out.clear();
            encoder.encode(row, &mut out);
            String::from_utf8(out.clone())
                .map(Some)
                .map_err(|error| ArrowError::JsonError(error.to_string()))
        })
        .collect()
}
