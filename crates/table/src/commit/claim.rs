//! Idempotency keys: what makes a commit that is sent twice one commit.
//!
//! The id of a commit with a key is made of the key's hash. Before its swap an object is created
//! under that id, which says what the key is for. Whoever creates it commits. Whoever finds it looks
//! whether the history holds the commit; if not, its writer is at it, or died, and the finder makes
//! the same commit: of several that try, the header names one.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use partita_core::store::Swap;
use partita_core::{Error, Result, Store};
use serde::{Deserialize, Serialize};

use crate::format::keys;
use crate::format::marks;
use crate::history::{Recorded, walk};
use crate::state::State;

const FORMAT: u32 = 1;

/// The content of the object of an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    /// The key, as the caller gave it.
    key: String,
    /// The id of the commit.
    commit: String,
    /// A description of the commit's operation.
    purpose: String,
    /// Tells who created the object.
    created_by: String,
}

/// The id of a commit with an idempotency key.
pub(crate) fn id_of(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().chars().take(32).collect()
}

/// Takes `key` for a commit that does `purpose`. Returns false if it was taken before, for the same.
/// One request; two where it was taken before.
///
/// # Errors
/// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if it was taken for something else.
pub(super) async fn take(store: &Store, name: &str, key: &str, purpose: &str) -> Result<bool> {
    let commit = id_of(key);
    let created_by = uuid::Uuid::new_v4().simple().to_string();
    let document = Document {
        format: FORMAT,
        key: key.to_owned(),
        commit: commit.clone(),
        purpose: purpose.to_owned(),
        created_by: created_by.clone(),
    };
    let at = keys::claim(name, &commit);
    let current =
        match store.compare_and_swap(&at, None, marks::encode(&document)?, &created_by).await? {
            Swap::Done(_) => return Ok(true),
            Swap::Lost { current: Some((bytes, _)) } => bytes,
            // An expiry has removed the object together with its commit.
            Swap::Lost { current: None } => return Ok(false),
        };
    let taken = decode(&current, &at)?;
    if taken.purpose != purpose {
        return Err(Error::invalid("the idempotency key was used for another operation")
            .with("idempotency_key", key)
            .with("used_for", taken.purpose)
            .with("asked_for", purpose)
            .with("dataset", name));
    }
    Ok(false)
}

fn decode(bytes: &Bytes, at: &str) -> Result<Document> {
    let damaged = |error: serde_json::Error| {
        Error::corrupt("the object of an idempotency key cannot be read")
            .with("key", at)
            .caused_by(error)
    };
    serde_json::from_slice(bytes).map_err(damaged)
}

/// The commit of this id, if the history of `newest` holds it. No request if it is one of the last
/// 64; else a listing of the snapshots, and only where one has the id the snapshots down to it.
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

/// A commit that the history holds.
pub(crate) struct Found {
    pub version: u64,
    /// Its snapshot, where it was read.
    pub recorded: Option<Box<Recorded>>,
}
