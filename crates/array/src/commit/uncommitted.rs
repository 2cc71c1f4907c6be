//! Staged objects that no commit names.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::TryStreamExt;
use jiff::Timestamp;
use partita_core::store::ObjectInfo;
use partita_core::{Result, Store};

use super::clean::{Limits, clean};
use super::head::{Head, Retention};
use super::log;
use super::note::{self, Note};
use super::paths::{STAGE, record_key, staged_directory};
use super::publish::under_lease;
use crate::protocol::keeps_staged;

/// The name of manifests, below the directory of what is staged for a partition.
const MANIFEST: &str = "/.manifest";

/// Removes what published commits have replaced, beyond what each publisher removes. Returns keys
/// and sizes.
pub(super) async fn clean_replaced(store: &Store, limits: Limits) -> Result<Vec<(String, u64)>> {
    under_lease(store, async |lease| {
        let (head, version) = Head::read_versioned(store).await?;
        match version {
            Some(version) => clean(store, lease, head, &version, limits).await,
            None => Ok(Vec::new()),
        }
    })
    .await
}

/// Sets how much history a collection keeps, and its grace period.
pub(super) async fn change_retention(
    store: &Store,
    retention: Retention,
    grace: Option<u64>,
) -> Result<()> {
    under_lease(store, async |_| {
        let (mut head, version) = Head::read_versioned(store).await?;
        head.retention = retention;
        head.grace = grace.unwrap_or(head.grace);
        // The new setting changes when clean-up is due.
        head.clean_after = None;
        head.replace(store, version.as_ref()).await.map(drop)
    })
    .await
}

/// Ends the history of a collection before the state of a commit.
pub(super) async fn end_history(store: &Store, end: u64) -> Result<()> {
    under_lease(store, async |_| {
        let (mut head, version) = Head::read_versioned(store).await?;
        head.expired = head.expired.max(end);
        head.clean_after = None;
        head.replace(store, version.as_ref()).await.map(drop)
    })
    .await
}

/// What a writer has staged of changes that no commit names.
pub(super) struct Uncommitted {
    pub writer: String,
    /// When the writer last staged anything, by the clock of the store.
    pub changed: Timestamp,
    pub objects: Vec<ObjectInfo>,
}

/// What writers that have changed nothing since `old` have staged, of changes that no commit names
/// but for those whose records are `dead`.
pub(super) async fn uncommitted(
    store: &Store,
    old: Timestamp,
    dead: &[ObjectInfo],
) -> Result<Vec<Uncommitted>> {
    let mut writers: BTreeMap<String, Vec<ObjectInfo>> = BTreeMap::new();
    let prefix = format!("{STAGE}/");
    let mut listed = store.list(&prefix);
    while let Some(object) = listed.try_next().await? {
        let below = object.key.strip_prefix(&prefix).unwrap_or_default();
        let writer = below.split('/').next().unwrap_or_default().to_owned();
        writers.entry(writer).or_default().push(object);
    }
    // Objects were listed first and records are read now: what is committed in between is seen.
    let committed = committed(store, dead).await?;
    let mut found = Vec::new();
    for (writer, objects) in writers {
        let changed = store.changed_at(&format!("{prefix}{writer}")).await?;
        if let Some(changed) = changed.filter(|changed| *changed < old) {
            let objects = unnamed(store, objects, &committed).await?;
            found.push(Uncommitted { writer, changed, objects });
        }
    }
    Ok(found)
}

/// The directories of staged changes that records name which are not dead.
async fn committed(store: &Store, dead: &[ObjectInfo]) -> Result<HashSet<String>> {
    let dead: HashSet<&str> = dead.iter().map(|object| object.key.as_str()).collect();
    let mut records = log::records(store).await?;
    records.retain(|record| !dead.contains(record_key(record.sequence).as_str()));
    let changes = records.iter().flat_map(|record| &record.changes);
    Ok(changes.filter_map(|change| change.staged_directory()).collect())
}

/// Of the objects of one writer those of changes that no commit names.
async fn unnamed(
    store: &Store,
    objects: Vec<ObjectInfo>,
    committed: &HashSet<String>,
) -> Result<Vec<ObjectInfo>> {
    let manifests = objects.iter().filter_map(|object| object.key.strip_suffix(MANIFEST));
    let mut kept: HashMap<String, bool> = HashMap::new();
    for directory in manifests {
        let is_recorded = committed.contains(directory);
        let is_noted = !is_recorded && is_noted(store, directory).await?;
        kept.insert(directory.to_owned(), keeps_staged(is_recorded, is_noted));
    }
    let is_named = |object: &ObjectInfo| {
        let ends = object.key.match_indices('/').map(|(end, _)| end);
        ends.filter_map(|end| object.key.get(..end)).any(|directory| {
            committed.contains(directory) || kept.get(directory).is_some_and(|kept| *kept)
        })
    };
    Ok(objects.into_iter().filter(|object| !is_named(object)).collect())
}

/// Whether a note names the change that is staged in a directory: its record may be gone while its
/// manifest is still a part of the current state.
async fn is_noted(store: &Store, directory: &str) -> Result<bool> {
    let below = directory.strip_prefix(STAGE).and_then(|below| below.strip_prefix('/'));
    let mut parts = below.unwrap_or_default().splitn(3, '/');
    let (Some(writer), Some(attempt), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return Ok(false);
    };
    let stage = format!("{STAGE}/{writer}/{attempt}");
    debug_assert_eq!(staged_directory(&stage, path), directory);
    for name in note::names(store, path).await? {
        let note = Note::read(store, path, &name).await?;
        if note.is_some_and(|note| note.stage.as_ref() == Some(&stage)) {
            return Ok(true);
        }
    }
    Ok(false)
}
