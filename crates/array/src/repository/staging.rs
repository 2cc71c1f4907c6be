//! Objects of changes that are not committed.
//!
//! A chunk is stored once, as an object that nothing names yet. Where it is, and small documents,
//! are kept in memory until they are committed, or sent to whoever commits them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use icechunk::format::manifest::ChunkPayload;
use jiff::{SignedDuration, Timestamp};
use partita_core::upkeep::GarbageOptions;
use partita_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::Repository;
use crate::commit::{Change, store_time};

/// Where a repository keeps chunks.
const CHUNKS: &str = "chunks/";

/// Chunks looked for at once. Of more than a thousand, all that are stored are listed instead.
const AT_ONCE: usize = 32;
const MOST_HEADS: usize = 1000;

/// How old a chunk may be that is committed: half of the time for which garbage collection leaves it
/// alone, so that it stays until the commit names it.
fn longest() -> SignedDuration {
    GarbageOptions::default().grace / 2
}

/// Something that is staged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Object {
    /// The text of a document.
    Document(String),
    /// Where a chunk is, or its bytes if they are few.
    Chunk(ChunkPayload),
}

impl Object {
    /// The id of the object that a chunk is stored as, if it is.
    pub fn chunk(&self) -> Option<String> {
        match self {
            Self::Chunk(ChunkPayload::Ref(chunk)) => Some(chunk.id.to_string()),
            _ => None,
        }
    }
}

/// Until when a chunk may be committed without another look at it. By both clocks, since one stands
/// still while the machine sleeps, and the other may be set.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant, SystemTime);

impl Deadline {
    /// The deadline of a chunk that is so old.
    fn of(age: SignedDuration) -> Self {
        let left = Duration::try_from(longest() - age).unwrap_or_default();
        Self(Instant::now() + left, SystemTime::now() + left)
    }

    fn is_past(self) -> bool {
        Instant::now() >= self.0 || SystemTime::now() >= self.1
    }
}

#[derive(Debug)]
struct Kept {
    object: Object,
    /// None if it is not known when it was stored.
    deadline: Option<Deadline>,
}

/// What is staged, by the keys under which it would lie in a plain store.
#[derive(Debug, Default)]
pub(crate) struct Staging(Mutex<BTreeMap<String, Kept>>);

impl Staging {
    /// Keeps what was staged elsewhere, or at another time.
    pub fn put(&self, key: String, object: Object) {
        self.kept().insert(key, Kept { object, deadline: None });
    }

    /// Keeps what was stored just now.
    pub fn put_new(&self, key: String, object: Object) {
        let deadline = Some(Deadline::of(SignedDuration::ZERO));
        self.kept().insert(key, Kept { object, deadline });
    }

    /// What is staged in a directory, by keys relative to it.
    pub fn under(&self, directory: &str) -> Vec<(String, Object)> {
        let start = format!("{directory}/");
        let staged = self.kept();
        let found = staged.range(start.clone()..);
        let relative = found.map_while(|(key, kept)| Some((key.strip_prefix(&start)?, kept)));
        relative.map(|(key, kept)| (key.to_owned(), kept.object.clone())).collect()
    }

    /// Forgets a directory.
    pub fn remove(&self, directory: &str) {
        let start = format!("{directory}/");
        self.kept().retain(|key, _| !key.starts_with(&start));
    }

    /// The stored chunks in a directory that are to be looked at before they are committed: keys and
    /// ids.
    fn unchecked(&self, directory: &str) -> Vec<(String, String)> {
        let start = format!("{directory}/");
        let staged = self.kept();
        let found = staged.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start));
        let unchecked = found.filter(|(_, kept)| kept.deadline.is_none_or(Deadline::is_past));
        unchecked.filter_map(|(key, kept)| Some((key.clone(), kept.object.chunk()?))).collect()
    }

    fn set_deadline(&self, key: &str, deadline: Deadline) {
        if let Some(kept) = self.kept().get_mut(key) {
            kept.deadline = Some(deadline);
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// The ids of the chunks that are stored, whether a commit names them or not, and when they were
    /// stored.
    pub async fn stored_chunks(&self) -> Result<HashMap<String, Timestamp>> {
        let found = self.store().list(CHUNKS);
        let chunk = found.try_filter_map(async |info| {
            let id = info.key.strip_prefix(CHUNKS).map(str::to_owned);
            Ok(id.map(|id| (id, info.last_modified)))
        });
        chunk.try_collect().await
    }

    /// Refuses changes whose chunks are gone, or so old that garbage collection may be removing them:
    /// a state that names such a chunk could not be read. No request for what this process staged
    /// lately; else one for each chunk, or for a thousand stored ones if there are many.
    ///
    /// # Errors
    /// [`StagedExpired`](ErrorKind::StagedExpired) with the partition.
    pub async fn check_staged(&self, changes: &[Change]) -> Result<()> {
        self.check_chunks(changes, Some(longest())).await
    }

    /// The same of a copy into a repository, whose chunks may be of any age: garbage is not collected
    /// where there is no collection yet.
    ///
    /// # Errors
    /// As [`Repository::check_staged`].
    pub async fn check_copied(&self, changes: &[Change]) -> Result<()> {
        self.check_chunks(changes, None).await
    }

    async fn check_chunks(&self, changes: &[Change], limit: Option<SignedDuration>) -> Result<()> {
        let mut unchecked = Vec::new();
        for change in changes {
            let Some(directory) = change.staged_directory() else { continue };
            let found = self.staging.unchecked(&directory).into_iter();
            unchecked.extend(found.map(|(key, id)| (change, key, id)));
        }
        if unchecked.is_empty() {
            return Ok(());
        }
        let now = store_time(&self.store).await?;
        let listed = match unchecked.len() > MOST_HEADS {
            true => Some(self.stored_chunks().await?),
            false => None,
        };
        let listed = listed.as_ref();
        let check = async |(change, key, id): (&Change, String, String)| {
            let stored = match listed {
                Some(listed) => listed.get(&id).copied(),
                None => {
                    let found = self.store.head(&format!("{CHUNKS}{id}")).await?;
                    found.map(|info| info.last_modified)
                }
            };
            let age = match limit {
                Some(_) => stored.map(|stored| now.duration_since(stored)),
                None => stored.map(|_| SignedDuration::ZERO),
            };
            match age {
                Some(age) if limit.is_none_or(|limit| age < limit) => {
                    self.staging.set_deadline(&key, Deadline::of(age));
                    Ok(())
                }
                age => Err(self.expired(change, age)),
            }
        };
        let checks = stream::iter(unchecked).map(check).buffer_unordered(AT_ONCE);
        checks.try_for_each(|()| async { Ok(()) }).await
    }

    fn expired(&self, change: &Change, age: Option<SignedDuration>) -> Error {
        let message = match age {
            Some(_) => {
                "what was staged for a partition is so old that garbage collection may remove it; \
                 stage it again"
            }
            None => {
                "garbage collection has removed what was staged for a partition; stage it again"
            }
        };
        let error = Error::new(ErrorKind::StagedExpired, message).with("partition", &change.path);
        let error = match age {
            Some(age) => error.with("age", format!("{age:#}")),
            None => error,
        };
        error.with("limit", format!("{:#}", longest())).with("store", self.url())
    }
}
