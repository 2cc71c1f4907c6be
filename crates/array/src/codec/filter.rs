//! The filters of numcodecs: each turns bytes into bytes.

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
use crate::dataset::{ByteOrder, DType};
use crate::json::Json;
use crate::spare::Spare;

/// A step between the items of a chunk and what is stored.
pub(super) trait Filter: Debug + Send + Sync {
    /// Towards what is stored.
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Towards the items. `items` is how many there are in the chunk.
    fn decode(&self, bytes: Vec<u8>, items: usize) -> Result<Vec<u8>>;

    /// As [`Filter::decode`], where the result has `most` bytes at most. Codecs that can unpack a
    /// few bytes to very many stop before they allocate more than that.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if there is more.
    fn decode_within(&self, bytes: Vec<u8>, items: usize, most: usize) -> Result<Vec<u8>> {
        let decoded = self.decode(bytes, items)?;
        refuse_longer("filter", decoded.len(), most)?;
        Ok(decoded)
    }

    /// As [`Filter::encode`], of bytes that stay where they are.
    fn encode_from(&self, bytes: &[u8], spare: &Spare) -> Result<Vec<u8>> {
        let mut memory = spare.room(bytes.len())?;
        memory.extend_from_slice(bytes);
        self.encode(memory)
    }

    /// As [`Filter::decode`], of an object, into memory that has just the room, all of which is given
    /// back.
    fn decode_into<'a>(
        &self,
        object: Opened,
        items: usize,
        spare: &Spare,
        out: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        let bytes = object.read_all(spare.take(), most_stored(out.len()))?;
        copy_decoded(&self.decode_within(bytes.into(), items, out.len())?, out)
    }

    /// The bytes of an item after encoding, given those before.
    fn item_size(&self, before: usize) -> usize {
        before
    }
}

/// The filter or compressor that numcodecs configures so; `item_size` is that of the items it is
/// given to encode.
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
        // numcodecs leaves items of no size, and those of one byte, as they are.
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
        "the codec is not known; known are blosc, zstd, zlib, gzip, bz2, lz4, shuffle, delta, \
         fixedscaleoffset, quantize, astype, packbits, bitround, fletcher32, crc32, crc32c, \
         adler32, vlen-utf8 and vlen-bytes",
    )
    .with("codec", id)
}

/// The most bytes in which a chunk of this many is stored: codecs make little longer, and filters
/// at most take larger items.
pub(super) fn most_stored(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(16).saturating_add(1 << 20)
}

/// Copies a chunk into its place, if it has the size that it should have, and gives it back.
pub(super) fn copy_decoded<'a>(
    decoded: &[u8],
    out: &'a mut [MaybeUninit<u8>],
) -> Result<&'a mut [u8]> {
    if decoded.len() != out.len() {
        return Err(Error::corrupt("a chunk holds another number of items than its array says")
            .with("expected_bytes", out.len())
            .with("found_bytes", decoded.len()));
    }
    Ok(out.write_copy_of_slice(decoded))
}

pub(super) fn damaged(codec: &str) -> Error {
    Error::corrupt("a chunk is not what its codec wrote").with("codec", codec)
}
