//! The idempotency key of a commit: whether the commit was made already.

use std::collections::HashSet;

use futures::TryStreamExt;
use jiff::Timestamp;
use partita_core::store::ObjectInfo;
use partita_core::{KeyUse, Result, Store, idempotency_id};

use super::draft::Draft;
use super::log;
use super::paths::KEYS;
use super::snapshot::Snapshot;

impl Draft {
    /// The number of the commit with the key of this draft, if it was made already. `snapshot` is the
    /// one from which the next attempt is made. One request at the first attempt, and those of a
    /// search through the records where the key was used before.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the key was used for another
    /// operation.
    pub async fn made_before(&mut self, snapshot: &Snapshot) -> Result<Option<u64>> {
        let Some(key) = &self.key else { return Ok(None) };
        let store = snapshot.base();
        let purpose = self.operation();
        let used = KeyUse { key, commit: None, purpose, dataset: store.url() };
        let after = match (self.searched, snapshot.state()) {
            (Some(searched), _) => searched,
            // A repository keeps its records together, and they are all in memory.
            (None, Some(_)) => 0,
            // Nobody commits with the key before its object is there, so a commit with it follows
            // the snapshot if this call has created the object.
            (None, None) => match used.claim(store, &key_object(key)).await? {
                true => snapshot.latest,
                false => 0,
            },
        };
        let found = snapshot.find_key(key, after).await?;
        if let Some(record) = &found {
            used.check_same(&record.operation)?;
        }
        self.searched = Some(snapshot.latest);
        Ok(found.map(|record| record.sequence))
    }
}

/// The objects of idempotency keys that were created before `very_old`, and whose commits are not in
/// the log any more, or never were.
pub(super) async fn unused_keys(store: &Store, very_old: Timestamp) -> Result<Vec<ObjectInfo>> {
    let old = async |info: ObjectInfo| Ok((info.last_modified < very_old).then_some(info));
    let listed: Vec<ObjectInfo> = store.list(KEYS).try_filter_map(old).try_collect().await?;
    if listed.is_empty() {
        return Ok(listed);
    }
    let records = log::records(store).await?;
    let keys = records.iter().filter_map(|record| record.key.as_deref());
    let used: HashSet<String> = keys.map(key_object).collect();
    Ok(listed.into_iter().filter(|info| !used.contains(&info.key)).collect())
}

fn key_object(key: &str) -> String {
    format!("{KEYS}{}.json", idempotency_id(key))
}
