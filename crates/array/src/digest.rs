//! Digests of the content of stored objects, by which manifests tell them apart.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use twox_hash::XxHash3_128;

/// XXH3-128 of the bytes of an object. It notices damage and tells contents apart; it does not
/// resist an attacker who chooses the content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest(u128);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
    }
}

/// An object that was written: where, how large, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, u64, Digest)", into = "(String, u64, Digest)")]
pub(crate) struct ObjectEntry {
    /// The key; below the partition in manifests.
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
