//! Reading input files as record batches.

mod bytes;
mod chain;
mod csv;
mod folder;
mod json;
mod parquet;

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;
use partita::convert::Suggestion;
use partita::{BatchSource, Error, guarded};

use self::chain::Chain;
use self::csv::CsvOptions;
use crate::failure::Failure;
use crate::output::Format;

/// The maximum number of rows of a batch.
const BATCH_ROWS: usize = 1 << 16;

/// The approximate maximum size of a batch in bytes.
const BATCH_BYTES: usize = 64 << 20;

type Arrow<T> = Result<T, ArrowError>;

/// The type of a column of a file, as far as known.
#[derive(Debug, Clone)]
enum Typed {
    /// The file defines the type, nullability and metadata.
    Given(FieldRef),
    /// The file defines the type.
    As(DataType),
    /// The file contains text, which may be parsed as another type.
    Text(Suggestion),
}

/// Options for reading files.
#[derive(Debug, Default)]
pub(crate) struct InputOptions {
    /// The format of all files; by default taken from their extensions.
    pub format: Option<Format>,
    /// The types of some columns; others are inferred.
    pub types: Fields,
    /// Read columns of CSV files as text unless `types` has them.
    pub strings: bool,
    /// The texts that mean null in CSV files.
    pub null: Vec<String>,
    /// Fill columns that a file lacks with null.
    pub union: bool,
    /// Columns of a table may get wider types, and others may come, so the files are asked for
    /// theirs.
    pub merge: bool,
}

impl InputOptions {
    fn csv(&self) -> CsvOptions {
        CsvOptions { null: self.null.clone(), strings: self.strings }
    }
}

/// Opens files as one source of batches; `-` is standard input.
///
/// A folder stands for the files in it, and folders named `column=value` add a column. Text formats
/// have no types: values are parsed with the types of the table in `like`, or else with those
/// inferred from all files.
pub(crate) fn open(
    paths: &[PathBuf],
    options: &InputOptions,
    like: Option<SchemaRef>,
) -> Result<BatchSource, Failure> {
    let sources = folder::sources(paths, options.format)?;
    if sources.is_empty() {
        return Err(Failure::Usage("there is no file to read".into()));
    }
    Ok(Box::new(Chain::new(sources, options, like.as_deref())?))
}

/// Runs a decoder, which may panic on damaged data.
fn decoded<T>(work: impl FnOnce() -> Arrow<T>) -> Arrow<T> {
    guarded(|| Ok(work())).unwrap_or_else(|error| Err(external(error)))
}

fn external(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// Adds the path of the file to an error.
fn of_file(error: ArrowError, path: &Path) -> Error {
    let error = match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => unreadable().caused_by(inner),
        },
        error => unreadable().caused_by(error),
    };
    error.with("file", path.display())
}

fn unreadable() -> Error {
    Error::invalid("the file cannot be read in this format")
}

#[cfg(test)]
mod tests;
