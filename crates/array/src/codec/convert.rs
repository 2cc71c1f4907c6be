//! numcodecs `astype`: numbers stored as another type.

use partita_core::Result;

use super::filter::{Config, Filter, damaged};
use super::numbers::NumberType;

#[derive(Debug)]
pub(super) struct AsType {
    dtype: NumberType,
    stored: NumberType,
}

impl AsType {
    pub fn new(config: &Config<'_>) -> Result<Self> {
        let dtype = NumberType::new(config.dtype("decode_dtype")?, config.id)?;
        let stored = NumberType::new(config.dtype("encode_dtype")?, config.id)?;
        Ok(Self { dtype, stored })
    }
}

impl Filter for AsType {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(self.stored.write(self.dtype.read(bytes).ok_or_else(|| damaged("astype"))?))
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        Ok(self.dtype.write(self.stored.read(bytes).ok_or_else(|| damaged("astype"))?))
    }

    fn item_size(&self, _before: usize) -> usize {
        self.stored.size()
    }
}
