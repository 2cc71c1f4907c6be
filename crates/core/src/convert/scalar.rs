//! Values that are not nested.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::FormatOptions;

use super::{Converted, Misfit};

/// Groups of types whose values can have the same meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bool,
    /// Integers, floats and decimals; see [`convert`] on the last two.
    Number,
    Text,
    Bytes,
    /// Dates, and timestamps without a zone.
    Civil,
    /// Timestamps with a zone.
    Instant,
    TimeOfDay,
    Duration,
}

impl Family {
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None) => Self::Civil,
            DataType::Timestamp(_, Some(_)) => Self::Instant,
            DataType::Time32(_) | DataType::Time64(_) => Self::TimeOfDay,
            DataType::Duration(_) => Self::Duration,
            other if other.is_numeric() => Self::Number,
            _ => return None,
        })
    }
}

/// Converts to the target type and back, and compares: a value that was cut, rounded or wrapped
/// does not come back unchanged.
///
/// Floats and decimals do not become each other: the float 0.1 is not the decimal 0.1.
pub(super) fn convert(values: &ArrayRef, to: &DataType) -> Converted {
    let from = values.data_type();
    let via = match (from, to) {
        (_, DataType::FixedSizeBinary(_)) => *from != DataType::LargeBinary,
        (DataType::FixedSizeBinary(_), other) => *other == DataType::BinaryView,
        _ => false,
    };
    if via {
        // Arrow has no cast from views, or from another fixed size, to a fixed size.
        let plain = convert(values, &DataType::LargeBinary)?;
        return convert(&plain, to);
    }
    let family = Family::of(from).filter(|family| Some(*family) == Family::of(to));
    if family.is_none()
        || is_decimal(from) && to.is_floating()
        || from.is_floating() && is_decimal(to)
    {
        return Err(refusal(values, to));
    }
    let null_if_unfit = CastOptions { safe: true, format_options: FormatOptions::default() };
    let there = cast_with_options(values, to, &null_if_unfit)?;
    if always_fits(from, to) {
        return Ok(there);
    }
    let back = cast_with_options(&there, from, &null_if_unfit)?;
    let same = not_distinct(values, &back)?;
    match (0..values.len()).find(|row| !same.value(*row) && !both_nan(values, &back, *row)) {
        None => Ok(there),
        Some(row) => Err(Misfit::at(values, row, reason(from, to))),
    }
}

/// True if both values are NaN; their bits may differ.
fn both_nan(a: &ArrayRef, b: &ArrayRef, row: usize) -> bool {
    let nan = |array: &ArrayRef| {
        array.is_valid(row)
            && arrow::compute::cast(&array.slice(row, 1), &DataType::Float64)
                .is_ok_and(|one| one.as_primitive::<Float64Type>().value(0).is_nan())
    };
    a.data_type().is_floating() && nan(a) && nan(b)
}

/// The error for two types without a conversion; it shows the first value.
fn refusal(values: &ArrayRef, to: &DataType) -> Misfit {
    let nulls: Option<BooleanArray> = arrow::compute::is_null(values).ok();
    let row = nulls.and_then(|nulls| (0..nulls.len()).find(|row| !nulls.value(*row)));
    match row {
        Some(row) => Misfit::at(values, row, Misfit::types(values.data_type(), to).reason),
        None => Misfit::types(values.data_type(), to),
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(_, _)
            | DataType::Decimal64(_, _)
            | DataType::Decimal128(_, _)
            | DataType::Decimal256(_, _)
    )
}

/// True if every value of `from` fits `to`, so that no comparison is needed.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary,
        LargeUtf8, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    match from {
        Utf8 | LargeUtf8 | Utf8View => matches!(to, Utf8 | LargeUtf8 | Utf8View),
        Binary | LargeBinary | BinaryView => matches!(to, Binary | LargeBinary | BinaryView),
        Int8 => matches!(to, Int16 | Int32 | Int64 | Float32 | Float64),
        Int16 => matches!(to, Int32 | Int64 | Float32 | Float64),
        Int32 => matches!(to, Int64 | Float64),
        UInt8 => matches!(to, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64 | Float32 | Float64),
        UInt16 => matches!(to, UInt32 | UInt64 | Int32 | Int64 | Float32 | Float64),
        UInt32 => matches!(to, UInt64 | Int64 | Float64),
        Float16 => matches!(to, Float32 | Float64),
        Float32 => matches!(to, Float64),
        _ => false,
    }
}

fn reason(from: &DataType, to: &DataType) -> String {
    let what = match Family::of(from) {
        Some(Family::Civil) if matches!(to, DataType::Date32 | DataType::Date64) => {
            "a date has no time of day"
        }
        Some(Family::Civil | Family::Instant | Family::TimeOfDay | Family::Duration) => {
            "the time is out of range, or finer than the unit; round it, or give the column a finer \
             unit"
        }
        Some(Family::Number) if from.is_floating() && to.is_integer() => {
            "an integer holds neither fractions nor values out of range"
        }
        Some(Family::Number) => "the number is out of range, or would be rounded",
        Some(Family::Bytes) => "the bytes are not as many as the column holds",
        _ => "the value would be changed",
    };
    format!("{}: {what}", Misfit::types(from, to).reason)
}
