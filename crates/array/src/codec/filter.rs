//! The filters and compressors of numcodecs, each of which maps bytes to bytes.

use std::fmt::Debug;
use std::mem::MaybeUninit;

use partita_core::store::Opened;
use partita_core::{Error, ErrorKind, Result};

use super::bitround::BitRound;
use super::bounded::refuse_longer;
use super::checksum::{Checksum, Kind};
use super::compressor::Compressor;
use super::convert::AsType;
use super::delta::Delta;
use super::fixed_scale_offset::FixedScaleOffset;
use super::lz4::Lz4;
use super::packbits::PackBits;
use super::quantize::Quantize;
use super::zstd::Zstd;
use crate::buffer_pool::BufferPool;
use crate::dataset::{ByteOrder, DType};
use crate::json::Json;

/// One step of the encoding of a chunk.
pub(super) trait Filter: Debug + Send + Sync {
    /// Encodes: from items towards stored bytes.
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Decodes: from stored bytes towards items. `items` is the number of items in the chunk.
    fn decode(&self, bytes: Vec<u8>, items: usize) -> Result<Vec<u8>>;

    /// Like [`Filter::decode`], with a limit of `most` bytes on the result. Compressors, which can
    /// expand a few bytes to very many, stop before they allocate more than that.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the result is larger.
    fn decode_within(&self, bytes: Vec<u8>, items: usize, most: usize) -> Result<Vec<u8>> {
        let decoded = self.decode(bytes, items)?;
        refuse_longer("filter", decoded.len(), most)?;
        Ok(decoded)
    }

    /// Like [`Filter::encode`], without taking ownership of the bytes.
    fn encode_from(&self, bytes: &[u8], pool: &BufferPool) -> Result<Vec<u8>> {
        let mut memory = pool.with_capacity(bytes.len())?;
        memory.extend_from_slice(bytes);
        self.encode(memory)
    }

    /// Like [`Filter::decode`], from an object into memory of exactly the decoded size, which is
    /// returned.
    fn decode_into<'a>(
        &self,
        object: Opened,
        items: usize,
        pool: &BufferPool,
        out: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        let bytes = object.read_all(pool.take(), most_stored(out.len()))?;
        copy_decoded(&self.decode_within(bytes.into(), items, out.len())?, out)
    }

    /// The size of an encoded item, given the size before encoding.
    fn item_size(&self, before: usize) -> usize {
        before
    }
}

/// The filter or compressor with this numcodecs configuration; `item_size` is the size of the items
/// that it encodes.
pub(super) fn filter(config: &Json, item_size: usize) -> Result<Box<dyn Filter>> {
    let id = config.get("id").and_then(Json::as_text).ok_or_else(|| {
        Error::corrupt("the configuration of a codec has no id")
            .with("codec", config.to_text(crate::json::Style::Compact))
    })?;
    let config = Config { id, config };
    Ok(match id {
        "delta" => Box::new(Delta::new(&config)?),
        "fixedscaleoffset" => Box::new(FixedScaleOffset::new(&config)?),
        "quantize" => Box::new(Quantize::new(&config)?),
        "astype" => Box::new(AsType::new(&config)?),
        "packbits" => Box::new(PackBits),
        "bitround" => Box::new(BitRound::new(&config, item_size)?),
        "crc32" => Box::new(Checksum::new(Kind::Crc32, &config)),
        "crc32c" => Box::new(Checksum::new(Kind::Crc32c, &config)),
        "adler32" => Box::new(Checksum::new(Kind::Adler32, &config)),
        "lz4" => Box::new(Lz4),
        // For these sizes, numcodecs does not change the items.
        "shuffle" if matches!(config.config.get("elementsize"), Some(Json::Int(0 | 1))) => {
            Box::new(Unchanged)
        }
        "zstd" => Box::new(Zstd::new(config.config.get("level").and_then(Json::as_int))),
        _ => Box::new(Compressor::new(&config, item_size)?),
    })
}

/// A filter that does nothing.
#[derive(Debug)]
struct Unchanged;

impl Filter for Unchanged {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        Ok(bytes)
    }
}

/// The configuration of a filter.
pub(super) struct Config<'a> {
    pub id: &'a str,
    pub config: &'a Json,
}

impl Config<'_> {
    /// The number under `name`.
    pub fn number(&self, name: &str) -> Result<f64> {
        self.config.get(name).and_then(Json::as_float).ok_or_else(|| self.lacks(name))
    }

    /// The type under `name`.
    pub fn dtype(&self, name: &str) -> Result<(DType, ByteOrder)> {
        let text = self.config.get(name).and_then(Json::as_text).ok_or_else(|| self.lacks(name))?;
        DType::parse(text).map_err(|error| error.with("codec", self.id))
    }

    /// The type under `name`, or under `other` if there is none.
    pub fn dtype_or(&self, name: &str, other: &str) -> Result<(DType, ByteOrder)> {
        match self.config.get(name) {
            None | Some(Json::Null) => self.dtype(other),
            Some(_) => self.dtype(name),
        }
    }

    pub fn lacks(&self, name: &str) -> Error {
        Error::corrupt("the configuration of a codec lacks a value, or has it in another type")
            .with("codec", self.id)
            .with("value", name)
    }
}

pub(super) fn unknown(id: &str) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        "the codec is not supported; supported are blosc, zstd, zlib, gzip, bz2, lz4, shuffle, \
         delta, fixedscaleoffset, quantize, astype, packbits, bitround, fletcher32, crc32, crc32c, \
         adler32, vlen-utf8 and vlen-bytes",
    )
    .with("codec", id)
}

/// The largest plausible stored size of a chunk of `bytes` bytes: codecs make it at most slightly
/// longer, and filters at most widen the items.
pub(super) fn most_stored(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(16).saturating_add(1 << 20)
}

/// Copies a decoded chunk to `out`, after a check of its size, and returns `out`.
pub(super) fn copy_decoded<'a>(
    decoded: &[u8],
    out: &'a mut [MaybeUninit<u8>],
) -> Result<&'a mut [u8]> {
    if decoded.len() != out.len() {
        return Err(Error::corrupt(
            "a chunk holds another number of items than the metadata of its array say",
        )
        .with("expected_bytes", out.len())
        .with("found_bytes", decoded.len()));
    }
    Ok(out.write_copy_of_slice(decoded))
}

pub(super) fn damaged(codec: &str) -> Error {
    Error::corrupt("a chunk is damaged: its codec cannot decode it").with("codec", codec)
}
