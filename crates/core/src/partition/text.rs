//! Conversion of column values to the texts in partition keys, and back.
//!
//! The texts are those of Python's `str` on a pandas value, which plateau writes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampNanosecondType};
use arrow::util::display::FormatOptions;
use jiff::{Timestamp, tz::TimeZone};

use crate::convert::as_keys;
use crate::{Error, ErrorKind, Result, type_name};

/// True if a column of this type can be a partition column.
#[must_use]
pub fn is_partition_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_partition_type(values),
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(_, _)
        | DataType::Decimal128(_, _) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The key texts of the values of a partition column.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if a value is null, is binary and not UTF-8, or the type cannot
/// partition (nested types, durations, times).
pub fn texts_of(column: &str, values: &ArrayRef) -> Result<LargeStringArray> {
    if !is_partition_type(values.data_type()) {
        return Err(Error::invalid(format!(
            "a column of type {} cannot partition; use integers, strings, booleans, dates or timestamps",
            type_name(values.data_type())
        ))
        .with("column", column));
    }
    if values.logical_null_count() > 0 {
        return Err(Error::invalid(
            "a partition column holds null; fill it or drop these rows first",
        )
        .with("column", column)
        .with("nulls", values.logical_null_count()));
    }
    let texts = match values.data_type() {
        DataType::Dictionary(_, inner) => {
            return texts_of(column, &cast(values, inner)?);
        }
        DataType::Boolean => values
            .as_boolean()
            .values()
            .iter()
            .map(|v| Some(if v { "True" } else { "False" }))
            .collect(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let wide = cast(values, &DataType::Float64)?;
            wide.as_primitive::<Float64Type>().values().iter().map(|v| float_repr(*v)).collect()
        }
        DataType::Timestamp(_, zone) => timestamp_texts(column, values, zone.as_deref())?,
        DataType::Date64 => return texts_of(column, &cast(values, &DataType::Date32)?),
        DataType::Binary | DataType::LargeBinary => utf8_cast(values, &DataType::LargeUtf8)
            .map_err(|error| {
                Error::invalid("a binary partition value is not UTF-8")
                    .with("column", column)
                    .caused_by(error)
            })?,
        _ => utf8_cast(values, &DataType::LargeUtf8)?,
    };
    Ok(texts)
}

/// Parses key texts into values of type `data_type`; the inverse of [`texts_of`].
///
/// # Errors
/// [`ErrorKind::Corrupt`] if a text is not a value of the type.
pub fn values_of(column: &str, texts: &LargeStringArray, data_type: &DataType) -> Result<ArrayRef> {
    let wrong = |text: &str| {
        Error::corrupt(format!("a partition value is not of type {}", type_name(data_type)))
            .with("column", column)
            .with("value", text)
    };
    match data_type {
        DataType::Boolean => {
            let parsed: Result<BooleanArray> = texts
                .iter()
                .map(|text| match text {
                    Some("True" | "true" | "1") => Ok(Some(true)),
                    Some("False" | "false" | "0") => Ok(Some(false)),
                    Some(text) => Err(wrong(text)),
                    None => Ok(None),
                })
                .collect();
            Ok(Arc::new(parsed?))
        }
        DataType::Timestamp(unit, zone) => {
            let nanos: Result<PrimitiveArray<TimestampNanosecondType>> = texts
                .iter()
                .map(|text| {
                    text.map(|text| parse_timestamp(text).ok_or_else(|| wrong(text))).transpose()
                })
                .collect();
            let utc: ArrayRef = Arc::new(nanos?);
            // For zoned columns, the nanoseconds are already in UTC: only the zone of the type is
            // missing.
            let labelled = match zone {
                Some(zone) => Arc::new(
                    utc.as_primitive::<TimestampNanosecondType>()
                        .clone()
                        .with_timezone(zone.clone()),
                ) as ArrayRef,
                None => utc,
            };
            Ok(match unit {
                TimeUnit::Nanosecond => labelled,
                _ => cast(&labelled, data_type)?,
            })
        }
        DataType::Dictionary(_, inner) => values_of(column, texts, inner),
        DataType::LargeUtf8 => Ok(Arc::new(texts.clone())),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats: Result<PrimitiveArray<Float64Type>> = texts
                .iter()
                .map(|text| text.map(|text| text.parse().map_err(|_| wrong(text))).transpose())
                .collect();
            // Folders written by other versions may use either zero.
            Ok(as_keys(&cast(&floats?, data_type)?)?)
        }
        _ => utf8_parse(texts, data_type).map_err(|error| {
            Error::new(
                ErrorKind::Corrupt,
                format!("a partition value is not of type {}", type_name(data_type)),
            )
            .with("column", column)
            .caused_by(error)
        }),
    }
}

fn utf8_cast(values: &ArrayRef, to: &DataType) -> Result<LargeStringArray> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    Ok(cast_with_options(values, to, &options)?.as_string::<i64>().clone())
}

fn utf8_parse(texts: &LargeStringArray, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    Ok(cast_with_options(texts, to, &options)?)
}

fn timestamp_texts(
    column: &str,
    values: &ArrayRef,
    zone: Option<&str>,
) -> Result<LargeStringArray> {
    let nanos_type = DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let nanos = cast_with_options(values, &nanos_type, &options).map_err(|error| {
        Error::invalid("a timestamp lies outside the years 1677 to 2262 that nanoseconds reach")
            .with("column", column)
            .caused_by(error)
    })?;
    let zone = match zone {
        None => None,
        Some(name) => Some(time_zone(name).ok_or_else(|| {
            Error::invalid("the time zone is not known").with("column", column).with("zone", name)
        })?),
    };
    nanos
        .as_primitive::<TimestampNanosecondType>()
        .values()
        .iter()
        .map(|nanos| timestamp_text(*nanos, zone.as_ref()).map(Some))
        .collect()
}

/// The time zone with a given name, or with an offset such as `+02:00`.
pub(crate) fn time_zone(name: &str) -> Option<TimeZone> {
    if let Some((hours, minutes)) = name.get(1..).and_then(|rest| rest.split_once(':')) {
        let seconds: i32 = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        let signed = if name.starts_with('-') { -seconds } else { seconds };
        return jiff::tz::Offset::from_seconds(signed).ok().map(TimeZone::fixed);
    }
    TimeZone::get(name).ok()
}

/// `str(pandas.Timestamp)`: the fraction has six digits, nine where there are nanoseconds, and is
/// absent where it is zero.
fn timestamp_text(nanos: i64, zone: Option<&TimeZone>) -> Result<String> {
    let instant = Timestamp::from_nanosecond(i128::from(nanos))
        .map_err(|error| Error::invalid("a timestamp is out of range").caused_by(error))?;
    let zoned = instant.to_zoned(zone.cloned().unwrap_or(TimeZone::UTC));
    let mut text = zoned.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let fraction = nanos.rem_euclid(1_000_000_000);
    if fraction % 1_000 != 0 {
        text.push_str(&format!(".{fraction:09}"));
    } else if fraction != 0 {
        text.push_str(&format!(".{:06}", fraction / 1_000));
    }
    if zone.is_some() {
        text.push_str(&zoned.strftime("%:z").to_string());
    }
    Ok(text)
}

/// Nanoseconds since the epoch; in UTC where the text carries an offset.
fn parse_timestamp(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return i64::try_from(instant.as_nanosecond()).ok();
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let instant = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    i64::try_from(instant.as_nanosecond()).ok()
}

/// Python's `repr(float)`: the shortest digits that read back, scientific below 1e-4 and from 1e16.
fn float_repr(value: f64) -> Option<String> {
    if value.is_nan() {
        return Some("nan".into());
    }
    if value.is_infinite() {
        return Some(if value > 0.0 { "inf" } else { "-inf" }.into());
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{mantissa}e{sign}{:02}", exponent.abs()));
    }
    let plain = format!("{value}");
    Some(if plain.contains('.') { plain } else { format!("{plain}.0") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
        TimestampMicrosecondArray, UInt64Array,
    };

    fn texts(values: impl Array + 'static) -> Vec<String> {
        let values: ArrayRef = Arc::new(values);
        let texts = texts_of("c", &values).unwrap();
        let back = values_of("c", &texts, values.data_type()).unwrap();
        assert_eq!(&back, &values, "reading back");
        texts.iter().map(|text| text.unwrap().to_owned()).collect()
    }

    #[test]
    fn texts_are_those_of_python() {
        assert_eq!(texts(Int8Array::from(vec![-3, 7])), ["-3", "7"]);
        assert_eq!(texts(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
        assert_eq!(texts(BooleanArray::from(vec![true, false])), ["True", "False"]);
        assert_eq!(
            texts(Float64Array::from(vec![0.1, 1e-7, 1e20, 2.0, 1e-4, 1e15, 1e16, f64::INFINITY])),
            ["0.1", "1e-07", "1e+20", "2.0", "0.0001", "1000000000000000.0", "1e+16", "inf"]
        );
        assert_eq!(texts(Float32Array::from(vec![0.1])), ["0.10000000149011612"]);
        assert_eq!(texts(Date32Array::from(vec![18262, -1])), ["2020-01-01", "1969-12-31"]);
        let decimals = Decimal128Array::from(vec![110]).with_precision_and_scale(5, 2).unwrap();
        assert_eq!(texts(decimals), ["1.10"]);
    }

    #[test]
    fn timestamps_carry_fraction_and_offset() {
        let micros = vec![1_577_836_800_000_000, 1_577_836_800_000_001];
        let naive = TimestampMicrosecondArray::from(micros.clone());
        assert_eq!(texts(naive), ["2020-01-01 00:00:00", "2020-01-01 00:00:00.000001"]);
        let zoned = TimestampMicrosecondArray::from(micros.clone()).with_timezone("Europe/Oslo");
        assert_eq!(texts(zoned), ["2020-01-01 01:00:00+01:00", "2020-01-01 01:00:00.000001+01:00"]);
        let fixed = TimestampMicrosecondArray::from(micros).with_timezone("-03:30");
        assert_eq!(texts(fixed).first().unwrap(), "2019-12-31 20:30:00-03:30");
    }

    #[test]
    fn nulls_and_nested_types_are_refused() {
        let nulls: ArrayRef = Arc::new(Int8Array::from(vec![Some(1), None]));
        let error = texts_of("c", &nulls).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("column: c"));
    }
}
