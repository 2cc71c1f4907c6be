//! Parsing and formatting of dates, times and timestamps in ISO 8601.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp, Zoned};

pub(crate) const NANOS_PER_SECOND: i128 = 1_000_000_000;
pub(crate) const NANOS_PER_DAY: i128 = 86_400 * NANOS_PER_SECOND;

/// Nanoseconds since 1970-01-01 00:00 on the same clock.
pub(crate) fn civil_nanos(value: DateTime) -> i128 {
    let time = value.time();
    let seconds =
        i128::from(time.hour()) * 3600 + i128::from(time.minute()) * 60 + i128::from(time.second());
    i128::from(civil_days(value.date())) * NANOS_PER_DAY
        + seconds * NANOS_PER_SECOND
        + i128::from(time.subsec_nanosecond())
}

/// Days since 1970-01-01.
///
/// Computed from the calendar alone: the conversion must not fail, and jiff's own goes through
/// instants, whose range ends a day before that of dates.
pub(crate) fn civil_days(date: Date) -> i32 {
    let (year, month) = (i32::from(date.year()), i32::from(date.month()));
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i32::from(date.day()) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Nanoseconds since the epoch, and whether the text carries a zone or an offset.
pub(crate) fn parse_timestamp(text: &str) -> Option<(i128, bool)> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some((instant.as_nanosecond(), true));
    }
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Some((zoned.timestamp().as_nanosecond(), true));
    }
    // jiff reads week dates and dates without hyphens too; insist on year-month-day.
    if !looks_like_a_date(text) {
        return None;
    }
    text.parse::<DateTime>().ok().map(|civil| (civil_nanos(civil), false))
}

/// Days since the epoch, if the text is a date without a time.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let (nanos, utc) = parse_timestamp(text)?;
    let only_a_date = !utc && !text.contains(':') && nanos.rem_euclid(NANOS_PER_DAY) == 0;
    only_a_date.then(|| i32::try_from(nanos.div_euclid(NANOS_PER_DAY)).ok()).flatten()
}

/// Nanoseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Option<i128> {
    let text = text.trim();
    if looks_like_a_date(text) {
        return None;
    }
    let time = text.parse::<Time>().ok()?;
    Some(civil_nanos(DateTime::from_parts(Date::constant(1970, 1, 1), time)))
}

/// Formats `2020-01-01`; `None` outside the range of years that can be written.
pub(crate) fn format_date(days: i32) -> Option<String> {
    Some(civil(i128::from(days) * NANOS_PER_DAY)?.date().to_string())
}

/// The date and time on the same clock; `None` outside the range of years that can be written. That
/// of instants ends a day earlier, so that every offset has its place.
pub(crate) fn civil(nanos: i128) -> Option<DateTime> {
    let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok()?;
    let rest = i32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).ok()?;
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(SignedDuration::new(seconds, rest)).ok()
}

/// Formats `2020-01-01T00:00:00.5`, with `Z` for an instant; `None` outside the range of years that
/// can be written.
pub(crate) fn format_timestamp(nanos: i128, utc: bool) -> Option<String> {
    Some(format!("{}{}", civil(nanos)?, if utc { "Z" } else { "" }))
}

fn looks_like_a_date(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.split_once('-').is_some_and(|(year, rest)| {
        year.len() >= 4 && year.bytes().all(|b| b.is_ascii_digit()) && rest.contains('-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_agree_with_the_calendar() {
        for days in (-4_000_000..2_900_000).step_by(997) {
            let Some(text) = format_date(days) else { continue };
            assert_eq!(civil_days(text.parse().unwrap()), days, "{text}");
            assert_eq!(parse_date(&text), Some(days), "{text}");
        }
        assert_eq!(civil_days(Date::constant(1970, 1, 1)), 0);
    }

    #[test]
    fn timestamps_with_and_without_zone() {
        assert_eq!(parse_timestamp("1970-01-02"), Some((NANOS_PER_DAY, false)));
        assert_eq!(parse_timestamp("1970-01-01 00:00:01.5"), Some((1_500_000_000, false)));
        assert_eq!(parse_timestamp("1970-01-01T01:00:00+01:00"), Some((0, true)));
        assert_eq!(parse_timestamp("1969-12-31T23:59:59Z"), Some((-NANOS_PER_SECOND, true)));
        for wrong in ["", "1970", "1970-13-01", "12:00", "yesterday", "1970-01-01T25:00"] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_and_times_alone() {
        assert_eq!(parse_date("1970-01-01T00:00:00"), None);
        assert_eq!(parse_date("2020-02-29"), Some(18_321));
        assert_eq!(parse_date("2021-02-29"), None);
        assert_eq!(parse_time("00:00:01.25"), Some(1_250_000_000));
        assert_eq!(parse_time("2020-01-01"), None);
    }
}
