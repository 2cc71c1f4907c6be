//! Categories in an order of their own, such as "low", "middle", "high".
//!
//! The order is that of the dictionary of the data as they were given. Data files do not keep it,
//! so the given field of the column holds the categories, and scans return their dictionary.

use std::sync::Arc;

use arrow::array::{
    AnyDictionaryArray, Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use hashbrown::HashMap;
use partita_core::convert::{convert_column, shown, to_texts};
use partita_core::{Error, ErrorKind, Result};

use super::ipc::{decode_batch, encode_batch};

/// The entry of a field's metadata that holds the categories of an ordered dictionary, in their
/// order: an Arrow stream in base64.
pub const CATEGORIES: &str = "partita.categories";

/// The categories of a given field, in their order.
#[must_use]
pub fn categories_of(given: &Field) -> Option<ArrayRef> {
    let batch = decode_batch(given.metadata().get(CATEGORIES)?).ok()?;
    batch.columns().first().cloned()
}

/// The given field of an ordered column that has no categories yet, and gets `values` of the field
/// `found`: with their categories, or in no order if they have none. `None` if it stays as it is.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn with_categories(given: &Field, found: &Field, values: &ArrayRef) -> Result<Option<Field>> {
    if given.dict_is_ordered() != Some(true) || categories_of(given).is_some() {
        return Ok(None);
    }
    let is_ordered = found.dict_is_ordered() == Some(true);
    let dictionary = values.as_any_dictionary_opt().filter(|_| is_ordered);
    let categories = dictionary.map(AnyDictionaryArray::values);
    let Some(categories) = categories.filter(|categories| !categories.is_empty()) else {
        let holds_values = values.logical_null_count() < values.len();
        return Ok(holds_values.then(|| without_order(given)));
    };
    let schema = Schema::new(vec![Field::new("category", categories.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(categories)])?;
    let mut metadata = given.metadata().clone();
    metadata.insert(CATEGORIES.to_owned(), encode_batch(&batch)?);
    Ok(Some(given.clone().with_metadata(metadata)))
}

/// The given field of an ordered column that takes values of the given field `found` too: with the
/// categories of the first values, or in no order if there are values of others or of none. `None`
/// if it stays as it is.
#[must_use]
pub fn reordered(given: &Field, found: Option<&Field>) -> Option<Field> {
    if given.dict_is_ordered() != Some(true) {
        return None;
    }
    let (own, others) = (categories_of(given), found.and_then(categories_of));
    match (&own, found) {
        (Some(_), _) if own.as_deref() == others.as_deref() => None,
        (None, Some(found)) if others.is_some() => {
            Some(found.clone().with_nullable(given.is_nullable()))
        }
        _ => Some(without_order(given)),
    }
}

/// The given field without categories, in no order.
#[must_use]
pub fn without_order(given: &Field) -> Field {
    let mut metadata = given.metadata().clone();
    metadata.remove(CATEGORIES);
    given.clone().with_metadata(metadata).with_dict_is_ordered(false)
}

/// The field without an order of categories, if it does not know them.
#[must_use]
pub fn without_unknown_order(given: Field) -> Field {
    match given.dict_is_ordered() == Some(true) && categories_of(&given).is_none() {
        true => given.with_dict_is_ordered(false),
        false => given,
    }
}

/// The values of a column in the dictionary of its categories.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the row for a value that is not a category.
pub fn in_categories(
    given: &Field,
    categories: &ArrayRef,
    first_row: u64,
    values: ArrayRef,
) -> Result<ArrayRef> {
    let DataType::Dictionary(_, of) = given.data_type() else { return Ok(values) };
    let categories = convert_column(given.name(), 0, categories, of)?;
    let packed = cast(&values, given.data_type())?;
    let packed = packed.as_dictionary::<Int32Type>();
    let names = to_texts(&categories)?;
    let places: HashMap<&str, i32> = names.iter().flatten().zip(0..).collect();
    let found = to_texts(packed.values())?;
    let found: Vec<Option<i32>> = found.iter().map(|name| places.get(name?).copied()).collect();
    let place = |key: i32| found.get(usize::try_from(key).ok()?).copied().flatten();
    let keys: Int32Array = packed.keys().iter().map(|key| place(key?)).collect();
    if keys.null_count() > packed.keys().null_count()
        && let Some(row) = (0..keys.len()).find(|row| keys.is_null(*row) && packed.is_valid(*row))
        && packed.logical_nulls().is_none_or(|nulls| nulls.is_valid(row))
    {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            "the value is not among the ordered categories of the column",
        )
        .with("column", given.name())
        .with("row", first_row + row as u64)
        .with("value", shown(&values, row)));
    }
    Ok(Arc::new(DictionaryArray::try_new(keys, categories)?))
}
