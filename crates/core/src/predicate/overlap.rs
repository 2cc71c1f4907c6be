//! Tests which ranges contain one of many points, to evaluate `in` on bounds.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, i256};

use super::kernel::as_integers;
use super::points::Points;
use crate::Result;

/// For each range, whether a point lies in it. A null bound is open. `None` if the bounds and the
/// points differ in type.
pub(crate) fn overlap(
    points: &Points,
    min: &ArrayRef,
    max: &ArrayRef,
) -> Result<Option<BooleanBuffer>> {
    Ok(match points {
        Points::None => Some(BooleanBuffer::new_unset(min.len())),
        Points::Bools([no, yes]) => {
            min.as_boolean_opt().zip(max.as_boolean_opt()).map(|(min, max)| {
                let ranges = min.iter().zip(max.iter());
                ranges
                    .map(|(min, max)| (*no && min != Some(true)) || (*yes && max != Some(false)))
                    .collect()
            })
        }
        Points::Steps(points) => {
            steps(min)?.zip(steps(max)?).map(|(min, max)| search(points, &min, &max))
        }
        Points::Floats(points) => {
            let floats = |array: &ArrayRef| -> Result<Vec<Option<f64>>> {
                let wide = cast(array, &DataType::Float64)?;
                Ok(wide.as_primitive::<Float64Type>().iter().collect())
            };
            Some(search(points, &floats(min)?, &floats(max)?))
        }
        Points::Bytes(points) => {
            let points: Vec<&[u8]> = points.iter().map(AsRef::as_ref).collect();
            bytes(min).zip(bytes(max)).map(|(min, max)| search(&points, &min, &max))
        }
    })
}

/// One binary search per range.
fn search<T: PartialOrd + Copy>(
    points: &[T],
    min: &[Option<T>],
    max: &[Option<T>],
) -> BooleanBuffer {
    let first = |min: &Option<T>| {
        let from = min.map_or(0, |min| points.partition_point(|point| *point < min));
        points.get(from).copied()
    };
    min.iter()
        .zip(max)
        .map(|(min, max)| first(min).is_some_and(|point| max.is_none_or(|max| point <= max)))
        .collect()
}

fn steps(array: &ArrayRef) -> Result<Option<Vec<Option<i256>>>> {
    let array = as_integers(array)?;
    if let Some(array) = array.as_primitive_opt::<Decimal256Type>() {
        return Ok(Some(array.iter().collect()));
    }
    let narrow = match array.data_type() {
        DataType::Decimal128(_, _) => array,
        other if other.is_integer() => cast(&array, &DataType::Decimal128(38, 0))?,
        _ => return Ok(None),
    };
    let values = narrow.as_primitive_opt::<Decimal128Type>();
    Ok(values.map(|values| values.iter().map(|value| value.map(i256::from_i128)).collect()))
}

fn bytes(array: &ArrayRef) -> Option<Vec<Option<&[u8]>>> {
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(|v| v.map(str::as_bytes)).collect(),
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().map(|v| v.map(str::as_bytes)).collect()
        }
        DataType::Utf8View => array.as_string_view().iter().map(|v| v.map(str::as_bytes)).collect(),
        DataType::Binary => array.as_binary::<i32>().iter().collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().collect(),
        DataType::BinaryView => array.as_binary_view().iter().collect(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary_opt()?.iter().collect(),
        _ => return None,
    })
}
