//! numcodecs `fixedscaleoffset`: `round((x - offset) * scale)`, stored as another type.

use partita_core::Result;

use super::filter::{Config, Filter, damaged};
use super::numbers::{NumberType, Numbers};

#[derive(Debug)]
pub(super) struct FixedScaleOffset {
    dtype: NumberType,
    stored: NumberType,
    scale: f64,
    offset: f64,
}

impl FixedScaleOffset {
    pub fn new(config: &Config<'_>) -> Result<Self> {
        let dtype = NumberType::new(config.dtype("dtype")?, config.id)?;
        let stored = NumberType::new(config.dtype_or("astype", "dtype")?, config.id)?;
        let (scale, offset) = (config.number("scale")?, config.number("offset")?);
        Ok(Self { dtype, stored, scale, offset })
    }
}

impl Filter for FixedScaleOffset {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let numbers = self.dtype.read(bytes).ok_or_else(|| damaged("fixedscaleoffset"))?;
        let (scale, offset) = (self.scale, self.offset);
        let numbers = match numbers {
            // NumPy computes in the precision of the array.
            Numbers::Float32(mut values) => {
                for value in &mut values {
                    *value = ((*value - offset as f32) * scale as f32).round_ties_even();
                }
                Numbers::Float32(values)
            }
            numbers => {
                let mut values = wide(numbers);
                for value in &mut values {
                    *value = ((*value - offset) * scale).round_ties_even();
                }
                Numbers::Float64(values)
            }
        };
        Ok(self.stored.write(numbers))
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        let numbers = self.stored.read(bytes).ok_or_else(|| damaged("fixedscaleoffset"))?;
        let (scale, offset) = (self.scale, self.offset);
        let numbers = match numbers {
            Numbers::Float32(mut values) => {
                for value in &mut values {
                    *value = *value / scale as f32 + offset as f32;
                }
                Numbers::Float32(values)
            }
            numbers => {
                let mut values = wide(numbers);
                for value in &mut values {
                    *value = *value / scale + offset;
                }
                Numbers::Float64(values)
            }
        };
        Ok(self.dtype.write(numbers))
    }

    fn item_size(&self, _before: usize) -> usize {
        self.stored.size()
    }
}

fn wide(numbers: Numbers) -> Vec<f64> {
    match numbers {
        Numbers::Int(values) => values.into_iter().map(|value| value as f64).collect(),
        Numbers::Float32(values) => values.into_iter().map(f64::from).collect(),
        Numbers::Float64(values) => values,
    }
}
