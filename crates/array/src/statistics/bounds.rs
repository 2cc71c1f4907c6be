//! Minimum and maximum of columns, and their form in documents.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array,
};
use arrow::compute::{cast, max, max_boolean, max_string, min, min_boolean, min_string};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use partita_core::Result;
use serde_json::Value;

/// Longer texts are not kept as bounds, since the size of documents would then depend on the data.
const LONGEST_TEXT: usize = 64;

/// The minimum and maximum of a column, ignoring nulls and NaN; none if there is no value.
pub(super) fn bounds_of(column: &ArrayRef) -> Result<(Option<Value>, Option<Value>)> {
    Ok(match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            (min_boolean(values).map(Value::from), max_boolean(values).map(Value::from))
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>();
            (min(values).map(Value::from), max(values).map(Value::from))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            let values = || values.values().iter().copied().filter(|value| !value.is_nan());
            let text = |value: f64| Value::from(format!("{value:?}"));
            (values().reduce(f64::min).map(text), values().reduce(f64::max).map(text))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            let bounds = (min_string(values), max_string(values));
            match bounds {
                (Some(min), Some(max)) if min.len().max(max.len()) <= LONGEST_TEXT => {
                    (Some(min.into()), Some(max.into()))
                }
                _ => (None, None),
            }
        }
        _ => {
            let numbers = cast(column, &DataType::Int64)?;
            let values = numbers.as_primitive::<Int64Type>();
            (min(values).map(Value::from), max(values).map(Value::from))
        }
    })
}

/// Converts bounds to a column of this type; a bound that is missing or of another type becomes
/// null.
pub(super) fn column_of_bounds<'a>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<&'a Value>>,
) -> Result<ArrayRef> {
    let text = |value: Option<&'a Value>| value.and_then(Value::as_str);
    Ok(match data_type {
        DataType::Boolean => {
            let values = values.map(|value| value.and_then(Value::as_bool));
            Arc::new(values.collect::<BooleanArray>())
        }
        DataType::UInt64 => {
            let values = values.map(|value| value.and_then(Value::as_u64));
            Arc::new(values.collect::<UInt64Array>())
        }
        DataType::Float64 => {
            let number = |value| text(value).and_then(|text| text.parse::<f64>().ok());
            Arc::new(values.map(number).collect::<Float64Array>())
        }
        DataType::Utf8 => Arc::new(values.map(text).collect::<StringArray>()),
        data_type => {
            let values = values.map(|value| value.and_then(Value::as_i64));
            cast(&values.collect::<Int64Array>(), data_type)?
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampNanosecondArray;

    use super::*;

    fn there_and_back(column: ArrayRef) -> (ArrayRef, ArrayRef) {
        let (min, max) = bounds_of(&column).unwrap();
        let text = serde_json::to_string(&(&min, &max)).unwrap();
        let (min, max): (Option<Value>, Option<Value>) = serde_json::from_str(&text).unwrap();
        let column_of = |value: &Option<Value>| {
            column_of_bounds(column.data_type(), std::iter::once(value.as_ref())).unwrap()
        };
        (column_of(&min), column_of(&max))
    }

    #[test]
    fn bounds_are_exact_in_documents() {
        let floats = [0.1 + 0.2, f64::NAN, -5e-324, f64::INFINITY, 1.797e308];
        let (min, max) = there_and_back(Arc::new(Float64Array::from(floats.to_vec())));
        assert_eq!(min.as_primitive::<Float64Type>().value(0), -5e-324);
        assert_eq!(max.as_primitive::<Float64Type>().value(0), f64::INFINITY);
        let times = vec![Some(i64::MAX), None, Some(i64::MIN + 1)];
        let (min, max) = there_and_back(Arc::new(TimestampNanosecondArray::from(times)));
        let time = |value| TimestampNanosecondArray::from(vec![value]);
        assert_eq!(min.as_ref(), &time(i64::MIN + 1) as &dyn Array);
        assert_eq!(max.as_ref(), &time(i64::MAX) as &dyn Array);
        let (min, _) = there_and_back(Arc::new(UInt64Array::from(vec![u64::MAX])));
        assert_eq!(min.as_primitive::<UInt64Type>().value(0), u64::MAX);
        let (min, max) = there_and_back(Arc::new(StringArray::from(vec!["b", "é", "a"])));
        assert_eq!((min.as_string::<i32>().value(0), max.as_string::<i32>().value(0)), ("a", "é"));
        let (min, max) = there_and_back(Arc::new(BooleanArray::from(vec![true])));
        assert!(min.as_boolean().value(0) && max.as_boolean().value(0));
    }

    #[test]
    fn without_a_value_there_are_no_bounds() {
        for column in [
            Arc::new(Float64Array::from(vec![f64::NAN])) as ArrayRef,
            Arc::new(Int64Array::from(Vec::<i64>::new())),
            Arc::new(StringArray::from(vec!["x".repeat(65)])),
        ] {
            let (min, max) = there_and_back(column);
            assert!(min.is_null(0) && max.is_null(0));
        }
    }
}
