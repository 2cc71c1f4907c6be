//! The journal of a copy: the partitions copied so far, stored with the copy, from which an
//! interrupted copy continues.

use std::collections::HashMap;

use futures::TryStreamExt;
use partita_core::{Error, ErrorKind, Result, Store};
use serde::{Deserialize, Serialize};

use crate::commit::{SCRATCH, Staged};
use crate::layout::{Config, encode_config};

/// The directory of the journal, under the copy.
pub(crate) const JOURNAL: &str = ".partita/copy";
const HEAD: &str = ".partita/copy/head.json";

/// A partition that was copied and is durable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Copied {
    /// The path in the source.
    pub source: String,
    /// The path in the copy.
    pub path: String,
    /// The last known commit of the source before the partition was read.
    pub commit: u64,
    /// The fingerprint of the objects, which changes if any of them is written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<String>,
    /// The staged change for the commit to an Icechunk repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
}

impl Copied {
    pub fn new(source: String, path: String, commit: u64) -> Self {
        Self { source, path, commit, print: None, staged: None }
    }
}

/// The source and target that a journal belongs to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    source: String,
    /// A hash of the document that will describe the copy.
    config: String,
}

/// The journal of one copy.
#[derive(Debug)]
pub(super) struct Journal {
    /// The copied partitions, by their paths in the source.
    pub done: HashMap<String, Copied>,
    entries: usize,
}

impl Journal {
    /// Opens the journal of an interrupted copy with the same source and configuration, or begins a
    /// new one. True if there was only the journal of a different copy.
    pub async fn open(target: &Store, source: &str, config: &Config) -> Result<(Self, bool)> {
        let without = Config { commit: None, ..config.clone() };
        let (_, document) = encode_config(&without)?;
        let config = blake3::hash(&document).to_hex().to_string();
        let head = Head { source: source.to_owned(), config };
        let found = target.get_opt(HEAD).await?;
        let known = found.as_ref().and_then(|bytes| serde_json::from_slice::<Head>(bytes).ok());
        if known.as_ref() == Some(&head) {
            return Ok((Self::read(target).await?, false));
        }
        target.delete_directory(JOURNAL, SCRATCH).await?;
        let text = serde_json::to_vec(&head).map_err(unwritten)?;
        target.put(HEAD, text.into()).await?;
        Ok((Self { done: HashMap::new(), entries: 0 }, found.is_some()))
    }

    async fn read(target: &Store) -> Result<Self> {
        let mut keys: Vec<String> =
            target.list(&format!("{JOURNAL}/")).map_ok(|info| info.key).try_collect().await?;
        keys.retain(|key| key != HEAD);
        keys.sort();
        let mut journal = Self { done: HashMap::new(), entries: 0 };
        for key in keys {
            let copied: Vec<Copied> =
                serde_json::from_slice(&target.get(&key).await?).map_err(|error| {
                    Error::corrupt("the journal of the copy cannot be read").caused_by(error)
                })?;
            journal.done.extend(copied.into_iter().map(|one| (one.source.clone(), one)));
            journal.entries += 1;
        }
        Ok(journal)
    }

    /// Adds partitions that were copied.
    pub async fn add(&mut self, target: &Store, copied: Vec<Copied>) -> Result<()> {
        let text = serde_json::to_vec(&copied).map_err(unwritten)?;
        self.entries += 1;
        target.put(&format!("{JOURNAL}/{:08}.json", self.entries), text.into()).await?;
        self.done.extend(copied.into_iter().map(|one| (one.source.clone(), one)));
        Ok(())
    }

    /// Removes the journal, once the copy is a collection.
    pub async fn forget(target: &Store) {
        if let Err(error) = target.delete_directory(JOURNAL, SCRATCH).await {
            tracing::debug!(%error, "the journal of a copy could not be removed");
        }
    }
}

/// Refuses a place to which a copy is made, or was interrupted: the partitions that are there would
/// become those of another collection.
pub(crate) async fn refuse_unfinished(store: &Store) -> Result<()> {
    match store.head(HEAD).await? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::AlreadyExists,
            "a copy to this place was interrupted, or is still made: repeat it, or delete what is \
             here",
        )
        .with("store", store.url())),
    }
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::invalid("the journal of the copy cannot be encoded").caused_by(error)
}
