//! The commit of an idempotency key.
//!
//! The id of a commit with a key is the name of the key's object: of several callers that try to make
//! it, the header names one.

use std::sync::Arc;

use futures::TryStreamExt;
use partita_core::{KeyUse, Result, Store};

use crate::format::keys;
use crate::history::{Recorded, walk};
use crate::state::State;

/// Takes `key` for the commit `id`, which does `purpose`. Returns as [`KeyUse::claim`].
pub(super) async fn take(
    store: &Store,
    name: &str,
    key: &str,
    id: &str,
    purpose: &str,
) -> Result<bool> {
    let used = KeyUse { key, commit: Some(id), purpose, dataset: name };
    used.claim(store, &keys::claim(name, id)).await
}

/// The commit with this id, if the history of `newest` contains it. No request if it is one of the
/// last 64; otherwise a listing of the snapshots, and only if one has the id, the snapshots down to
/// it.
pub(crate) async fn find(
    store: &Store,
    newest: &Arc<State>,
    commit: &str,
) -> Result<Option<Found>> {
    let own = &newest.own;
    let entry = |entry: &String| entry.split('-').next() == Some(commit);
    if let Some(position) = own.recent.iter().position(entry) {
        let version = own.version.saturating_sub(position as u64);
        return Ok(Some(Found { version, recorded: None }));
    }
    let listed = store.list(&keys::snapshots(&newest.header.uuid));
    let versions = listed.try_filter_map(|object| {
        let is_its = object.key.contains(&format!("-{commit}"));
        let version = is_its.then(|| keys::version_of_snapshot(&object.key)).flatten();
        futures::future::ready(Ok(version))
    });
    let versions: Vec<u64> = versions.try_collect().await?;
    let Some(oldest) = versions.iter().min().copied() else { return Ok(None) };
    let reached = |recorded: &Recorded| {
        recorded.document.commit == commit || recorded.document.version <= oldest
    };
    let found = walk(store, newest, reached).await?.pop();
    let found = found.filter(|recorded| recorded.document.commit == commit);
    Ok(found.map(|recorded| Found {
        version: recorded.document.version,
        recorded: Some(Box::new(recorded)),
    }))
}

/// A commit that the history contains.
pub(crate) struct Found {
    pub version: u64,
    /// Its snapshot, if it was read.
    pub recorded: Option<Box<Recorded>>,
}
