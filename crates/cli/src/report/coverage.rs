//! What the keys of partitions cover, and what is missing between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::civil::Date;

use super::html::escaped;

/// The size of a month in the calendar, and the space for the names of years and months.
const CELL: usize = 14;
const LEFT: usize = 40;
const TOP: usize = 14;
/// The most years that are drawn, and the most gaps that are listed.
const MOST_YEARS: usize = 60;
const MOST_GAPS: usize = 12;
const MONTHS: i32 = 12;
const INITIALS: [char; 12] = ['J', 'F', 'M', 'A', 'M', 'J', 'J', 'A', 'S', 'O', 'N', 'D'];

/// The share of each month that is covered. Months are counted from that of the year 0.
type Months = BTreeMap<i32, f64>;

/// The date of a key with the fields `year`, `month` and perhaps `day`, and whether it has a day;
/// `None` for other keys.
pub(super) fn date<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<(Date, bool)> {
    let field = |wanted: &str| pairs.clone().find(|(name, _)| *name == wanted).map(|(_, v)| v);
    let day = field("day");
    let (year, month) = (field("year")?.parse().ok()?, field("month")?.parse().ok()?);
    let date = Date::new(year, month, day.unwrap_or("1").parse().ok()?).ok()?;
    Some((date, day.is_some()))
}

/// A calendar of the months that partitions cover, with the missing ones. Where all partitions are
/// of days, or of less, a month is filled by the share of its days. Empty if a key is no date.
pub(super) fn calendar(dates: &[Option<(Date, bool)>]) -> String {
    let Some(dates) = dates.iter().copied().collect::<Option<Vec<(Date, bool)>>>() else {
        return String::new();
    };
    let months = months(&dates);
    let (Some((first, _)), Some((last, _))) = (months.first_key_value(), months.last_key_value())
    else {
        return String::new();
    };
    let (first, last) = (*first, *last);
    let years: Vec<i32> = (first.div_euclid(MONTHS)..=last.div_euclid(MONTHS)).collect();
    let shown = years.get(years.len().saturating_sub(MOST_YEARS)..).unwrap_or_default();
    let known: Vec<i128> = months.keys().copied().map(i128::from).collect();
    let name = |month: i128| i32::try_from(month).map_or_else(|_| month.to_string(), name);
    let mut told = format!("{}.", covered(&known, 1, name));
    if shown.len() < years.len() {
        let _ = write!(told, " The last {MOST_YEARS} years are drawn.");
    }
    format!(
        "<figure><figcaption>{0}</figcaption><svg role=\"img\" aria-label=\"{0}\" width=\"{1}\" \
         height=\"{2}\">{3}</svg></figure>\n",
        escaped(&told),
        LEFT + CELL * INITIALS.len(),
        TOP + CELL * shown.len(),
        drawn(shown, &months, first..=last),
    )
}

fn months(dates: &[(Date, bool)]) -> Months {
    let place = |date: Date| i32::from(date.year()) * MONTHS + i32::from(date.month()) - 1;
    if dates.iter().any(|(_, has_day)| !has_day) {
        return dates.iter().map(|(date, _)| (place(*date), 1.0)).collect();
    }
    let days: BTreeSet<Date> = dates.iter().map(|(date, _)| *date).collect();
    let mut months = Months::new();
    for day in days {
        *months.entry(place(day)).or_default() += 1.0 / f64::from(day.days_in_month());
    }
    months
}

/// The name of a month: `2026-01`.
fn name(month: i32) -> String {
    format!("{:04}-{:02}", month.div_euclid(MONTHS), month.rem_euclid(MONTHS) + 1)
}

fn drawn(years: &[i32], months: &Months, period: std::ops::RangeInclusive<i32>) -> String {
    let mut svg = String::new();
    for (column, initial) in INITIALS.iter().enumerate() {
        let _ = write!(svg, "<text x=\"{}\" y=\"10\">{initial}</text>", LEFT + CELL * column + 2);
    }
    for (line, year) in years.iter().enumerate() {
        let top = TOP + CELL * line;
        let _ = write!(svg, "<text x=\"0\" y=\"{}\">{year:04}</text>", top + 11);
        for (column, month) in (year * MONTHS..).take(INITIALS.len()).enumerate() {
            if period.contains(&month) {
                let share = months.get(&month).copied().unwrap_or(0.0);
                svg.push_str(&cell(LEFT + CELL * column, top, month, share));
            }
        }
    }
    svg
}

/// A month: an empty square that is filled from below.
fn cell(x: usize, y: usize, month: i32, share: f64) -> String {
    let told = match share {
        // A sum of shares of days is not exactly 1.
        complete if complete > 0.999 => "complete".to_owned(),
        part if part > 0.0 => format!("{:.0} %", part * 100.0),
        _ => "missing".to_owned(),
    };
    let size = (CELL - 2) as f64;
    let filled = size * share.min(1.0);
    let top = y as f64 + size - filled;
    format!(
        "<g><title>{}: {told}</title>\
         <rect class=\"empty\" x=\"{x}\" y=\"{y}\" width=\"{size}\" height=\"{size}\"/>\
         <rect class=\"mark\" x=\"{x}\" y=\"{top:.1}\" width=\"{size}\" height=\"{filled:.1}\"/></g>",
        name(month),
    )
}

/// The first and the last of ascending numbers, and the gaps between neighbours that are further
/// apart than `step`.
pub(super) fn covered(numbers: &[i128], step: i128, name: impl Fn(i128) -> String) -> String {
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return "There are no partitions".to_owned();
    };
    let gaps: Vec<String> = numbers
        .iter()
        .zip(numbers.iter().skip(1))
        .map(|(before, after)| (before.saturating_add(step), after.saturating_sub(step)))
        .filter(|(from, to)| from <= to)
        .map(|(from, to)| match from == to {
            true => name(from),
            false => format!("{} to {}", name(from), name(to)),
        })
        .collect();
    let period = format!("{} to {}", name(*first), name(*last));
    if gaps.is_empty() {
        return format!("{period}, without a gap");
    }
    let more = match gaps.len().saturating_sub(MOST_GAPS) {
        0 => String::new(),
        more => format!(" and {more} more gaps"),
    };
    let listed: Vec<String> = gaps.into_iter().take(MOST_GAPS).collect();
    format!("{period}, missing: {}{more}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(keys: &[&[(&str, &str)]]) -> Vec<Option<(Date, bool)>> {
        keys.iter().map(|key| date(key.iter().copied())).collect()
    }

    #[test]
    fn missing_months_are_told_and_drawn() {
        let keys: [&[(&str, &str)]; 3] = [
            &[("year", "2024"), ("month", "11")],
            &[("year", "2024"), ("month", "12"), ("city", "Oslo")],
            &[("year", "2025"), ("month", "03")],
        ];
        let html = calendar(&dates(&keys));
        assert!(html.contains("2024-11 to 2025-03, missing: 2025-01 to 2025-02."), "{html}");
        assert_eq!(html.matches(": missing</title>").count(), 2);
        assert_eq!(html.matches(": complete</title>").count(), 3);
    }

    #[test]
    fn months_are_filled_by_their_days() {
        let day = |day| date([("year", "2023"), ("month", "2"), ("day", day)].into_iter());
        let days: Vec<String> = (1..=28).map(|day| day.to_string()).collect();
        let all: Vec<_> = days.iter().map(|text| day(text.as_str())).collect();
        assert!(calendar(&all).contains("2023-02: complete"));
        assert!(calendar(&all[..7]).contains("2023-02: 25 %"));
    }

    #[test]
    fn other_keys_have_no_calendar() {
        let keys: [&[(&str, &str)]; 5] = [
            &[("city", "Oslo")],
            &[("year", "2024")],
            &[("year", "99999"), ("month", "1")],
            &[("year", "2024"), ("month", "13")],
            &[("year", "x"), ("month", "1")],
        ];
        for key in keys {
            assert_eq!(calendar(&dates(&[key])), "", "{key:?}");
        }
        assert_eq!(calendar(&[]), "");
    }

    #[test]
    fn any_period_is_drawn_in_bounded_size() {
        let html = calendar(&dates(&[
            &[("year", "-9999"), ("month", "1")],
            &[("year", "9999"), ("month", "12")],
        ]));
        assert!(html.contains("The last 60 years are drawn") && html.len() < 200_000);
    }

    #[test]
    fn gaps_of_numbers_are_counted_in_steps() {
        let told = |numbers: &[i128], step| covered(numbers, step, |number| number.to_string());
        assert_eq!(told(&[], 1), "There are no partitions");
        assert_eq!(told(&[7], 1), "7 to 7, without a gap");
        assert_eq!(told(&[1, 2, 4, 9], 1), "1 to 9, missing: 3, 5 to 8");
        assert_eq!(told(&[0, 10, 40], 10), "0 to 40, missing: 20 to 30");
        assert_eq!(
            told(&[i128::MIN, i128::MAX], 1),
            format!(
                "{0} to {1}, missing: {2} to {3}",
                i128::MIN,
                i128::MAX,
                i128::MIN + 1,
                i128::MAX - 1
            )
        );
        let sparse: Vec<i128> = (0..40).map(|number| number * 2).collect();
        assert!(told(&sparse, 1).ends_with("and 27 more gaps"));
    }
}
