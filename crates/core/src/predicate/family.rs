//! Groups of column types that are compared in the same way.

use arrow::datatypes::DataType;

/// A group of types that accept the same literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Only nulls.
    Null,
    Bool,
    Integer,
    Float,
    Decimal,
    /// Dates and timestamps; true if the column has a time zone.
    Instant(bool),
    /// Times of day.
    Time,
    Text,
    Binary,
}

impl Family {
    /// The family of a column, `None` if its values cannot be compared.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        match leaf(data_type) {
            DataType::Null => Some(Self::Null),
            DataType::Boolean => Some(Self::Bool),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Some(Self::Binary),
            DataType::Date32 | DataType::Date64 => Some(Self::Instant(false)),
            DataType::Timestamp(_, zone) => Some(Self::Instant(zone.is_some())),
            DataType::Time32(_) | DataType::Time64(_) => Some(Self::Time),
            other if other.is_integer() => Some(Self::Integer),
            other if other.is_floating() => Some(Self::Float),
            other if other.is_decimal() => Some(Self::Decimal),
            _ => None,
        }
    }

    /// A description of the values that this family is compared with, for messages.
    pub(crate) fn wants(self) -> &'static str {
        match self {
            Self::Null => "any value",
            Self::Bool => "true or false",
            Self::Integer | Self::Float | Self::Decimal => "a number, without quotes",
            Self::Instant(false) => "text such as '2020-01-31' or '2020-01-31 12:00:00'",
            Self::Instant(true) => "text such as '2020-01-31' or '2020-01-31T12:00:00+01:00'",
            Self::Time => "text such as '12:30:00'",
            Self::Text => "text in quotes",
            Self::Binary => "bytes such as x'00ff', or text",
        }
    }
}

/// The type of the values, without dictionary or run-end encoding.
pub(crate) fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => leaf(values),
        DataType::RunEndEncoded(_, values) => leaf(values.data_type()),
        other => other,
    }
}
