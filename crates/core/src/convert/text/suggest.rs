//! Inference of a column's type from texts.

use arrow::datatypes::{DataType, TimeUnit};

use super::{Exact, is_canonical, time};

/// The types that fit all texts of a column seen so far.
///
/// A type is suggested only if formatting its values reproduces every text: `007` and `+5` are
/// codes and not numbers, and integers of more than 64 bits are text.
#[derive(Debug, Clone)]
pub struct Suggestion {
    seen: bool,
    boolean: bool,
    signed: bool,
    unsigned: bool,
    float: bool,
    date: bool,
    naive: bool,
    zoned: bool,
    nanoseconds: bool,
}

impl Default for Suggestion {
    fn default() -> Self {
        Self {
            seen: false,
            boolean: true,
            signed: true,
            unsigned: true,
            float: true,
            date: true,
            naive: true,
            zoned: true,
            nanoseconds: false,
        }
    }
}

impl Suggestion {
    /// Updates the suggestion with one further text, which is not null.
    pub fn see(&mut self, text: &str) {
        self.seen = true;
        let trimmed = text.trim();
        if self.signed || self.unsigned || self.float {
            self.signed &= is_canonical::<i64>(trimmed);
            self.unsigned &= is_canonical::<u64>(trimmed);
            self.float &= is_number(trimmed);
        }
        if self.boolean {
            self.boolean =
                trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false");
        }
        if self.date || self.naive || self.zoned {
            self.see_time(text);
        }
    }

    fn see_time(&mut self, text: &str) {
        // Fast path: numbers are the common case, and every timestamp contains a hyphen after the
        // year.
        let found = text.contains('-').then(|| time::point(text)).flatten();
        let Some((nanos, utc)) = found else {
            (self.date, self.naive, self.zoned) = (false, false, false);
            return;
        };
        self.date &= !utc && !text.contains(':');
        // Timestamps without a zone are stored in nanoseconds, whose 64 bits limit the range of
        // years.
        self.naive &= !utc && i64::try_from(nanos).is_ok();
        // Values are stored in UTC, so another offset would not be reproduced.
        let is_utc = text.ends_with('Z') || text.ends_with("+00:00") || text.ends_with(" UTC");
        self.zoned &= utc && is_utc && nanos % 1000 == 0;
        self.nanoseconds |= nanos % 1000 != 0;
    }

    /// The narrowest type that fits every text seen; `Null` if there was none.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        let unit = if self.nanoseconds { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        match self {
            Self { seen: false, .. } => DataType::Null,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { signed: true, .. } => DataType::Int64,
            Self { unsigned: true, .. } => DataType::UInt64,
            Self { float: true, .. } => DataType::Float64,
            Self { date: true, .. } => DataType::Date32,
            Self { naive: true, .. } => DataType::Timestamp(unit, None),
            Self { zoned: true, .. } => DataType::Timestamp(unit, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }

    /// The types that fit the texts of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            seen: self.seen || other.seen,
            boolean: self.boolean && other.boolean,
            signed: self.signed && other.signed,
            unsigned: self.unsigned && other.unsigned,
            float: self.float && other.float,
            date: self.date && other.date,
            naive: self.naive && other.naive,
            zoned: self.zoned && other.zoned,
            nanoseconds: self.nanoseconds || other.nanoseconds,
        }
    }
}

/// True if the text is a number and not a code: a float represents it, and it has no leading zeros.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1
        && digits.starts_with('0')
        && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if leading_zero || text.starts_with('+') {
        return false;
    }
    let named = ["inf", "infinity", "nan"].iter().any(|name| digits.eq_ignore_ascii_case(name));
    (named || Exact::parse(text).is_some()) && super::number::float64(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_gives_every_text_back() {
        let of = |texts: &[&str]| {
            let mut suggestion = Suggestion::default();
            texts.iter().for_each(|text| suggestion.see(text));
            suggestion.data_type()
        };
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (texts, wanted) in [
            (&["1", "-2"][..], DataType::Int64),
            (&["1", "18446744073709551615"], DataType::UInt64),
            (&["1", "2.5", "NaN", "1e5"], DataType::Float64),
            (&["1", "36893488147419103232"], DataType::Utf8),
            (&["00123", "01234"], DataType::Utf8),
            (&["+5", "5"], DataType::Utf8),
            (&["true", "False"], DataType::Boolean),
            (&["2024-01-01"], DataType::Date32),
            (&["2024-01-01", "2024-01-01 12:00:00"], micros),
            (
                &["2024-01-01T12:00:00Z"],
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (&["2024-01-01T12:00:00+02:00"], DataType::Utf8),
            (&["2024-01-01 12:00:00 CET"], DataType::Utf8),
            (&["9999-12-31 00:00:00.000"], DataType::Utf8),
            (&["2024-01-01 12:00:00;x"], DataType::Utf8),
            (&[], DataType::Null),
        ] {
            assert_eq!(of(texts), wanted, "{texts:?}");
        }
    }
}
