//! numcodecs `packbits`: one byte with the number of unused bits in the last byte, then eight
//! booleans per byte, the first in the highest bit.

use partita_core::Result;

use super::filter::{Filter, damaged};

#[derive(Debug)]
pub(super) struct PackBits;

impl Filter for PackBits {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let unused = (8 - bytes.len() % 8) % 8;
        let mut packed = vec![u8::try_from(unused).unwrap_or(0)];
        packed.extend(bytes.chunks(8).map(|bits| {
            bits.iter()
                .enumerate()
                .fold(0, |byte, (i, bit)| byte | (u8::from(*bit != 0) << (7 - i)))
        }));
        Ok(packed)
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        let (unused, packed) = bytes.split_first().ok_or_else(|| damaged("packbits"))?;
        let bits = |byte: &u8| {
            let byte = *byte;
            (0..8u8).map(move |i| (byte >> (7 - i)) & 1)
        };
        let mut unpacked: Vec<u8> = packed.iter().flat_map(bits).collect();
        let used = unpacked.len().checked_sub(usize::from(*unused));
        unpacked.truncate(used.ok_or_else(|| damaged("packbits"))?);
        Ok(unpacked)
    }

    fn item_size(&self, _before: usize) -> usize {
        1
    }
}
