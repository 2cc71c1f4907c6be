//! Changes being staged, and committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::store::Lease;
use partita_core::{Error, ErrorKind, Result, Store, masked};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::log::{self, Created};
use super::paths::{STAGE, writer_directory};
use super::publish::{lease_after, publish_with};
use super::record::{Change, Record};
use super::snapshot::{Since, Snapshot};
use crate::backend::Backend;
use crate::layout::{Config, encode_config};
use crate::repository::{Object, Repository, State, WriteDocuments};

/// How often a record is created anew because another writer was faster.
const ATTEMPTS: u32 = 1000;

/// Changes that nobody sees yet.
#[derive(Debug)]
pub(crate) struct Draft {
    id: String,
    operation: String,
    attempt: u32,
    /// The commit from which changes are made at present.
    base: u64,
    /// The idempotency key of the commit.
    pub(super) key: Option<String>,
    /// Records up to this number were searched for the key.
    pub(super) searched: Option<u64>,
    changes: BTreeMap<String, Staged>,
    config: Option<Config>,
    /// The directories of changes that were staged and then taken back.
    abandoned: Vec<String>,
    /// A commit was tried of which it is not proven that it did not happen: nothing that is staged
    /// may be removed.
    may_be_committed: AtomicBool,
    /// When staging began, by clocks that go on while the machine sleeps, and that nobody sets.
    began: (Instant, SystemTime),
}

/// A change that was staged, and that a commit may name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    /// The partition, and how the change affects it.
    pub change: Change,
    /// It was made from what the partition holds.
    pub reads: bool,
    /// The last commit that was known when it was made.
    pub base: u64,
    /// Objects staged for a commit to an Icechunk repository, by keys within the directory. In a
    /// plain store it lies where the change says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<(String, Object)>,
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
    pub fn new(operation: &str, key: Option<&str>) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let (operation, key) = (operation.to_owned(), key.map(str::to_owned));
        Self {
            id,
            operation,
            attempt: 0,
            base: 0,
            key,
            searched: None,
            changes: BTreeMap::new(),
            config: None,
            abandoned: Vec::new(),
            may_be_committed: AtomicBool::new(false),
            began: (Instant::now(), SystemTime::now()),
        }
    }

    /// Takes back every change.
    pub fn clear(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.abandoned.extend(changes.values().filter_map(|one| one.change.staged_directory()));
        self.config = None;
    }

    /// Where objects are to be staged.
    pub fn stage(&self) -> String {
        format!("{STAGE}/{}/{}", self.id, self.attempt)
    }

    /// Has changes made from `snapshot`, and their objects staged elsewhere: one that an earlier
    /// attempt staged must not be among those of the next.
    pub fn begin_attempt(&mut self, snapshot: &Snapshot) {
        self.begin_attempt_at(snapshot.latest);
    }

    /// As [`Draft::begin_attempt`], from the state after the commit of this number.
    pub fn begin_attempt_at(&mut self, latest: u64) {
        self.attempt += 1;
        self.base = latest;
    }

    /// Adds a change, in place of an earlier one of the same partition. `reads` says that it was
    /// made from what the partition holds.
    pub fn add(&mut self, change: Change, reads: bool) {
        self.add_staged(Staged { change, reads, base: self.base, objects: Vec::new() });
    }

    /// Adds a change that was staged before, in place of an earlier one of the same partition.
    pub fn add_staged(&mut self, staged: Staged) {
        let directory = staged.change.staged_directory();
        let before = self.changes.insert(staged.change.path.clone(), staged);
        let before = before.and_then(|before| before.change.staged_directory());
        self.abandoned.extend(before.filter(|before| Some(before) != directory.as_ref()));
    }

    /// The changes, to be committed by another draft.
    pub fn into_staged(self) -> Vec<Staged> {
        self.changes.into_values().collect()
    }

    /// Takes back the change of a partition.
    pub fn remove(&mut self, path: &str) {
        let removed = self.changes.remove(path);
        self.abandoned.extend(removed.and_then(|removed| removed.change.staged_directory()));
    }

    /// Takes back a change that was committed before: its objects stay.
    pub(super) fn remove_committed(&mut self, path: &str) {
        self.changes.remove(path);
    }

    /// The changes as they were staged.
    pub fn staged(&self) -> impl Iterator<Item = &Staged> {
        self.changes.values()
    }

    /// The name of the operation.
    pub(super) fn operation(&self) -> &str {
        &self.operation
    }

    /// There is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.config.is_none()
    }

    pub fn set_config(&mut self, config: Config) {
        self.config = Some(config);
    }

    pub fn changes_config(&self) -> bool {
        self.config.is_some()
    }

    /// The new configuration of the collection, if the commit changes it.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.values().map(|staged| &staged.change)
    }

    /// The directories of what is staged.
    pub fn staged_directories(&self) -> Vec<String> {
        self.changes().filter_map(Change::staged_directory).collect()
    }

    /// The number of the oldest state that a change was made from.
    fn oldest(&self, latest: u64) -> u64 {
        self.changes.values().map(|staged| staged.base).min().unwrap_or(latest)
    }

    /// The commits since the oldest state that a change was made from.
    async fn since(&self, snapshot: &Snapshot) -> Result<Since> {
        snapshot.since(self.oldest(snapshot.latest)).await
    }

    /// The commits since the oldest change was staged, as far as they are known.
    pub(super) async fn since_staged(&self, snapshot: &Snapshot) -> Result<Vec<Record>> {
        let mut records = self.since(snapshot).await?.records;
        for pending in &snapshot.pending {
            if !records.iter().any(|record| record.sequence == pending.sequence) {
                records.push(pending.clone());
            }
        }
        records.sort_by_key(|record| record.sequence);
        Ok(records)
    }

    /// Looks whether other commits touched what the changes were made from.
    pub async fn check(&self, snapshot: &Snapshot) -> Result<Outcome> {
        let since = self.since(snapshot).await?;
        Ok(self.stale(&since).unwrap_or(Outcome::Done(snapshot.latest)))
    }

    /// Commits the changes, made from `snapshot`, and publishes them. A commit that could not be
    /// published stays a commit: readers find it, and the next writer publishes it.
    pub async fn commit(&self, backend: &dyn Backend, snapshot: &Snapshot) -> Result<Outcome> {
        match self.is_empty() {
            true => Ok(Outcome::Done(0)),
            false => backend.commit(self, snapshot).await,
        }
    }

    /// Commits the changes to the log of a plain store.
    pub(super) fn commit_to_log<'a>(
        &'a self,
        store: &'a Store,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<Outcome>> {
        async move {
            let mut record = self.record()?;
            if record.config.is_some() {
                let (_, before) = encode_config(&snapshot.config)?;
                record.config_before = Some(String::from_utf8_lossy(&before).into_owned());
            }
            self.commit_record(store, snapshot, record).await
        }
        .boxed()
    }

    /// Commits the changes, made from `state`, to an Icechunk repository, unless `check` finds
    /// fault with what they make of it.
    pub async fn commit_checked(
        &self,
        repository: &Repository,
        state: &State,
        check: Option<&dyn WriteDocuments>,
    ) -> Result<Outcome> {
        let base = self.oldest(state.latest());
        repository.commit(self, self.record()?, base, state, check).await
    }

    fn record(&self) -> Result<Record> {
        let changes = self.changes().cloned().collect();
        let mut record = Record::new(&self.operation, self.id.clone(), self.key.clone(), changes);
        if let Some(config) = &self.config {
            let (_, bytes) = encode_config(config)?;
            record.config = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(record)
    }

    async fn commit_record(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        mut record: Record,
    ) -> Result<Outcome> {
        self.check_age(snapshot)?;
        // Staged objects must be on disk before the record that names them.
        store.sync().await?;
        // Where that is all that is to be known, the number of the record tells whether others
        // have committed.
        let is_newest =
            snapshot.pending.is_empty() && self.oldest(snapshot.latest) == snapshot.latest;
        let mut since = match is_newest {
            true => Since::default(),
            false => self.since(snapshot).await?,
        };
        let (document, _) = encode_config(&snapshot.config)?;
        for _ in 0..ATTEMPTS {
            if let Some(stale) = self.stale(&since) {
                return Ok(stale);
            }
            let newest = since.records.last().map_or(snapshot.latest, |last| last.sequence);
            record.sequence = newest.saturating_add(1);
            self.may_be_committed.store(true, Ordering::Relaxed);
            let (recorded, is_recorded) = oneshot::channel();
            let tell = || {
                // Nobody waits for it after an error of the lease.
                let _ = recorded.send(());
            };
            let create = log::create(store, &record, Some(document), tell);
            let (created, lease) = futures::join!(create, lease_after(store, is_recorded));
            if let Ok(Created::Done) = created {
                self.may_be_committed.store(false, Ordering::Relaxed);
                let sequence = record.sequence;
                publish_committed(store, record, lease).await;
                return Ok(Outcome::Done(sequence));
            }
            if let Some(Ok(lease)) = lease {
                lease.release(store).await;
            }
            created?;
            self.may_be_committed.store(false, Ordering::Relaxed);
            since = self.since(snapshot).await?;
        }
        Err(Error::new(ErrorKind::CommitConflict, "other writers were always faster; try again")
            .with("attempts", ATTEMPTS)
            .with("store", store.url()))
    }

    /// Whether commits since make it necessary to make changes again.
    pub fn stale(&self, since: &Since) -> Option<Outcome> {
        let Since { records: since, unknown, moved } = since;
        let is_same = |record: &Record| self.key.is_some() && record.key == self.key;
        if *unknown || since.iter().any(|record| record.config.is_some() || is_same(record)) {
            return Some(Outcome::Stale(None));
        }
        // A new configuration was derived from all partitions that existed.
        if self.config.is_some() && since.iter().any(Record::changes_listing) {
            return Some(Outcome::Stale(None));
        }
        let touched = |staged: &&Staged| {
            let path = &staged.change.path;
            let newer = |record: &Record| record.sequence > staged.base && record.touches(path);
            staged.reads && (since.iter().any(newer) || moved.contains(path))
        };
        let stale: Vec<String> = self
            .changes
            .values()
            .filter(touched)
            .map(|staged| staged.change.path.clone())
            .collect();
        (!stale.is_empty()).then_some(Outcome::Stale(Some(stale)))
    }

    /// Refuses what was staged so long ago that garbage collection may take it before the commit.
    fn check_age(&self, snapshot: &Snapshot) -> Result<()> {
        let (steady, wall) = self.began;
        let age = steady.elapsed().max(wall.elapsed().unwrap_or_default());
        snapshot.check_staged_age(age.as_secs())
    }

    /// Removes what was staged, where the commit is proven not to have happened: the directory of
    /// this writer is named by no record then. If that fails it is garbage, and collected as such.
    pub async fn discard(&self, backend: &dyn Backend) {
        if self.may_be_committed.load(Ordering::Relaxed) {
            return;
        }
        let stage = writer_directory(&self.id);
        if let Err(error) = backend.discard(&stage).await {
            tracing::debug!(stage, %error, "staged objects could not be removed");
        }
    }

    /// Removes what earlier attempts staged, after the commit of others.
    pub async fn discard_abandoned(&self, backend: &dyn Backend) {
        for directory in &self.abandoned {
            if let Err(error) = backend.discard(directory).await {
                tracing::debug!(directory, %error, "staged objects could not be removed");
            }
        }
    }
}

/// Publishes a commit. If that fails it stays a commit, which the next writer publishes.
async fn publish_committed(store: &Store, record: Record, lease: Option<Result<Lease>>) {
    let published = match lease {
        Some(Ok(lease)) => publish_with(store, record, lease).await.map(drop),
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    if let Err(error) = published {
        let store = masked(store.url());
        tracing::warn!(%store, %error, "a commit is not published");
    }
}
