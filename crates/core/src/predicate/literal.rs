//! Literal values in predicates.

/// A value to compare a column with.
///
/// Equality is structural: NaN equals itself and the two zeros differ, so that predicates can be
/// compared with each other. The meaning of a literal in a comparison depends on the column; see
/// [the module](crate::predicate).
#[derive(Debug, Clone)]
pub enum Literal {
    /// No value; `x == null` is `x is null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// Text; also a date, time or timestamp in ISO 8601.
    String(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// An instant, or a civil time.
    Timestamp {
        /// Nanoseconds since 1970-01-01 00:00.
        nanos: i128,
        /// True if it was given with a time zone and is therefore an instant.
        utc: bool,
    },
    /// The decimal number `value / 10^scale`.
    Decimal {
        /// All digits, without the point.
        value: i128,
        /// The number of digits after the decimal point.
        scale: i8,
    },
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => {
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            }
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (
                Self::Timestamp { nanos: a, utc: a_utc },
                Self::Timestamp { nanos: b, utc: b_utc },
            ) => a == b && a_utc == b_utc,
            (
                Self::Decimal { value: a, scale: a_scale },
                Self::Decimal { value: b, scale: b_scale },
            ) => a == b && a_scale == b_scale,
            _ => false,
        }
    }
}

impl Eq for Literal {}

impl Literal {
    /// The name of this kind of value, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::String(_) => "text",
            Self::Binary(_) => "bytes",
            Self::Date(_) => "a date",
            Self::Timestamp { .. } => "a timestamp",
            Self::Decimal { .. } => "a decimal",
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Literal {
            fn from(value: $integer) -> Self {
                Self::Int(i128::from(value))
            }
        }
    )*};
}

from_integers!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f32> for Literal {
    fn from(value: f32) -> Self {
        Self::Float(f64::from(value))
    }
}

impl From<f64> for Literal {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Literal {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Literal {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<&[u8]> for Literal {
    fn from(value: &[u8]) -> Self {
        Self::Binary(value.to_vec())
    }
}

impl From<Vec<u8>> for Literal {
    fn from(value: Vec<u8>) -> Self {
        Self::Binary(value)
    }
}

impl From<jiff::Timestamp> for Literal {
    fn from(value: jiff::Timestamp) -> Self {
        Self::Timestamp { nanos: value.as_nanosecond(), utc: true }
    }
}

impl From<jiff::civil::DateTime> for Literal {
    fn from(value: jiff::civil::DateTime) -> Self {
        Self::Timestamp { nanos: super::iso8601::civil_nanos(value), utc: false }
    }
}

impl From<jiff::civil::Date> for Literal {
    fn from(value: jiff::civil::Date) -> Self {
        Self::Date(super::iso8601::civil_days(value))
    }
}

impl<T: Into<Literal>> From<Option<T>> for Literal {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
