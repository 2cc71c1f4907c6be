//! Exact conversion of values between Arrow types.
//!
//! A value is converted only if the result means the same: whole numbers into floats that hold them,
//! midnight into dates, seconds into microseconds, text of any layout, fields of structs in another
//! order. What would be cut, rounded or wrapped is refused with the row and the value. Everything
//! that enters a table from another type goes through [`convert_column`].

mod common;
mod fill;
mod key;
mod nested;
mod scalar;
mod text;
mod valid;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{Error, ErrorKind, Result, type_name};

pub use common::{common_type, settled_type};
pub use fill::fill_fields;
pub use key::as_keys;
pub(crate) use nested::item;
pub use text::{Suggestion, parse_column, to_texts};
pub use valid::check_texts;

/// The reason why values could not be converted.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// A description of the fault.
    reason: String,
    /// The row and the value, if a single value does not fit.
    value: Option<(usize, String)>,
    /// The field within a nested column, outermost first.
    path: Vec<String>,
}

pub(crate) type Converted = std::result::Result<ArrayRef, Misfit>;

impl Misfit {
    pub(crate) fn types(from: &DataType, to: &DataType) -> Self {
        let reason = format!("{} cannot become {}", type_name(from), type_name(to));
        Self { reason, value: None, path: Vec::new() }
    }

    pub(crate) fn at(values: &dyn Array, row: usize, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), value: Some((row, shown(values, row))), path: Vec::new() }
    }

    pub(crate) fn within(mut self, field: &str) -> Self {
        self.path.insert(0, field.to_owned());
        self
    }

    /// The same error with the row number mapped to the row of the outer array that contains it.
    pub(crate) fn in_row(mut self, outer: impl Fn(usize) -> usize) -> Self {
        if let Some((row, _)) = &mut self.value {
            *row = outer(*row);
        }
        self
    }

    fn into_error(self, column: &str, first_row: u64, from: &DataType, to: &DataType) -> Error {
        let mut path = vec![column.to_owned()];
        path.extend(self.path);
        let mut error =
            Error::new(ErrorKind::SchemaMismatch, format!("values do not fit: {}", self.reason))
                .with("column", path.join("."));
        if let Some((row, value)) = self.value {
            error = error.with("row", first_row + row as u64).with("value", value);
        }
        error.with("expected", type_name(to)).with("found", type_name(from))
    }
}

impl From<ArrowError> for Misfit {
    fn from(error: ArrowError) -> Self {
        Self { reason: error.to_string(), value: None, path: Vec::new() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// A value as text for an error message.
#[must_use]
pub fn shown(values: &dyn Array, row: usize) -> String {
    /// The maximum number of characters of a value in a message.
    const SHOWN: usize = 80;
    let one = values.slice(row, 1);
    let text = match to_texts(&one) {
        Ok(text) if text.is_valid(0) => text.value(0).to_owned(),
        Ok(_) => "null".to_owned(),
        Err(_) => {
            let options = FormatOptions::default().with_null("null");
            ArrayFormatter::try_new(values, &options)
                .and_then(|formatter| formatter.value(row).try_to_string())
                .unwrap_or_else(|_| format!("a value of type {}", type_name(values.data_type())))
        }
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Converts the values to type `to`; each keeps its meaning.
///
/// `first_row` is added to the number of the row that an error names.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column, both types and, where one value
/// does not fit, its row.
pub fn convert_column(
    column: &str,
    first_row: u64,
    values: &ArrayRef,
    to: &DataType,
) -> Result<ArrayRef> {
    convert(values, to)
        .map_err(|misfit| misfit.into_error(column, first_row, values.data_type(), to))
}

pub(crate) fn convert(values: &ArrayRef, to: &DataType) -> Converted {
    let from = values.data_type();
    if from == to {
        return Ok(Arc::clone(values));
    }
    if values.logical_null_count() == values.len() {
        return Ok(new_null_array(to, values.len()));
    }
    match (from, to) {
        (DataType::Dictionary(_, inner), DataType::Dictionary(_, wanted)) if inner == wanted => {
            Ok(cast(values, to)?)
        }
        (DataType::Dictionary(_, inner), _) => convert(&cast(values, inner)?, to),
        (DataType::RunEndEncoded(_, inner), _) => convert(&cast(values, inner.data_type())?, to),
        (_, DataType::Dictionary(_, wanted)) => Ok(cast(&convert(values, wanted)?, to)?),
        _ if nested::is_nested(from) || nested::is_nested(to) => nested::convert(values, to),
        _ => scalar::convert(values, to),
    }
}

/// The field with another type.
fn typed(field: &Field, data_type: DataType) -> Field {
    field.clone().with_data_type(data_type)
}
