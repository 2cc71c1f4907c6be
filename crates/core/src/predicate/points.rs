//! The literals of `in`, in the terms of one type.

use arrow::datatypes::{DataType, i256};

use super::lattice::Place;
use super::value::Value;

/// Literals in the terms of one type, ascending and each once, less those that no value can equal.
#[derive(Debug)]
pub(crate) enum Points {
    None,
    /// Whether false and true are among them.
    Bools([bool; 2]),
    Steps(Vec<i256>),
    Floats(Vec<f64>),
    Bytes(Vec<Box<[u8]>>),
}

impl Points {
    /// `None` if one of the values does not go with the type.
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
                floats.retain(|float| !float.is_nan());
                floats.sort_by(f64::total_cmp);
                // The zeros are neighbours in total order and equal here.
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

/// True for text and for bytes of any layout.
pub(crate) fn is_bytes(data_type: &DataType) -> bool {
    data_type.is_string()
        || data_type.is_binary()
        || matches!(data_type, DataType::FixedSizeBinary(_))
}
