//! Folders of files, whose names may hold values: `year=2026/month=01/trips.csv`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use partita::Error;
use partita::partition::PartitionKey;

use super::open_one;
use crate::failure::Failure;
use crate::output::Format;

/// A file to read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub path: PathBuf,
    pub format: Format,
    /// Columns that the folders of the file name, and their values.
    pub values: Vec<(String, Value)>,
}

/// A value named by a folder.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
}

/// The files of `paths`, folders replaced by the files in them, in the order of their names.
pub(super) fn sources(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<Source>, Failure> {
    let mut found: Vec<(PathBuf, Vec<(String, String)>)> = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, &mut Vec::new(), format, &mut found)?;
            if found.len() == before {
                let message = format!("there is no file to read in {}", path.display());
                return Err(Failure::Usage(message));
            }
        } else {
            found.push((path.clone(), Vec::new()));
        }
    }
    // A value is a number if it is one in all files.
    let number = |column: &str| {
        let texts = found.iter().flat_map(|(_, values)| values);
        texts.filter(|(name, _)| name == column).all(|(_, text)| canonical(text).is_some())
    };
    found
        .iter()
        .map(|(path, values)| {
            let format = format.or_else(|| Format::of(path)).filter(|f| *f != Format::Table);
            let format = format.ok_or_else(|| {
                Failure::Usage(format!(
                    "cannot tell the format of {}; pass --format csv, jsonl or parquet",
                    path.display()
                ))
            })?;
            let typed = values.iter().map(|(name, text)| {
                let value = match canonical(text).filter(|_| number(name)) {
                    Some(number) => Value::Integer(number),
                    None => Value::Text(text.clone()),
                };
                (name.clone(), value)
            });
            Ok(Source { path: path.clone(), format, values: typed.collect() })
        })
        .collect()
}

fn canonical(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn walk(
    folder: &Path,
    values: &mut Vec<(String, String)>,
    format: Option<Format>,
    found: &mut Vec<(PathBuf, Vec<(String, String)>)>,
) -> Result<(), Failure> {
    let unreadable = |error| Failure::io(format!("cannot read {}", folder.display()), error);
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(unreadable)?.collect();
    let mut paths: Vec<PathBuf> =
        entries.map_err(unreadable)?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name.filter(|name| !name.starts_with(['.', '_'])) else { continue };
        if path.is_dir() {
            let named = PartitionKey::from_directories(std::iter::once(name.as_str()))?;
            let outside = values.len();
            values.extend(named.pairs().iter().cloned());
            walk(&path, values, format, found)?;
            values.truncate(outside);
        } else if format.is_some() || Format::of(&path).is_some() {
            found.push((path, values.clone()));
        }
    }
    Ok(())
}

impl Source {
    /// Opens the file, with the columns that its folders name.
    pub fn open(&self, like: Option<&Schema>) -> Result<super::BatchSource, Failure> {
        let rows = open_one(&self.path, self.format, like)?;
        if self.values.is_empty() {
            return Ok(rows);
        }
        let inside = rows.schema();
        let mut fields: Vec<Field> = inside.fields().iter().map(|f| f.as_ref().clone()).collect();
        for (name, value) in &self.values {
            if inside.field_with_name(name).is_ok() {
                return Err(Error::invalid("a folder names a column that its files have too")
                    .with("column", name)
                    .with("file", self.path.display())
                    .into());
            }
            let data_type = match value {
                Value::Integer(_) => DataType::Int64,
                Value::Text(_) => DataType::Utf8,
            };
            fields.push(Field::new(name, data_type, true));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Box::new(Named { rows, schema, values: self.values.clone() }))
    }
}

/// Batches with the columns that folders name.
struct Named {
    rows: super::BatchSource,
    schema: SchemaRef,
    values: Vec<(String, Value)>,
}

impl Iterator for Named {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.next()?.and_then(|batch| {
            let mut columns = batch.columns().to_vec();
            for (_, value) in &self.values {
                let rows = batch.num_rows();
                let column: ArrayRef = match value {
                    Value::Integer(number) => Arc::new(Int64Array::from_value(*number, rows)),
                    Value::Text(text) => {
                        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
                    }
                };
                columns.push(column);
            }
            RecordBatch::try_new(Arc::clone(&self.schema), columns)
        }))
    }
}

impl arrow::record_batch::RecordBatchReader for Named {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
