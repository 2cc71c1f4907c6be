//! Fields of structs, named by path: `address.city`.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Schema};

use crate::Result;

/// Splits a name into the column that it begins with and the path of fields within. A column whose
/// name is the whole text takes precedence, then the shortest prefix that is a column.
fn split<'a>(name: &'a str, exists: &dyn Fn(&str) -> bool) -> Option<(&'a str, &'a str)> {
    if exists(name) {
        return Some((name, ""));
    }
    let dots = name.match_indices('.').map(|(at, _)| at);
    dots.filter_map(|at| Some((name.get(..at)?, name.get(at + 1..)?)))
        .find(|(column, _)| exists(column))
}

fn steps(fields: &str) -> impl Iterator<Item = &str> {
    fields.split('.').filter(|field| !field.is_empty())
}

/// The column that contains what `name` refers to, and the type of the latter; `None` if there is
/// none.
pub(crate) fn resolve<'a>(name: &'a str, schema: &'a Schema) -> Option<(&'a str, &'a DataType)> {
    let (column, fields) = split(name, &|name| schema.field_with_name(name).is_ok())?;
    let mut data_type = schema.field_with_name(column).ok()?.data_type();
    for step in steps(fields) {
        let DataType::Struct(fields) = data_type else { return None };
        data_type = fields.iter().find(|field| field.name() == step)?.data_type();
    }
    Some((column, data_type))
}

/// The values that `name` refers to in a batch; null if an enclosing struct is null.
pub(crate) fn reach<'a>(name: &str, batch: &'a RecordBatch) -> Result<Option<Cow<'a, ArrayRef>>> {
    let exists = |name: &str| batch.column_by_name(name).is_some();
    let Some((column, fields)) = split(name, &exists) else { return Ok(None) };
    let Some(column) = batch.column_by_name(column) else { return Ok(None) };
    let mut values = Cow::Borrowed(column);
    for step in steps(fields) {
        let Some(outer) = values.as_struct_opt() else { return Ok(None) };
        let Some(inner) = outer.column_by_name(step) else { return Ok(None) };
        let inner = match outer.null_count() {
            0 => inner.clone(),
            _ => nullif(inner, &is_null(outer)?)?,
        };
        values = Cow::Owned(inner);
    }
    Ok(Some(values))
}
