//! Changes being staged, and committed.

use std::collections::BTreeMap;

use partita_core::{Error, ErrorKind, Result, Store};
use uuid::Uuid;

use super::log::{self, Created, STAGE};
use super::publish::publish;
use super::record::{Action, Change, Record};
use super::snapshot::{Since, Snapshot};
use crate::layout::{Config, encode_config};

/// How often a record is created anew because another writer was faster.
const ATTEMPTS: u32 = 1000;

/// Changes that nobody sees yet.
#[derive(Debug)]
pub(crate) struct Draft {
    id: String,
    operation: &'static str,
    attempt: u32,
    /// The writer's name for the commit.
    pub key: Option<String>,
    changes: BTreeMap<String, Planned>,
    config: Option<Config>,
}

#[derive(Debug)]
struct Planned {
    change: Change,
    /// The change was made from what the partition holds.
    reads: bool,
}

/// How a commit ended.
pub(crate) enum Outcome {
    /// It is visible, under this number; 0 if there was nothing to commit.
    Done(u64),
    /// Other commits touched what these changes were made from: they have to be made again, from
    /// the newest state. None names everything.
    Stale(Option<Vec<String>>),
}

impl Draft {
    pub fn new(operation: &'static str, key: Option<&str>) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let key = key.map(str::to_owned);
        Self { id, operation, attempt: 0, key, changes: BTreeMap::new(), config: None }
    }

    /// Takes back every change.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.config = None;
    }

    /// Where objects are to be staged.
    pub fn stage(&self) -> String {
        format!("{STAGE}/{}/{}", self.id, self.attempt)
    }

    /// Has objects staged elsewhere: one that an earlier attempt staged must not be among those of
    /// the next.
    pub fn begin_attempt(&mut self) {
        self.attempt += 1;
    }

    /// Adds a change, in place of an earlier one of the same partition. `reads` says that it was
    /// made from what the partition holds.
    pub fn add(&mut self, change: Change, reads: bool) {
        self.changes.insert(change.path.clone(), Planned { change, reads });
    }

    /// Takes back the change of a partition.
    pub fn remove(&mut self, path: &str) {
        self.changes.remove(path);
    }

    pub fn set_config(&mut self, config: Config) {
        self.config = Some(config);
    }

    pub fn changes_config(&self) -> bool {
        self.config.is_some()
    }

    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.values().map(|planned| &planned.change)
    }

    /// Commits the changes, made from `snapshot`, and publishes them. A commit that could not be
    /// published stays a commit: readers find it, and the next writer publishes it.
    pub async fn commit(&self, store: &Store, snapshot: &Snapshot) -> Result<Outcome> {
        if self.changes.is_empty() && self.config.is_none() {
            return Ok(Outcome::Done(0));
        }
        let mut record = Record::new(
            self.operation,
            self.id.clone(),
            self.key.clone(),
            self.changes().cloned().collect(),
        );
        if let Some(config) = &self.config {
            let (_, bytes) = encode_config(config)?;
            record.config = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        // What is staged must be on disk before the record that names it.
        store.sync().await?;
        for _ in 0..ATTEMPTS {
            let since = snapshot.since().await?;
            if since.unknown {
                return Ok(Outcome::Stale(None));
            }
            let newest = since.records.last().map_or(snapshot.latest, |last| last.sequence);
            if let Some(stale) = self.stale(&since) {
                return Ok(stale);
            }
            record.sequence = newest.saturating_add(1);
            for change in &mut record.changes {
                let others = snapshot.pending.iter().chain(&since.records);
                let touched = others.into_iter().any(|other| other.touches(&change.path));
                if let Action::Replace { fresh, .. } = &mut change.action {
                    *fresh &= !touched;
                }
            }
            match log::create(store, &record).await? {
                Created::Done => {
                    if let Err(error) = publish(store).await {
                        tracing::warn!(store = store.url(), %error, "a commit is not published");
                    }
                    return Ok(Outcome::Done(record.sequence));
                }
                Created::Taken => {}
            }
        }
        Err(Error::new(ErrorKind::CommitConflict, "other writers were always faster; try again")
            .with("attempts", ATTEMPTS)
            .with("store", store.url()))
    }

    fn stale(&self, since: &Since) -> Option<Outcome> {
        let Since { records: since, moved, .. } = since;
        if since.iter().any(|record| record.config.is_some()) {
            return Some(Outcome::Stale(None));
        }
        // What a new document says was worked out from all partitions that there were.
        if self.config.is_some() && since.iter().any(Record::changes_listing) {
            return Some(Outcome::Stale(None));
        }
        let touched = |planned: &&Planned| {
            let path = &planned.change.path;
            planned.reads
                && (since.iter().any(|record| record.touches(path)) || moved.contains(path))
        };
        let stale: Vec<String> = self
            .changes
            .values()
            .filter(touched)
            .map(|planned| planned.change.path.clone())
            .collect();
        (!stale.is_empty()).then_some(Outcome::Stale(Some(stale)))
    }

    /// Removes what was staged, after an error. If that fails it is garbage, and collected as such.
    pub async fn discard(&self, store: &Store) {
        let stage = format!("{STAGE}/{}", self.id);
        if let Err(error) = store.delete_directory(&stage, super::SCRATCH).await {
            tracing::debug!(stage, %error, "staged objects could not be removed");
        }
    }
}

impl Change {
    /// `stage` is where the new objects are, of so many rows and bytes; `fresh` says that there was
    /// no such directory.
    pub(crate) fn replace(path: &str, stage: String, fresh: bool, rows: usize, bytes: u64) -> Self {
        let action = Action::Replace { stage, fresh };
        Self { path: path.to_owned(), action, rows: Some(rows as u64), bytes }
    }

    pub(crate) fn patch(path: &str, stage: String, replaced: Vec<String>, bytes: u64) -> Self {
        let action = Action::Patch { stage, replaced };
        Self { path: path.to_owned(), action, rows: None, bytes }
    }

    pub(crate) fn drop(path: &str) -> Self {
        Self { path: path.to_owned(), action: Action::Drop, rows: None, bytes: 0 }
    }
}
