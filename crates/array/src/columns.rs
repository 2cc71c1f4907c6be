//! Converts arrays of one dimension to Arrow columns, on which predicates are evaluated.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};
use half::f16;
use partita_core::partition::{Calendar, CalendarUnit, Resolution};
use partita_core::{Error, ErrorKind, Result};

use crate::dataset::{Array, DType};

/// The Arrow type of the column for an array of this type; none if its values cannot be compared.
pub(crate) fn column_type(dtype: DType) -> Option<DataType> {
    Some(match dtype {
        DType::Bool => DataType::Boolean,
        DType::UInt64 => DataType::UInt64,
        dtype if dtype.is_integer() => DataType::Int64,
        DType::Float16 | DType::Float32 | DType::Float64 => DataType::Float64,
        DType::TimeDelta(..) => DataType::Int64,
        DType::DateTime(unit, _) => DataType::Timestamp(unit_of(unit)?, None),
        DType::Text | DType::FixedText(_) | DType::FixedBytes(_) => DataType::Utf8,
        _ => return None,
    })
}

/// The coarsest time unit of Arrow that represents times of this unit exactly.
fn unit_of(unit: CalendarUnit) -> Option<TimeUnit> {
    Some(match unit {
        CalendarUnit::Millisecond => TimeUnit::Millisecond,
        CalendarUnit::Microsecond => TimeUnit::Microsecond,
        CalendarUnit::Nanosecond => TimeUnit::Nanosecond,
        CalendarUnit::Picosecond | CalendarUnit::Femtosecond | CalendarUnit::Attosecond => {
            return None;
        }
        _ => TimeUnit::Second,
    })
}

/// Converts an array of one dimension to a column. "Not a time" becomes null; durations become
/// numbers in their own unit.
///
/// # Errors
/// [`InvalidPredicate`](ErrorKind::InvalidPredicate) for a type without a column, or a time outside
/// the range of the column's type.
pub(crate) fn column_of(array: &Array) -> Result<ArrayRef> {
    let dtype = array.dtype();
    let refuse = || {
        Error::new(ErrorKind::InvalidPredicate, "values of this type cannot be compared")
            .with("dtype", dtype)
    };
    Ok(match column_type(dtype).ok_or_else(refuse)? {
        DataType::Boolean => {
            let items = (0..array.len()).map(|i| array.item(i).map(|item| item != [0]));
            Arc::new(items.collect::<BooleanArray>())
        }
        DataType::UInt64 => {
            let values = array.integers().unwrap_or_default().into_iter();
            Arc::new(values.map(|value| u64::try_from(value).ok()).collect::<UInt64Array>())
        }
        DataType::Int64 => {
            let is_time = matches!(dtype, DType::TimeDelta(..));
            let value = |value: i128| {
                i64::try_from(value).ok().filter(|value| !is_time || *value != i64::MIN)
            };
            let values = array.integers().unwrap_or_default().into_iter();
            Arc::new(values.map(value).collect::<Int64Array>())
        }
        DataType::Float64 => {
            let items = (0..array.len()).map(|i| array.item(i).and_then(float));
            Arc::new(items.collect::<Float64Array>())
        }
        DataType::Timestamp(unit, _) => times(array, unit)?,
        _ => {
            let items = (0..array.len()).map(|i| array.item(i).map(|item| text(dtype, item)));
            Arc::new(items.collect::<StringArray>())
        }
    })
}

/// The value of a float of any width.
pub(crate) fn float(item: &[u8]) -> Option<f64> {
    match item.len() {
        2 => Some(f16::from_le_bytes(item.try_into().ok()?).to_f64()),
        4 => Some(f32::from_le_bytes(item.try_into().ok()?).into()),
        _ => Some(f64::from_le_bytes(item.try_into().ok()?)),
    }
}

fn text(dtype: DType, item: &[u8]) -> String {
    let text = match dtype {
        DType::FixedText(_) => {
            let points = item.as_chunks::<4>().0.iter();
            points.filter_map(|point| char::from_u32(u32::from_le_bytes(*point))).collect()
        }
        _ => String::from_utf8_lossy(item).into_owned(),
    };
    text.trim_end_matches('\0').to_owned()
}

fn times(array: &Array, unit: TimeUnit) -> Result<ArrayRef> {
    let DType::DateTime(of, multiple) = array.dtype() else {
        return Err(Error::invalid("these values are not times"));
    };
    let scale = match of {
        CalendarUnit::Week => 604_800,
        CalendarUnit::Day => 86_400,
        CalendarUnit::Hour => 3_600,
        CalendarUnit::Minute => 60,
        _ => 1,
    };
    let value = |value: i128| -> Result<Option<i64>> {
        let steps = i64::try_from(value).unwrap_or(i64::MIN);
        if steps == i64::MIN {
            return Ok(None);
        }
        let scaled = match of {
            CalendarUnit::Year | CalendarUnit::Month => {
                let fields = Calendar::of(steps, multiple, of).fields(Resolution::Month);
                Calendar::period(&fields).map(|(start, _)| start)
            }
            _ => value.checked_mul(i128::from(multiple) * scale),
        };
        let time = scaled.and_then(|time| i64::try_from(time).ok());
        time.map(Some).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidPredicate,
                "a time is outside the range in which it can be compared",
            )
            .with("dtype", array.dtype())
        })
    };
    let values: Vec<Option<i64>> =
        array.integers().unwrap_or_default().into_iter().map(value).collect::<Result<_>>()?;
    Ok(match unit {
        TimeUnit::Second => Arc::new(TimestampSecondArray::from(values)),
        TimeUnit::Millisecond => Arc::new(TimestampMillisecondArray::from(values)),
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::from(values)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::from(values)),
    })
}
