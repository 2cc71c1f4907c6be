//! The manifest of a staged change: which objects it consists of, and what they hold.

use bytes::Bytes;
use partita_core::{Error, Result, Store};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zstd::zstd_safe::CParameter;

use super::paths::manifest_key;
use super::record::check_requires;
use crate::digest::{Digest, ObjectEntry};
use crate::statistics::PartitionStatistics;

/// The form of manifests that this version writes and reads.
const FORMAT: u32 = 1;
/// A patch whose base consists of so many manifests is written whole.
pub(super) const DEPTH: u32 = 15;
/// Documents are small; what claims to be larger after decompression is damaged.
const LARGEST_DOCUMENT: usize = 256 << 20;
const LEVEL: i32 = 1;

/// Which objects one change of a partition consists of. Immutable, staged with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
    /// The objects that were staged, by their names below the partition.
    pub objects: Vec<ObjectEntry>,
    /// Of a patch: the names of the objects or directories that it replaces or removes. Absent if
    /// the change replaces the whole partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Vec<String>>,
    /// Of a patch: the stage of the manifest of the state that it was made from, if that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// How many manifests the state consists of besides this one.
    #[serde(default)]
    pub depth: u32,
    /// Of a whole patch: what it keeps. Its base need not be read then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<Kept>>,
    /// How many rows the partition has afterwards, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Statistics of the values that were staged.
    #[serde(default, skip_serializing_if = "PartitionStatistics::is_empty")]
    pub statistics: PartitionStatistics,
}

/// An object that a whole patch keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub name: String,
    pub size: u64,
    pub digest: Digest,
    /// The key of the immutable object that holds the content.
    pub key: String,
}

impl Manifest {
    /// The manifest of a change that replaces a whole partition.
    pub fn whole(
        objects: Vec<ObjectEntry>,
        rows: Option<u64>,
        statistics: PartitionStatistics,
    ) -> Self {
        let (replaced, base, kept) = (None, None, None);
        let requires = Vec::new();
        Self { format: FORMAT, requires, objects, replaced, base, depth: 0, kept, rows, statistics }
    }

    pub fn encode(&self) -> Result<Bytes> {
        encode_document(self, "a manifest")
    }

    /// Reads the manifest of the change staged at `stage` for the partition at `path`. One request.
    pub async fn read(store: &Store, stage: &str, path: &str) -> Result<Self> {
        let key = manifest_key(stage, path);
        let Some(bytes) = store.get_opt(&key).await? else {
            return Err(Error::corrupt("the manifest of a committed change is missing")
                .with("key", key)
                .with("store", store.url()));
        };
        let manifest: Self = decode_document(&bytes, "a manifest")
            .and_then(|manifest: Self| {
                check_requires(manifest.format, FORMAT, &manifest.requires)?;
                Ok(manifest)
            })
            .map_err(|error| error.with("key", key).with("store", store.url()))?;
        Ok(manifest)
    }
}

/// Encodes a document as JSON compressed by zstd, with the checksum of the format.
pub(super) fn encode_document(document: &impl Serialize, what: &str) -> Result<Bytes> {
    let failed = |error: std::io::Error| {
        Error::invalid(format!("{what} cannot be written")).caused_by(error)
    };
    let text = serde_json::to_vec(document).map_err(|error| failed(error.into()))?;
    let compress = || {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.compress(&text)
    };
    compress().map(Bytes::from).map_err(failed)
}

/// Decodes what [`encode_document`] gave.
pub(super) fn decode_document<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    let damaged =
        |error: std::io::Error| Error::corrupt(format!("{what} cannot be read")).caused_by(error);
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(LARGEST_DOCUMENT);
    let text = zstd::bulk::decompress(bytes, size.min(LARGEST_DOCUMENT)).map_err(damaged)?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.into()))
}
