//! What a commit says.

use std::sync::Arc;

use jiff::Timestamp;
use partita_core::{Error, Result, Store};
use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::paths::{DIRECTORY, is_below, staged_directory};
use crate::statistics::{PartitionStatistics, Statistics};

/// The form of the records of repositories, and of those of plain stores before manifests.
pub(super) const FORMAT: u32 = 1;

/// The features that documents may list under `requires`; see `docs/format.md`.
const FEATURES: [&str; 2] = ["manifests", WITHDRAWAL];

/// The operation of a record that takes the creation of the collection back, and what it requires:
/// nothing can be committed after it.
pub(super) const WITHDRAWAL: &str = "withdrawal";

/// Refuses a document of a later format, or one that requires what this version does not know.
pub(super) fn check_requires(format: u32, known: u32, requires: &[String]) -> Result<()> {
    let unknown = requires.iter().find(|name| !FEATURES.contains(&name.as_str()));
    if format <= known && unknown.is_none() {
        return Ok(());
    }
    let error = Error::corrupt(
        "the collection was written by a newer version of Partita; use that version to open it",
    );
    let error = error.with("format", format);
    Err(match unknown {
        Some(name) => error.with("requires", name),
        None => error,
    })
}

/// Commits are counted, so numbers never come near to this.
pub(super) const LAST: u64 = 1 << 53;

/// One commit of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this document.
    pub format: u32,
    /// The number of the commit, from 1.
    pub sequence: u64,
    /// A unique id.
    pub id: String,
    /// `insert`, `update`, …
    pub operation: String,
    /// When, by the clock of the writer.
    pub time: Timestamp,
    /// The writer's name for this commit: one that was committed before is not committed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The changes, at most one for each partition.
    pub changes: Vec<Change>,
    /// The new document that says what the collection is, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The configuration before the commit, if the commit changed it; earlier states are read with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config_before: Option<String>,
    /// Statistics of partitions that the commit does not change.
    #[serde(default, skip_serializing_if = "Statistics::is_empty")]
    pub(crate) statistics: Statistics,
}

/// The change of one partition, or of the group of variables that are not partitioned, by a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The directory: `year=2022/month=01`.
    pub path: String,
    /// The kind of change.
    #[serde(flatten)]
    pub action: Action,
    /// How many rows the partition has afterwards, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes staged for it.
    #[serde(default)]
    pub bytes: u64,
    /// Statistics of the values that were staged. Of a published commit to a plain store they
    /// stand elsewhere, and this is empty.
    #[serde(default, skip_serializing_if = "PartitionStatistics::is_empty")]
    pub statistics: PartitionStatistics,
    /// The files that were imported by the commit. They stand with one of its changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// A manifest is staged with the objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_manifest: bool,
    /// There was no such partition when the change was staged, as far as this process knows.
    #[serde(skip)]
    pub(crate) is_new: bool,
    /// The manifest, in the process that staged it.
    #[serde(skip)]
    pub(crate) manifest: Option<Arc<Manifest>>,
}

/// A file that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, as it was given.
    pub name: String,
    /// The digest of its content.
    pub digest: String,
}

/// How a change affects the directory of a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// The staged objects replace all objects.
    Replace {
        /// The directory under which the new objects are, with their full keys.
        stage: String,
        /// The staged directory may have been moved into place as a whole; only versions before
        /// manifests did so.
        #[serde(default)]
        fresh: bool,
    },
    /// The staged objects replace some objects.
    Patch {
        /// The directory under which the new objects are, with their full keys.
        stage: String,
        /// The objects that are replaced or removed: keys of objects, or of directories with all that is in
        /// them, relative to the partition. Of a commit to a plain store the manifest has the
        /// exact list, and the record the first component of each.
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
        let statistics = Statistics::new();
        let (config, config_before) = (None, None);
        let (format, sequence) = (FORMAT, 0);
        Self {
            format,
            sequence,
            id,
            operation,
            time,
            key,
            changes,
            config,
            config_before,
            statistics,
        }
    }

    /// True if it takes the creation of the collection back.
    pub(super) fn is_withdrawal(&self) -> bool {
        self.operation == WITHDRAWAL
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

impl Change {
    /// A change without what is known of it beyond its action.
    pub(crate) fn new(path: &str, action: Action) -> Self {
        Self {
            path: path.to_owned(),
            action,
            rows: None,
            bytes: 0,
            statistics: PartitionStatistics::new(),
            sources: Vec::new(),
            has_manifest: false,
            is_new: false,
            manifest: None,
        }
    }

    pub(crate) fn drop(path: &str) -> Self {
        Self::new(path, Action::Drop)
    }

    /// Refuses a change that names anything else than a partition and what was staged for it: it comes
    /// from a document that may be damaged, and what it names is replaced or removed.
    pub(crate) fn check(&self) -> Result<()> {
        let replaced = match &self.action {
            Action::Patch { replaced, .. } => replaced.as_slice(),
            Action::Replace { .. } | Action::Drop => &[],
        };
        let first = self.path.split('/').next();
        let is_partition = is_below(&self.path) && first != Some(DIRECTORY);
        let is_staged = self.stage().is_none_or(is_below);
        match is_partition && is_staged && replaced.iter().all(|name| is_below(name)) {
            true => Ok(()),
            false => Err(Error::corrupt(
                "a change names keys that are none of a partition or of staged objects",
            )
            .with("path", &self.path)),
        }
    }

    /// The directory of what is staged for this change.
    pub(crate) fn staged_directory(&self) -> Option<String> {
        self.stage().map(|stage| staged_directory(stage, &self.path))
    }

    pub(crate) fn stage(&self) -> Option<&str> {
        match &self.action {
            Action::Replace { stage, .. } | Action::Patch { stage, .. } => Some(stage),
            Action::Drop => None,
        }
    }

    /// The manifest of the change. One request, unless it was staged by this process.
    pub(super) async fn read_manifest(&self, store: &Store) -> Result<Option<Arc<Manifest>>> {
        match (&self.manifest, self.stage()) {
            (Some(manifest), _) => Ok(Some(Arc::clone(manifest))),
            (None, Some(stage)) if self.has_manifest => {
                Manifest::read(store, stage, &self.path).await.map(Arc::new).map(Some)
            }
            _ => Ok(None),
        }
    }
}
