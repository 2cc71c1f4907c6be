//! Parsing of dates, times and durations.

use arrow::datatypes::TimeUnit;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::predicate::iso8601::{self, NANOS_PER_DAY, NANOS_PER_SECOND};

type Parsed<T> = Result<T, String>;

/// Days since 1970-01-01.
pub(super) fn date(text: &str) -> Parsed<i128> {
    let nanos = civil(text)?;
    if nanos.rem_euclid(NANOS_PER_DAY) != 0 {
        return Err("a date has no time of day".to_owned());
    }
    Ok(nanos.div_euclid(NANOS_PER_DAY))
}

/// Units since the epoch.
pub(super) fn timestamp(text: &str, zoned: bool, unit: TimeUnit) -> Parsed<i128> {
    in_units(if zoned { instant(text)? } else { civil(text)? }, unit)
}

/// Units since midnight.
pub(super) fn of_day(text: &str, unit: TimeUnit) -> Parsed<i128> {
    let nanos = iso8601::parse_time(text).ok_or("a time of day is written as 13:45:00.5")?;
    in_units(nanos, unit)
}

/// Parses an ISO 8601 duration such as `PT1.5S` into units.
pub(super) fn duration(text: &str, unit: TimeUnit) -> Parsed<i128> {
    let wrong = "a length of time is written as PT1.5S or P2DT3H";
    let text = text.trim();
    // A day is 24 hours; jiff requires that to be said.
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (days, rest) = match rest.strip_prefix('P').and_then(|rest| rest.split_once('D')) {
        Some((days, rest)) => (days.parse::<i128>().map_err(|_| wrong)?, format!("P{rest}")),
        None => (0, rest.to_owned()),
    };
    let within = match rest.as_str() {
        "P" => 0,
        rest => rest.parse::<SignedDuration>().map_err(|_| wrong)?.as_nanos(),
    };
    in_units(sign * (days * NANOS_PER_DAY + within), unit)
}

/// Parses a point in time: nanoseconds since the epoch, and whether the text states an offset.
pub(super) fn point(text: &str) -> Option<(i128, bool)> {
    let text = text.trim();
    if let Some(found) = iso8601::parse_timestamp(text) {
        // If only the parser of instants accepts the offset, the civil reading must not drop it.
        return Some(found).filter(|(_, utc)| *utc || !has_offset(text));
    }
    // `2024-01-01 12:00:00 Europe/Oslo`: the form in which databases write zoned times.
    let (civil, zone) = text.rsplit_once(' ')?;
    let zone = TimeZone::get(zone).ok()?;
    let (_, false) = iso8601::parse_timestamp(civil)? else { return None };
    let civil: jiff::civil::DateTime = civil.parse().ok()?;
    let instant = zone.to_ambiguous_timestamp(civil).unambiguous().ok()?;
    Some((instant.as_nanosecond(), true))
}

/// True if the text has an offset or a zone after the time of day.
fn has_offset(text: &str) -> bool {
    let time = text.get(10..).unwrap_or_default();
    time.contains(['+', '-', '[', 'Z', 'z'])
}

fn civil(text: &str) -> Parsed<i128> {
    match point(text) {
        Some((nanos, false)) => Ok(nanos),
        Some((_, true)) => Err("the text has a time zone, and the column has none".to_owned()),
        None => {
            Err("it is not a date or time, such as 2024-01-31 or 2024-01-31T13:45:00".to_owned())
        }
    }
}

fn instant(text: &str) -> Parsed<i128> {
    match point(text) {
        Some((nanos, true)) => Ok(nanos),
        Some((_, false)) => Err("the column has a time zone, and the text has none; write \
                                 2024-01-31T13:45:00Z or an offset"
            .to_owned()),
        None => Err("it is not a time with a zone, such as 2024-01-31T13:45:00Z".to_owned()),
    }
}

fn in_units(nanos: i128, unit: TimeUnit) -> Parsed<i128> {
    let step = match unit {
        TimeUnit::Second => NANOS_PER_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    if nanos % step != 0 {
        return Err("the time is finer than the column's unit".to_owned());
    }
    Ok(nanos / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_time_is_left_out() {
        assert_eq!(date("1970-01-02"), Ok(1));
        assert_eq!(date("1970-01-02T00:00:00"), Ok(1));
        assert!(date("1970-01-02T23:59:59").is_err() && date("1970-01-02T00:00:00Z").is_err());
        let us = TimeUnit::Microsecond;
        assert_eq!(timestamp("1970-01-01 00:00:01.5", false, us), Ok(1_500_000));
        assert_eq!(timestamp("1970-01-01T02:00:00+02:00", true, us), Ok(0));
        assert_eq!(timestamp("1970-01-01 01:00:00 Europe/Oslo", true, us), Ok(0));
        assert_eq!(timestamp("1970-01-01 00:00:00 UTC", true, us), Ok(0));
        for wrong in ["1970-01-01T00:00:00+02:00", "1970-01-01T00:00:00.0000001", "1.9", "soon"] {
            assert!(timestamp(wrong, false, us).is_err(), "{wrong}");
        }
        assert!(timestamp("1970-01-01T00:00:00", true, us).is_err());
        assert!(of_day("01:02:03.0000005", us).is_err());
        assert_eq!(duration("-P1DT0.5S", TimeUnit::Millisecond), Ok(-86_400_500));
        assert_eq!(duration("PT1S", TimeUnit::Second), Ok(1));
        assert_eq!(duration("P2D", TimeUnit::Second), Ok(172_800));
    }
}
