//! What a commit says.

use bytes::Bytes;
use jiff::Timestamp;
use partita_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::statistics::{PartitionStatistics, Statistics};

/// The form of records that this version writes and reads.
const FORMAT: u32 = 1;

/// One commit of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this document.
    pub format: u32,
    /// The number of the commit, from 1.
    pub sequence: u64,
    /// What no other commit has.
    pub id: String,
    /// `insert`, `update`, …
    pub operation: String,
    /// When, by the clock of the writer.
    pub time: Timestamp,
    /// The writer's name for this commit: one that was committed before is not committed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What happened to which partitions, each named once.
    pub changes: Vec<Change>,
    /// The new document that says what the collection is, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// What was found out of the values of partitions that it does not change.
    #[serde(default, skip_serializing_if = "Statistics::is_empty")]
    pub(crate) statistics: Statistics,
}

/// What a commit does to one partition, or to the group of variables that are not partitioned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The directory: `year=2022/month=01`.
    pub path: String,
    /// What is done to it.
    #[serde(flatten)]
    pub action: Action,
    /// How many rows the partition has afterwards, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes staged for it.
    #[serde(default)]
    pub bytes: u64,
    /// What is known of the values that were staged.
    #[serde(default, skip_serializing_if = "PartitionStatistics::is_empty")]
    pub statistics: PartitionStatistics,
}

/// What is done to a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// What is staged takes the place of everything.
    Replace {
        /// The directory under which the new objects are, with their full keys.
        stage: String,
        /// There was no such directory before. An object that is not where it was staged is in its
        /// place then, since the directory may be moved as a whole.
        #[serde(default)]
        fresh: bool,
    },
    /// What is staged takes the place of some objects.
    Patch {
        /// The directory under which the new objects are, with their full keys.
        stage: String,
        /// What is replaced or removed: keys of objects, or of directories with all that is in
        /// them, relative to the partition.
        replaced: Vec<String>,
    },
    /// Everything is removed.
    Drop,
}

impl Record {
    pub(crate) fn new(
        operation: &str,
        id: String,
        key: Option<String>,
        changes: Vec<Change>,
    ) -> Self {
        let time = Timestamp::now();
        let operation = operation.to_owned();
        let (config, statistics) = (None, Statistics::new());
        let (format, sequence) = (FORMAT, 0);
        Self { format, sequence, id, operation, time, key, changes, config, statistics }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::corrupt("a commit record cannot be read").caused_by(error))?;
        if record.format != FORMAT {
            return Err(Error::corrupt(
                "a commit record is of a newer version of Partita; use that to open the collection",
            )
            .with("format", record.format));
        }
        Ok(record)
    }

    pub(crate) fn encode(&self) -> Result<Bytes> {
        let text = serde_json::to_vec(self);
        text.map(Bytes::from)
            .map_err(|error| Error::invalid("a commit record cannot be written").caused_by(error))
    }

    pub(crate) fn touches(&self, path: &str) -> bool {
        self.changes.iter().any(|change| change.path == path)
    }

    /// True if the commit made or removed partitions, or changed what the collection is.
    pub(crate) fn changes_listing(&self) -> bool {
        let listed = |change: &Change| !matches!(change.action, Action::Patch { .. });
        self.config.is_some() || self.changes.iter().any(listed)
    }
}
