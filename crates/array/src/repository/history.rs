//! The commits of a repository, as those of a collection.
//!
//! Ours carry their record among their properties. Of those that others made there is a message
//! and a time; they count as touching everything.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use icechunk::Repository;
use icechunk::format::SnapshotId;
use icechunk::format::snapshot::{SnapshotInfo, SnapshotProperties};
use icechunk::repository::VersionInfo;
use partita_core::{Error, Result};

use super::failure::Failed;
use super::storage::timestamp;
use crate::commit::{Action, Record, Since};
use crate::statistics::{PartitionStatistics, Statistics};

/// The property that holds the record.
const RECORD: &str = "partita";

/// One commit.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub id: SnapshotId,
    /// With the number that it has in this history, and the id that Icechunk gave it.
    pub record: Record,
    /// The id in the record, if it is ours.
    pub own: Option<String>,
}

/// A state and what led to it, the oldest first.
#[derive(Debug, Clone)]
pub(super) struct History {
    entries: Vec<Entry>,
}

impl History {
    /// The commits up to a version. One request.
    pub async fn read(repository: &Repository, version: &VersionInfo, url: &str) -> Result<Self> {
        let ancestry = repository.ancestry(version).await.map_err(|error| error.failed(url))?;
        let found: Vec<SnapshotInfo> =
            ancestry.try_collect().await.map_err(|error| error.failed(url))?;
        let mut entries: Vec<Entry> = Vec::with_capacity(found.len());
        for info in found.into_iter().rev() {
            let before = entries.last().map(|entry| entry.record.sequence);
            entries.push(entry(info, before));
        }
        Ok(Self { entries })
    }

    /// The number of the last commit.
    pub fn latest(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.record.sequence)
    }

    /// The last commit.
    pub fn tip(&self) -> Option<&Entry> {
        self.entries.last()
    }

    /// True if it is one of the commits here, and not the beginning of the repository.
    pub fn is_commit(&self, id: &SnapshotId) -> bool {
        !id.is_initial() && self.entries.iter().any(|entry| entry.id == *id)
    }

    /// The commit of a number.
    pub fn numbered(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.record.sequence == number)
    }

    /// Our commit with this id in its record.
    pub fn own(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.own.as_deref() == Some(id))
    }

    /// The commit with this id, in its record or of Icechunk, or with this key; the newest of several.
    pub fn named(self, name: &str) -> Option<Record> {
        let named = |entry: &Entry| {
            entry.own.as_deref() == Some(name)
                || entry.record.id == name
                || entry.record.key.as_deref() == Some(name)
        };
        self.entries.into_iter().rev().find(named).map(|entry| entry.record)
    }

    /// The newest record with this idempotency key, of those after the number `after`.
    pub fn find_key(&self, key: &str, after: u64) -> Option<Record> {
        let records = self.entries.iter().rev().map(|entry| &entry.record);
        let mut newer = records.take_while(|record| record.sequence > after);
        newer.find(|record| record.key.as_deref() == Some(key)).cloned()
    }

    /// The commits after the number `base`, for somebody who knows the state `known`.
    pub fn since(&self, base: u64, known: &SnapshotId) -> Since {
        let newer: Vec<&Entry> =
            self.entries.iter().filter(|entry| entry.record.sequence > base).collect();
        // A branch may have been moved, and commits may have expired.
        let lost = !self.entries.iter().any(|entry| entry.id == *known);
        let foreign = newer.iter().any(|entry| entry.own.is_none());
        let records = newer.into_iter().map(|entry| entry.record.clone()).collect();
        Since { records, unknown: lost || foreign, moved: Vec::new() }
    }

    /// When a directory was written last, as far as is known: never later than that.
    pub fn written(&self, path: &str) -> Option<jiff::Timestamp> {
        let touched = |entry: &&Entry| entry.own.is_none() || entry.record.touches(path);
        self.entries.iter().rev().find(touched).map(|entry| entry.record.time)
    }

    /// What is known of the values in partitions: what was said when they were written last, or found
    /// out since.
    pub fn statistics(&self) -> Statistics {
        let mut known: BTreeMap<&str, &PartitionStatistics> = BTreeMap::new();
        // Others may have written anything.
        for Entry { record, .. } in self.entries.iter().rev().take_while(|one| one.own.is_some()) {
            let changed = record.changes.iter().map(|change| (&change.path, &change.statistics));
            for (path, own) in changed.chain(&record.statistics) {
                known.entry(path).or_insert(own);
            }
        }
        known.into_iter().map(|(path, own)| (path.to_owned(), own.clone())).collect()
    }

    /// The records, without the beginning of the repository, which changes nothing.
    pub fn into_records(self) -> Vec<Record> {
        let commits = self.entries.into_iter().filter(|entry| !entry.id.is_initial());
        commits.map(|entry| entry.record).collect()
    }
}

fn entry(info: SnapshotInfo, before: Option<u64>) -> Entry {
    let next = before.map_or(0, |before| before.saturating_add(1));
    let mut own = None;
    let stored = info.metadata.get(RECORD);
    let mut record =
        match stored.and_then(|value| serde_json::from_value::<Record>(value.clone()).ok()) {
            Some(record) => {
                own = Some(record.id.clone());
                record
            }
            None => {
                let mut record = Record::new(info.message.trim(), String::new(), None, Vec::new());
                record.sequence = next;
                record
            }
        };
    record.id = info.id.to_string();
    record.time = timestamp(info.flushed_at);
    Entry { id: info.id, record, own }
}

/// The properties of a commit. Where its objects were staged is of no use afterwards.
pub(super) fn properties(record: &Record) -> Result<SnapshotProperties> {
    let mut record = record.clone();
    for change in &mut record.changes {
        match &mut change.action {
            Action::Replace { stage, .. } => stage.clear(),
            Action::Patch { stage, replaced } => {
                stage.clear();
                replaced.clear();
            }
            Action::Drop => {}
        }
    }
    let value = serde_json::to_value(&record)
        .map_err(|error| Error::invalid("a commit record cannot be written").caused_by(error))?;
    Ok(SnapshotProperties::from([(RECORD.to_owned(), value)]))
}

/// What people read of a commit in other tools.
pub(super) fn message(record: &Record) -> String {
    match record.changes.as_slice() {
        [] => record.operation.clone(),
        [only] => format!("{}: {}", record.operation, only.path),
        [first, rest @ ..] => {
            format!("{}: {} and {} more", record.operation, first.path, rest.len())
        }
    }
}
