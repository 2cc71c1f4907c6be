//! Parsing text from CSV, JSON lines and folder names into typed values.

mod format;
mod number;
mod suggest;
mod time;

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray,
    LargeBinaryArray, LargeListArray, LargeStringArray, MapArray, PrimitiveArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Fields, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::FormatOptions;

use super::nested::{entry, item};
use super::{Converted, Misfit};
use crate::{Result, type_name};

pub use format::to_texts;
pub(crate) use number::Exact;
pub use suggest::Suggestion;

/// Parses texts into values of type `to`; nulls stay nulls. Nested columns must have the shape of
/// `to`, with texts as their innermost values.
///
/// # Errors
/// [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) naming the column, the row and the text
/// that cannot be represented in `to`: a fraction in a column of integers, more digits than a
/// decimal has, a time of day in a column of dates, a zone where the column has none or the other
/// way round.
pub fn parse_column(
    column: &str,
    first_row: u64,
    texts: &ArrayRef,
    to: &DataType,
) -> Result<ArrayRef> {
    parse(texts, to).map_err(|misfit| misfit.into_error(column, first_row, &DataType::Utf8, to))
}

fn parse(texts: &ArrayRef, to: &DataType) -> Converted {
    if let Some(wanted) = item(to) {
        let given = item(texts.data_type()).ok_or_else(|| unlike(texts, to))?;
        let plain = cast(texts, &DataType::LargeList(Arc::clone(given)))?;
        let plain = plain.as_list::<i64>();
        let offsets = plain.offsets();
        let outer = |row: usize| {
            let row = i64::try_from(row).unwrap_or(i64::MAX);
            offsets.partition_point(|offset| *offset <= row).saturating_sub(1)
        };
        let items = parse(plain.values(), wanted.data_type()).map_err(|m| m.in_row(outer))?;
        let lists = LargeListArray::try_new(
            Arc::clone(wanted),
            offsets.clone(),
            items,
            plain.nulls().cloned(),
        )?;
        return super::convert(&(Arc::new(lists) as ArrayRef), to);
    }
    match to {
        DataType::Struct(fields) => {
            let given = texts.as_struct_opt().ok_or_else(|| unlike(texts, to))?;
            let mut columns = Vec::with_capacity(fields.len());
            for field in fields {
                let column = given.column_by_name(field.name()).ok_or_else(|| unlike(texts, to))?;
                let column = parse(column, field.data_type());
                columns.push(column.map_err(|misfit| misfit.within(field.name()))?);
            }
            let nulls = given.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                nulls,
                given.len(),
            )?))
        }
        DataType::Map(entries, sorted) => {
            let given = texts.as_map_opt().ok_or_else(|| unlike(texts, to))?;
            let (key, value) = entry(entries).ok_or_else(|| unlike(texts, to))?;
            let keys = parse(given.keys(), key.data_type()).map_err(|m| m.within("key"))?;
            let values = parse(given.values(), value.data_type()).map_err(|m| m.within("value"))?;
            let length = keys.len();
            let fields = Fields::from(vec![Arc::clone(key), Arc::clone(value)]);
            let structs =
                StructArray::try_new_with_length(fields, vec![keys, values], None, length)?;
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(entries),
                OffsetBuffer::clone(given.offsets()),
                structs,
                given.nulls().cloned(),
                *sorted,
            )?))
        }
        DataType::Dictionary(_, values) => Ok(cast(&parse(texts, values)?, to)?),
        _ => {
            if !texts.data_type().is_string() && *texts.data_type() != DataType::Null {
                return Err(unlike(texts, to));
            }
            let texts = cast(texts, &DataType::LargeUtf8)?;
            parse_leaves(texts.as_string::<i64>(), to)
        }
    }
}

fn unlike(texts: &ArrayRef, to: &DataType) -> Misfit {
    Misfit::types(texts.data_type(), to)
}

fn parse_leaves(texts: &LargeStringArray, to: &DataType) -> Converted {
    macro_rules! numbers {
        ($of:ty) => {
            primitive::<$of>(texts, to, number::integer)
        };
    }
    macro_rules! steps {
        ($of:ty, $parse:expr) => {
            primitive::<$of>(texts, to, |text| number::narrowed($parse(text)?))
        };
    }
    match to {
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float32 => primitive::<Float32Type>(texts, to, number::float32),
        DataType::Float64 => primitive::<Float64Type>(texts, to, number::float64),
        DataType::Decimal128(precision, scale) => primitive::<Decimal128Type>(texts, to, |text| {
            number::decimal(text, *precision, *scale)?
                .to_i128()
                .ok_or_else(|| "the number has more digits than the column".to_owned())
        }),
        DataType::Decimal256(precision, scale) => {
            primitive::<Decimal256Type>(texts, to, |text| number::decimal(text, *precision, *scale))
        }
        DataType::Date32 => steps!(Date32Type, time::date),
        DataType::Timestamp(unit, zone) => {
            let zoned = zone.is_some();
            let instant = move |text: &str| time::timestamp(text, zoned, *unit);
            match unit {
                TimeUnit::Second => steps!(TimestampSecondType, instant),
                TimeUnit::Millisecond => steps!(TimestampMillisecondType, instant),
                TimeUnit::Microsecond => steps!(TimestampMicrosecondType, instant),
                TimeUnit::Nanosecond => steps!(TimestampNanosecondType, instant),
            }
        }
        DataType::Time32(TimeUnit::Second) => {
            steps!(Time32SecondType, |t| time::of_day(t, TimeUnit::Second))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            steps!(Time32MillisecondType, |t| time::of_day(t, TimeUnit::Millisecond))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            steps!(Time64MicrosecondType, |t| time::of_day(t, TimeUnit::Microsecond))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            steps!(Time64NanosecondType, |t| time::of_day(t, TimeUnit::Nanosecond))
        }
        DataType::Duration(unit) => {
            let length = |text: &str| time::duration(text, *unit);
            match unit {
                TimeUnit::Second => steps!(DurationSecondType, length),
                TimeUnit::Millisecond => steps!(DurationMillisecondType, length),
                TimeUnit::Microsecond => steps!(DurationMicrosecondType, length),
                TimeUnit::Nanosecond => steps!(DurationNanosecondType, length),
            }
        }
        DataType::Boolean => {
            let values = each(texts, to, |text| {
                let text = text.trim();
                if text.eq_ignore_ascii_case("true") {
                    Ok(true)
                } else if text.eq_ignore_ascii_case("false") {
                    Ok(false)
                } else {
                    Err("a boolean is true or false".to_owned())
                }
            })?;
            Ok(Arc::new(BooleanArray::from(values)))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
            Ok(cast_with_options(texts, to, &strict)?)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = each(texts, to, hex)?;
            let array: ArrayRef = match to {
                DataType::Binary => Arc::new(BinaryArray::from_iter(values)),
                _ => Arc::new(LargeBinaryArray::from_iter(values)),
            };
            Ok(cast(&array, to)?)
        }
        DataType::FixedSizeBinary(size) => {
            let wanted = usize::try_from(*size).unwrap_or(0);
            let values = each(texts, to, |text| match hex(text)? {
                bytes if bytes.len() == wanted => Ok(bytes),
                _ => Err(format!("the column holds {wanted} bytes, written as hexadecimal digits")),
            })?;
            Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                values.into_iter(),
                *size,
            )?))
        }
        DataType::Float16 | DataType::Date64 => {
            let wide = match to {
                // The texts of halves are those of the equal single floats.
                DataType::Float16 => DataType::Float32,
                _ => DataType::Date32,
            };
            super::convert(&parse_leaves(texts, &wide)?, to)
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            super::convert(&parse_leaves(texts, &DataType::Decimal128(*precision, *scale))?, to)
        }
        DataType::Null => {
            each(texts, to, |_| Err::<(), _>("the column holds nulls only".to_owned()))?;
            Ok(arrow::array::new_null_array(to, texts.len()))
        }
        _ => Err(Misfit::types(&DataType::Utf8, to)),
    }
}

fn each<T>(
    texts: &LargeStringArray,
    to: &DataType,
    parse: impl Fn(&str) -> std::result::Result<T, String>,
) -> std::result::Result<Vec<Option<T>>, Misfit> {
    texts
        .iter()
        .enumerate()
        .map(|(row, text)| {
            text.map(&parse).transpose().map_err(|reason| {
                Misfit::at(
                    texts,
                    row,
                    format!("the text is not a value of type {}: {reason}", type_name(to)),
                )
            })
        })
        .collect()
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &LargeStringArray,
    to: &DataType,
    parse: impl Fn(&str) -> std::result::Result<T::Native, String>,
) -> Converted {
    let values: PrimitiveArray<T> = each(texts, to, parse)?.into_iter().collect();
    Ok(Arc::new(values.with_data_type(to.clone())))
}

/// Parses the hexadecimal digits that an export writes for bytes.
fn hex(text: &str) -> std::result::Result<Vec<u8>, String> {
    let wrong = || "bytes are written as pairs of hexadecimal digits".to_owned();
    let digits = text.trim().as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            u8::from_str_radix(pair, 16).map_err(|_| wrong())
        })
        .collect()
}

/// True if the text equals the `Display` form of the value it parses to: no leading zeros, no plus
/// sign.
fn is_canonical<T: FromStr + ToString>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|value| value.to_string() == text)
}
