//! The numbers on which filters compute.

use partita_core::{Error, Result};

use crate::dataset::{ByteOrder, DType};

/// The items of a chunk as numbers. Integers of every width are widened to 64 bits; unsigned ones
/// keep their bit pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    Int(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
}

/// A stored type on which filters can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberType {
    pub dtype: DType,
    order: ByteOrder,
}

impl NumberType {
    /// # Errors
    /// Refuses types other than integers, times, and floats of 32 or 64 bits.
    pub fn new((dtype, order): (DType, ByteOrder), codec: &str) -> Result<Self> {
        let dtype = match dtype {
            DType::DateTime(..) | DType::TimeDelta(..) => DType::Int64,
            DType::Float32 | DType::Float64 => dtype,
            _ if dtype.is_integer() => dtype,
            _ => {
                return Err(Error::invalid("the codec does not support this type")
                    .with("codec", codec)
                    .with("dtype", dtype));
            }
        };
        Ok(Self { dtype, order })
    }

    pub fn size(self) -> usize {
        self.dtype.item_size().unwrap_or(1)
    }

    pub fn is_float(self) -> bool {
        !self.dtype.is_integer()
    }

    /// Decodes items; none if the length is not a multiple of the item size.
    pub fn read(self, mut bytes: Vec<u8>) -> Option<Numbers> {
        if !bytes.len().is_multiple_of(self.size()) {
            return None;
        }
        swap(&mut bytes, self.size(), self.order);
        fn each<T, const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|item| value(*item)).collect()
        }
        Some(match self.dtype {
            DType::Int8 => Numbers::Int(each(&bytes, |b| i8::from_le_bytes(b).into())),
            DType::UInt8 => Numbers::Int(each(&bytes, |b| u8::from_le_bytes(b).into())),
            DType::Int16 => Numbers::Int(each(&bytes, |b| i16::from_le_bytes(b).into())),
            DType::UInt16 => Numbers::Int(each(&bytes, |b| u16::from_le_bytes(b).into())),
            DType::Int32 => Numbers::Int(each(&bytes, |b| i32::from_le_bytes(b).into())),
            DType::UInt32 => Numbers::Int(each(&bytes, |b| u32::from_le_bytes(b).into())),
            DType::Float32 => Numbers::Float32(each(&bytes, f32::from_le_bytes)),
            DType::Float64 => Numbers::Float64(each(&bytes, f64::from_le_bytes)),
            _ => Numbers::Int(each(&bytes, i64::from_le_bytes)),
        })
    }

    /// Encodes numbers as items of this type, with the conversions of C on x86: integers wrap,
    /// floats are truncated towards zero, and floats out of range become the least integer.
    pub fn write(self, numbers: Numbers) -> Vec<u8> {
        let mut bytes = match (self.dtype, numbers) {
            (DType::Float32, Numbers::Float32(v)) => each_of(v, f32::to_le_bytes),
            (DType::Float32, Numbers::Float64(v)) => each_of(v, |v| (v as f32).to_le_bytes()),
            (DType::Float32, Numbers::Int(v)) => each_of(v, |v| (v as f32).to_le_bytes()),
            (DType::Float64, Numbers::Float32(v)) => each_of(v, |v| f64::from(v).to_le_bytes()),
            (DType::Float64, Numbers::Float64(v)) => each_of(v, f64::to_le_bytes),
            (DType::Float64, Numbers::Int(v)) => each_of(v, |v| (v as f64).to_le_bytes()),
            (_, Numbers::Int(v)) => self.write_integers(v.into_iter()),
            (_, Numbers::Float32(v)) => {
                self.write_integers(v.into_iter().map(|v| self.truncate(v.into())))
            }
            (_, Numbers::Float64(v)) => {
                self.write_integers(v.into_iter().map(|v| self.truncate(v)))
            }
        };
        swap(&mut bytes, self.size(), self.order);
        bytes
    }

    fn write_integers(self, values: impl Iterator<Item = i64>) -> Vec<u8> {
        let size = self.size();
        values.flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect()
    }

    fn truncate(self, value: f64) -> i64 {
        let narrow = matches!(
            self.dtype,
            DType::Int8 | DType::UInt8 | DType::Int16 | DType::UInt16 | DType::Int32
        );
        let (least, most) = match narrow {
            true => (f64::from(i32::MIN), f64::from(i32::MAX)),
            false => (i64::MIN as f64, i64::MAX as f64),
        };
        let fits = value > least - 1.0 && value < most + 1.0;
        if fits { value as i64 } else { least as i64 }
    }
}

fn each_of<T, const N: usize>(values: Vec<T>, bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(bytes).collect()
}

/// Reverses the bytes of items between the given byte order and that of memory; the operation is
/// its own inverse.
pub(super) fn swap(bytes: &mut [u8], size: usize, order: ByteOrder) {
    if order == ByteOrder::Big && size > 1 {
        for item in bytes.chunks_exact_mut(size) {
            item.reverse();
        }
    }
}
