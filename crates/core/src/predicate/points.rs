//! The literals of `in`, converted to one type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, i256};

use super::lattice::Place;
use super::value::Value;

/// Literals converted to one type, ascending and distinct, without those that no value can equal.
#[derive(Debug)]
pub(crate) enum Points {
    None,
    /// Two flags: the literals include false, and include true.
    Bools([bool; 2]),
    Steps(Vec<i256>),
    /// NaN last, if it is among them.
    Floats(Vec<f64>),
    Bytes(Vec<Box<[u8]>>),
}

impl Points {
    /// `None` if one of the values cannot be compared with the type.
    pub(crate) fn new(values: &[Value], data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Null => Some(Self::None),
            DataType::Boolean => values
                .iter()
                .try_fold([false; 2], |[no, yes], value| match value {
                    Value::Bool(value) => Some([no || !value, yes || *value]),
                    _ => None,
                })
                .map(Self::Bools),
            other if other.is_floating() => {
                let floats: Option<Vec<f64>> = values
                    .iter()
                    .map(|value| match value {
                        Value::Number(number) => Some(number.to_f64()),
                        _ => None,
                    })
                    .collect();
                let mut floats = floats?;
                floats.sort_by(f64::total_cmp);
                // The two zeros are adjacent in total order, and equal here.
                floats.dedup();
                Some(Self::Floats(floats))
            }
            other if is_bytes(other) => {
                let bytes: Option<Vec<Box<[u8]>>> = values
                    .iter()
                    .map(|value| match value {
                        Value::Bytes(bytes) => Some(bytes.clone()),
                        _ => None,
                    })
                    .collect();
                let mut bytes = bytes?;
                bytes.sort_unstable();
                bytes.dedup();
                Some(Self::Bytes(bytes))
            }
            other => {
                let mut steps = Vec::with_capacity(values.len());
                for value in values {
                    if let Place::At(step) = Place::of(value, other)? {
                        steps.push(step);
                    }
                }
                steps.sort_unstable();
                steps.dedup();
                Some(Self::Steps(steps))
            }
        }
    }
}

impl Points {
    /// The literals as an array of `data_type`, the type that they were converted to. `None` for
    /// types that are not supported here.
    pub(crate) fn to_array(&self, data_type: &DataType) -> Option<ArrayRef> {
        let array: ArrayRef = match self {
            Self::None => return None,
            Self::Bools([no, yes]) => {
                let values = [(false, no), (true, yes)];
                Arc::new(BooleanArray::from_iter(
                    values.iter().filter(|(_, found)| **found).map(|(value, _)| Some(*value)),
                ))
            }
            Self::Floats(floats) => Arc::new(Float64Array::from(floats.clone())),
            Self::Bytes(bytes) => Arc::new(BinaryArray::from_iter_values(bytes)),
            Self::Steps(steps) => return steps_array(steps, data_type),
        };
        cast(&array, data_type).ok()
    }
}

fn steps_array(steps: &[i256], data_type: &DataType) -> Option<ArrayRef> {
    let narrow = |to: &DataType| {
        let steps: Option<Vec<i64>> =
            steps.iter().map(|step| i64::try_from(step.to_i128()?).ok()).collect();
        cast(&Int64Array::from(steps?), to).ok()
    };
    match data_type {
        DataType::Decimal128(precision, scale) => {
            let steps: Option<Vec<i128>> = steps.iter().map(|step| step.to_i128()).collect();
            let array = Decimal128Array::from(steps?);
            Some(Arc::new(array.with_precision_and_scale(*precision, *scale).ok()?))
        }
        DataType::UInt64 => {
            let steps: Option<Vec<u64>> =
                steps.iter().map(|step| u64::try_from(step.to_i128()?).ok()).collect();
            Some(Arc::new(UInt64Array::from(steps?)))
        }
        DataType::Date32 | DataType::Time32(_) => cast(&narrow(&DataType::Int32)?, data_type).ok(),
        DataType::Timestamp(_, _) | DataType::Date64 | DataType::Time64(_) => narrow(data_type),
        other if other.is_integer() => narrow(other),
        _ => None,
    }
}

/// True for text and for bytes of any layout.
pub(crate) fn is_bytes(data_type: &DataType) -> bool {
    data_type.is_string()
        || data_type.is_binary()
        || matches!(data_type, DataType::FixedSizeBinary(_))
}
