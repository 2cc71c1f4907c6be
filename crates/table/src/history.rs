//! The commits of a table, read from its snapshots.

use jiff::Timestamp;
use partita_core::{Error, Result, Store};

use crate::format::footer::ParquetObject;
use crate::format::snapshot::{Document, Operation, decode_document};
use crate::state::State;

/// One commit of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The version that it made.
    pub version: u64,
    /// Its id.
    pub commit: String,
    /// When the writer made it, by the writer's clock.
    pub time: Timestamp,
    /// What it did.
    pub operation: Operation,
    /// Files of the table after it.
    pub files: u64,
    /// Rows of the table after it, as far as known.
    pub rows: u64,
    /// Bytes of the table after it, as far as known.
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

/// Walks from the newest snapshot to its parents. It ends where a snapshot is gone.
pub(crate) async fn history(store: &Store, state: &State) -> Result<Vec<SnapshotInfo>> {
    let mut infos = Vec::new();
    let mut next = Some(state.own.snapshot.clone()).filter(|key| !key.is_empty());
    while let Some(key) = next {
        let Some(object) = store.head(&key).await? else { break };
        let mut object = ParquetObject::open(store, &key, Some(object.size), None).await?;
        let document = decode_document(&object.metadata(false).await?, &key)?;
        next = document.parent.clone();
        // Parents are older: anything else would be a loop in damaged data.
        let ordered =
            infos.last().is_none_or(|last: &SnapshotInfo| last.version > document.version);
        if !ordered {
            return Err(Error::corrupt("a snapshot's parent is not older than it").with("key", key));
        }
        infos.push(info(document));
    }
    Ok(infos)
}

fn info(document: Document) -> SnapshotInfo {
    SnapshotInfo {
        version: document.version,
        time: document.time.parse().unwrap_or(Timestamp::UNIX_EPOCH),
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
