//! Decompression with a limit on the size of the result.
//!
//! A few kilobytes can decompress to gigabytes. The size of a chunk follows from its array, so that
//! decompression stops at that size.

use std::borrow::Cow;
use std::io::Read;

use partita_core::{Error, Result};
use zarrs::array::BytesRepresentation;
use zarrs::array::codec::api::Codec;
use zarrs::metadata::v3::MetadataV3;

use super::checksum::Checksum;
use super::compressor::options;
use super::filter::{Filter, damaged};

/// The bytes of a blosc frame that hold the size of its decompressed content.
const BLOSC_SIZE: std::ops::Range<usize> = 4..8;

/// The formats that are decompressed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    Gzip,
    Zlib,
    Bz2,
    Zstd,
    Blosc,
    Crc32c,
}

impl Packed {
    /// The format of the codec with this name, in numcodecs or in Zarr v3.
    pub fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("numcodecs.").unwrap_or(name) {
            "gzip" => Some(Self::Gzip),
            "zlib" => Some(Self::Zlib),
            "bz2" => Some(Self::Bz2),
            "zstd" => Some(Self::Zstd),
            "blosc" => Some(Self::Blosc),
            "crc32c" if name == "crc32c" => Some(Self::Crc32c),
            _ => None,
        }
    }

    /// Decompresses the bytes; refused if the result has more than `most` bytes.
    pub fn unpack(self, bytes: &[u8], most: usize) -> Result<Vec<u8>> {
        match self {
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), "gzip", most),
            Self::Zlib => read(flate2::read::ZlibDecoder::new(bytes), "zlib", most),
            Self::Bz2 => read(bzip2::read::MultiBzDecoder::new(bytes), "bz2", most),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(bytes);
                read(decoder.map_err(|error| damaged("zstd").caused_by(error))?, "zstd", most)
            }
            Self::Blosc => {
                let size = bytes.get(BLOSC_SIZE).and_then(|size| size.try_into().ok());
                let size = size.map(u32::from_le_bytes).ok_or_else(|| damaged("blosc"))?;
                refuse_longer("blosc", usize::try_from(size).unwrap_or(usize::MAX), most)?;
                blosc(bytes)
            }
            Self::Crc32c => Checksum::crc32c().decode(bytes.to_vec(), 0),
        }
    }
}

/// The decoder reads these settings from the frame itself, so their values here have no effect.
const BLOSC: &str = r#"{"name":"blosc","configuration":{"cname":"lz4","clevel":5,
    "shuffle":"shuffle","typesize":1,"blocksize":0}}"#;

fn blosc(bytes: &[u8]) -> Result<Vec<u8>> {
    let metadata: MetadataV3 =
        serde_json::from_str(BLOSC).map_err(|error| damaged("blosc").caused_by(error))?;
    let Ok(Codec::BytesToBytes(codec)) = Codec::from_metadata(&metadata) else {
        return Err(damaged("blosc"));
    };
    let decoded =
        codec.decode(Cow::Borrowed(bytes), &BytesRepresentation::UnboundedSize, &options());
    decoded.map(Cow::into_owned).map_err(|error| damaged("blosc").caused_by(error))
}

fn read(packed: impl Read, codec: &str, most: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let size = packed.take(limit).read_to_end(&mut unpacked);
    let size = size.map_err(|error| damaged(codec).caused_by(error))?;
    refuse_longer(codec, size, most)?;
    Ok(unpacked)
}

/// Refuses a decompressed size above the limit.
pub(super) fn refuse_longer(codec: &str, size: usize, most: usize) -> Result<()> {
    if size <= most {
        return Ok(());
    }
    Err(Error::corrupt("a chunk decompresses to more bytes than the metadata of its array allow")
        .with("codec", codec)
        .with("most_bytes", most))
}
