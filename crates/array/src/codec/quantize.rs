//! numcodecs `quantize`: floats rounded to multiples of a power of two that keep a number of
//! decimal digits, so that they compress well. Decoding returns the rounded values.

use partita_core::Result;

use super::filter::{Config, Filter, damaged};
use super::numbers::{NumberType, Numbers};

#[derive(Debug)]
pub(super) struct Quantize {
    dtype: NumberType,
    stored: NumberType,
    scale: f64,
}

impl Quantize {
    pub fn new(config: &Config<'_>) -> Result<Self> {
        let dtype = NumberType::new(config.dtype("dtype")?, config.id)?;
        let stored = NumberType::new(config.dtype_or("astype", "dtype")?, config.id)?;
        if !dtype.is_float() || !stored.is_float() {
            return Err(config.lacks("dtype"));
        }
        let digits = config.number("digits")?;
        // The least power of two that is at least as fine as the decimal digit.
        let scale = 10f64.powf(digits).log2().ceil().exp2();
        Ok(Self { dtype, stored, scale })
    }
}

impl Filter for Quantize {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut numbers = self.dtype.read(bytes).ok_or_else(|| damaged("quantize"))?;
        match &mut numbers {
            Numbers::Float32(values) => {
                let scale = self.scale as f32;
                for value in values {
                    *value = (scale * *value).round_ties_even() / scale;
                }
            }
            Numbers::Float64(values) => {
                for value in values {
                    *value = (self.scale * *value).round_ties_even() / self.scale;
                }
            }
            Numbers::Int(_) => {}
        }
        Ok(self.stored.write(numbers))
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        Ok(self.dtype.write(self.stored.read(bytes).ok_or_else(|| damaged("quantize"))?))
    }

    fn item_size(&self, _before: usize) -> usize {
        self.stored.size()
    }
}
