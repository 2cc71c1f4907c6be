//! The calendars of the CF conventions, in which climate models count their days.

use super::date::{civil, days_from_civil};

/// A calendar, by the names that the CF conventions give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelCalendar {
    /// `standard`: Julian until 1582-10-04, which 1582-10-15 follows, then Gregorian.
    Standard,
    /// `proleptic_gregorian`: that of NumPy.
    ProlepticGregorian,
    /// `julian`: every fourth year is a leap year.
    Julian,
    /// `noleap`: every year has 365 days.
    NoLeap,
    /// `all_leap`: every year has 366 days.
    AllLeap,
    /// `360_day`: every month has 30 days.
    Days360,
}

/// The first day of the Gregorian calendar, in days since 1970-01-01.
const GREGORIAN: i128 = -141_427;
/// Years beyond this one are not counted.
const LAST_YEAR: i128 = 1 << 40;
const NO_LEAP: [i128; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const ALL_LEAP: [i128; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl ModelCalendar {
    /// The calendar of a name; none for one that is not known.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "standard" | "gregorian" => Self::Standard,
            "proleptic_gregorian" => Self::ProlepticGregorian,
            "julian" => Self::Julian,
            "noleap" | "365_day" => Self::NoLeap,
            "all_leap" | "366_day" => Self::AllLeap,
            "360_day" => Self::Days360,
            _ => return None,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::ProlepticGregorian => "proleptic_gregorian",
            Self::Julian => "julian",
            Self::NoLeap => "noleap",
            Self::AllLeap => "all_leap",
            Self::Days360 => "360_day",
        }
    }

    /// The number of a day, from a day of the calendar's own; none if it has no such date.
    #[must_use]
    pub fn days(self, year: i128, month: i128, day: i128) -> Option<i128> {
        if year.abs() > LAST_YEAR || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let days = match self {
            Self::ProlepticGregorian => days_from_civil(year, month, day),
            Self::Julian => julian_days(without_zero(year)?, month, day),
            Self::Standard => {
                let gregorian = days_from_civil(without_zero(year)?, month, day);
                match gregorian >= GREGORIAN {
                    true => gregorian,
                    false => julian_days(without_zero(year)?, month, day),
                }
            }
            Self::NoLeap => of_months(&NO_LEAP, year, month, day),
            Self::AllLeap => of_months(&ALL_LEAP, year, month, day),
            Self::Days360 => of_months(&[30; 12], year, month, day),
        };
        // A day that its month does not have is one of the next.
        (self.date(days) == (year, month, day)).then_some(days)
    }

    /// Year, month and day of the number of a day.
    #[must_use]
    pub fn date(self, days: i128) -> (i128, i128, i128) {
        match self {
            Self::ProlepticGregorian => civil(days),
            Self::Standard if days >= GREGORIAN => with_zero(civil(days)),
            Self::Standard | Self::Julian => with_zero(julian(days)),
            Self::NoLeap => in_months(&NO_LEAP, days),
            Self::AllLeap => in_months(&ALL_LEAP, days),
            Self::Days360 => in_months(&[30; 12], days),
        }
    }

    /// The year after another one.
    #[must_use]
    pub fn next_year(self, year: i128) -> i128 {
        match (self, year) {
            (Self::Standard | Self::Julian, -1) => 1,
            _ => year + 1,
        }
    }
}

/// The year in a count that has a year 0, of one that has none: -1 comes before 1.
fn without_zero(year: i128) -> Option<i128> {
    (year != 0).then_some(if year < 0 { year + 1 } else { year })
}

fn with_zero((year, month, day): (i128, i128, i128)) -> (i128, i128, i128) {
    (if year <= 0 { year - 1 } else { year }, month, day)
}

fn of_months(lengths: &[i128; 12], year: i128, month: i128, day: i128) -> i128 {
    let before = usize::try_from(month - 1).unwrap_or(0);
    let months: i128 = lengths.iter().take(before).sum();
    year * lengths.iter().sum::<i128>() + months + day - 1
}

fn in_months(lengths: &[i128; 12], days: i128) -> (i128, i128, i128) {
    let whole: i128 = lengths.iter().sum();
    let (year, mut rest, mut month) = (days.div_euclid(whole), days.rem_euclid(whole), 1);
    for length in lengths {
        if rest < *length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

/// From 0000-03-01 of the Julian calendar to 1970-01-01 of the Gregorian one, in days.
const JULIAN_SHIFT: i128 = 719_470;

/// Days since the 1970-01-01 of the Gregorian calendar, of a date of the Julian one. Years begin in
/// March, so that the leap day is the last of its year.
fn julian_days(year: i128, month: i128, day: i128) -> i128 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(4), shifted.rem_euclid(4));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 1461 + of_era * 365 + of_year - JULIAN_SHIFT
}

fn julian(days: i128) -> (i128, i128, i128) {
    let shifted = days + JULIAN_SHIFT;
    let (era, of_era) = (shifted.div_euclid(1461), shifted.rem_euclid(1461));
    let year = (of_era - of_era / 1460) / 365;
    let of_year = of_era - 365 * year;
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 4 + i128::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ModelCalendar; 6] = [
        ModelCalendar::Standard,
        ModelCalendar::ProlepticGregorian,
        ModelCalendar::Julian,
        ModelCalendar::NoLeap,
        ModelCalendar::AllLeap,
        ModelCalendar::Days360,
    ];

    #[test]
    fn days_follow_each_other() {
        for calendar in ALL {
            assert_eq!(ModelCalendar::from_name(calendar.name()), Some(calendar));
            for days in (-1_000_000..1_000_000).step_by(61).chain(-719_600..-719_000) {
                let (year, month, day) = calendar.date(days);
                assert_eq!(calendar.days(year, month, day), Some(days), "{calendar:?} {days}");
            }
        }
    }

    #[test]
    fn dates_that_a_calendar_lacks() {
        let has = |calendar: ModelCalendar, date: (i128, i128, i128)| {
            calendar.days(date.0, date.1, date.2).is_some()
        };
        for (date, with) in [
            ((2000, 2, 29), [true, true, true, false, true, true]),
            ((2001, 2, 29), [false, false, false, false, true, true]),
            ((1900, 2, 29), [false, false, true, false, true, true]),
            ((2001, 2, 30), [false, false, false, false, false, true]),
            ((2001, 1, 31), [true, true, true, true, true, false]),
            ((1582, 10, 10), [false, true, true, true, true, true]),
            ((0, 1, 1), [false, true, false, true, true, true]),
            ((2001, 13, 1), [false; 6]),
        ] {
            assert_eq!(ALL.map(|calendar| has(calendar, date)), with, "{date:?}");
        }
        let standard = ModelCalendar::Standard;
        let (last, first) = (standard.days(1582, 10, 4), standard.days(1582, 10, 15));
        assert_eq!(first.unwrap() - last.unwrap(), 1);
        assert_eq!(ModelCalendar::Julian.days(1970, 1, 1), Some(13));
        assert_eq!(ModelCalendar::from_name("none"), None);
    }
}
