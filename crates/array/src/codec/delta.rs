//! numcodecs `delta`: each item is stored as the difference from the previous one; the first is
//! stored unchanged.

use partita_core::Result;

use super::filter::{Config, Filter, damaged};
use super::numbers::{NumberType, Numbers};

#[derive(Debug)]
pub(super) struct Delta {
    dtype: NumberType,
    stored: NumberType,
}

impl Delta {
    pub fn new(config: &Config<'_>) -> Result<Self> {
        let dtype = NumberType::new(config.dtype("dtype")?, config.id)?;
        let stored = NumberType::new(config.dtype_or("astype", "dtype")?, config.id)?;
        Ok(Self { dtype, stored })
    }
}

impl Filter for Delta {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut numbers = self.dtype.read(bytes).ok_or_else(|| damaged("delta"))?;
        match &mut numbers {
            Numbers::Int(values) => differences(values, i64::wrapping_sub),
            Numbers::Float32(values) => differences(values, |a, b| a - b),
            Numbers::Float64(values) => differences(values, |a, b| a - b),
        }
        Ok(self.stored.write(numbers))
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        let mut numbers = self.stored.read(bytes).ok_or_else(|| damaged("delta"))?;
        match &mut numbers {
            Numbers::Int(values) => sums(values, i64::wrapping_add),
            Numbers::Float32(values) => sums(values, |a, b| a + b),
            Numbers::Float64(values) => sums(values, |a, b| a + b),
        }
        Ok(self.dtype.write(numbers))
    }

    fn item_size(&self, _before: usize) -> usize {
        self.stored.size()
    }
}

fn differences<T: Copy>(values: &mut [T], subtract: impl Fn(T, T) -> T) {
    let mut before: Option<T> = None;
    for value in values {
        let this = *value;
        if let Some(before) = before {
            *value = subtract(this, before);
        }
        before = Some(this);
    }
}

fn sums<T: Copy>(values: &mut [T], add: impl Fn(T, T) -> T) {
    let mut sum: Option<T> = None;
    for value in values {
        *value = sum.map_or(*value, |sum| add(sum, *value));
        sum = Some(*value);
    }
}
