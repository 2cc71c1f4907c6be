//! Commits: apply a change to the newest state and swap the header; on a lost race, again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::{Swap, Version, backoff};
use partita_core::{Cancel, Error, ErrorKind, Result, Store};

use crate::change::{Change, Next};
use crate::format::keys;
use crate::format::schema::{decode_common_metadata, encode_common_metadata};
use crate::format::snapshot::{Document, Operation, Totals};
use crate::stage::discard;
use crate::state::{State, header_key, read_header};

/// Lost races after which a commit gives up. With so many, something other than other writers is
/// wrong.
const ATTEMPTS: u32 = 1_000;

/// What a commit did. Where there was nothing to do none was made, and version and id are those
/// of the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version that it made.
    pub version: u64,
    /// Its id.
    pub id: String,
    /// Files added.
    pub files_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Rows added.
    pub rows_added: u64,
    /// Rows removed, as far as known.
    pub rows_removed: u64,
    /// Bytes added.
    pub bytes_added: u64,
    /// How often the change was applied: one, and one more for each race lost.
    pub attempts: u32,
}

impl Commit {
    /// The commit that was not needed.
    pub(crate) fn nothing(state: &State, attempts: u32) -> Self {
        Self {
            version: state.own.version,
            id: state.own.commit.clone(),
            files_added: 0,
            files_removed: 0,
            rows_added: 0,
            rows_removed: 0,
            bytes_added: 0,
            attempts,
        }
    }
}

/// The present time as plateau writes it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")
        .to_string()
}

/// Whether the table may exist already when a commit makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It must exist: this is no creation.
    Required,
    /// It must not exist.
    Refused,
    /// It is replaced.
    Replaced,
}

/// What a commit does, decided anew for every state it is tried on.
pub(crate) trait Propose: Send {
    /// The change to apply to `base`, the newest state known; `None` if there is nothing to do.
    fn propose(
        &mut self,
        base: Option<&Arc<State>>,
    ) -> impl Future<Output = Result<Option<Change>>> + Send;

    /// What makes a commit that is sent twice one commit.
    fn idempotency_key(&self) -> Option<&str> {
        None
    }
}

/// The same change whatever the state.
impl Propose for &Change {
    async fn propose(&mut self, base: Option<&Arc<State>>) -> Result<Option<Change>> {
        Ok((!self.is_idle(base)?).then(|| self.clone()))
    }

    fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }
}

/// Applies the change proposed to the dataset `name` until the swap succeeds. `cached` is tried first, which
/// saves a request where nobody else has written.
///
/// Atomic: the change is visible whole or not at all. On an error nothing has changed, except for
/// `CommitUnknown`, where it could not be learned.
pub(crate) async fn commit(
    store: &Store,
    name: &str,
    mut change: impl Propose,
    cached: Option<Arc<State>>,
    existing: Existing,
    cancel: &Cancel,
) -> Result<(Arc<State>, Commit)> {
    store.check_writable()?;
    let id = match change.idempotency_key() {
        Some(key) => id_of(key),
        None => uuid::Uuid::new_v4().simple().to_string(),
    };
    let mut base = cached;
    for attempt in 1..=ATTEMPTS {
        cancel.check()?;
        if base.is_none() {
            base = load_base(store, name, existing).await?;
        }
        if let Some(known) = &base
            && known.own.recent.contains(&id)
        {
            return Ok((Arc::clone(known), Commit::nothing(known, attempt)));
        }
        if let Some(known) = base {
            base = Some(known.completed(store, cancel).await?);
        }
        let next = match (change.propose(base.as_ref()).await?, &base) {
            (Some(change), _) => change.apply(store, name, &id, base.as_deref()).await?,
            (None, Some(base)) => return Ok((Arc::clone(base), Commit::nothing(base, attempt))),
            (None, None) => return Err(Error::invalid("there is nothing to commit")),
        };
        match try_swap(store, name, &id, base.as_deref(), next).await? {
            Attempt::Done { state, version, totals } => {
                let commit = Commit {
                    version,
                    id,
                    files_added: totals.files_added,
                    files_removed: totals.files_removed,
                    rows_added: totals.rows_added,
                    rows_removed: totals.rows_removed,
                    bytes_added: totals.bytes_added,
                    attempts: attempt,
                };
                return Ok((state, commit));
            }
            Attempt::Lost => {
                base = None;
                backoff(attempt.min(6), Duration::from_millis(4)).await;
            }
        }
    }
    Err(Error::new(ErrorKind::CommitConflict, "other writers were always first; try again later")
        .with("dataset", name)
        .with("attempts", ATTEMPTS))
}

/// The id of a commit with an idempotency key.
pub(crate) fn id_of(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().chars().take(32).collect()
}

async fn load_base(store: &Store, name: &str, existing: Existing) -> Result<Option<Arc<State>>> {
    match (existing, read_header(store, name).await?) {
        (Existing::Required, None) => {
            Err(Error::new(ErrorKind::NotFound, "there is no table here").with("dataset", name))
        }
        (Existing::Refused, Some(_)) => Err(already_exists(name)),
        (_, None) => Ok(None),
        (_, Some((bytes, version, encoding))) => {
            Ok(Some(Arc::new(State::from_header(store, name, &bytes, version, encoding).await?)))
        }
    }
}

pub(crate) fn already_exists(name: &str) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "a table of this name exists; pass overwrite to replace it",
    )
    .with("dataset", name)
}

enum Attempt {
    Done { state: Arc<State>, version: u64, totals: Totals },
    Lost,
}

async fn try_swap(
    store: &Store,
    name: &str,
    id: &str,
    base: Option<&State>,
    mut next: Next,
) -> Result<Attempt> {
    let header = Bytes::from(next.header.encode(next.encoding)?);
    next.snapshot.document.header_hash = blake3::hash(&header).to_hex().to_string();
    let mut side: Vec<(String, Bytes)> = std::mem::take(&mut next.index_files);
    side.push((next.own.snapshot.clone(), next.snapshot.encode()?));
    if next.schema_changed {
        let key = keys::common_metadata(name, &next.table_name);
        store.put(&key, encode_common_metadata(&next.snapshot.schema)?).await?;
    }
    let written: Vec<String> = side.iter().map(|(key, _)| key.clone()).collect();
    stream::iter(side)
        .map(|(key, bytes)| async move { store.put(&key, bytes).await })
        .buffer_unordered(8)
        .try_collect::<()>()
        .await?;

    let key = header_key(name, next.encoding);
    let expected = base.map(|base| &base.stored_as);
    let swapped = store.compare_and_swap(&key, expected, header.clone(), id).await;
    match swapped {
        Ok(Swap::Done(stored_as)) => {
            let Document { version, change: totals, .. } = next.snapshot.document;
            let changed = next.schema_changed;
            let state = Arc::new(next.into_state(stored_as));
            if changed {
                restore_schema(store, name, &state).await?;
            }
            Ok(Attempt::Done { state, version, totals })
        }
        Ok(Swap::Lost { .. }) => {
            discard(store, written).await;
            if next.schema_changed
                && let Ok(state) = State::load(store, name).await
            {
                restore_schema(store, name, &state).await?;
            }
            Ok(Attempt::Lost)
        }
        Err(error) => {
            if error.kind() != ErrorKind::CommitUnknown {
                discard(store, written).await;
            }
            Err(error)
        }
    }
}

/// `_common_metadata` is not part of the swap: two writers that change the schema at once may
/// leave the loser's. Whoever changed it looks once more after the swap was decided.
async fn restore_schema(store: &Store, name: &str, state: &State) -> Result<()> {
    let key = keys::common_metadata(name, &state.table_name);
    let stored = store.get_opt(&key).await?;
    let same = stored
        .and_then(|bytes| decode_common_metadata(&bytes).ok())
        .is_some_and(|schema| schema.fields() == state.stored.fields());
    if !same {
        store.put(&key, encode_common_metadata(&state.stored)?).await?;
    }
    Ok(())
}

impl Next {
    fn into_state(self, stored_as: Version) -> State {
        let document = self.snapshot.document;
        let mut header = self.header;
        // The manifest names the files as well.
        header.partitions = None;
        let schema = crate::format::schema::table_schema(
            &self.snapshot.schema,
            &self.own.columns,
            &document.extension_types,
        );
        State {
            header,
            encoding: self.encoding,
            stored_as,
            table_name: self.table_name,
            partition_by: document.partition_by.clone(),
            stored: self.snapshot.schema,
            schema,
            own: self.own,
            indices_complete: document.indices_complete,
            index_lengths: document.index_lengths,
            extensions: document.extension_types,
            manifest: self.snapshot.manifest,
        }
    }
}

/// The name of an operation that adds files and removes those in a scope.
pub(crate) fn operation_of(adds: bool, removes: bool) -> Operation {
    match (adds, removes) {
        (true, true) => Operation::Replace,
        (false, true) => Operation::Delete,
        _ => Operation::Append,
    }
}
