//! Objects of changes that are not committed.
//!
//! A chunk is stored once, as an object that nothing names yet. Where it is, and small documents,
//! are kept in memory until they are committed, or sent to whoever commits them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use futures::TryStreamExt;
use icechunk::format::manifest::ChunkPayload;
use partita_core::Result;
use serde::{Deserialize, Serialize};

use super::Repository;

/// Where a repository keeps chunks.
const CHUNKS: &str = "chunks/";

/// Something that is staged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Object {
    /// The text of a document.
    Document(String),
    /// Where a chunk is, or its bytes if they are few.
    Chunk(ChunkPayload),
}

impl Object {
    /// The id of the object that a chunk is stored as, if it is.
    pub fn chunk(&self) -> Option<String> {
        match self {
            Self::Chunk(ChunkPayload::Ref(chunk)) => Some(chunk.id.to_string()),
            _ => None,
        }
    }
}

/// What is staged, by the keys under which it would lie in a plain store.
#[derive(Debug, Default)]
pub(crate) struct Staging(Mutex<BTreeMap<String, Object>>);

impl Staging {
    pub fn put(&self, key: String, object: Object) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, object);
    }

    /// What is staged in a directory, by keys relative to it.
    pub fn under(&self, directory: &str) -> Vec<(String, Object)> {
        let start = format!("{directory}/");
        let staged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = staged.range(start.clone()..);
        let relative = found.map_while(|(key, object)| Some((key.strip_prefix(&start)?, object)));
        relative.map(|(key, object)| (key.to_owned(), object.clone())).collect()
    }

    /// Forgets a directory.
    pub fn remove(&self, directory: &str) {
        let start = format!("{directory}/");
        let mut staged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        staged.retain(|key, _| !key.starts_with(&start));
    }
}

impl Repository {
    /// The ids of the chunks that are stored, whether a commit names them or not.
    pub async fn stored_chunks(&self) -> Result<HashSet<String>> {
        let found = self.store().list(CHUNKS).map_ok(|info| info.key);
        let keys: Vec<String> = found.try_collect().await?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(CHUNKS)).map(str::to_owned).collect())
    }
}
