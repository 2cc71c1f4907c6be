//! The codecs of a variable as numcodecs configurations.

use partita_core::{Error, Result};

use crate::dataset::{ByteOrder, Codecs, DType, VariableSchema};
use crate::json::Json;

/// Compressor, filters and byte order of a variable.
pub(super) struct Numcodecs {
    pub compressor: Option<Json>,
    pub filters: Vec<Json>,
    pub order: ByteOrder,
}

impl Numcodecs {
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the variable has codecs of
    /// Zarr v3 that numcodecs lacks.
    pub fn of(variable: &VariableSchema) -> Result<Self> {
        let vlen = match variable.dtype {
            DType::Text => vec![Json::map([("id", "vlen-utf8".into())])],
            DType::Bytes => vec![Json::map([("id", "vlen-bytes".into())])],
            _ => Vec::new(),
        };
        let order = ByteOrder::Little;
        Ok(match &variable.codecs {
            Codecs::Default => Self { compressor: Some(default()), filters: vlen, order },
            Codecs::V2 { compressor, filters, order } => {
                // An array of objects always needs the filter that encodes its objects.
                let filters = if filters.is_empty() { vlen } else { filters.clone() };
                Self { compressor: compressor.clone(), filters, order: *order }
            }
            Codecs::V3 { array_to_array, bytes_to_bytes, .. } => {
                let compressor = match (array_to_array.as_slice(), bytes_to_bytes.as_slice()) {
                    ([], []) => None,
                    ([], [codec]) => Some(of_v3(codec).ok_or_else(|| refused(variable))?),
                    _ => return Err(refused(variable)),
                };
                Self { compressor, filters: vlen, order }
            }
        })
    }
}

fn default() -> Json {
    Json::map([
        ("id", "blosc".into()),
        ("cname", "zstd".into()),
        ("clevel", Json::Int(3)),
        ("shuffle", Json::Int(1)),
        ("blocksize", Json::Int(0)),
    ])
}

/// Converts a compressor of Zarr v3 to its numcodecs configuration.
fn of_v3(codec: &Json) -> Option<Json> {
    let name = codec.get("name").and_then(Json::as_text)?;
    let value = |key: &str| codec.get("configuration").and_then(|config| config.get(key)).cloned();
    match name {
        "zstd" => Some(Json::map([
            ("id", "zstd".into()),
            ("level", value("level")?),
            ("checksum", value("checksum").unwrap_or(Json::Bool(false))),
        ])),
        "gzip" => Some(Json::map([("id", "gzip".into()), ("level", value("level")?)])),
        "blosc" => {
            let shuffle = match value("shuffle")?.as_text()? {
                "noshuffle" => 0,
                "shuffle" => 1,
                "bitshuffle" => 2,
                _ => return None,
            };
            Some(Json::map([
                ("id", "blosc".into()),
                ("cname", value("cname")?),
                ("clevel", value("clevel")?),
                ("shuffle", Json::Int(shuffle)),
                ("blocksize", value("blocksize").unwrap_or(Json::Int(0))),
            ]))
        }
        _ => None,
    }
}

fn refused(variable: &VariableSchema) -> Error {
    Error::invalid(
        "the codecs of the variable cannot be stored in Zarr v2; name a compressor and filters of \
         numcodecs",
    )
    .with("variable", &variable.name)
}
