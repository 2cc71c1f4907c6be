//! Times that are stored as numbers, by the CF conventions: counts of a unit since a moment, in a
//! calendar that NumPy's times may not have.

use std::ops::Range;

use partita_core::partition::{ModelCalendar, Resolution};

use crate::columns::float;
use crate::dataset::{Array, DType, VariableSchema};
use crate::json::{Attributes, Json};

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;
/// Fractions of a unit are rounded to microseconds, which is what times of floats are good for.
const MICROSECOND: i128 = 1_000;

/// How numbers count times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EncodedTime {
    calendar: ModelCalendar,
    /// Nanoseconds.
    unit: i128,
    /// The moment of the number 0, in nanoseconds from a day of the calendar's own.
    origin: i128,
}

impl EncodedTime {
    /// How the numbers of a variable count times; none if they do not, or are packed as well.
    pub(crate) fn of(variable: &VariableSchema) -> Option<Self> {
        let is_float = matches!(variable.dtype, DType::Float32 | DType::Float64);
        let packing = ["scale_factor", "add_offset", "_Unsigned"];
        if !(variable.dtype.is_integer() || is_float)
            || packing.iter().any(|name| variable.attributes.contains_key(*name))
        {
            return None;
        }
        let calendar = text(&variable.attributes, "calendar").unwrap_or("standard");
        Self::parse(text(&variable.attributes, "units")?, calendar)
    }

    fn parse(units: &str, calendar: &str) -> Option<Self> {
        let calendar = ModelCalendar::from_name(calendar)?;
        let (unit, origin) = units.split_once(" since ")?;
        Some(Self { calendar, unit: nanos_of(unit)?, origin: parse_moment(calendar, origin)? })
    }

    /// The name of the calendar.
    pub(crate) fn calendar(&self) -> &'static str {
        self.calendar.name()
    }

    /// The moments of the items, in nanoseconds; none for one that is "not a number" or too far away.
    pub(crate) fn moments(&self, data: &Array) -> Vec<Option<i128>> {
        match data.integers() {
            Some(counts) => counts.into_iter().map(|count| self.of_integer(count)).collect(),
            None => {
                (0..data.len()).map(|at| self.of_float(data.item(at).and_then(float)?)).collect()
            }
        }
    }

    fn of_integer(&self, count: i128) -> Option<i128> {
        count.checked_mul(self.unit)?.checked_add(self.origin)
    }

    fn of_float(&self, count: f64) -> Option<i128> {
        let step = self.unit.min(MICROSECOND);
        let steps = (count * (self.unit / step) as f64).round();
        // Beyond this a float does not tell one step from the next.
        let is_known = steps.abs() < 9e18;
        is_known.then(|| (steps as i128) * step + self.origin)
    }

    /// The fields of a moment, up to a resolution, and the moments that have the same ones.
    pub(crate) fn period(
        &self,
        moment: i128,
        resolution: Resolution,
    ) -> Option<(Vec<i128>, Range<i128>)> {
        let (year, month, day) = self.calendar.date(moment.div_euclid(DAY));
        let second = moment.rem_euclid(DAY) / SECOND;
        let all = [year, month, day, second / 3600, second / 60 % 60, second % 60];
        let fields = all.into_iter().take(resolution.fields().len()).collect::<Vec<_>>();
        let period = self.of_fields(&fields)?;
        Some((fields, period))
    }

    /// The moments whose fields begin with these; none if the calendar has no such period.
    pub(crate) fn of_fields(&self, fields: &[i128]) -> Option<Range<i128>> {
        let field = |at: usize, least: i128| fields.get(at).copied().unwrap_or(least);
        let (year, month, day) = (*fields.first()?, field(1, 1), field(2, 1));
        let midnight = |year, month, day| Some(self.calendar.days(year, month, day)? * DAY);
        let time = (field(3, 0) * 3600 + field(4, 0) * 60 + field(5, 0)) * SECOND;
        let start = midnight(year, month, day)? + time;
        let end = match fields.len() {
            1 => midnight(self.calendar.next_year(year), 1, 1)?,
            2 if month == 12 => midnight(self.calendar.next_year(year), 1, 1)?,
            2 => midnight(year, month + 1, 1)?,
            3 => start + DAY,
            4 => start + 3600 * SECOND,
            5 => start + 60 * SECOND,
            _ => start + SECOND,
        };
        Some(start..end)
    }

    /// The moment that a text names: `2001-02-30`, `2001-02-30T12:00:00.5`.
    pub(crate) fn moment(&self, text: &str) -> Option<i128> {
        parse_moment(self.calendar, text)
    }

    /// The number that counts a moment: whole, or with what is left over as a fraction of the unit.
    pub(crate) fn count(&self, moment: i128) -> (i128, f64) {
        let since = moment - self.origin;
        let (whole, rest) = (since.div_euclid(self.unit), since.rem_euclid(self.unit));
        (whole, rest as f64 / self.unit as f64)
    }
}

fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    match attributes.get(name) {
        Some(Json::Text(text)) => Some(text),
        _ => None,
    }
}

/// The units that cftime and xarray know, in nanoseconds.
fn nanos_of(unit: &str) -> Option<i128> {
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "days" | "day" | "d" => DAY,
        "hours" | "hour" | "hrs" | "hr" | "h" => 3600 * SECOND,
        "minutes" | "minute" | "mins" | "min" => 60 * SECOND,
        "seconds" | "second" | "secs" | "sec" | "s" => SECOND,
        "milliseconds" | "millisecond" | "millisecs" | "millisec" | "msecs" | "msec" | "ms" => {
            SECOND / 1_000
        }
        "microseconds" | "microsecond" | "microsecs" | "microsec" => MICROSECOND,
        "nanoseconds" | "nanosecond" => 1,
        _ => return None,
    })
}

/// A date with an optional time and an optional zone, in nanoseconds from a day of the calendar's
/// own.
fn parse_moment(calendar: ModelCalendar, text: &str) -> Option<i128> {
    let text = text.trim();
    let (date, rest) = text.split_at(text.find(['T', ' ']).unwrap_or(text.len()));
    let (sign, digits) = match date.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, date),
    };
    let mut parts = digits.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    let midnight = calendar.days(sign * year, month, day)? * DAY;
    let rest = rest.trim_start_matches('T').trim();
    let rest = rest.strip_suffix("UTC").or_else(|| rest.strip_suffix('Z')).unwrap_or(rest).trim();
    let (time, zone) = rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len()));
    Some(midnight + parse_time(time.trim())? - parse_zone(zone)?)
}

fn number(digits: &str) -> Option<i128> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok()).flatten()
}

/// `12:30:15.5` or less of it, in nanoseconds.
fn parse_time(text: &str) -> Option<i128> {
    if text.is_empty() {
        return Some(0);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts = whole.split(':').map(number).collect::<Option<Vec<_>>>()?;
    let field = |at: usize| parts.get(at).copied().unwrap_or(0);
    let (hour, minute, second) = (field(0), field(1), field(2));
    if parts.len() > 3 || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<9}"))? };
    Some((hour * 3600 + minute * 60 + second) * SECOND + nanos)
}

/// `+01:00`, `-1`, in nanoseconds.
fn parse_zone(text: &str) -> Option<i128> {
    let Some(sign) = text.chars().next() else { return Some(0) };
    let offset = parse_time(text.trim_start_matches(['+', '-']).trim())?;
    Some(if sign == '-' { -offset } else { offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(units: &str, calendar: &str) -> EncodedTime {
        EncodedTime::parse(units, calendar).unwrap()
    }

    #[test]
    fn units_and_their_moments() {
        let days = parsed("days since 2000-02-27", "noleap");
        assert_eq!(days.count(days.moment("2000-03-01").unwrap()), (2, 0.0));
        assert_eq!(days.count(days.moment("2000-02-26T12:00").unwrap()), (-1, 0.5));
        assert_eq!(days.moment("2000-02-29"), None);
        let same = [
            "hours since 1-1-1",
            "hours since 0001-01-01 00:00:00",
            "hours since 0001-01-01T00:00:00Z",
            "hours since 0001-01-01 0:0:0.0 UTC",
            "hours since 0001-01-01 01:00:00 +01:00",
            "hours since 0001-01-01 00:00 +0",
        ];
        for units in same {
            assert_eq!(parsed(units, "360_day"), parsed(same[0], "360_day"), "{units}");
        }
        for wrong in
            ["days", "days since", "days since x", "m since 2000-01-01", "days since 2000-02-31"]
        {
            assert_eq!(EncodedTime::parse(wrong, "standard"), None, "{wrong}");
        }
    }

    #[test]
    fn periods_hold_the_moments_with_their_fields() {
        for calendar in ["standard", "julian", "noleap", "all_leap", "360_day"] {
            let time = parsed("hours since 2000-01-01", calendar);
            for resolution in Resolution::ALL {
                for count in [-20_000_000, -3_396_900, -1, 0, 700, 1_416, 8_783, 1_000_001] {
                    let moment = time.of_integer(count).unwrap();
                    let (fields, period) = time.period(moment, resolution).unwrap();
                    assert!(period.contains(&moment), "{calendar} {resolution} {count}");
                    for other in [period.start, period.end - 1] {
                        assert_eq!(time.period(other, resolution).unwrap().0, fields);
                    }
                    for other in [period.start - 1, period.end] {
                        assert_ne!(time.period(other, resolution).unwrap().0, fields);
                    }
                }
            }
        }
    }

    #[test]
    fn floats_are_rounded_to_microseconds() {
        let days = parsed("days since 2000-01-01", "360_day");
        for hour in 0..1_000 {
            let moment = days.of_float(f64::from(hour) / 24.0).unwrap();
            assert_eq!(moment, days.of_integer(0).unwrap() + i128::from(hour) * 3600 * SECOND);
        }
        assert_eq!(days.of_float(f64::NAN), None);
        assert_eq!(days.of_float(1e300), None);
    }
}
