//! The codecs of a variable as Zarr v3 configurations.

use partita_core::{Error, Result};

use crate::dataset::{Codecs, DType, VariableSchema};
use crate::json::Json;

/// The default limit of the size of a shard, in bytes before compression.
const SHARD_BYTES: u64 = 128 << 20;

/// The codecs of a chunk, and the limit of the size of a shard.
pub(super) struct Chain {
    pub array_to_array: Vec<Json>,
    pub array_to_bytes: Json,
    pub bytes_to_bytes: Vec<Json>,
    pub shard_bytes: Option<u64>,
}

impl Chain {
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the variable has filters of
    /// numcodecs, which Zarr v3 lacks.
    pub fn of(variable: &VariableSchema) -> Result<Self> {
        let plain = Self {
            array_to_array: Vec::new(),
            array_to_bytes: array_to_bytes(variable.dtype),
            bytes_to_bytes: Vec::new(),
            shard_bytes: Some(SHARD_BYTES),
        };
        Ok(match &variable.codecs {
            Codecs::Default => Self { bytes_to_bytes: vec![zstd()], ..plain },
            // The byte order does not affect values; everything is stored as little endian.
            Codecs::V2 { compressor, filters, .. } => {
                let objects = matches!(variable.dtype, DType::Text | DType::Bytes);
                let filters = if objects { filters.get(1..).unwrap_or_default() } else { filters };
                if !filters.is_empty() {
                    return Err(refused(variable));
                }
                let compressor = compressor
                    .as_ref()
                    .map(|codec| of_v2(codec, variable.dtype).ok_or_else(|| refused(variable)));
                Self { bytes_to_bytes: compressor.transpose()?.into_iter().collect(), ..plain }
            }
            Codecs::V3 { array_to_array, array_to_bytes, bytes_to_bytes, shard_bytes } => Self {
                array_to_array: array_to_array.clone(),
                // ZCollection's development version records the codec `bytes` for text too.
                array_to_bytes: match variable.dtype {
                    DType::Text | DType::Bytes => plain.array_to_bytes,
                    _ => array_to_bytes.clone(),
                },
                bytes_to_bytes: bytes_to_bytes.clone(),
                shard_bytes: *shard_bytes,
            },
        })
    }

    /// All codecs of a chunk, in order.
    pub fn codecs(&self) -> Vec<Json> {
        let mut codecs = self.array_to_array.clone();
        codecs.push(self.array_to_bytes.clone());
        codecs.extend(self.bytes_to_bytes.clone());
        codecs
    }
}

/// The codec of an array with shards.
pub(super) fn sharding(chunks: &[usize], codecs: Vec<Json>) -> Json {
    let crc = Json::map([("name", "crc32c".into())]);
    codec(
        "sharding_indexed",
        Json::map([
            ("chunk_shape", Json::ints(chunks.iter().map(|size| *size as u64))),
            ("codecs", Json::List(codecs)),
            ("index_codecs", Json::List(vec![little_endian(), crc])),
            ("index_location", "end".into()),
        ]),
    )
}

fn array_to_bytes(dtype: DType) -> Json {
    match dtype {
        DType::Text => Json::map([("name", "vlen-utf8".into())]),
        DType::Bytes => Json::map([("name", "vlen-bytes".into())]),
        _ => little_endian(),
    }
}

fn codec(name: &str, configuration: Json) -> Json {
    Json::map([("name", name.into()), ("configuration", configuration)])
}

fn little_endian() -> Json {
    codec("bytes", Json::map([("endian", "little".into())]))
}

fn zstd() -> Json {
    codec("zstd", Json::map([("level", Json::Int(3)), ("checksum", Json::Bool(false))]))
}

/// Converts a compressor of numcodecs to its Zarr v3 configuration.
fn of_v2(config: &Json, dtype: DType) -> Option<Json> {
    let value = |key: &str| config.get(key).cloned();
    match config.get("id").and_then(Json::as_text)? {
        "zstd" => Some(codec(
            "zstd",
            Json::map([
                ("level", value("level")?),
                ("checksum", value("checksum").unwrap_or(Json::Bool(false))),
            ]),
        )),
        "gzip" => Some(codec("gzip", Json::map([("level", value("level")?)]))),
        "blosc" => {
            let size = dtype.item_size().filter(|size| (1..=255).contains(size)).unwrap_or(1);
            let shuffle = match value("shuffle")?.as_int()? {
                0 => "noshuffle",
                1 => "shuffle",
                2 => "bitshuffle",
                -1 if size == 1 => "bitshuffle",
                -1 => "shuffle",
                _ => return None,
            };
            Some(codec(
                "blosc",
                Json::map([
                    ("typesize", Json::Int(i128::try_from(size).ok()?)),
                    ("cname", value("cname")?),
                    ("clevel", value("clevel")?),
                    ("shuffle", shuffle.into()),
                    ("blocksize", value("blocksize").unwrap_or(Json::Int(0))),
                ]),
            ))
        }
        _ => None,
    }
}

fn refused(variable: &VariableSchema) -> Error {
    Error::invalid(
        "the codecs of the variable cannot be stored in Zarr v3; name codecs of Zarr v3 instead",
    )
    .with("variable", &variable.name)
}
