//! The compressors of the `zarrs` crate: blosc, zstd, zlib, gzip, bz2, shuffle, fletcher32.

use std::borrow::Cow;
use std::sync::Arc;

use partita_core::{Error, Result};
use serde_json::json;
use zarrs::array::BytesRepresentation;
use zarrs::array::codec::api::{BytesToBytesCodecTraits, Codec, CodecOptions};
use zarrs::metadata::v2::MetadataV2;
use zarrs::metadata::v3::MetadataV3;

use super::bounded::{Packed, refuse_longer};
use super::filter::{Config, Filter, unknown};
use crate::json::Json;

#[derive(Debug)]
pub(super) struct Compressor {
    id: String,
    codec: Arc<dyn BytesToBytesCodecTraits>,
    packed: Option<Packed>,
}

/// The largest item that blosc shuffles.
const BLOSC_MAX_TYPESIZE: usize = 255;

impl Compressor {
    pub fn new(config: &Config<'_>, item_size: usize) -> Result<Self> {
        let invalid = |error: serde_json::Error| {
            Error::corrupt("the configuration of a codec cannot be read")
                .with("codec", config.id)
                .caused_by(error)
        };
        let created = if config.id == "blosc" {
            let metadata: MetadataV3 =
                serde_json::from_value(blosc(config, item_size)?).map_err(invalid)?;
            Codec::from_metadata(&metadata)
        } else {
            let metadata: MetadataV2 =
                serde_json::from_value(with_level(config)).map_err(invalid)?;
            Codec::from_metadata(&metadata)
        };
        match created {
            Ok(Codec::BytesToBytes(codec)) => {
                Ok(Self { id: config.id.to_owned(), codec, packed: Packed::named(config.id) })
            }
            Ok(_) => Err(unknown(config.id)),
            Err(error) => Err(unknown(config.id).caused_by(error)),
        }
    }
}

/// zlib's own default, which the level -1 selects. numcodecs stores -1 if no level was given.
const ZLIB_LEVEL: u8 = 6;

/// The configuration with an explicit compression level.
fn with_level(config: &Config<'_>) -> serde_json::Value {
    let mut value = config.config.to_value();
    let is_default = config.config.get("level").and_then(Json::as_int) == Some(-1);
    if is_default
        && matches!(config.id, "zlib" | "gzip")
        && let Some(level) = value.get_mut("level")
    {
        *level = json!(ZLIB_LEVEL);
    }
    value
}

/// The configuration of blosc in Zarr v3, with the item size and the shuffle mode that numcodecs
/// derives from the data.
fn blosc(config: &Config<'_>, item_size: usize) -> Result<serde_json::Value> {
    let int = |name: &str| config.config.get(name).and_then(Json::as_int);
    let typesize = if item_size > BLOSC_MAX_TYPESIZE { 1 } else { item_size.max(1) };
    let shuffle = match int("shuffle").unwrap_or(1) {
        0 => "noshuffle",
        1 => "shuffle",
        2 => "bitshuffle",
        -1 if typesize == 1 => "bitshuffle",
        -1 => "shuffle",
        _ => return Err(config.lacks("shuffle")),
    };
    let level = u8::try_from(int("clevel").unwrap_or(5)).map_err(|_| config.lacks("clevel"))?;
    let block =
        u32::try_from(int("blocksize").unwrap_or(0)).map_err(|_| config.lacks("blocksize"))?;
    let cname = config.config.get("cname").and_then(Json::as_text).unwrap_or("lz4");
    Ok(json!({"name": "blosc", "configuration": {
        "cname": cname,
        "clevel": level,
        "shuffle": shuffle,
        "typesize": typesize,
        "blocksize": block,
    }}))
}

impl Filter for Compressor {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let encoded = self.codec.encode(Cow::Owned(bytes), &options());
        encoded.map(Cow::into_owned).map_err(|error| {
            Error::invalid("a chunk cannot be encoded").with("codec", &self.id).caused_by(error)
        })
    }

    fn decode(&self, bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        let size = BytesRepresentation::UnboundedSize;
        let decoded = self.codec.decode(Cow::Owned(bytes), &size, &options());
        decoded.map(Cow::into_owned).map_err(|error| {
            Error::corrupt("a chunk cannot be decoded").with("codec", &self.id).caused_by(error)
        })
    }

    fn decode_within(&self, bytes: Vec<u8>, items: usize, most: usize) -> Result<Vec<u8>> {
        match self.packed {
            Some(packed) => packed.unpack(&bytes, most),
            None => {
                let decoded = self.decode(bytes, items)?;
                refuse_longer(&self.id, decoded.len(), most)?;
                Ok(decoded)
            }
        }
    }
}

/// Chunks are encoded and decoded in parallel, each by a single thread.
pub(super) fn options() -> CodecOptions {
    CodecOptions::default().with_concurrent_target(1)
}
