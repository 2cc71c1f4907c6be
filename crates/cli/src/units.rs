//! Formatting numbers for the terminal.

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// A byte count with a binary unit.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64;
    let mut unit = "B";
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.1} {unit}")
}

/// A number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with a noun: `1 file`, `2 files`.
#[must_use]
pub fn plural(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A number, or `?` if it is unknown.
pub(crate) fn known(number: Option<u64>, show: impl Fn(u64) -> String) -> String {
    number.map_or_else(|| "?".to_owned(), show)
}

/// A time that lies so far back: `12 s ago`, `3 h ago`.
pub(crate) fn ago(age: SignedDuration) -> String {
    // The clock of the store may be ahead.
    let seconds = age.as_secs().max(0);
    let (number, unit) = match seconds {
        ..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit} ago")
}

/// Parses an age such as `24h` or `7d`; a day has 24 hours.
pub(crate) fn age(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| "expected an age such as 24h or 7d".to_owned())?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn ages_have_units() {
        assert_eq!(age("24h").unwrap(), age("1d").unwrap());
        assert_eq!(age("90m").unwrap(), SignedDuration::from_mins(90));
        assert!(age("soon").is_err());
    }

    #[test]
    fn times_lie_back_by_the_largest_unit() {
        let shown = [-5, 59, 60, 7_199, 172_799, 172_800].map(SignedDuration::from_secs).map(ago);
        let expected = ["0 s ago", "59 s ago", "1 min ago", "1 h ago", "47 h ago", "2 days ago"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn counts_have_commas() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "file"), "1 file");
    }
}
