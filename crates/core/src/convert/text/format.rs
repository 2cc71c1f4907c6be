//! Formatting values as text that [`parse_column`](super::parse_column) reads back.

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::FormatOptions;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::predicate::iso8601::{NANOS_PER_SECOND, format_timestamp};
use crate::{Error, Result, type_name};

/// The values as text; nulls stay nulls.
///
/// Times with a zone are written with the offset of the zone at that time, bytes as hexadecimal
/// digits, and durations as `PT1.5S`.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a nested type, and for a time outside
/// the range of years that can be written as text.
pub fn to_texts(values: &ArrayRef) -> Result<LargeStringArray> {
    match values.data_type() {
        DataType::Dictionary(_, inner) => to_texts(&cast(values, inner)?),
        DataType::Timestamp(unit, zone) => {
            let zone = zone.as_deref().map(|name| {
                crate::partition::time_zone(name)
                    .ok_or_else(|| Error::invalid("the time zone is not known").with("zone", name))
            });
            let zone = zone.transpose()?;
            each(values, *unit, |nanos| timestamp(nanos, zone.as_ref()))
        }
        DataType::Duration(unit) => each(values, *unit, |nanos| Ok(duration(nanos))),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => {
            let bytes = cast(values, &DataType::LargeBinary)?;
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(bytes
                .as_binary::<i64>()
                .iter()
                .map(|one| one.map(hex))
                .collect::<Vec<Option<String>>>()
                .into())
        }
        other if other.is_nested() => Err(Error::invalid(format!(
            "values of type {} are not written as one text",
            type_name(other)
        ))),
        _ => {
            let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
            let texts = cast_with_options(values, &DataType::LargeUtf8, &strict)?;
            Ok(texts.as_string::<i64>().clone())
        }
    }
}

fn nanos_per(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => NANOS_PER_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn each(
    values: &ArrayRef,
    unit: TimeUnit,
    text: impl Fn(i128) -> Result<String>,
) -> Result<LargeStringArray> {
    let counts = cast(values, &DataType::Int64)?;
    let step = nanos_per(unit);
    counts
        .as_primitive::<Int64Type>()
        .iter()
        .map(|count| count.map(|count| text(i128::from(count) * step)).transpose())
        .collect()
}

fn timestamp(nanos: i128, zone: Option<&TimeZone>) -> Result<String> {
    let far = || Error::invalid("a time outside the years -9999 to 9999 cannot be written as text");
    let Some(zone) = zone.filter(|zone| **zone != TimeZone::UTC) else {
        return format_timestamp(nanos, zone.is_some()).ok_or_else(far);
    };
    let instant = Timestamp::from_nanosecond(nanos).map_err(|error| far().caused_by(error))?;
    let zoned = instant.to_zoned(zone.clone());
    let mut text = zoned.datetime().to_string();
    match zoned.offset().is_zero() {
        true => text.push('Z'),
        false => text.push_str(&zoned.strftime("%:z").to_string()),
    }
    Ok(text)
}

fn duration(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.abs() / NANOS_PER_SECOND, nanos.abs() % NANOS_PER_SECOND);
    if rest == 0 {
        return format!("{sign}PT{seconds}S");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}PT{seconds}.{}S", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::parse_column;
    use super::*;
    use arrow::array::{
        BinaryArray, DurationNanosecondArray, Float64Array, TimestampMicrosecondArray,
        TimestampNanosecondArray,
    };

    #[test]
    fn what_is_written_is_read_back() {
        let micros = vec![Some(1_593_604_800_000_001), None, Some(-1)];
        let zoned = |zone: &str| {
            Arc::new(TimestampMicrosecondArray::from(micros.clone()).with_timezone(zone))
                as ArrayRef
        };
        let columns: Vec<ArrayRef> = vec![
            zoned("UTC"),
            zoned("Europe/Oslo"),
            zoned("+02:00"),
            Arc::new(TimestampNanosecondArray::from(vec![Some(1), None])),
            Arc::new(DurationNanosecondArray::from(vec![Some(-1_500_000_000), None, Some(86_400)])),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None, Some(b"")])),
            Arc::new(Float64Array::from(vec![0.1, f64::INFINITY, -0.0, 1e300, f64::MIN_POSITIVE])),
        ];
        for values in columns {
            let texts: ArrayRef = Arc::new(to_texts(&values).unwrap());
            let back = parse_column("c", 0, &texts, values.data_type()).unwrap();
            assert_eq!(&back, &values, "{texts:?}");
        }
        let last: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![253_402_300_799_999_999]));
        assert_eq!(to_texts(&last).unwrap().value(0), "9999-12-31T23:59:59.999999");
        let texts = to_texts(&zoned("Europe/Oslo")).unwrap();
        assert_eq!(texts.value(0), "2020-07-01T14:00:00.000001+02:00");
    }
}
