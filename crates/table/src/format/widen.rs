//! Wider types: which columns may take which, and what becomes of the values stored so far.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// 2^53: integers below it are doubles without being rounded, and none above is rounded to one below.
pub const EXACT: f64 = 9_007_199_254_740_992.0;

/// The work that giving a column a wider type requires, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Widening {
    /// Nothing: its values are read in the wider type, by plateau too.
    AsItIs,
    /// The same if all values are integers that doubles hold, see [`EXACT`].
    IfExact,
    /// Its files must be written again, since plateau would read values of two types.
    Rewritten,
}

/// The work that widening the stored type `from` to the stored type `to` requires; `None` if `to` does not hold
/// every value of `from`, or is the same.
#[must_use]
pub fn widening(from: &DataType, to: &DataType) -> Option<Widening> {
    match (from, to) {
        _ if from == to => None,
        (DataType::Int64 | DataType::UInt64, DataType::Float64) => Some(Widening::IfExact),
        (DataType::Int64, DataType::Decimal128(precision, scale)) => {
            whole_digits(*precision, *scale, 19)
        }
        (DataType::UInt64, DataType::Decimal128(precision, scale)) => {
            whole_digits(*precision, *scale, 20)
        }
        (DataType::Date32, DataType::Timestamp(_, None)) => Some(Widening::Rewritten),
        _ => within(from, to),
    }
}

/// As [`widening`], of types that stand within others too. There are no bounds of their values.
fn within(from: &DataType, to: &DataType) -> Option<Widening> {
    use DataType::{
        Binary, Decimal128, FixedSizeBinary, FixedSizeList, Float64, Int64, List, Map, Null,
        Struct, Time32, Time64, Timestamp, UInt64,
    };
    match (from, to) {
        (Null, _) => Some(Widening::AsItIs),
        (Decimal128(p, s), Decimal128(wider_p, wider_s)) => {
            let whole = |p: &u8, s: &i8| i16::from(*p) - i16::from(*s);
            let holds = wider_s >= s && whole(wider_p, wider_s) >= whole(p, s);
            holds.then_some(Widening::AsItIs)
        }
        (FixedSizeBinary(_), Binary) => Some(Widening::AsItIs),
        // Times of day in nanoseconds are none of Python's.
        (Time32(_), Time64(TimeUnit::Microsecond)) => Some(Widening::AsItIs),
        (Time32(TimeUnit::Second), Time32(TimeUnit::Millisecond)) => Some(Widening::AsItIs),
        (Timestamp(_, _), _) | (_, Timestamp(_, _)) => None,
        (Int64 | UInt64, Float64) => None,
        (Struct(given), Struct(wider)) => fields(given, wider),
        (List(given), List(wider)) => part(given, wider),
        (FixedSizeList(given, n), FixedSizeList(wider, m)) if n == m => part(given, wider),
        (Map(given, _), Map(wider, _)) => match (given.data_type(), wider.data_type()) {
            (Struct(given), Struct(wider)) => match (&**given, &**wider) {
                ([key, value], [wider_key, wider_value])
                    if key.data_type() == wider_key.data_type() =>
                {
                    part(value, wider_value)
                }
                _ => None,
            },
            _ => None,
        },
        _ => holds_number(from, to).then_some(Widening::AsItIs),
    }
}

/// The work that widening a field within another type requires; nothing if its type stays.
fn part(given: &Field, wider: &Field) -> Option<Widening> {
    match given.data_type() == wider.data_type() {
        true => Some(Widening::AsItIs),
        false => within(given.data_type(), wider.data_type()),
    }
}

/// All fields stay, in whatever order, and others may come.
fn fields(given: &Fields, wider: &Fields) -> Option<Widening> {
    let mut parts = given.iter().map(|field| {
        let found = wider.iter().find(|found| found.name() == field.name())?;
        part(field, found)
    });
    parts.try_fold(Widening::AsItIs, |most, one| Some(most.max(one?)))
}

fn whole_digits(precision: u8, scale: i8, digits: i16) -> Option<Widening> {
    (scale >= 0 && i16::from(precision) - i16::from(scale) >= digits).then_some(Widening::Rewritten)
}

/// True for numbers of which the second type holds all of the first.
pub(super) fn holds_number(from: &DataType, to: &DataType) -> bool {
    let bits = |data_type: &DataType| data_type.primitive_width().map(|bytes| bytes * 8);
    let (Some(narrow), Some(wide)) = (bits(from), bits(to)) else { return false };
    if from.is_integer() && to.is_integer() {
        let loses_sign = from.is_signed_integer() && to.is_unsigned_integer();
        return !loses_sign && wide > narrow;
    }
    // Bits of the integers that a float holds without rounding.
    let exact = match to {
        DataType::Float64 => 32,
        DataType::Float32 => 16,
        _ => return false,
    };
    from.is_floating() && wide > narrow || from.is_integer() && narrow <= exact
}

/// The narrowest stored type that both columns may take without a loss; `None` if there is none.
#[must_use]
pub fn common_stored(known: &DataType, found: &DataType) -> Option<DataType> {
    if known == found || widening(found, known).is_some() {
        return Some(known.clone());
    }
    if widening(known, found).is_some() {
        return Some(found.clone());
    }
    match (known, found) {
        (DataType::Decimal128(_, _), DataType::Decimal128(_, _)) => {
            partita_core::convert::common_type(known, found)
        }
        (DataType::Struct(given), DataType::Struct(other)) => {
            let mut fields = Vec::with_capacity(given.len());
            for field in given {
                let other = other.iter().find(|other| other.name() == field.name());
                fields.push(match other {
                    Some(other) => common_field(field, other)?,
                    None => Arc::clone(field),
                });
            }
            let new = other.iter().filter(|field| !given.iter().any(|g| g.name() == field.name()));
            fields.extend(new.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
            Some(DataType::Struct(fields.into()))
        }
        (DataType::List(item), DataType::List(other)) => {
            Some(DataType::List(common_field(item, other)?))
        }
        (DataType::FixedSizeList(item, n), DataType::FixedSizeList(other, m)) if n == m => {
            Some(DataType::FixedSizeList(common_field(item, other)?, *n))
        }
        (DataType::Map(entries, sorted), DataType::Map(other, _)) => {
            let (DataType::Struct(given), DataType::Struct(others)) =
                (entries.data_type(), other.data_type())
            else {
                return None;
            };
            let ([key, value], [other_key, other]) = (&**given, &**others) else { return None };
            if key.data_type() != other_key.data_type() {
                return None;
            }
            let pair = DataType::Struct(vec![Arc::clone(key), common_field(value, other)?].into());
            let entries = entries.as_ref().clone().with_data_type(pair);
            Some(DataType::Map(Arc::new(entries), *sorted))
        }
        _ => None,
    }
}

fn common_field(known: &Arc<Field>, found: &Field) -> Option<Arc<Field>> {
    if known.data_type() == found.data_type() {
        return Some(Arc::clone(known));
    }
    let common = match within(known.data_type(), found.data_type()) {
        Some(_) => found.data_type().clone(),
        None if within(found.data_type(), known.data_type()).is_some() => known.data_type().clone(),
        None if known.data_type().is_nested() => {
            common_stored(known.data_type(), found.data_type())?
        }
        None => return None,
    };
    Some(Arc::new(known.as_ref().clone().with_data_type(common)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::schema::{stored_type, table_type};

    fn types() -> Vec<DataType> {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let plain = vec![
            DataType::Null,
            DataType::Boolean,
            DataType::Int8,
            DataType::Int64,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(5, 2),
            DataType::Decimal128(30, 4),
            DataType::Utf8,
            DataType::Binary,
            DataType::FixedSizeBinary(4),
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            DataType::Time32(TimeUnit::Second),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Duration(TimeUnit::Second),
        ];
        let nested = plain.iter().flat_map(|data_type| {
            let one = vec![field("a", data_type.clone())];
            let two = vec![field("b", DataType::Int8), field("a", data_type.clone())];
            [
                DataType::List(Arc::new(field("item", data_type.clone()))),
                DataType::Struct(one.into()),
                DataType::Struct(two.into()),
            ]
        });
        let nested: Vec<DataType> = nested.collect();
        plain.into_iter().chain(nested).map(|given| stored_type(&given, None)).collect()
    }

    #[test]
    fn a_common_type_is_one_that_both_widen_to() {
        for known in types() {
            assert_eq!(widening(&known, &known), None);
            for found in types() {
                let Some(common) = common_stored(&known, &found) else {
                    assert_eq!(widening(&known, &found), None);
                    continue;
                };
                for one in [&known, &found] {
                    let same = table_type(one) == table_type(&common);
                    assert!(
                        *one == common || same || widening(one, &common).is_some(),
                        "{one} does not widen to {common}"
                    );
                }
            }
        }
    }
}
