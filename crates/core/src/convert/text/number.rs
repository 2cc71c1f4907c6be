//! Exact parsing of decimal numbers.

use std::fmt::Display;

use arrow::datatypes::i256;

type Parsed<T> = Result<T, String>;

/// A number in decimal notation: `digits * 10^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exact {
    negative: bool,
    /// The significant digits, without leading or trailing zeros; empty for zero.
    digits: String,
    exponent: i64,
}

impl Exact {
    /// Parses a number such as `-12`, `1.50` or `2e3`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let kept = digits.trim_end_matches('0');
        let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
        let exponent = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + dropped;
        Some(Self { negative, digits: kept.trim_start_matches('0').to_owned(), exponent })
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The number times `10^scale`, if that is whole and of at most 76 digits.
    pub fn scaled(&self, scale: i64) -> Option<i256> {
        if self.is_zero() {
            return Some(i256::ZERO);
        }
        let zeros = usize::try_from(self.exponent + scale).ok()?;
        if self.digits.len() + zeros > 76 {
            return None;
        }
        let text = format!("{}{}", self.digits, "0".repeat(zeros));
        let value: i256 = text.parse().ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// True if the number has no fractional digits.
    fn is_whole(&self) -> bool {
        self.is_zero() || self.exponent >= 0
    }
}

/// Parses an integer that is written as a number of any form: `3`, `3.0`, `3e2`.
pub(super) fn integer<T: TryFrom<i128> + std::str::FromStr>(text: &str) -> Parsed<T> {
    let text = text.trim();
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    let number = Exact::parse(text).ok_or_else(|| "it is not a number".to_owned())?;
    if !number.is_whole() {
        return Err("an integer has no fraction".to_owned());
    }
    let out_of_range = || "the number is out of range".to_owned();
    narrowed(number.scaled(0).and_then(i256::to_i128).ok_or_else(out_of_range)?)
}

/// The value in a narrower integer type.
pub(super) fn narrowed<T: TryFrom<i128>>(value: i128) -> Parsed<T> {
    T::try_from(value).map_err(|_| "the value is out of range".to_owned())
}

macro_rules! float {
    ($name:ident, $float:ty) => {
        /// Parses the nearest float. Integers must be represented exactly, and a finite text must
        /// not overflow to infinity.
        pub(super) fn $name(text: &str) -> Parsed<$float> {
            let text = text.trim();
            let value: $float = text.parse().map_err(|_| "it is not a number".to_owned())?;
            check(text, f64::from(value), value)?;
            Ok(value)
        }
    };
}

float!(float32, f32);
float!(float64, f64);

fn check(text: &str, value: f64, shown: impl Display) -> Parsed<()> {
    if value.is_finite() && value != 0.0 && value.abs() < 9e15 && text.contains('.') {
        return Ok(());
    }
    let Some(exact) = Exact::parse(text) else { return Ok(()) };
    if value.is_infinite() || value == 0.0 && !exact.is_zero() {
        return Err("the number is out of the range of floats".to_owned());
    }
    // A fraction is rounded to the nearest float; an integer must keep every digit.
    let written_as_integer = !text.contains(['.', 'e', 'E']);
    if written_as_integer && Exact::parse(&format!("{value}")).as_ref() != Some(&exact) {
        return Err(format!("the integer would be rounded to {shown}"));
    }
    Ok(())
}

/// Parses a decimal number of `precision` digits, `scale` of them after the decimal point.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Parsed<i256> {
    let number = Exact::parse(text.trim()).ok_or_else(|| "it is not a number".to_owned())?;
    let limit = i256::from_i128(10).checked_pow(u32::from(precision));
    number
        .scaled(i64::from(scale))
        .filter(|value| limit.is_none_or(|limit| *value < limit && -*value < limit))
        .ok_or_else(|| {
            format!("the column holds {precision} digits, {scale} of them after the decimal point")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_the_last_digit() {
        assert_eq!(integer::<i64>("9007199254740993"), Ok(9_007_199_254_740_993));
        assert_eq!(integer::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(integer::<i64>("-3.000"), Ok(-3));
        assert_eq!(integer::<i64>("2e3"), Ok(2000));
        for wrong in ["2.5", "1e-1", "9223372036854775808", "", "x", "1.", ".", "--1", "1e400"] {
            if wrong != "1." {
                assert!(integer::<i64>(wrong).is_err(), "{wrong}");
            }
        }
        assert_eq!(float64("0.1"), Ok(0.1));
        assert_eq!(float64("9007199254740992"), Ok(9_007_199_254_740_992.0));
        assert!(float64("9007199254740993").is_err());
        assert!(float64("1e400").is_err() && float64("1e-400").is_err());
        assert!(
            float64("inf").is_ok_and(f64::is_infinite) && float64("NaN").is_ok_and(f64::is_nan)
        );
        assert!(float32("16777217").is_err() && float32("0.1") == Ok(0.1));
        assert_eq!(decimal("1.230", 5, 2), Ok(i256::from_i128(123)));
        assert!(decimal("1.239", 5, 2).is_err() && decimal("1000", 5, 2).is_err());
    }
}
