//! numcodecs `bitround`: floats rounded to a number of bits of their mantissa. Decoding returns the
//! rounded values.

use partita_core::Result;

use super::filter::{Config, Filter};

#[derive(Debug)]
pub(super) struct BitRound {
    item_size: usize,
    /// The number of mantissa bits that are dropped.
    dropped: u32,
}

impl BitRound {
    pub fn new(config: &Config<'_>, item_size: usize) -> Result<Self> {
        let mantissa = match item_size {
            2 => 10,
            4 => 23,
            8 => 52,
            _ => return Err(config.lacks("dtype")),
        };
        let kept = config.number("keepbits")?;
        if !(0.0..=f64::from(mantissa)).contains(&kept) {
            return Err(config.lacks("keepbits"));
        }
        Ok(Self { item_size, dropped: mantissa - kept as u32 })
    }
}

impl Filter for BitRound {
    fn encode(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        if self.dropped == 0 {
            return Ok(bytes);
        }
        let half = (1u64 << (self.dropped - 1)) - 1;
        for item in bytes.chunks_exact_mut(self.item_size) {
            let mut bits = item.iter().rev().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            bits = bits.wrapping_add(half + (bits >> self.dropped & 1)) >> self.dropped
                << self.dropped;
            for (place, byte) in item.iter_mut().zip(bits.to_le_bytes()) {
                *place = byte;
            }
        }
        Ok(bytes)
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        Ok(bytes)
    }
}
