//! numcodecs `lz4`: the length of the content in four bytes, little-endian, followed by one LZ4
//! block.

use partita_core::Result;

use super::bounded::refuse_longer;
use super::filter::{Filter, damaged};

#[derive(Debug)]
pub(super) struct Lz4;

impl Filter for Lz4 {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(lz4_flex::block::compress_prepend_size(&bytes))
    }

    fn decode(&self, bytes: Vec<u8>, items: usize) -> Result<Vec<u8>> {
        self.decode_within(bytes, items, usize::MAX)
    }

    fn decode_within(&self, bytes: Vec<u8>, _items: usize, most: usize) -> Result<Vec<u8>> {
        /// The largest possible ratio of content to block in LZ4.
        const BEST_RATIO: usize = 255;
        let (size, block) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("lz4"))?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| damaged("lz4"))?;
        refuse_longer("lz4", size, most)?;
        if size > block.len().saturating_mul(BEST_RATIO) {
            return Err(damaged("lz4"));
        }
        lz4_flex::block::decompress(block, size).map_err(|error| damaged("lz4").caused_by(error))
    }
}
