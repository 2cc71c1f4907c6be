//! Repair of a history with a missing or damaged snapshot.
//!
//! The newest snapshot describes the header, so it can be written again. An older one cannot; its
//! child is then linked to the newest existing snapshot before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use partita_core::{Cancel, Error, Result, Store};

use crate::commit::now;
use crate::format::snapshot::{Document, Operation, Snapshot};
use crate::history::{Recorded, older_recent};
use crate::state::{State, read_header};

/// Repairs the history of `state` past the first missing snapshot after `found`, which are the
/// readable snapshots from the newest on.
pub(crate) async fn mend(
    store: &Store,
    state: &Arc<State>,
    found: &[Recorded],
    cancel: &Cancel,
) -> Result<()> {
    match found.last() {
        None => write_newest(store, state, cancel).await,
        Some(child) => relink(store, state, child).await,
    }
}

/// Rewrites the snapshot of the newest commit.
async fn write_newest(store: &Store, state: &Arc<State>, cancel: &Cancel) -> Result<()> {
    let name = state.header.uuid.as_str();
    let changed = || Error::invalid("the table was changed in the meantime; verify it again");
    let (header, stored_as, _) = read_header(store, name).await?.ok_or_else(changed)?;
    if stored_as != state.stored_as {
        return Err(changed());
    }
    let state = Arc::clone(state).completed(store, cancel).await?;
    let own = &state.own;
    let older = older_recent(store, name, own, own.version).await?;
    // The lost snapshot was the only record of the operation, so the new one records a restore.
    let mut document = Document::new(own.version, &own.commit, Operation::Restore, now());
    let last = own.recent.first().and_then(|last| last.split_once('-'));
    document.attempt = last.map(|(_, attempt)| attempt.to_owned()).unwrap_or_default();
    document.parent = older.into_iter().next_back().map(|(_, key)| key);
    document.header_hash = blake3::hash(&header).to_hex().to_string();
    document.table_name.clone_from(&state.table_name);
    document.columns.clone_from(&own.columns);
    document.partition_by.clone_from(&state.partition_by);
    document.derived = Some(own.derived.clone());
    document.bloom_filters.clone_from(&own.bloom_filters);
    document.indices.clone_from(&state.header.indices);
    document.indices_complete = false;
    document.index_lengths = BTreeMap::new();
    document.metadata = state.header.user_metadata();
    document.extension_types.clone_from(&state.extensions);
    document.last_column_id = own.last_column_id;
    document.schemas.clone_from(&state.schemas);
    document.files = state.manifest.len() as u64;
    document.rows = state.manifest.total_rows();
    document.bytes = state.manifest.total_bytes();
    let (schema, manifest) = (state.stored.clone(), state.manifest.clone());
    store.put(&own.snapshot, Snapshot { document, schema, manifest, delta: None }.encode()?).await
}

/// Links a snapshot to the newest existing older one, skipping its missing parent.
async fn relink(store: &Store, state: &State, child: &Recorded) -> Result<()> {
    let mut snapshot = Snapshot::fetch(store, &child.key).await?;
    let older = older_recent(store, &state.header.uuid, &state.own, child.document.version).await?;
    let lost = snapshot.document.parent.take();
    snapshot.document.renew();
    let keys = older.into_iter().rev().map(|(_, key)| key);
    snapshot.document.parent = keys.into_iter().find(|key| Some(key) != lost.as_ref());
    store.put(&child.key, snapshot.encode()?).await
}
