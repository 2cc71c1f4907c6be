//! Normalised key values: NaN equals itself, and zero has no sign.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::Result;

/// The values in the form in which keys are compared for equality: floats with a single NaN and no
/// negative zero, all other values unchanged.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn as_keys(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            let keys: PrimitiveArray<Float64Type> = values.unary(key);
            Arc::new(keys)
        }
        DataType::Float32 | DataType::Float16 => {
            let wide = cast(values, &DataType::Float32)?;
            let keys: PrimitiveArray<Float32Type> = wide
                .as_primitive::<Float32Type>()
                .unary(|value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 });
            cast(&keys, values.data_type())?
        }
        DataType::Dictionary(_, inner) if inner.is_floating() => as_keys(&cast(values, inner)?)?,
        _ => Arc::clone(values),
    })
}

/// Adding zero makes the negative zero positive.
fn key(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}
