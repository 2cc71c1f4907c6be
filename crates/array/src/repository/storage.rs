//! What Icechunk keeps, in a store of ours: with its options, its clients, and its conditional
//! writes, which local files have too.

use std::fmt;
use std::io::Cursor;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use icechunk::storage::{
    DeleteObjectsResult, GetModifiedResult, ListInfo, Storage, StorageContext, StorageError,
    StorageErrorKind, StorageInfo, StorageResult, VersionInfo, VersionedUpdateResult,
};
use jiff::Timestamp;
use partita_core::store::{LARGEST, Swap, Version};
use partita_core::{Error, ErrorKind, Result, Store, commit_point};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sweep::Sweep;

/// Directories of objects that are written once. Everything else has versions.
pub(super) const WRITTEN_ONCE: [&str; 6] =
    ["chunks/", "manifests/", "snapshots/", "transactions/", "attributes/", "overwritten/"];

tokio::task_local! {
    /// The commit that Icechunk is asked to make.
    static COMMIT: Committing;
}

#[derive(Clone)]
struct Committing {
    id: String,
    sent: Arc<AtomicBool>,
}

/// Has Icechunk make the commit of this id: a swap of the object that names the states of branches is
/// the request that makes it. Also says whether that was sent.
pub(super) async fn committing<F: Future>(id: &str, commit: F) -> (F::Output, bool) {
    let sent = Arc::new(AtomicBool::new(false));
    let committing = Committing { id: id.to_owned(), sent: Arc::clone(&sent) };
    let done = COMMIT.scope(committing, commit).await;
    (done, sent.load(Ordering::Relaxed))
}

/// The objects of a repository.
#[derive(Debug)]
pub(super) struct Objects {
    store: Store,
    /// Told about what is deleted.
    sweep: Option<Sweep>,
}

impl Objects {
    pub fn new(store: Store) -> Self {
        Self { store, sweep: None }
    }

    pub fn swept(store: Store, sweep: Sweep) -> Self {
        Self { store, sweep: Some(sweep) }
    }

    /// The content of an object with its version, or with none if it is written once.
    async fn content(&self, path: &str) -> StorageResult<(Bytes, VersionInfo)> {
        let found = match is_written_once(path) {
            true => {
                let bytes = self.store.get_within(path, LARGEST).await.map_err(failed)?;
                bytes.map(|bytes| (bytes, VersionInfo::for_creation()))
            }
            false => {
                let found = self.store.get_versioned(path).await.map_err(failed)?;
                found.map(|(bytes, version)| (bytes, version_info(&version)))
            }
        };
        found.ok_or_else(missing)
    }

    fn is_trial(&self) -> bool {
        self.sweep.as_ref().is_some_and(Sweep::is_trial)
    }
}

fn is_written_once(path: &str) -> bool {
    WRITTEN_ONCE.iter().any(|directory| path.starts_with(directory))
}

fn version_info(version: &Version) -> VersionInfo {
    VersionInfo::from_etag_only(version.to_text())
}

fn missing() -> StorageError {
    StorageError::capture(StorageErrorKind::ObjectNotFound)
}

fn failed(error: Error) -> StorageError {
    match error.kind() {
        ErrorKind::NotFound => missing(),
        _ => StorageError::capture(StorageErrorKind::ObjectStore(Box::new(error))),
    }
}

/// A time of the store in the terms of Icechunk.
pub(super) fn time_of(time: Timestamp) -> DateTime<Utc> {
    let nanosecond = time.subsec_nanosecond().unsigned_abs();
    // Before 1970 a fraction counts backwards in one of the two, which no object is as old as.
    DateTime::from_timestamp(time.as_second(), nanosecond).unwrap_or_default()
}

/// A time of Icechunk in our terms.
pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp::from_microsecond(time.timestamp_micros()).unwrap_or_default()
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.store.url())
    }
}

// Icechunk can send a storage elsewhere with its options. Ours has credentials and connections that
// must not travel, and whoever is elsewhere opens the collection by its URL.
impl Serialize for Objects {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a store is opened by its URL, not sent"))
    }
}

impl<'de> Deserialize<'de> for Objects {
    fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("a store is opened by its URL, not sent"))
    }
}

impl icechunk_storage::sealed::Sealed for Objects {}

#[async_trait]
#[typetag::serde(name = "partita")]
impl Storage for Objects {
    fn storage_info(&self) -> StorageInfo {
        let fields = vec![("url", self.store.url().to_owned())];
        StorageInfo { backend_type: "partita", fields }
    }

    async fn can_write(&self) -> StorageResult<bool> {
        Ok(self.store.check_writable().is_ok())
    }

    async fn get_object_range(
        &self,
        _context: &StorageContext<'_>,
        path: &str,
        range: Option<&Range<u64>>,
    ) -> StorageResult<(Pin<Box<dyn Stream<Item = Result<Bytes, StorageError>> + Send>>, VersionInfo)>
    {
        let (bytes, version) = match range {
            Some(range) => {
                let bytes = self.store.get_range(path, range.clone()).await.map_err(failed)?;
                (bytes, VersionInfo::for_creation())
            }
            None => self.content(path).await?,
        };
        Ok((Box::pin(stream::once(async { Ok(bytes) })), version))
    }

    async fn put_object(
        &self,
        _context: &StorageContext<'_>,
        path: &str,
        bytes: Bytes,
        _content_type: Option<&str>,
        _metadata: Vec<(String, String)>,
        previous: Option<&VersionInfo>,
    ) -> StorageResult<VersionedUpdateResult> {
        let updated = |new_version| VersionedUpdateResult::Updated { new_version };
        if self.is_trial() {
            return Ok(updated(VersionInfo::for_creation()));
        }
        let Some(previous) = previous else {
            // Nobody looks for it before the object that names it is swapped.
            let put = match is_written_once(path) {
                true => self.store.put_deferred(path, bytes).await,
                false => self.store.put(path, bytes).await,
            };
            put.map_err(failed)?;
            return Ok(updated(VersionInfo::for_creation()));
        };
        let expected = match previous.etag() {
            None => None,
            Some(text) => Some(Version::from_text(text).ok_or_else(|| {
                failed(Error::invalid("that is no version of an object").with("key", path))
            })?),
        };
        // What the new state names must be on disk before it.
        self.store.sync().await.map_err(failed)?;
        let swap = self.store.swap_unnamed(path, expected.as_ref(), bytes);
        let swapped = match COMMIT.try_with(Committing::clone) {
            // One that was lost may have been made, and built upon.
            Ok(Committing { id, sent }) => {
                let is_made = |swap: &Swap| matches!(swap, Swap::Done(_)).then_some(true);
                let swap = async {
                    sent.store(true, Ordering::Relaxed);
                    swap.await
                };
                commit_point(&id, swap, is_made).await
            }
            Err(_) => swap.await,
        };
        match swapped.map_err(failed)? {
            Swap::Done(version) => Ok(updated(version_info(&version))),
            Swap::Lost { .. } => Ok(VersionedUpdateResult::NotOnLatestVersion),
        }
    }

    async fn copy_object(
        &self,
        _context: &StorageContext<'_>,
        from: &str,
        to: &str,
        _content_type: Option<&str>,
        version: &VersionInfo,
    ) -> StorageResult<VersionedUpdateResult> {
        let updated = VersionedUpdateResult::Updated { new_version: version.clone() };
        if self.is_trial() {
            return Ok(updated);
        }
        let (bytes, found) = self.content(from).await?;
        if !is_same(version, &found) {
            return Ok(VersionedUpdateResult::NotOnLatestVersion);
        }
        self.store.put_deferred(to, bytes).await.map_err(failed)?;
        Ok(updated)
    }

    async fn list_objects<'a>(
        &'a self,
        _context: &StorageContext<'_>,
        prefix: &str,
    ) -> StorageResult<BoxStream<'a, StorageResult<ListInfo<String>>>> {
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{}/", prefix.trim_end_matches('/')),
        };
        // The objects of this listing will be deleted, so it must not follow symbolic links.
        let objects = match (&self.sweep, prefix.strip_suffix('/')) {
            (Some(_), Some(directory)) => {
                let found = self.store.list_removable(directory).await.map_err(failed)?;
                stream::iter(found.into_iter().map(|found| Ok(found.object))).boxed()
            }
            _ => self.store.list(&prefix),
        };
        let objects = objects.map(move |info| {
            let info = info.map_err(failed)?;
            let id = info.key.strip_prefix(&prefix).unwrap_or(&info.key).to_owned();
            Ok(ListInfo { id, created_at: time_of(info.last_modified), size_bytes: info.size })
        });
        Ok(objects.boxed())
    }

    async fn delete_batch(
        &self,
        _context: &StorageContext<'_>,
        prefix: &str,
        batch: Vec<(String, u64)>,
    ) -> StorageResult<DeleteObjectsResult> {
        let objects: Vec<(String, u64)> =
            batch.into_iter().map(|(id, size)| (format!("{prefix}/{id}"), size)).collect();
        let deleted_bytes = objects.iter().map(|(_, size)| size).sum();
        let done = DeleteObjectsResult { deleted_objects: objects.len() as u64, deleted_bytes };
        if !self.is_trial() {
            if let Some(sweep) = &self.sweep {
                sweep.check().map_err(failed)?;
            }
            let keys = objects.iter().map(|(key, _)| key.clone()).collect();
            self.store.delete_many(keys).await.map_err(failed)?;
        }
        if let Some(sweep) = &self.sweep {
            sweep.add(objects);
        }
        Ok(done)
    }

    async fn get_object_last_modified(
        &self,
        _context: &StorageContext<'_>,
        path: &str,
    ) -> StorageResult<DateTime<Utc>> {
        let info = self.store.head(path).await.map_err(failed)?.ok_or_else(missing)?;
        Ok(time_of(info.last_modified))
    }

    async fn get_object_conditional(
        &self,
        _context: &StorageContext<'_>,
        path: &str,
        previous: Option<&VersionInfo>,
    ) -> StorageResult<GetModifiedResult> {
        let (bytes, new_version) = self.content(path).await?;
        if previous.is_some_and(|previous| is_same(previous, &new_version)) {
            return Ok(GetModifiedResult::OnLatestVersion);
        }
        Ok(GetModifiedResult::Modified { data: Box::pin(Cursor::new(bytes)), new_version })
    }
}

/// True if both are one content, whatever else the store says of it.
fn is_same(known: &VersionInfo, found: &VersionInfo) -> bool {
    let version = |info: &VersionInfo| info.etag().and_then(|text| Version::from_text(text));
    match (version(known), version(found)) {
        (Some(known), Some(found)) => known == found,
        // An object that is written once.
        (_, None) => true,
        (None, Some(_)) => false,
    }
}
