//! Calendar fields of instants, for partitioning by time.
//!
//! An instant is a count of steps since 1970-01-01T00:00, as NumPy and Arrow store it. The calendar
//! is the proleptic Gregorian one, with a year 0 and years below it.

use std::fmt;
use std::ops::RangeInclusive;

/// The unit of the steps in which an instant or a duration is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CalendarUnit {
    /// Years of the calendar.
    Year,
    /// Months of the calendar.
    Month,
    /// Seven days.
    Week,
    /// 24 hours.
    Day,
    /// 3600 seconds.
    Hour,
    /// 60 seconds.
    Minute,
    /// The second.
    Second,
    /// 10⁻³ seconds.
    Millisecond,
    /// 10⁻⁶ seconds.
    Microsecond,
    /// 10⁻⁹ seconds.
    Nanosecond,
    /// 10⁻¹² seconds.
    Picosecond,
    /// 10⁻¹⁵ seconds.
    Femtosecond,
    /// 10⁻¹⁸ seconds.
    Attosecond,
}

/// The resolution of a date partitioning: the last calendar field in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resolution {
    /// One partition per year.
    Year,
    /// One partition per month.
    Month,
    /// One partition per day.
    Day,
    /// One partition per hour.
    Hour,
    /// One partition per minute.
    Minute,
    /// One partition per second.
    Second,
}

/// The calendar fields of an instant: year, month (1–12), day (1–31), hour, minute, second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Calendar {
    /// The year; 0 is 1 BC.
    pub year: i128,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour, from 0.
    pub hour: u8,
    /// The minute, from 0.
    pub minute: u8,
    /// The second, from 0.
    pub second: u8,
}

const SECONDS_PER_DAY: i128 = 86_400;

impl CalendarUnit {
    /// Every unit, the longest first.
    pub const ALL: [Self; 13] = [
        Self::Year,
        Self::Month,
        Self::Week,
        Self::Day,
        Self::Hour,
        Self::Minute,
        Self::Second,
        Self::Millisecond,
        Self::Microsecond,
        Self::Nanosecond,
        Self::Picosecond,
        Self::Femtosecond,
        Self::Attosecond,
    ];

    /// NumPy's code of the unit: `Y`, `M`, `W`, `D`, `h`, `m`, `s`, `ms`, `us`, `ns`, `ps`, `fs`,
    /// `as`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Year => "Y",
            Self::Month => "M",
            Self::Week => "W",
            Self::Day => "D",
            Self::Hour => "h",
            Self::Minute => "m",
            Self::Second => "s",
            Self::Millisecond => "ms",
            Self::Microsecond => "us",
            Self::Nanosecond => "ns",
            Self::Picosecond => "ps",
            Self::Femtosecond => "fs",
            Self::Attosecond => "as",
        }
    }

    /// The unit of a NumPy code; `μs` is `us`.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        let code = if code == "μs" { "us" } else { code };
        Self::ALL.into_iter().find(|unit| unit.code() == code)
    }

    /// Attoseconds per step; `None` for years and months, whose length varies.
    #[must_use]
    pub fn attoseconds(self) -> Option<i128> {
        const SECOND: i128 = 1_000_000_000_000_000_000;
        Some(match self {
            Self::Year | Self::Month => return None,
            Self::Week => 7 * SECONDS_PER_DAY * SECOND,
            Self::Day => SECONDS_PER_DAY * SECOND,
            Self::Hour => 3600 * SECOND,
            Self::Minute => 60 * SECOND,
            Self::Second => SECOND,
            Self::Millisecond => SECOND / 1_000,
            Self::Microsecond => SECOND / 1_000_000,
            Self::Nanosecond => SECOND / 1_000_000_000,
            Self::Picosecond => 1_000_000,
            Self::Femtosecond => 1_000,
            Self::Attosecond => 1,
        })
    }
}

impl Resolution {
    /// Every resolution, the coarsest first.
    pub const ALL: [Self; 6] =
        [Self::Year, Self::Month, Self::Day, Self::Hour, Self::Minute, Self::Second];

    /// The names of all fields, in order.
    const FIELDS: [&'static str; 6] = ["year", "month", "day", "hour", "minute", "second"];

    /// The names of the fields in the key: `year`, `month`, … up to the resolution.
    #[must_use]
    pub fn fields(self) -> &'static [&'static str] {
        let count = Self::ALL.iter().position(|other| *other == self).map_or(6, |at| at + 1);
        Self::FIELDS.get(..count).unwrap_or(&Self::FIELDS)
    }

    /// NumPy's code of the resolution: `Y`, `M`, `D`, `h`, `m`, `s`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Year => "Y",
            Self::Month => "M",
            Self::Day => "D",
            Self::Hour => "h",
            Self::Minute => "m",
            Self::Second => "s",
        }
    }

    /// The resolution of a NumPy code or of a field name.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        let named = |resolution: &Self| resolution.fields().last() == Some(&code);
        Self::ALL.into_iter().find(|resolution| resolution.code() == code || named(resolution))
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fields().last().copied().unwrap_or_default())
    }
}

impl Calendar {
    /// The fields of the instant `steps` times `multiple` units after 1970-01-01T00:00. Every
    /// integer is valid; the caller has to treat the "not a time" value separately.
    #[must_use]
    pub fn of(steps: i64, multiple: u32, unit: CalendarUnit) -> Self {
        let units = i128::from(steps) * i128::from(multiple);
        let of_seconds = |seconds: i128| Self::of_seconds(seconds);
        match unit {
            CalendarUnit::Year => Self::of_months(units * 12),
            CalendarUnit::Month => Self::of_months(units),
            CalendarUnit::Week => of_seconds(units * 7 * SECONDS_PER_DAY),
            CalendarUnit::Day => of_seconds(units * SECONDS_PER_DAY),
            CalendarUnit::Hour => of_seconds(units * 3600),
            CalendarUnit::Minute => of_seconds(units * 60),
            CalendarUnit::Second => of_seconds(units),
            CalendarUnit::Millisecond => of_seconds(units.div_euclid(1_000)),
            CalendarUnit::Microsecond => of_seconds(units.div_euclid(1_000_000)),
            CalendarUnit::Nanosecond => of_seconds(units.div_euclid(1_000_000_000)),
            CalendarUnit::Picosecond => of_seconds(units.div_euclid(1_000_000_000_000)),
            CalendarUnit::Femtosecond => of_seconds(units.div_euclid(1_000_000_000_000_000)),
            CalendarUnit::Attosecond => of_seconds(units.div_euclid(1_000_000_000_000_000_000)),
        }
    }

    /// The values of the fields named by [`Resolution::fields`].
    #[must_use]
    pub fn fields(&self, resolution: Resolution) -> Vec<i128> {
        let rest = [self.month, self.day, self.hour, self.minute, self.second];
        let all = std::iter::once(self.year).chain(rest.into_iter().map(i128::from));
        all.take(resolution.fields().len()).collect()
    }

    /// The start of the period that these values of [`Resolution::fields`] name and the start of
    /// the next period, in seconds since 1970-01-01T00:00. `None` if there is no such period.
    #[must_use]
    pub fn period(fields: &[i128]) -> Option<(i128, i128)> {
        let field = |at: usize, least: i128| fields.get(at).copied().unwrap_or(least);
        let (year, month, day) = (field(0, 1970), field(1, 1), field(2, 1));
        // Reject years outside the range of any instant.
        let sane = year.abs() < 1 << 64 && (1..=12).contains(&month) && (1..=31).contains(&day);
        if fields.is_empty() || !sane {
            return None;
        }
        let seconds = |year, month, day| {
            let time = field(3, 0) * 3600 + field(4, 0) * 60 + field(5, 0);
            days_from_civil(year, month, day) * SECONDS_PER_DAY + time
        };
        let start = seconds(year, month, day);
        let end = match fields.len() {
            1 => seconds(year + 1, 1, 1),
            2 if month == 12 => seconds(year + 1, 1, 1),
            2 => seconds(year, month + 1, 1),
            3 => start + SECONDS_PER_DAY,
            4 => start + 3600,
            5 => start + 60,
            _ => start + 1,
        };
        Some((start, end))
    }

    /// The range of steps, as [`Calendar::of`] takes them, of all instants in the period that these
    /// values of [`Resolution::fields`] name. `None` if there is no such period, if the unit has no
    /// fixed length, or if the period is outside the range of the integers.
    #[must_use]
    pub fn steps(
        fields: &[i128],
        multiple: u32,
        unit: CalendarUnit,
    ) -> Option<RangeInclusive<i64>> {
        let second = CalendarUnit::Second.attoseconds()?;
        let step = unit.attoseconds()? * i128::from(multiple);
        let (start, end) = Self::period(fields)?;
        // The first step at or after this time.
        let first = |seconds: i128| {
            let last_before =
                seconds.checked_mul(second)?.checked_sub(1)?.checked_div_euclid(step)?;
            last_before.checked_add(1)
        };
        let bounds = i128::from(i64::MIN)..=i128::from(i64::MAX);
        let (first, last) = (first(start)?.max(*bounds.start()), first(end)? - 1);
        let within = |step: i128| i64::try_from(step).ok();
        Some(within(first)?..=within(last.min(*bounds.end()))?)
    }

    fn of_months(months: i128) -> Self {
        let month = u8::try_from(months.rem_euclid(12) + 1).unwrap_or(1);
        let year = 1970 + months.div_euclid(12);
        Self { year, month, day: 1, hour: 0, minute: 0, second: 0 }
    }

    fn of_seconds(seconds: i128) -> Self {
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        let rest = seconds.rem_euclid(SECONDS_PER_DAY);
        let small = |value: i128| u8::try_from(value).unwrap_or(0);
        Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(rest / 3600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
        }
    }
}

/// Year, month and day of a count of days since 1970-01-01, by eras of 400 years that begin on the
/// first of March (H. Hinnant, "chrono-compatible low-level date algorithms").
pub(super) fn civil(days: i128) -> (i128, i128, i128) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i128::from(month <= 2), month, day)
}

/// The days from 1970-01-01 to a date; the inverse of [`civil`].
pub(super) fn days_from_civil(year: i128, month: i128, day: i128) -> i128 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let march = (month + 9) % 12;
    let of_year = (153 * march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_agree_on_an_instant() {
        let noon = Calendar { year: 2024, month: 2, day: 29, hour: 12, minute: 5, second: 7 };
        let seconds = 1_709_208_307;
        assert_eq!(Calendar::of(seconds, 1, CalendarUnit::Second), noon);
        assert_eq!(Calendar::of(seconds * 1000 + 999, 1, CalendarUnit::Millisecond), noon);
        assert_eq!(Calendar::of(seconds * 100 + 1, 10, CalendarUnit::Millisecond), noon);
        assert_eq!(Calendar::of(54, 1, CalendarUnit::Year).year, 2024);
        assert_eq!(Calendar::of(-1, 1, CalendarUnit::Month).fields(Resolution::Month), [1969, 12]);
        assert_eq!(Calendar::of(1, 1, CalendarUnit::Week).fields(Resolution::Day), [1970, 1, 8]);
    }

    #[test]
    fn years_before_zero() {
        assert_eq!(Calendar::of(-1970, 1, CalendarUnit::Year).year, 0);
        let day = Calendar::of(-719_529, 1, CalendarUnit::Day);
        assert_eq!(day.fields(Resolution::Day), [-1, 12, 31]);
    }

    #[test]
    fn some_periods_have_no_steps_to_tell() {
        let day = CalendarUnit::Day;
        assert_eq!(Calendar::steps(&[1970, 2], 1, day), Some(31..=58));
        assert_eq!(Calendar::steps(&[1970, 13], 1, day), None);
        assert_eq!(Calendar::steps(&[1970], 1, CalendarUnit::Month), None);
        assert_eq!(Calendar::steps(&[1970], 0, day), None);
        assert_eq!(Calendar::steps(&[1 << 63], 1, day), None);
    }

    #[test]
    fn every_integer_has_fields() {
        for unit in CalendarUnit::ALL {
            for steps in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
                let calendar = Calendar::of(steps, u32::MAX, unit);
                assert!((1..=12).contains(&calendar.month) && (1..=31).contains(&calendar.day));
            }
            assert_eq!(CalendarUnit::from_code(unit.code()), Some(unit));
        }
        for resolution in Resolution::ALL {
            assert_eq!(Resolution::from_code(resolution.code()), Some(resolution));
            assert_eq!(Resolution::from_code(&resolution.to_string()), Some(resolution));
        }
    }

    proptest! {
        #[test]
        fn an_instant_is_in_its_period(seconds in any::<i64>(), finest in 0usize..6) {
            let resolution = Resolution::ALL[finest];
            let calendar = Calendar::of(seconds, 1, CalendarUnit::Second);
            let (start, end) = Calendar::period(&calendar.fields(resolution)).unwrap();
            prop_assert!((start..end).contains(&i128::from(seconds)));
            let next = Calendar::of_seconds(end).fields(resolution);
            prop_assert_ne!(next, calendar.fields(resolution));
            prop_assert_eq!(Calendar::of_seconds(end - 1).fields(resolution), calendar.fields(resolution));
        }

        #[test]
        fn steps_are_those_with_the_fields_of_the_period(
            steps in prop_oneof![any::<i64>(), -100_000i64..100_000],
            multiple in prop_oneof![Just(1u32), 1u32..5000],
            (unit, finest) in (0usize..13, 0usize..6),
        ) {
            let (unit, resolution) = (CalendarUnit::ALL[unit], Resolution::ALL[finest]);
            let fields_of = |steps| Calendar::of(steps, multiple, unit).fields(resolution);
            let fields = fields_of(steps);
            let Some(period) = Calendar::steps(&fields, multiple, unit) else {
                let near = steps.abs() <= 100_000 && unit.attoseconds().is_some();
                prop_assert!(!near, "the period is not told");
                return Ok(());
            };
            let (first, last) = period.clone().into_inner();
            prop_assert!(period.contains(&steps));
            prop_assert_eq!(fields_of(first), fields.clone());
            prop_assert_eq!(fields_of(last), fields.clone());
            let outside = [first.checked_sub(1), last.checked_add(1)];
            prop_assert!(outside.into_iter().flatten().all(|steps| fields_of(steps) != fields));
        }

        #[test]
        fn agrees_with_a_calendar_library(seconds in -62_135_596_800i64..253_402_300_799) {
            let time = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            let expected = [
                i128::from(time.year()), time.month() as i128, time.day() as i128,
                time.hour() as i128, time.minute() as i128, time.second() as i128,
            ];
            let found = Calendar::of(seconds, 1, CalendarUnit::Second).fields(Resolution::Second);
            prop_assert_eq!(found, expected);
        }
    }
}
