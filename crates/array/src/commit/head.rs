//! How far records are published.

use bytes::Bytes;
use partita_core::store::{Swap, Version};
use partita_core::{Error, ErrorKind, Result, Store};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const KEY: &str = ".partita/head.json";

/// So many published records are named, so that a writer whose record was published before it heard
/// of its commit can tell.
const RECENT: usize = 256;

/// The mark: all records up to its number are published, and dead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The number of the last record that is published; 0 if none is.
    pub published: u64,
    /// What no other state of the mark has.
    id: String,
    /// Numbers and ids of the records published last, the newest last.
    recent: Vec<(u64, String)>,
}

impl Head {
    /// One request.
    pub async fn read(store: &Store) -> Result<Self> {
        Ok(Self::read_versioned(store).await?.0)
    }

    pub async fn read_versioned(store: &Store) -> Result<(Self, Option<Version>)> {
        let Some((bytes, version)) = store.get_versioned(KEY).await? else {
            return Ok((Self::default(), None));
        };
        let head = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt("the mark of published commits cannot be read")
                .with("key", KEY)
                .with("store", store.url())
                .caused_by(error)
        })?;
        Ok((head, Some(version)))
    }

    /// The id of a published record, if it was published lately.
    pub fn id_of(&self, sequence: u64) -> Option<&str> {
        let found = self.recent.iter().find(|(number, _)| *number == sequence);
        found.map(|(_, id)| id.as_str())
    }

    /// Moves the mark by one record.
    pub async fn advance(
        self,
        store: &Store,
        version: Option<&Version>,
        sequence: u64,
        record: &str,
    ) -> Result<(Self, Version)> {
        let mut recent = self.recent;
        recent.push((sequence, record.to_owned()));
        recent.drain(..recent.len().saturating_sub(RECENT));
        let id = Uuid::new_v4().simple().to_string();
        let next = Self { published: sequence, id, recent };
        let text = serde_json::to_vec(&next)
            .map_err(|error| Error::invalid("the mark cannot be written").caused_by(error))?;
        match store.compare_and_swap(KEY, version, Bytes::from(text), &next.id).await? {
            Swap::Done(version) => Ok((next, version)),
            Swap::Lost { .. } => Err(Error::new(
                ErrorKind::CommitConflict,
                "another process published this commit at the same time",
            )
            .with("store", store.url())),
        }
    }
}
