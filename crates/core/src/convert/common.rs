//! The common type of data that come in several types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::nested::{entry, item};
use super::typed;

/// The narrowest type that holds the values of both; `None` where no type of Arrow does. Integers
/// beside floats become floats of 64 bits, which not every integer fits.
#[must_use]
pub fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, Date32, Date64, Dictionary, Duration, FixedSizeBinary, LargeBinary, LargeList,
        LargeUtf8, Map, Null, Struct, Time32, Time64, Timestamp, Utf8,
    };
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (Null, other) | (other, Null) => other.clone(),
        (Dictionary(_, a), b) => common_type(a, b)?,
        (a, Dictionary(_, b)) => common_type(a, b)?,
        _ if a.is_string() && b.is_string() => match (a, b) {
            (Utf8, Utf8) => Utf8,
            _ => LargeUtf8,
        },
        _ if bytes(a) && bytes(b) => match (a, b) {
            (Binary | FixedSizeBinary(_), Binary | FixedSizeBinary(_)) => Binary,
            _ => LargeBinary,
        },
        _ if a.is_integer() && b.is_integer() => common_integer(a, b)?,
        _ if a.is_floating() && b.is_floating() => match (a, b) {
            (DataType::Float64, _) | (_, DataType::Float64) => DataType::Float64,
            _ => DataType::Float32,
        },
        _ if a.is_floating() && b.is_integer() || a.is_integer() && b.is_floating() => {
            DataType::Float64
        }
        (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) => {
            let scale = *s.max(t);
            let whole = (i16::from(*p) - i16::from(*s)).max(i16::from(*q) - i16::from(*t));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            (precision <= 38).then_some(DataType::Decimal128(precision, scale))?
        }
        (Date32 | Date64, Date32 | Date64) => Date32,
        (Timestamp(x, zone), Timestamp(y, other)) if zone.is_some() == other.is_some() => {
            Timestamp(finer(*x, *y), zone.clone())
        }
        (Duration(x), Duration(y)) => Duration(finer(*x, *y)),
        (Time32(x) | Time64(x), Time32(y) | Time64(y)) => time(finer(*x, *y)),
        (Struct(x), Struct(y)) => Struct(common_fields(x, y)?),
        (Map(x, sorted), Map(y, _)) => {
            let ((key, value), (other_key, other_value)) = (entry(x)?, entry(y)?);
            let fields = Fields::from(vec![
                typed(key, common_type(key.data_type(), other_key.data_type())?),
                typed(value, common_type(value.data_type(), other_value.data_type())?),
            ]);
            Map(Arc::new(typed(x, Struct(fields))), *sorted)
        }
        _ => {
            let (x, y) = (item(a)?, item(b)?);
            let common = Arc::new(typed(x, common_type(x.data_type(), y.data_type())?));
            match (a, b) {
                (DataType::FixedSizeList(_, n), DataType::FixedSizeList(_, m)) if n == m => {
                    DataType::FixedSizeList(common, *n)
                }
                (LargeList(_), _) | (_, LargeList(_)) => LargeList(common),
                _ => DataType::List(common),
            }
        }
    })
}

/// `known` with each part that has no type yet taken from `found`; `None` if that changes nothing.
#[must_use]
pub fn settled_type(known: &DataType, found: &DataType) -> Option<DataType> {
    match (known, found) {
        (DataType::Null, DataType::Null) => None,
        (DataType::Null, found) => Some(found.clone()),
        (known, DataType::Dictionary(_, found)) => settled_type(known, found),
        (DataType::Struct(known), DataType::Struct(found)) => {
            let mut changed = false;
            let fields: Vec<Field> = known
                .iter()
                .map(|field| {
                    let other = found.iter().find(|other| other.name() == field.name());
                    let settled =
                        other.and_then(|o| settled_type(field.data_type(), o.data_type()));
                    changed |= settled.is_some();
                    typed(field, settled.unwrap_or_else(|| field.data_type().clone()))
                })
                .collect();
            changed.then(|| DataType::Struct(fields.into()))
        }
        (DataType::Map(known, sorted), DataType::Map(found, _)) => {
            let ((key, value), (_, other)) = (entry(known)?, entry(found)?);
            let settled = settled_type(value.data_type(), other.data_type())?;
            let fields = vec![key.as_ref().clone(), typed(value, settled)];
            Some(DataType::Map(Arc::new(typed(known, DataType::Struct(fields.into()))), *sorted))
        }
        _ => {
            let (field, other) = (item(known)?, item(found)?);
            let settled = settled_type(field.data_type(), other.data_type())?;
            let field = Arc::new(typed(field, settled));
            Some(match known {
                DataType::FixedSizeList(_, size) => DataType::FixedSizeList(field, *size),
                DataType::LargeList(_) => DataType::LargeList(field),
                _ => DataType::List(field),
            })
        }
    }
}

fn bytes(data_type: &DataType) -> bool {
    data_type.is_binary() || matches!(data_type, DataType::FixedSizeBinary(_))
}

fn common_integer(a: &DataType, b: &DataType) -> Option<DataType> {
    let bits = |data_type: &DataType| data_type.primitive_width().map(|bytes| bytes * 8);
    let (wide, narrow) = if bits(a)? >= bits(b)? { (a, b) } else { (b, a) };
    if wide.is_signed_integer() == narrow.is_signed_integer() {
        return Some(wide.clone());
    }
    if wide.is_signed_integer() && bits(wide)? > bits(narrow)? {
        return Some(wide.clone());
    }
    // An unsigned type of this width does not fit a signed type of the same width.
    match bits(wide)? {
        8 => Some(DataType::Int16),
        16 => Some(DataType::Int32),
        32 => Some(DataType::Int64),
        _ => None,
    }
}

fn common_fields(a: &Fields, b: &Fields) -> Option<Fields> {
    if a.len() != b.len() {
        return None;
    }
    a.iter()
        .map(|field| {
            let other = b.iter().find(|other| other.name() == field.name())?;
            Some(typed(field, common_type(field.data_type(), other.data_type())?))
        })
        .collect()
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    a.max(b)
}

fn time(unit: TimeUnit) -> DataType {
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => DataType::Time32(unit),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => DataType::Time64(unit),
    }
}
