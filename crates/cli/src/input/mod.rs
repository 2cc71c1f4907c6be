//! Files of rows as batches.

mod bytes;
mod chain;
mod csv;
mod folder;
mod json;
mod parquet;

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::error::ArrowError;
use partita::convert::Suggestion;
use partita::{BatchSource, Error, guarded};

use self::chain::Chain;
use self::csv::CsvOptions;
use crate::failure::Failure;
use crate::output::Format;

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 1 << 16;

/// Bytes of a batch, about which it ends.
const BATCH_BYTES: usize = 64 << 20;

type Arrow<T> = Result<T, ArrowError>;

/// The type of a column of a file, as far as it is known.
#[derive(Debug, Clone)]
enum Typed {
    /// The file states the type.
    As(DataType),
    /// The file holds text, which may be read as another type.
    Text(Suggestion),
}

/// How files are read.
#[derive(Debug, Default)]
pub(crate) struct InputOptions {
    /// The format of all of them; that of their endings otherwise.
    pub format: Option<Format>,
    /// The types of some columns.
    pub types: Fields,
    /// Columns of CSV files are text where `types` says nothing else.
    pub strings: bool,
    /// The texts that mean null in CSV files.
    pub null: Vec<String>,
    /// A column that a file lacks is null there.
    pub union: bool,
}

impl InputOptions {
    fn csv(&self) -> CsvOptions {
        CsvOptions { null: self.null.clone(), strings: self.strings }
    }
}

/// Opens files as one source of batches, read one after the other; `-` is standard input.
///
/// A folder stands for the files in it, and folders named `column=value` add a column. Text has no
/// types: it is read with those of the table in `like`, or else with those that the whole of all
/// files suggests.
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

/// Runs a decoder, which may panic on what is damaged.
fn decoded<T>(work: impl FnOnce() -> Arrow<T>) -> Arrow<T> {
    guarded(|| Ok(work())).unwrap_or_else(|error| Err(external(error)))
}

fn external(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// An error of a file, which it names.
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
