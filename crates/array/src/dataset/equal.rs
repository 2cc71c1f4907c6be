//! Equality of array values, independent of their bit patterns.

use half::f16;

use super::{Array, DType};

impl Array {
    /// True if both have the same shape and the same values. Unlike `==`, which compares bits, it
    /// treats zeros of both signs as equal, and all NaN.
    #[must_use]
    pub fn same_values(&self, other: &Self) -> bool {
        if self.dtype() != other.dtype() || self.shape() != other.shape() {
            return false;
        }
        let (Some(one), Some(two)) = (self.bytes(), other.bytes()) else {
            return self == other;
        };
        match self.dtype() {
            DType::Float16 => same::<2>(one, two, |item| f16::from_le_bytes(item).to_f64()),
            DType::Float32 | DType::Complex64 => {
                same::<4>(one, two, |item| f32::from_le_bytes(item).into())
            }
            DType::Float64 | DType::Complex128 => same::<8>(one, two, f64::from_le_bytes),
            _ => one == two,
        }
    }
}

fn same<const SIZE: usize>(one: &[u8], two: &[u8], read: fn([u8; SIZE]) -> f64) -> bool {
    let mut pairs = one.as_chunks::<SIZE>().0.iter().zip(two.as_chunks::<SIZE>().0);
    pairs.all(|(one, two)| {
        let (this, that) = (read(*one), read(*two));
        one == two || this == that || (this.is_nan() && that.is_nan())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(items: &[f64]) -> Array {
        let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
        Array::from_bytes(DType::Float64, vec![items.len()], bytes).unwrap()
    }

    #[test]
    fn zeros_and_nan_are_the_same_in_all_bits() {
        let (one, other) = (floats(&[0.0, f64::NAN, 1.0]), floats(&[-0.0, -f64::NAN, 1.0]));
        assert_ne!(one, other);
        assert!(one.same_values(&other));
        assert!(!one.same_values(&floats(&[0.0, f64::NAN, 2.0])));
        assert!(!one.same_values(&floats(&[0.0, 1.0, 1.0])));
        assert!(!one.same_values(&floats(&[0.0, f64::NAN])));
    }
}
