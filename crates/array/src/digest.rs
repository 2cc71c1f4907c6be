//! Objects with the digests of their content, by which manifests tell them apart.

pub(crate) use partita_core::Digest;
use serde::{Deserialize, Serialize};

/// Key, size and digest of an object that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, u64, Digest)", into = "(String, u64, Digest)")]
pub(crate) struct ObjectEntry {
    /// The key; in manifests it is relative to the partition.
    pub name: String,
    /// The size in bytes.
    pub size: u64,
    pub digest: Digest,
}

impl ObjectEntry {
    pub fn of(name: String, bytes: &[u8]) -> Self {
        Self { name, size: bytes.len() as u64, digest: Digest::of(bytes) }
    }
}

impl From<(String, u64, Digest)> for ObjectEntry {
    fn from((name, size, digest): (String, u64, Digest)) -> Self {
        Self { name, size, digest }
    }
}

impl From<ObjectEntry> for (String, u64, Digest) {
    fn from(entry: ObjectEntry) -> Self {
        (entry.name, entry.size, entry.digest)
    }
}
