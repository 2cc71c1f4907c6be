//! Checks that texts are UTF-8. Other libraries may pass invalid bytes, which no reader could
//! decode once they are stored.

use arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait};
use arrow::datatypes::DataType;

use crate::{Error, Result};

/// Checks the texts of a column, those within lists, structs and dictionaries too.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) naming the column and the row.
pub fn check_texts(column: &str, values: &ArrayRef) -> Result<()> {
    let Some(row) = not_utf8(values) else { return Ok(()) };
    let error = Error::invalid("a text is not UTF-8; decode it, or store it as bytes")
        .with("column", column);
    Err(match row {
        Some(row) => error.with("row", row),
        None => error,
    })
}

/// The first row that is not UTF-8; `Some(None)` if it lies within a nested value.
fn not_utf8(values: &ArrayRef) -> Option<Option<usize>> {
    let within = |inner: &ArrayRef| not_utf8(inner).map(|_| None);
    match values.data_type() {
        DataType::Utf8 => in_strings(values.as_string::<i32>()).map(Some),
        DataType::LargeUtf8 => in_strings(values.as_string::<i64>()).map(Some),
        DataType::Utf8View => {
            let bytes = values.as_string_view().clone().to_binary_view();
            bytes
                .iter()
                .position(|value| value.is_some_and(|value| std::str::from_utf8(value).is_err()))
                .map(Some)
        }
        DataType::Dictionary(_, _) => within(values.as_any_dictionary_opt()?.values()),
        DataType::Struct(_) => values.as_struct_opt()?.columns().iter().find_map(within),
        DataType::Map(_, _) => {
            let map = values.as_map_opt()?;
            within(map.keys()).or_else(|| within(map.values()))
        }
        DataType::List(_) => within(values.as_list_opt::<i32>()?.values()),
        DataType::LargeList(_) => within(values.as_list_opt::<i64>()?.values()),
        DataType::FixedSizeList(_, _) => within(values.as_fixed_size_list_opt()?.values()),
        DataType::ListView(_) => within(values.as_list_view_opt::<i32>()?.values()),
        DataType::LargeListView(_) => within(values.as_list_view_opt::<i64>()?.values()),
        _ => None,
    }
}

fn in_strings<O: OffsetSizeTrait>(values: &GenericStringArray<O>) -> Option<usize> {
    let offsets = values.value_offsets();
    let (first, last) = (offsets.first()?.as_usize(), offsets.last()?.as_usize());
    let bytes = values.value_data();
    let whole = bytes.get(first..last).and_then(|bytes| std::str::from_utf8(bytes).ok());
    if let Some(whole) = whole
        && offsets.iter().all(|offset| whole.is_char_boundary(offset.as_usize() - first))
    {
        return None;
    }
    let value = |pair: &[O]| bytes.get(pair.first()?.as_usize()..pair.get(1)?.as_usize());
    // The bytes of a null row have no meaning and are not checked.
    offsets.windows(2).enumerate().position(|(row, pair)| {
        values.is_valid(row) && value(pair).is_none_or(|text| std::str::from_utf8(text).is_err())
    })
}
