//! Writing and deleting objects without conditions. Nothing written here is visible to a reader of
//! a dataset before a [`Store::compare_and_swap`] names it.

use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};

use super::Store;
use super::read::is_missing;
use crate::Result;

/// The maximum size in bytes of an object that is written by one request.
const SINGLE_PUT: usize = 16 << 20;
/// The maximum number of parts of one upload in flight.
const PARTS_IN_FLIGHT: usize = 8;
/// The maximum number of parts of an upload; S3 allows 10,000.
const MAX_PARTS: usize = 9_000;

impl Store {
    /// Writes a whole object, replacing what was there. Atomic and idempotent; local files and
    /// their directories are synced. One request up to 16 MiB, else one per 16 MiB and two.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.check_writable()?;
        let path = self.path(key)?;
        let written = match self.local.is_some() || bytes.len() <= SINGLE_PUT {
            true => self.inner.put(&path, PutPayload::from_bytes(bytes)).await.map(drop),
            false => self.put_parts(&path, bytes).await,
        };
        written.map_err(|error| self.request("written", key).failed(error))
    }

    async fn put_parts(
        &self,
        path: &object_store::path::Path,
        bytes: Bytes,
    ) -> object_store::Result<()> {
        let part = SINGLE_PUT.max(bytes.len().div_ceil(MAX_PARTS));
        let upload = self.inner.put_multipart(path).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, part);
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Err(error) = upload.wait_for_capacity(PARTS_IN_FLIGHT).await {
                // Parts of an upload that is not completed stay stored, and are charged for.
                let _ = upload.abort().await;
                return Err(error);
            }
            upload.put(rest.split_to(part.min(rest.len())));
        }
        upload.finish().await.map(drop)
    }

    /// The current time by the clock of the store: an object is written at `key`, which nobody else
    /// uses, and removed again.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails.
    pub async fn now(&self, key: &str) -> Result<jiff::Timestamp> {
        self.put(key, Bytes::from_static(b"now")).await?;
        let written = self.head(key).await;
        self.delete(key).await?;
        Ok(written?.ok_or_else(|| self.missing(key))?.last_modified)
    }

    /// Deletes an object; succeeds if there is none. One request. On local files it waits until a
    /// commit of the same key has ended.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.check_writable()?;
        let path = self.path(key)?;
        let deleted = match &self.local {
            Some(files) => files.delete_locked(&path).await,
            None => self.inner.delete(&path).await,
        };
        match deleted {
            Err(error) if !is_missing(&error) => Err(self.request("deleted", key).failed(error)),
            _ => Ok(()),
        }
    }

    /// Deletes many objects, in bulk if the store supports it; succeeds for those that do not
    /// exist. Not atomic, but idempotent. One request per 1,000 keys on S3.
    ///
    /// # Errors
    /// The first failure, after every object was tried.
    pub async fn delete_many(&self, keys: Vec<String>) -> Result<()> {
        self.check_writable()?;
        if keys.is_empty() {
            return Ok(());
        }
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>>>()?;
        let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut answers = self.inner.delete_stream(paths);
        let mut first = None;
        while let Some(answer) = answers.next().await {
            first = first.or(answer.err().filter(|error| !is_missing(error)));
        }
        match first {
            Some(error) => Err(self.request("deleted", "several").failed(error)),
            None => Ok(()),
        }
    }
}
