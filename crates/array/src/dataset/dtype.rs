//! Types of items, as in NumPy.

use std::fmt;

use partita_core::partition::CalendarUnit;
use partita_core::{Error, Result};

/// The type of the items of an array. In memory every item is little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Signed integer of 8 bits.
    Int8,
    /// Signed integer of 16 bits.
    Int16,
    /// Signed integer of 32 bits.
    Int32,
    /// Signed integer of 64 bits.
    Int64,
    /// Unsigned integer of 8 bits.
    UInt8,
    /// Unsigned integer of 16 bits.
    UInt16,
    /// Unsigned integer of 32 bits.
    UInt32,
    /// Unsigned integer of 64 bits.
    UInt64,
    /// IEEE 754 float of 16 bits.
    Float16,
    /// IEEE 754 float of 32 bits.
    Float32,
    /// IEEE 754 float of 64 bits.
    Float64,
    /// Two floats of 32 bits: real and imaginary part.
    Complex64,
    /// Two floats of 64 bits: real and imaginary part.
    Complex128,
    /// An instant: a 64-bit count of a multiple of a unit since 1970; the least value is "not a
    /// time".
    DateTime(CalendarUnit, u32),
    /// A duration: a 64-bit count of a multiple of a unit; the least value is "not a time". Without
    /// a unit it is a plain count.
    TimeDelta(Option<CalendarUnit>, u32),
    /// This many bytes, padded with zeros (`|S`).
    FixedBytes(u32),
    /// This many Unicode characters of four bytes, padded with zeros (`<U`).
    FixedText(u32),
    /// Text of variable length, in UTF-8.
    Text,
    /// Bytes of variable length.
    Bytes,
}

/// The byte order of stored numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first (`<`).
    #[default]
    Little,
    /// Most significant byte first (`>`).
    Big,
}

/// The value of times and durations that means "not a time".
pub(crate) const NAT: i64 = i64::MIN;

impl DType {
    /// Parses NumPy's name of a type (`<f4`, `|b1`, `<M8[us]`, `>U8`, `|O`) and its byte order.
    /// `|O` becomes [`DType::Text`], the only kind of objects supported without a filter.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if it is not such a name, or a
    /// type that collections do not support (structured, void, extended floats).
    pub fn parse(name: &str) -> Result<(Self, ByteOrder)> {
        let unknown = || {
            Error::invalid(
                "the type is not one of bool, integer, float, complex, datetime64, timedelta64, \
                 bytes and str",
            )
            .with("dtype", name)
        };
        let (order, rest) = match name.split_at_checked(1) {
            Some((">", rest)) => (ByteOrder::Big, rest),
            Some(("<" | "|" | "=", rest)) => (ByteOrder::Little, rest),
            _ => (ByteOrder::Little, name),
        };
        let (kind, size) = rest.split_at_checked(1).ok_or_else(unknown)?;
        let dtype = match (kind, size) {
            ("b", "1") => Self::Bool,
            ("i", "1") => Self::Int8,
            ("i", "2") => Self::Int16,
            ("i", "4") => Self::Int32,
            ("i", "8") => Self::Int64,
            ("u", "1") => Self::UInt8,
            ("u", "2") => Self::UInt16,
            ("u", "4") => Self::UInt32,
            ("u", "8") => Self::UInt64,
            ("f", "2") => Self::Float16,
            ("f", "4") => Self::Float32,
            ("f", "8") => Self::Float64,
            ("c", "8") => Self::Complex64,
            ("c", "16") => Self::Complex128,
            ("S", size) => Self::FixedBytes(size.parse().map_err(|_| unknown())?),
            ("U", size) => Self::FixedText(size.parse().map_err(|_| unknown())?),
            ("O", "") => Self::Text,
            ("M" | "m", "8") => match kind {
                "m" => Self::TimeDelta(None, 1),
                _ => return Err(unknown()),
            },
            ("M" | "m", size) => {
                let step = size.strip_prefix("8[").and_then(|rest| rest.strip_suffix(']'));
                let (multiple, unit) = step.and_then(parse_step).ok_or_else(unknown)?;
                match kind {
                    "M" => Self::DateTime(unit, multiple),
                    _ => Self::TimeDelta(Some(unit), multiple),
                }
            }
            _ => return Err(unknown()),
        };
        Ok((dtype, order))
    }

    /// NumPy's name of the type, with the byte order in memory: `<f4`, `|i1`, `<M8[us]`.
    #[must_use]
    pub fn name(self) -> String {
        self.name_in(ByteOrder::Little)
    }

    /// NumPy's name of the type with another byte order.
    #[must_use]
    pub fn name_in(self, order: ByteOrder) -> String {
        let sign = match (self, order) {
            (Self::Bool | Self::Int8 | Self::UInt8 | Self::FixedBytes(_), _) => "|",
            (Self::Text | Self::Bytes, _) => return "|O".to_owned(),
            (_, ByteOrder::Little) => "<",
            (_, ByteOrder::Big) => ">",
        };
        let step = |unit: CalendarUnit, multiple: u32| match multiple {
            1 => format!("[{}]", unit.code()),
            _ => format!("[{multiple}{}]", unit.code()),
        };
        let rest = match self {
            Self::Bool => "b1".to_owned(),
            Self::Int8 => "i1".to_owned(),
            Self::Int16 => "i2".to_owned(),
            Self::Int32 => "i4".to_owned(),
            Self::Int64 => "i8".to_owned(),
            Self::UInt8 => "u1".to_owned(),
            Self::UInt16 => "u2".to_owned(),
            Self::UInt32 => "u4".to_owned(),
            Self::UInt64 => "u8".to_owned(),
            Self::Float16 => "f2".to_owned(),
            Self::Float32 => "f4".to_owned(),
            Self::Float64 => "f8".to_owned(),
            Self::Complex64 => "c8".to_owned(),
            Self::Complex128 => "c16".to_owned(),
            Self::DateTime(unit, multiple) => format!("M8{}", step(unit, multiple)),
            Self::TimeDelta(Some(unit), multiple) => format!("m8{}", step(unit, multiple)),
            Self::TimeDelta(None, _) => "m8".to_owned(),
            Self::FixedBytes(size) => format!("S{size}"),
            Self::FixedText(size) => format!("U{size}"),
            Self::Text | Self::Bytes => String::new(),
        };
        format!("{sign}{rest}")
    }

    /// The size of an item in bytes; none for items of variable length.
    #[must_use]
    pub fn item_size(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::Int8 | Self::UInt8 => 1,
            Self::Int16 | Self::UInt16 | Self::Float16 => 2,
            Self::Int32 | Self::UInt32 | Self::Float32 => 4,
            Self::Int64
            | Self::UInt64
            | Self::Float64
            | Self::Complex64
            | Self::DateTime(..)
            | Self::TimeDelta(..) => 8,
            Self::Complex128 => 16,
            Self::FixedBytes(size) => usize::try_from(size).ok()?,
            Self::FixedText(size) => usize::try_from(size).ok()?.checked_mul(4)?,
            Self::Text | Self::Bytes => return None,
        })
    }

    /// The size of the units within which bytes are reversed between the byte orders.
    pub(crate) fn swapped_bytes(self) -> usize {
        match self {
            Self::Complex64 | Self::FixedText(_) => 4,
            Self::Complex128 => 8,
            Self::FixedBytes(_) | Self::Text | Self::Bytes => 1,
            _ => self.item_size().unwrap_or(1),
        }
    }

    /// True for signed and unsigned integers.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(
            self,
            Self::Int8
                | Self::Int16
                | Self::Int32
                | Self::Int64
                | Self::UInt8
                | Self::UInt16
                | Self::UInt32
                | Self::UInt64
        )
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("str"),
            Self::Bytes => f.write_str("bytes"),
            _ => f.write_str(&self.name()),
        }
    }
}

/// Parses a unit with an optional multiple: `us`, `25us`.
fn parse_step(step: &str) -> Option<(u32, CalendarUnit)> {
    let digits = step.bytes().take_while(u8::is_ascii_digit).count();
    let (multiple, code) = step.split_at_checked(digits)?;
    let multiple = if multiple.is_empty() { 1 } else { multiple.parse().ok()? };
    (multiple > 0).then_some(())?;
    Some((multiple, CalendarUnit::from_code(code)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let names = [
            "|b1",
            "|i1",
            "<i2",
            "<i4",
            "<i8",
            "|u1",
            "<u2",
            "<u4",
            "<u8",
            "<f2",
            "<f4",
            "<f8",
            "<c8",
            "<c16",
            "<M8[D]",
            "<M8[25us]",
            "<m8[ns]",
            "<m8",
            "|S5",
            "|S0",
            "<U8",
            "|O",
        ];
        for name in names {
            assert_eq!(DType::parse(name).unwrap().0.name(), name);
        }
        assert_eq!(DType::parse(">f4").unwrap(), (DType::Float32, ByteOrder::Big));
        assert_eq!(DType::Float32.name_in(ByteOrder::Big), ">f4");
    }

    #[test]
    fn every_unit_is_known() {
        for unit in CalendarUnit::ALL {
            for dtype in [DType::DateTime(unit, 1), DType::TimeDelta(Some(unit), 7)] {
                assert_eq!(DType::parse(&dtype.name()).unwrap().0, dtype);
                assert_eq!(dtype.item_size(), Some(8));
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "<", "<f3", "|V8", "<M8", "<M8[x]", "<M8[0s]", "Sx", "<i16", "ü", "<f16"]
        {
            assert!(DType::parse(name).is_err(), "{name}");
        }
    }
}
