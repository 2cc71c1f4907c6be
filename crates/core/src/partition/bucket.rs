//! Hash buckets: assigning each value to one of a fixed number of partitions.
//!
//! The buckets are those of Apache Iceberg's bucket transform (its specification, appendix B,
//! "32-bit hash requirements"): Murmur3 of the value's bytes, with the sign bit cleared, modulo the
//! number of buckets.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, UInt64Type};

use crate::{Error, Result, type_name};

/// True if values of this type can be hashed into buckets: integers, text, bytes, dates,
/// timestamps.
#[must_use]
pub fn is_bucket_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_bucket_type(values),
        DataType::Null | DataType::Date32 | DataType::Timestamp(_, _) => true,
        other => other.is_integer() || other.is_string() || other.is_binary(),
    }
}

/// The bucket of each value, from 0 to `buckets` - 1; null goes to bucket 0. Equal values have the
/// same bucket, whatever the width of the integers and the unit of the timestamps.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a type that cannot be hashed into
/// buckets.
pub fn buckets_of(column: &str, values: &ArrayRef, buckets: u32) -> Result<Int64Array> {
    if let Some(dictionary) = values.as_any_dictionary_opt() {
        // For dictionaries, each distinct value is hashed once.
        let of_values = buckets_of(column, dictionary.values(), buckets)?;
        let found = take(&of_values, dictionary.keys(), None)?;
        let found = found.as_primitive::<Int64Type>();
        return Ok(found.iter().map(|bucket| Some(bucket.unwrap_or(0))).collect());
    }
    let bucket = |hash: u32| i64::from((hash & 0x7FFF_FFFF) % buckets.max(1));
    let of_numbers = |numbers: &ArrayRef, step: i64, per_step: i64| -> Result<Int64Array> {
        let numbers = cast(numbers, &DataType::Int64)?;
        let hashed =
            |n: i64| bucket(murmur3(&n.div_euclid(step).wrapping_mul(per_step).to_le_bytes()));
        let found = numbers.as_primitive::<Int64Type>().iter();
        Ok(found.map(|number| Some(number.map_or(0, hashed))).collect())
    };
    match values.data_type() {
        DataType::Null => Ok(Int64Array::from(vec![0; values.len()])),
        DataType::UInt64 => {
            let found = values.as_primitive::<UInt64Type>().iter();
            let hashed = |number: u64| bucket(murmur3(&number.to_le_bytes()));
            Ok(found.map(|number| Some(number.map_or(0, hashed))).collect())
        }
        DataType::Date32 => of_numbers(&cast(values, &DataType::Int32)?, 1, 1),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => of_numbers(values, 1, 1_000_000),
            TimeUnit::Millisecond => of_numbers(values, 1, 1_000),
            TimeUnit::Microsecond => of_numbers(values, 1, 1),
            TimeUnit::Nanosecond => of_numbers(values, 1_000, 1),
        },
        other if other.is_integer() => of_numbers(values, 1, 1),
        other if other.is_string() || other.is_binary() => {
            let bytes = cast(values, &DataType::LargeBinary)?;
            let found = bytes.as_binary::<i64>().iter();
            Ok(found.map(|bytes| Some(bytes.map_or(0, |bytes| bucket(murmur3(bytes))))).collect())
        }
        other => Err(Error::invalid(format!(
            "a column of type {} has no buckets; integers, text, bytes, dates and timestamps have",
            type_name(other)
        ))
        .with("column", column)),
    }
}

/// Murmur3 for x86, 32 bits, with seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        let hash = (hash ^ mix(u32::from_le_bytes(*word))).rotate_left(13);
        hash.wrapping_mul(5).wrapping_add(0xE654_6B64)
    });
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        hash ^= mix(last);
    }
    // The definition uses the length modulo 2^32.
    hash ^= (bytes.len() & 0xFFFF_FFFF) as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Int8Array, StringArray, TimestampMillisecondArray};

    /// The examples of Iceberg's specification.
    #[test]
    fn hashes_are_those_of_the_specification() {
        let long = |number: i64| murmur3(&number.to_le_bytes()).cast_signed();
        assert_eq!(long(34), 2_017_239_379);
        assert_eq!(long(17_486), -653_330_422); // 2017-11-16, in days
        assert_eq!(long(81_068_000_000), -662_762_989); // 22:31:08, in microseconds
        assert_eq!(long(1_510_871_468_000_000), -2_047_944_441); // 2017-11-16T22:31:08
        assert_eq!(murmur3(b"iceberg").cast_signed(), 1_210_000_089);
        assert_eq!(murmur3(&[0, 1, 2, 3]).cast_signed(), -188_683_207);
    }

    #[test]
    fn equal_values_have_one_bucket() {
        let of = |array: ArrayRef| buckets_of("c", &array, 16).unwrap();
        let narrow: ArrayRef = Arc::new(Int8Array::from(vec![Some(-5), None, Some(7)]));
        let wide = cast(&narrow, &DataType::Int64).unwrap();
        assert_eq!(of(Arc::clone(&narrow)), of(wide));
        assert_eq!(of(narrow).value(1), 0);
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-1, 0, 1_234]));
        let nanos = cast(&millis, &DataType::Timestamp(TimeUnit::Nanosecond, None)).unwrap();
        assert_eq!(of(millis), of(nanos));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None, Some("")]));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        assert_eq!(of(Arc::clone(&texts)), of(cast(&texts, &dictionary).unwrap()));
        let bytes = cast(&texts, &DataType::Binary).unwrap();
        assert_eq!(of(texts), of(bytes));
    }
}
