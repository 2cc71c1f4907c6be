//! Zstandard (RFC 8878), as numcodecs and zarr-python have it.
//!
//! Contexts are kept by each thread: they are larger than most chunks. How a compressor looks for
//! repetitions is in `search`.

use std::cell::RefCell;

use partita_core::{Error, Result};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, ResetDirective, get_error_name};

use super::filter::{Filter, damaged};
use super::search::{Search, search};

/// What numcodecs takes where the level is 0 or not named.
const DEFAULT_LEVEL: i32 = 3;

#[derive(Debug)]
pub(super) struct Zstd {
    level: i32,
    checksum: bool,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

impl Zstd {
    /// `level` as in the configuration of numcodecs, `checksum` says that frames end with one.
    pub fn new(level: Option<i128>, checksum: bool) -> Self {
        let level = level.and_then(|level| i32::try_from(level).ok()).unwrap_or(0);
        Self { level: if level == 0 { DEFAULT_LEVEL } else { level }, checksum }
    }

    fn compress(&self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(Compressor::new(self.level)?),
            };
            let way = search(self.level, bytes, |sample, way| {
                self.prepare(compressor, way)?;
                compressor.compress(sample).map(|frame| frame.len())
            })?;
            self.prepare(compressor, way)?;
            compressor.compress(bytes)
        })
    }

    /// Has a context look for repetitions in this way, or as the level does.
    fn prepare(&self, to: &mut Compressor<'_>, way: Option<&Search>) -> std::io::Result<()> {
        let reset = to.context_mut().reset(ResetDirective::SessionAndParameters);
        reset.map_err(|code| std::io::Error::other(get_error_name(code)))?;
        to.set_parameter(CParameter::CompressionLevel(self.level))?;
        to.set_parameter(CParameter::ChecksumFlag(self.checksum))?;
        way.map_or(Ok(()), |way| way.parameters().try_for_each(|own| to.set_parameter(own)))
    }
}

/// Decompresses into memory of just the right size.
fn decompress_into(bytes: &[u8], out: &mut [u8]) -> std::io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(bytes, out)
    })
}

impl Filter for Zstd {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.encode_from(&bytes)
    }

    fn encode_from(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.compress(bytes).map_err(|error| {
            Error::invalid("a chunk cannot be encoded").with("codec", "zstd").caused_by(error)
        })
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        // Frames need not say how long they are, and there may be several.
        zstd::stream::decode_all(bytes.as_slice()).map_err(|error| damaged("zstd").caused_by(error))
    }

    fn decode_into(&self, bytes: &[u8], items: usize, out: &mut [u8]) -> Result<()> {
        match decompress_into(bytes, out) {
            Ok(size) if size == out.len() => Ok(()),
            // It may be longer than it should be, or damaged, which is told there.
            _ => super::filter::copy_decoded(&self.decode(bytes.to_vec(), items)?, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of full precision: the exponents repeat, and nothing else does.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7u64;
        let numbers = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 16_777_216.0 + 1.0
        });
        numbers.take(bytes / 4).flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn what_is_searched_in_a_cheaper_way_is_as_small_and_the_same_again() {
        let words = b"the sea is as high as the sea was ".repeat(40_000);
        let chunks = [noise(2 << 20), words, [vec![0; 1 << 20], noise(1 << 20)].concat()];
        for (chunk, level) in chunks.iter().zip([3, 4, 3]) {
            let frame = Zstd::new(Some(level), false).encode_from(chunk).unwrap();
            assert_eq!(zstd::stream::decode_all(frame.as_slice()).unwrap(), *chunk);
            let of_level = zstd::bulk::compress(chunk, level as i32).unwrap().len();
            assert!(frame.len() <= of_level + of_level / 50 + 64, "{} {of_level}", frame.len());
            // Another level was used meanwhile, with a checksum.
            Zstd::new(Some(1), true).encode_from(&chunk[..100]).unwrap();
            assert_eq!(Zstd::new(Some(level), false).encode_from(chunk).unwrap(), frame);
        }
    }
}
