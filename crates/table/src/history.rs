//! The commits of a table, read from its snapshots.

use arrow::datatypes::Schema;
use futures::TryStreamExt;
use jiff::Timestamp;
use partita_core::{At, Error, ErrorKind, Result, Store};

use crate::format::footer::ParquetObject;
use crate::format::header::{Own, REMEMBERED};
use crate::format::keys;
use crate::format::snapshot::{
    Document, Operation, Snapshot, decode_document, decode_snapshot_schema,
};
use crate::protocol::explains_missing;
use crate::state::State;

/// One commit of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The version that the commit created.
    pub version: u64,
    /// Its id.
    pub commit: String,
    /// When the commit was made, by the writer's clock.
    pub time: Timestamp,
    /// The kind of the commit.
    pub operation: Operation,
    /// Number of files after the commit.
    pub files: u64,
    /// Number of rows after the commit, as far as known.
    pub rows: u64,
    /// Size in bytes after the commit, as far as known.
    pub bytes: u64,
    /// Files it added.
    pub files_added: u64,
    /// Files it removed.
    pub files_removed: u64,
    /// Rows it added.
    pub rows_added: u64,
    /// Rows it removed, as far as known.
    pub rows_removed: u64,
}

/// A recorded commit and the key of its snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub key: String,
    pub document: Document,
    /// The stored schema, where it can be read.
    pub schema: Option<Schema>,
}

impl Recorded {
    fn time(&self) -> Timestamp {
        self.document.time.parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub fn info(self) -> SnapshotInfo {
        let time = self.time();
        let document = self.document;
        SnapshotInfo {
            version: document.version,
            time,
            commit: document.commit,
            operation: document.operation,
            files: document.files,
            rows: document.rows,
            bytes: document.bytes,
            files_added: document.change.files_added,
            files_removed: document.change.files_removed,
            rows_added: document.change.rows_added,
            rows_removed: document.change.rows_removed,
        }
    }
}

/// Walks from the newest snapshot of `state` to its ancestors, and stops after the first that
/// `last` accepts. It also ends at a missing snapshot, unless that is the newest, which nothing
/// removes.
pub(crate) async fn walk(
    store: &Store,
    state: &State,
    last: impl Fn(&Recorded) -> bool,
) -> Result<Vec<Recorded>> {
    let (found, error) = walk_far(store, state, last).await?;
    error.map_or(Ok(found), Err)
}

/// Like [`walk`], but returns the readable part of the history together with the error that ended
/// it.
pub(crate) async fn walk_far(
    store: &Store,
    state: &State,
    last: impl Fn(&Recorded) -> bool,
) -> Result<(Vec<Recorded>, Option<Error>)> {
    let mut found: Vec<Recorded> = Vec::new();
    match walk_into(store, state, last, &mut found).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok((found, Some(error))),
        walked => walked.map(|()| (found, None)),
    }
}

async fn walk_into(
    store: &Store,
    state: &State,
    last: impl Fn(&Recorded) -> bool,
    found: &mut Vec<Recorded>,
) -> Result<()> {
    let mut next = Some(state.own.snapshot.clone()).filter(|key| !key.is_empty());
    while let Some(key) = next {
        let Some(object) = store.head(&key).await? else {
            // A library without knowledge of the history may have copied the header to another
            // dataset; the snapshot key then belongs to the original.
            if found.is_empty() && key.starts_with(&keys::snapshots(&state.header.uuid)) {
                return Err(lost(&key));
            }
            break;
        };
        let mut object = ParquetObject::open(store, &key, Some(object.size), None).await?;
        let footer = object.metadata(false).await?;
        let document = decode_document(&footer, &key)?;
        let schema = decode_snapshot_schema(&footer, &key).ok();
        next = document.parent.clone();
        // Versions of parents must decrease: otherwise damaged data could contain a cycle.
        if found.last().is_some_and(|newer| newer.document.version <= document.version) {
            return Err(Error::corrupt("a snapshot's parent is not older than it").with("key", key));
        }
        let recorded = Recorded { key, document, schema };
        let done = last(&recorded);
        found.push(recorded);
        if done {
            break;
        }
    }
    Ok(())
}

/// The error for a missing snapshot that the history needs.
pub(crate) fn lost(key: &str) -> Error {
    Error::corrupt(
        "a snapshot that the table needs for its history is not in the store; put it back, or have \
         the history go on without it by `verify(repair=True)`",
    )
    .with("key", key)
}

/// The commits up to the snapshot at `key`, newest first, as far as they are known, in the format
/// of the header's list.
pub(crate) async fn commits_before(store: &Store, key: &str) -> Result<Vec<String>> {
    let mut commits = Vec::new();
    let mut next = Some(key.to_owned());
    while let Some(key) = next.filter(|_| commits.len() < REMEMBERED) {
        let Some(object) = store.head(&key).await? else { break };
        let mut object = ParquetObject::open(store, &key, Some(object.size), None).await?;
        let read = object.metadata(false).await;
        let Ok(document) = read.and_then(|footer| decode_document(&footer, &key)) else { break };
        commits.push(match document.attempt.is_empty() {
            true => document.commit,
            false => format!("{}-{}", document.commit, document.attempt),
        });
        next = document.parent;
    }
    Ok(commits)
}

/// A snapshot that holds the schema of the newest one, which is lost or damaged: the newest older
/// one in which the schema has the number that the header names. One request, and two for each
/// snapshot that is looked at.
pub(crate) async fn of_same_schema(
    store: &Store,
    name: &str,
    own: &Own,
) -> Result<Option<Snapshot>> {
    if own.schema == 0 {
        return Ok(None);
    }
    for (_, key) in older_recent(store, name, own, own.version).await?.into_iter().rev() {
        let look = async {
            let mut object = ParquetObject::open(store, &key, None, None).await?;
            let document = decode_document(&object.metadata(false).await?, &key)?;
            match document.schemas.current == own.schema {
                true => Snapshot::decode(store.get(&key).await?, &key).map(Some),
                false => Ok(None),
            }
        };
        match look.await {
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            found => return found,
        }
    }
    Ok(None)
}

/// The stored snapshots of the table `name` that are older than `version` and belong to commits
/// listed in the header. Snapshots of commits that lost a race are not included.
pub(crate) async fn older_recent(
    store: &Store,
    name: &str,
    own: &Own,
    version: u64,
) -> Result<Vec<(u64, String)>> {
    let directory = keys::snapshots(name);
    let mut found = Vec::new();
    let mut objects = store.list(&directory);
    while let Some(object) = objects.try_next().await? {
        let name = object.key.rsplit('/').next().unwrap_or_default();
        let parts = name.strip_suffix(".parquet").and_then(|name| name.split_once('-'));
        if let Some((number, commit)) = parts
            && let Ok(number) = number.parse::<u64>()
            && number < version
            && own.recent.iter().any(|recent| recent == commit)
        {
            found.push((number, object.key));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The missing snapshot of the history: the parent of the oldest of `walked`, which must be a
/// complete walk, or the newest one itself.
pub(crate) fn gap<'a>(state: &'a State, walked: &'a [Recorded]) -> Option<&'a str> {
    let next = match walked.last() {
        Some(oldest) => oldest.document.parent.as_deref(),
        None => Some(state.own.snapshot.as_str()),
    };
    next.filter(|key| !key.is_empty())
}

/// True if the history may end at a missing snapshot because the versions up to it have expired.
/// One request if one is missing.
pub(crate) async fn ends_well(store: &Store, state: &State, walked: &[Recorded]) -> Result<bool> {
    let Some(missing) = gap(state, walked) else { return Ok(true) };
    // Expiries of releases that wrote format 1 left no mark.
    if walked.last().is_some_and(|oldest| !oldest.document.records_changes()) {
        return Ok(true);
    }
    let Some(version) = keys::version_of_snapshot(missing) else { return Ok(false) };
    let mut marks = store.list(&keys::expiries(&state.header.uuid));
    while let Some(mark) = marks.try_next().await? {
        // The key of a mark contains the oldest version that was kept.
        let oldest = keys::version_of_snapshot(&mark.key);
        if oldest.is_some_and(|oldest| explains_missing(oldest, version)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The commit that created the requested version.
pub(crate) async fn find(store: &Store, state: &State, at: At) -> Result<Recorded> {
    let at = match at {
        At::Name(name) => At::number_or_time(&name).ok_or_else(|| unknown(&name))?,
        at => at,
    };
    let reached = |recorded: &Recorded| match &at {
        At::Number(version) => recorded.document.version <= *version,
        At::Time(time) => recorded.time() <= *time,
        // Turned into one of the others above.
        At::Name(_) => false,
    };
    let walked = walk(store, state, reached).await?;
    let oldest = walked.last().map_or(0, |recorded| recorded.document.version);
    let exact = |recorded: &Recorded| match &at {
        At::Number(version) => recorded.document.version == *version,
        At::Time(_) | At::Name(_) => reached(recorded),
    };
    walked.into_iter().next_back().filter(exact).ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, "the history holds no such version");
        let error = match &at {
            At::Time(time) => error.with("time", time),
            at => error.with("version", at),
        };
        error.with("newest", state.own.version).with("oldest looked at", oldest)
    })
}

fn unknown(name: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        "versions of a table are named by their numbers, or by a time in ISO 8601",
    )
    .with("name", name)
}
