//! The note of a published change: which objects were published, under which versions.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use partita_core::{Error, ErrorKind, Result, Store};
use serde::{Deserialize, Serialize};

use super::manifest::{decode_document, encode_document};
use super::paths::notes_directory;
use super::record::check_requires;
use crate::digest::Digest;

/// The form of notes that this version writes and reads.
const FORMAT: u32 = 1;

/// The objects of a partition, and their versions, after a change was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
    /// The number of the commit.
    pub sequence: u64,
    /// The id of the commit.
    pub id: String,
    /// The stage with the manifest of the change; absent after a drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The depth of that manifest.
    #[serde(default)]
    pub depth: u32,
    /// The name of the note of the state before, if that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// There was nothing at the path before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// Another program had changed objects that the change kept, so the manifests do not tell what
    /// the partition consists of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// The published objects: name below the partition, size, and the version that the store gave.
    pub versions: Vec<(String, u64, Option<String>)>,
    /// The digests of these objects by name, as far as manifests tell them; only where requests may be
    /// carried out late, and readers read notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, Digest>,
}

impl Note {
    pub fn new(sequence: u64, id: &str, stage: Option<&str>, depth: u32) -> Self {
        Self {
            format: FORMAT,
            requires: Vec::new(),
            sequence,
            id: id.to_owned(),
            stage: stage.map(str::to_owned),
            depth,
            previous: None,
            created: false,
            foreign: false,
            versions: Vec::new(),
            digests: BTreeMap::new(),
        }
    }

    /// Reads the note of this name; none if it was removed. One request.
    pub async fn read(store: &Store, path: &str, name: &str) -> Result<Option<Self>> {
        let key = key_of(path, name);
        let Some(bytes) = store.get_opt(&key).await? else { return Ok(None) };
        let note = decode_document(&bytes, "the note of a published commit");
        let note = note.and_then(|note: Self| {
            check_requires(note.format, FORMAT, &note.requires)?;
            Ok(note)
        });
        note.map(Some).map_err(|error| error.with("key", key).with("store", store.url()))
    }

    pub async fn write(&self, store: &Store, path: &str, name: &str) -> Result<()> {
        let bytes = encode_document(self, "the note of a published commit")?;
        store.put_whole_deferred(&key_of(path, name), bytes).await
    }
}

/// The key of a note.
pub(super) fn key_of(path: &str, name: &str) -> String {
    format!("{}/{name}", notes_directory(path))
}

/// The name of the note of a commit. Several publishers may publish the same commit, of which one
/// advances the head: each has a nonce of its own, so that none overwrites the note of another.
pub(super) fn name_of(sequence: u64, nonce: &str) -> String {
    format!("{sequence:016}-{nonce}")
}

/// The number of the commit in the name of a note.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

/// The names of the notes of a partition, the oldest first. One request.
pub(super) async fn names(store: &Store, path: &str) -> Result<Vec<String>> {
    let prefix = format!("{}/", notes_directory(path));
    let name = |key: &str| key.strip_prefix(&prefix).map(str::to_owned);
    let listed = store.list(&prefix).try_filter_map(async |info| Ok(name(&info.key)));
    let mut names: Vec<String> = listed.try_collect().await?;
    names.sort();
    Ok(names)
}

/// The name of the note of the newest published change of a partition; none if it has none. One
/// request. `mark` is the number up to which commits are published.
pub(super) async fn newest(store: &Store, path: &str, mark: u64) -> Result<Option<String>> {
    Ok(newest_of(&names(store, path).await?, mark).cloned())
}

/// The newest of these notes that is of a published commit.
pub(super) fn newest_of(names: &[String], mark: u64) -> Option<&String> {
    names.iter().rfind(|name| sequence_of(name).is_some_and(|number| number <= mark))
}

/// Removes notes of a commit that cannot be read, of these names. Only for the holder of the lease,
/// before the commit is published: the note of a publisher that advanced the head was on the disk
/// before, so these are of publishers that a power cut ended.
pub(super) async fn remove_unreadable(
    store: &Store,
    path: &str,
    names: &[String],
    sequence: u64,
) -> Result<()> {
    for name in names.iter().filter(|name| sequence_of(name) == Some(sequence)) {
        match Note::read(store, path, name).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                store.delete(&key_of(path, name)).await?;
            }
            read => drop(read?),
        }
    }
    Ok(())
}

/// The note that a name in the log or in another note refers to.
pub(super) async fn require(store: &Store, path: &str, name: &str) -> Result<Note> {
    Note::read(store, path, name).await?.ok_or_else(|| {
        Error::corrupt("the note of a published commit is missing")
            .with("key", key_of(path, name))
            .with("store", store.url())
    })
}
