//! The position of a literal among the values that a column of discrete steps can hold.
//!
//! Integers, decimals, dates, times and timestamps are all stored as integers counting some step: a
//! unit, a hundredth, a day, a microsecond. A literal may be equal to a step, lie between two
//! steps, or be outside the range of the type; a comparison with it then becomes a comparison with
//! a step.

use arrow::datatypes::{DataType, TimeUnit, i256};

use super::CompareOp;
use super::iso8601::{NANOS_PER_DAY, NANOS_PER_SECOND};
use super::value::{Number, Value};

/// The position of a value relative to the steps of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Equal to a step.
    At(i256),
    /// Between this step and the next.
    Above(i256),
    /// Smaller than every value of the type.
    TooSmall,
    /// Larger than every value of the type.
    TooLarge,
    /// NaN, which has no order.
    Nowhere,
}

/// A comparison translated to stored steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Step(CompareOp, i256),
    /// The result is the same for every value.
    Known(bool),
}

impl Place {
    /// The position of `value` in a column of `data_type`; `None` if the two cannot be compared or
    /// the column's type does not count steps.
    pub(crate) fn of(value: &Value, data_type: &DataType) -> Option<Self> {
        let (least, most) = range(data_type)?;
        let place = match (value, data_type) {
            (Value::Number(number), _) if scale(data_type).is_some() => {
                place_of_number(*number, scale(data_type)?)
            }
            (Value::Nanos(nanos), _) => {
                let step = i256::from_i128(nanos_per_step(data_type)?);
                place_of_quotient(i256::from_i128(*nanos), step)
            }
            _ => return None,
        };
        Some(match place {
            Self::At(step) | Self::Above(step) if step < least => Self::TooSmall,
            Self::At(step) if step > most => Self::TooLarge,
            Self::Above(step) if step >= most => Self::TooLarge,
            place => place,
        })
    }

    /// The comparison `column op value`, translated for a value at this position.
    pub(crate) fn ask(self, op: CompareOp) -> Asked {
        use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
        match (self, op) {
            (Self::At(step), op) => Asked::Step(op, step),
            (Self::Above(step), Lt | Le) => Asked::Step(Le, step),
            (Self::Above(step), Gt | Ge) => Asked::Step(Gt, step),
            (Self::TooLarge, Lt | Le) | (Self::TooSmall, Gt | Ge) => Asked::Known(true),
            (_, Ne) => Asked::Known(true),
            (_, Eq | Lt | Le | Gt | Ge) => Asked::Known(false),
        }
    }
}

/// The least and the largest step that the type can hold.
fn range(data_type: &DataType) -> Option<(i256, i256)> {
    let range = |least: i128, most: i128| Some((i256::from_i128(least), i256::from_i128(most)));
    match data_type {
        DataType::Int8 => range(i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => range(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) | DataType::Decimal32(_, _) => {
            range(i32::MIN.into(), i32::MAX.into())
        }
        DataType::Int64
        | DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Decimal64(_, _) => range(i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => range(0, u8::MAX.into()),
        DataType::UInt16 => range(0, u16::MAX.into()),
        DataType::UInt32 => range(0, u32::MAX.into()),
        DataType::UInt64 => range(0, u64::MAX.into()),
        DataType::Decimal128(_, _) => range(i128::MIN, i128::MAX),
        DataType::Decimal256(_, _) => Some((i256::MIN, i256::MAX)),
        _ => None,
    }
}

/// Digits after the decimal point, for types that hold numbers in steps.
fn scale(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(i32::from(*scale)),
        other if other.is_integer() => Some(0),
        _ => None,
    }
}

fn nanos_per_step(data_type: &DataType) -> Option<i128> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => NANOS_PER_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    match data_type {
        DataType::Date32 => Some(NANOS_PER_DAY),
        DataType::Date64 => Some(1_000_000),
        DataType::Time32(u) | DataType::Time64(u) | DataType::Timestamp(u, _) => Some(unit(u)),
        _ => None,
    }
}

fn place_of_number(number: Number, scale: i32) -> Place {
    match number {
        Number::Exact { value, scale: own } => {
            place_of_scaled(i256::from_i128(value), i64::from(scale) - i64::from(own))
        }
        Number::Float(value) if value.is_nan() => Place::Nowhere,
        Number::Float(value) if value.is_infinite() => beyond(value > 0.0),
        Number::Float(value) if scale == 0 => place_of_float(value),
        // A float compared with decimals represents its shortest decimal form: 1.1 is 1.10.
        Number::Float(value) => match shortest_decimal(value) {
            Some((digits, exponent)) => {
                place_of_scaled(i256::from_i128(digits), i64::from(scale) + exponent)
            }
            None => Place::Nowhere,
        },
    }
}

/// A float among the integers, by its exact value.
fn place_of_float(value: f64) -> Place {
    let floor = value.floor();
    // Beyond 2^126 no integer column reaches, and the cast would saturate.
    if floor.abs() >= 2f64.powi(126) {
        return beyond(floor > 0.0);
    }
    let step = i256::from_i128(floor as i128);
    if floor < value { Place::Above(step) } else { Place::At(step) }
}

/// Digits and exponent of the shortest decimal that reads back as `value`.
fn shortest_decimal(value: f64) -> Option<(i128, i64)> {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").parse().ok()?;
    let exponent: i64 = exponent.parse().ok()?;
    Some((digits, exponent - i64::try_from(fraction.len()).ok()?))
}

/// The place of `value * 10^exponent`.
fn place_of_scaled(value: i256, exponent: i64) -> Place {
    if value == i256::ZERO {
        return Place::At(value);
    }
    let power = u32::try_from(exponent.unsigned_abs())
        .ok()
        .and_then(|exponent| i256::from_i128(10).checked_pow(exponent));
    match (power, exponent >= 0) {
        (Some(power), true) => {
            value.checked_mul(power).map_or_else(|| beyond(value.is_positive()), Place::At)
        }
        (None, true) => beyond(value.is_positive()),
        (Some(power), false) => place_of_quotient(value, power),
        (None, false) if value.is_negative() => Place::Above(i256::MINUS_ONE),
        (None, false) => Place::Above(i256::ZERO),
    }
}

/// The place of `value / divisor`, for a positive divisor.
fn place_of_quotient(value: i256, divisor: i256) -> Place {
    let (quotient, remainder) = value.wrapping_div_rem(divisor);
    if remainder == i256::ZERO {
        Place::At(quotient)
    } else if remainder.is_negative() {
        Place::Above(quotient.wrapping_sub(i256::ONE))
    } else {
        Place::Above(quotient)
    }
}

fn beyond(positive: bool) -> Place {
    if positive { Place::TooLarge } else { Place::TooSmall }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: i128) -> Place {
        Place::At(i256::from_i128(step))
    }

    fn above(step: i128) -> Place {
        Place::Above(i256::from_i128(step))
    }

    fn float(value: f64, data_type: &DataType) -> Place {
        Place::of(&Value::Number(Number::Float(value)), data_type).unwrap()
    }

    fn exact(value: i128, scale: i32, data_type: &DataType) -> Place {
        Place::of(&Value::Number(Number::Exact { value, scale }), data_type).unwrap()
    }

    #[test]
    fn floats_among_integers() {
        assert_eq!(float(2.0, &DataType::Int8), at(2));
        assert_eq!(float(2.5, &DataType::Int8), above(2));
        assert_eq!(float(-2.5, &DataType::Int8), above(-3));
        assert_eq!(float(127.5, &DataType::Int8), Place::TooLarge);
        assert_eq!(float(-0.5, &DataType::UInt8), Place::TooSmall);
        assert_eq!(float(1e300, &DataType::Int64), Place::TooLarge);
        assert_eq!(float(f64::NEG_INFINITY, &DataType::Int64), Place::TooSmall);
        assert_eq!(float(f64::NAN, &DataType::Int64), Place::Nowhere);
        assert_eq!(float(9_007_199_254_740_992.0, &DataType::Int64), at(9_007_199_254_740_992));
        assert_eq!(float(-0.0, &DataType::UInt64), at(0));
    }

    #[test]
    fn numbers_among_decimals() {
        let cents = DataType::Decimal128(10, 2);
        assert_eq!(float(1.1, &cents), at(110));
        assert_eq!(float(1.115, &cents), above(111));
        assert_eq!(float(-1.115, &cents), above(-112));
        assert_eq!(exact(7, 0, &cents), at(700));
        assert_eq!(exact(1, 300, &cents), above(0));
        assert_eq!(exact(i128::MAX, -100, &cents), Place::TooLarge);
        assert_eq!(exact(i128::MAX, 0, &DataType::Decimal128(38, -3)), above(i128::MAX / 1000));
        assert_eq!(exact(15, 1, &DataType::Int8), above(1));
        assert!(matches!(exact(i128::MAX, 0, &DataType::Decimal256(76, 9)), Place::At(_)));
    }

    #[test]
    fn instants_among_units() {
        let place = |nanos, data_type| Place::of(&Value::Nanos(nanos), &data_type).unwrap();
        assert_eq!(place(-1, DataType::Timestamp(TimeUnit::Second, None)), above(-1));
        assert_eq!(place(3 * NANOS_PER_DAY, DataType::Date32), at(3));
        assert_eq!(place(NANOS_PER_DAY / 2, DataType::Date32), above(0));
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert_eq!(place(i128::MAX, nanos), Place::TooLarge);
    }
}
