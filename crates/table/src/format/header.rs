//! The header: the document whose swap makes a commit visible.

use indexmap::IndexMap;
use partita_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json;
use super::snapshot::{Document, check_requirements};
use crate::protocol::{committed_after, remembered};
use crate::stage::Derivations;

/// The only version of the format that plateau 4 reads and writes.
pub const VERSION: i64 = 4;

/// The entry of the free metadata map that holds Partita's state; plateau preserves it.
const OWN: &str = "_partita";

/// An upper bound of valid versions. Versions count commits, so they stay far below it.
pub(super) const LAST_VERSION: u64 = 1 << 53;

/// The number of commit ids in a header, which a writer whose answer was lost searches for its own.
pub const REMEMBERED: usize = 64;

/// The encoding of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `.json`
    #[default]
    Json,
    /// `.msgpack.zstd`
    Msgpack,
}

/// A stored header. Its fields have the order in which plateau writes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    #[serde(rename = "dataset_metadata_version")]
    version: i64,
    /// The name of the dataset.
    #[serde(rename = "dataset_uuid")]
    pub uuid: String,
    /// Index files by column. A value that is not a key (an old embedded index) is preserved.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub indices: IndexMap<String, Value>,
    /// Free annotations, and Partita's entry.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Data files by partition label; absent in datasets whose partitions are found by listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<IndexMap<String, Files>>,
    /// The partition columns in order; absent in old documents, where the first key defines them.
    #[serde(default)]
    pub partition_keys: Option<Vec<String>>,
}

/// The files of one partition label: one, keyed by the name of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Files {
    /// Table name to key.
    pub files: IndexMap<String, String>,
}

/// Partita's entry in the header, beside the fields of plateau's format.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Own {
    /// The number of the last commit that Partita made.
    pub version: u64,
    /// Its id.
    pub commit: String,
    /// The key of its snapshot.
    pub snapshot: String,
    /// The last commits, newest first: the id of the commit, a hyphen, and the id of the attempt.
    #[serde(default)]
    pub recent: Vec<String>,
    /// The columns in the order in which the table was created.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Partition columns that are derived from others.
    #[serde(flatten)]
    pub derived: Derivations,
    /// The columns that get bloom filters by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bloom_filters: Vec<String>,
    /// The features that a reader must support to read the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The largest id that a column has ever had.
    #[serde(default)]
    pub last_column_id: i32,
    /// The number of the schema, see [`Schemas`](super::snapshot::Schemas); zero where it is not
    /// known.
    #[serde(default)]
    pub schema: u64,
}

impl Own {
    /// Takes over the layout of the table at another version.
    pub fn laid_out_as(&mut self, document: &Document) {
        // Ids are never given again, so the number does not go back with the version.
        self.last_column_id = self.last_column_id.max(document.last_column_id);
        self.schema = document.schemas.current;
        if let Some(derived) = &document.derived {
            self.derived.clone_from(derived);
            self.bloom_filters.clone_from(&document.bloom_filters);
        }
    }

    /// The entry of the next commit.
    #[must_use]
    pub fn next(&self, made: &Attempt, snapshot: String, columns: Vec<String>) -> Self {
        Self {
            version: self.version + 1,
            commit: made.commit.clone(),
            snapshot,
            recent: remembered(&self.recent, made.token(), REMEMBERED),
            columns,
            ..self.clone()
        }
    }

    /// True if a commit with this id, from any attempt, is among the last ones.
    #[must_use]
    pub fn remembers(&self, commit: &str) -> bool {
        // In format 1, entries are commit ids without an attempt.
        self.recent.iter().any(|entry| entry.split('-').next() == Some(commit))
    }

    /// The commit that made the version after `version`; `None` if the header no longer lists it.
    #[must_use]
    pub fn committed_after(&self, version: u64) -> Option<&str> {
        committed_after(&self.recent, self.version, version).map(String::as_str)
    }
}

/// One attempt to make a commit. Several callers may attempt the same commit at once, and each may
/// retry: the objects that an attempt writes have names of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The id of the commit.
    pub commit: String,
    /// The id of the attempt.
    pub id: String,
}

impl Attempt {
    /// A new attempt at a commit.
    #[must_use]
    pub fn new(commit: &str) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { commit: commit.to_owned(), id: id.chars().take(16).collect() }
    }

    /// Both ids, in the form used in object names and in the header.
    #[must_use]
    pub fn token(&self) -> String {
        format!("{}-{}", self.commit, self.id)
    }
}

impl Header {
    /// A header with no partitions.
    #[must_use]
    pub fn new(uuid: &str, partition_keys: Vec<String>) -> Self {
        Self {
            version: VERSION,
            uuid: uuid.to_owned(),
            indices: IndexMap::new(),
            metadata: Map::new(),
            partitions: Some(IndexMap::new()),
            partition_keys: Some(partition_keys),
        }
    }

    /// Decodes a stored header.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the bytes are no header of version 4, or
    /// a label names other than one file.
    pub fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self> {
        let header: Self = parse(bytes, encoding)?;
        check_version(header.version)?;
        for (label, files) in header.partitions.iter().flatten() {
            if files.files.len() != 1 {
                return Err(Error::corrupt("a partition does not name exactly one file")
                    .with("partition", label));
            }
        }
        Ok(header)
    }

    /// Decodes a stored header without its partitions, which are most of its content and are in the
    /// snapshot too.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn decode_summary(bytes: &[u8], encoding: Encoding) -> Result<Self> {
        let summary: Summary = parse(bytes, encoding)?;
        check_version(summary.version)?;
        Ok(Self {
            version: summary.version,
            uuid: summary.uuid,
            indices: summary.indices,
            metadata: summary.metadata,
            partitions: None,
            partition_keys: summary.partition_keys,
        })
    }

    /// The stored form.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the metadata contains
    /// values that the encoding cannot represent.
    pub fn encode(&self, encoding: Encoding) -> Result<Vec<u8>> {
        let unwritable = "the metadata cannot be written";
        match encoding {
            Encoding::Json => {
                json::to_vec(self).map_err(|error| Error::invalid(unwritable).caused_by(error))
            }
            Encoding::Msgpack => {
                let packed = rmp_serde::to_vec_named(self)
                    .map_err(|error| Error::invalid(unwritable).caused_by(error))?;
                let mut stored = packed_frame(&packed)
                    .map_err(|error| Error::invalid(unwritable).caused_by(error))?;
                let own = self.own()?;
                let commits = own.map(|own| own.recent.join(" ")).unwrap_or_default();
                stored.extend(skippable_frame(commits.as_bytes()));
                Ok(stored)
            }
        }
    }

    /// Partita's entry; absent in datasets that were only written by plateau.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) for an entry that cannot be read or is
    /// inconsistent. Ignoring it would lose the history.
    pub fn own(&self) -> Result<Option<Own>> {
        let Some(stored) = self.metadata.get(OWN) else { return Ok(None) };
        let damaged = || {
            Error::corrupt(
                "the entry `_partita` of the header cannot be read, so the history is not known; \
                 put the header back as it was, or make one with `rebuild`",
            )
        };
        let own: Own =
            serde_json::from_value(stored.clone()).map_err(|error| damaged().caused_by(error))?;
        for (name, number) in [("version", own.version), ("schema", own.schema)] {
            if number >= LAST_VERSION {
                return Err(damaged().with(name, number));
            }
        }
        Ok(Some(own))
    }

    /// Fails for a table that this release cannot read.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) naming a feature that is not known.
    pub fn check_requirements(&self) -> Result<()> {
        let requires = self.metadata.get(OWN).and_then(|own| own.get("requires"));
        let names = requires.and_then(Value::as_array).into_iter().flatten();
        check_requirements(names.map(|name| name.as_str().unwrap_or_default()))
    }

    /// Sets Partita's entry.
    ///
    /// # Errors
    /// Never in practice: the entry is plain JSON.
    pub fn set_own(&mut self, own: &Own) -> Result<()> {
        let value = serde_json::to_value(own).map_err(|error| {
            Error::invalid("the header entry cannot be written").caused_by(error)
        })?;
        self.metadata.insert(OWN.to_owned(), value);
        Ok(())
    }

    /// The metadata without Partita's entry: the user's annotations, and `creation_time`.
    #[must_use]
    pub fn user_metadata(&self) -> Map<String, Value> {
        self.metadata
            .iter()
            .filter(|(k, _)| *k != OWN)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Merges user metadata in: named keys are set, or removed if set to null, the others stay.
    pub fn merge_metadata(&mut self, user: &Map<String, Value>) {
        for (key, value) in user.iter().filter(|(key, _)| *key != OWN) {
            match value {
                Value::Null => drop(self.metadata.shift_remove(key)),
                value => drop(self.metadata.insert(key.clone(), value.clone())),
            }
        }
    }
}

/// The fields of [`Header`] other than the partitions.
#[derive(Deserialize)]
struct Summary {
    #[serde(rename = "dataset_metadata_version")]
    version: i64,
    #[serde(rename = "dataset_uuid")]
    uuid: String,
    #[serde(default)]
    indices: IndexMap<String, Value>,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    partition_keys: Option<Vec<String>>,
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], encoding: Encoding) -> Result<T> {
    match encoding {
        Encoding::Json => serde_json::from_slice(bytes).map_err(unreadable),
        Encoding::Msgpack => rmp_serde::from_read(unpacked(bytes)?).map_err(unreadable),
    }
}

fn check_version(version: i64) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "the dataset is of metadata version {version}, only version {VERSION} can be read"
    )))
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::corrupt("the dataset's metadata cannot be read").caused_by(error)
}

/// Size limits of headers, stored and decompressed. One of a million files is some 200 MB, about ten
/// times its stored size as msgpack.
pub(crate) const LARGEST_HEADER: u64 = 1 << 31;
const BEST_RATIO: u64 = 64;
/// The decompressed size in bytes that even the smallest header may have.
const SMALL_HEADER: u64 = 1 << 20;

/// A frame of zstd with the checksum of the format, which every decoder compares.
fn packed_frame(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
    compressor.compress(content)
}

/// A skippable zstd frame (RFC 8878, section 3.1.2). It contains the commit ids uncompressed, so
/// that a writer whose answer was lost can search the stored bytes for its own.
fn skippable_frame(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(0).to_le_bytes();
    [&0x184D_2A50_u32.to_le_bytes(), &length, content].concat()
}

/// Decompresses a header up to the size limit. It is parsed as a stream, so that content that is
/// not a header is rejected before it takes memory.
fn unpacked(bytes: &[u8]) -> Result<impl std::io::Read> {
    use std::io::{BufReader, Read};
    let most = (bytes.len() as u64).saturating_mul(BEST_RATIO).max(SMALL_HEADER);
    let decoder = zstd::Decoder::new(bytes).map_err(unreadable)?;
    Ok(BufReader::new(decoder.take(most.min(LARGEST_HEADER))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = r#"{"dataset_metadata_version": 4, "dataset_uuid": "u", "indices": {"i": "u/indices/i/x.by-dataset-index.parquet"}, "metadata": {"creation_time": "2026-01-01", "k": {"nested": [1, 2]}}, "partitions": {"p=a%20b/1": {"files": {"table": "u/table/p=a%20b/1.parquet"}}}, "partition_keys": ["p"]}"#;

    #[test]
    fn is_written_as_it_was_read() {
        let header = Header::decode(STORED.as_bytes(), Encoding::Json).unwrap();
        assert_eq!(String::from_utf8(header.encode(Encoding::Json).unwrap()).unwrap(), STORED);
        let packed = header.encode(Encoding::Msgpack).unwrap();
        let again = Header::decode(&packed, Encoding::Msgpack).unwrap();
        assert_eq!(String::from_utf8(again.encode(Encoding::Json).unwrap()).unwrap(), STORED);
    }

    #[test]
    fn damage_is_named() {
        for damaged in ["", "{", "[]", r#"{"dataset_metadata_version": 3, "dataset_uuid": "u"}"#] {
            let error = Header::decode(damaged.as_bytes(), Encoding::Json).unwrap_err();
            assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt, "{damaged}");
        }
    }

    #[test]
    fn bombs_are_no_headers() {
        for byte in [0xc0, 0x90, 0x91, 0x81, 0xdd] {
            let packed = zstd::bulk::compress(&vec![byte; 64 << 20], 3).unwrap();
            for decoded in [
                Header::decode(&packed, Encoding::Msgpack).map(drop),
                Header::decode_summary(&packed, Encoding::Msgpack).map(drop),
            ] {
                assert_eq!(decoded.unwrap_err().kind(), partita_core::ErrorKind::Corrupt);
            }
        }
        for nested in ["[".repeat(200_000), "{\"a\":".repeat(200_000)] {
            let header = format!("{{\"metadata\": {nested}");
            assert!(Header::decode(header.as_bytes(), Encoding::Json).is_err());
        }
    }

    #[test]
    fn a_damaged_entry_is_an_error() {
        let mut header = Header::new("t", Vec::new());
        assert_eq!(header.own().unwrap(), None);
        header.set_own(&Own::default()).unwrap();
        let whole = header.metadata.get(OWN).unwrap().clone();
        let Value::Object(fields) = &whole else { panic!("no object") };
        let required = ["version", "commit", "snapshot"];
        for name in fields.keys() {
            for value in [Value::from(1.5), Value::from(u64::MAX), Value::Bool(true)] {
                let mut entry = whole.clone();
                entry[name.as_str()] = value;
                header.metadata.insert(OWN.to_owned(), entry);
                let known = header.own();
                assert!(known.is_err() || name == "date" || name == "bucket", "{name}");
            }
        }
        for name in required {
            let mut entry = whole.clone();
            entry.as_object_mut().unwrap().remove(name);
            header.metadata.insert(OWN.to_owned(), entry);
            assert_eq!(header.own().unwrap_err().kind(), partita_core::ErrorKind::Corrupt);
        }
        header.metadata.insert(OWN.to_owned(), Value::Null);
        assert!(header.own().is_err());
    }

    #[test]
    fn remembers_a_bounded_number_of_commits() {
        let mut own = Own::default();
        for i in 0..100 {
            let made = Attempt { commit: format!("id{i}"), id: "x".to_owned() };
            own = own.next(&made, String::new(), Vec::new());
        }
        assert_eq!((own.version, own.recent.len()), (100, REMEMBERED));
        assert_eq!(own.recent.first().unwrap(), "id99-x");
        assert!(own.remembers("id99") && own.remembers("id36") && !own.remembers("id35"));
        assert_eq!(own.committed_after(99), Some("id99-x"));
        assert_eq!(own.committed_after(36), Some("id36-x"));
        assert_eq!((own.committed_after(35), own.committed_after(100)), (None, None));
    }
}
