//! Literals normalised for a type of column.

use arrow::array::{AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::Literal;
use super::family::Family;
use super::iso8601::{self, NANOS_PER_DAY};

/// A literal that fits its column, independent of the column's width, unit and scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Number(Number),
    /// Nanoseconds since the epoch or since midnight.
    Nanos(i128),
    Bytes(Box<[u8]>),
}

/// A number of any kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// `value / 10^scale`
    Exact {
        value: i128,
        scale: i32,
    },
    Float(f64),
}

impl Value {
    pub(crate) fn is_nan(&self) -> bool {
        matches!(self, Self::Number(number) if number.to_f64().is_nan())
    }

    /// Converts `literal`, which is not null, for a column of type `data_type`; the error says why
    /// it does not fit.
    pub(crate) fn new(literal: &Literal, data_type: &DataType) -> Result<Self, String> {
        let family = Family::of(data_type)
            .ok_or_else(|| "values of this type cannot be compared".to_owned())?;
        let fitting = match family {
            Family::Null => Self::fit(literal, natural_family(literal), data_type)?,
            _ => Self::fit(literal, family, data_type)?,
        };
        fitting.ok_or_else(|| {
            format!("the value is {}; compare this column with {}", literal.noun(), family.wants())
        })
    }

    fn fit(
        literal: &Literal,
        family: Family,
        data_type: &DataType,
    ) -> Result<Option<Self>, String> {
        Ok(match (family, literal) {
            (Family::Bool, Literal::Bool(value)) => Some(Self::Bool(*value)),
            (Family::Integer | Family::Decimal, _) => Number::new(literal).map(Self::Number),
            (Family::Float, _) => Number::new(literal)
                .map(|number| Self::Number(Number::Float(rounded(number.to_f64(), data_type)))),
            (Family::Text | Family::Binary, Literal::String(text)) => {
                Some(Self::Bytes(text.as_bytes().into()))
            }
            (Family::Binary, Literal::Binary(bytes)) => Some(Self::Bytes(bytes.as_slice().into())),
            (Family::Instant(_), Literal::Date(days)) => {
                Some(Self::Nanos(i128::from(*days) * NANOS_PER_DAY))
            }
            (Family::Instant(zoned), Literal::Timestamp { nanos, utc }) => {
                Some(instant(*nanos, *utc, zoned)?)
            }
            (Family::Instant(zoned), Literal::String(text)) => {
                let (nanos, utc) = iso8601::parse_timestamp(text).ok_or_else(|| {
                    format!("the text is not a date or timestamp; write {}", family.wants())
                })?;
                Some(instant(nanos, utc, zoned)?)
            }
            (Family::Time, Literal::String(text)) => {
                let nanos = iso8601::parse_time(text).ok_or_else(|| {
                    format!("the text is not a time of day; write {}", family.wants())
                })?;
                Some(Self::Nanos(nanos))
            }
            _ => None,
        })
    }
}

fn instant(nanos: i128, utc: bool, zoned: bool) -> Result<Value, String> {
    if utc && !zoned {
        return Err("the value has a time zone, but the column has none; leave the zone out".into());
    }
    Ok(Value::Nanos(nanos))
}

/// The family whose columns the literal is normally compared with.
fn natural_family(literal: &Literal) -> Family {
    match literal {
        Literal::Null => Family::Null,
        Literal::Bool(_) => Family::Bool,
        Literal::Int(_) | Literal::Decimal { .. } => Family::Decimal,
        Literal::Float(_) => Family::Float,
        Literal::String(_) => Family::Text,
        Literal::Binary(_) => Family::Binary,
        Literal::Date(_) | Literal::Timestamp { .. } => Family::Instant(true),
    }
}

impl Number {
    fn new(literal: &Literal) -> Option<Self> {
        match literal {
            Literal::Int(value) => Some(Self::Exact { value: *value, scale: 0 }),
            Literal::Decimal { value, scale } => {
                Some(Self::Exact { value: *value, scale: i32::from(*scale) })
            }
            Literal::Float(value) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    /// The nearest float.
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Float(value) => value,
            // Conversion through text, so that the number is rounded once.
            Self::Exact { value, scale } => {
                format!("{value}e{}", -scale).parse().unwrap_or(f64::NAN)
            }
        }
    }
}

/// The nearest value of a column of floats; unchanged if that would be an infinity, so that it
/// stays smaller than the infinities in the column.
fn rounded(value: f64, data_type: &DataType) -> f64 {
    let narrow = match data_type {
        DataType::Float16 | DataType::Float32 => narrowed(value, data_type),
        _ => Some(value),
    };
    narrow.filter(|narrow| narrow.is_finite()).unwrap_or(value)
}

fn narrowed(value: f64, data_type: &DataType) -> Option<f64> {
    let narrow = cast(&Float64Array::from(vec![value]), data_type).ok()?;
    let wide = cast(&narrow, &DataType::Float64).ok()?;
    wide.as_primitive::<Float64Type>().iter().next().flatten()
}
