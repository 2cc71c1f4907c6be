//! Zstandard (RFC 8878), as numcodecs and zarr-python have it.
//!
//! Contexts are kept by each thread: they are larger than most chunks.

use std::cell::RefCell;

use partita_core::{Error, Result};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::filter::{Filter, damaged};

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
            compressor.set_compression_level(self.level)?;
            compressor.set_parameter(CParameter::ChecksumFlag(self.checksum))?;
            compressor.compress(bytes)
        })
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
