//! Reading objects.

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::failure::is_missing_file;
use super::{ObjectInfo, Store, Version};
use crate::{Error, ErrorKind, Result};

impl Store {
    /// The content of an object. One request.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it does not exist.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        self.get_opt(key).await?.ok_or_else(|| self.missing(key))
    }

    /// The content of an object, or nothing if it does not exist. One request.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails.
    pub async fn get_opt(&self, key: &str) -> Result<Option<Bytes>> {
        self.get_into(key, Vec::new()).await
    }

    /// As [`Store::get_opt`]; what is read from local files is put into `memory`, in place of what
    /// is in it.
    ///
    /// # Errors
    /// As [`Store::get_opt`].
    pub async fn get_into(&self, key: &str, memory: Vec<u8>) -> Result<Option<Bytes>> {
        if let Some(files) = &self.local {
            self.count_request();
            let read = files.read(&self.path(key)?, memory).await;
            let read = read.map_err(|error| self.request("read", key).failed(error))?;
            self.count_bytes(read.as_ref().map_or(0, Bytes::len));
            return Ok(read);
        }
        Ok(self.fetch(key).await?.map(|(bytes, _)| bytes))
    }

    /// The content of an object with the version to name in [`Store::compare_and_swap`], or
    /// nothing if it does not exist. One request.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails.
    pub async fn get_versioned(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let versioned = |(bytes, meta): (Bytes, ObjectMeta)| {
            let version = Version::of_read(&meta, &bytes);
            (bytes, version)
        };
        Ok(self.fetch(key).await?.map(versioned))
    }

    async fn fetch(&self, key: &str) -> Result<Option<(Bytes, ObjectMeta)>> {
        let path = self.path(key)?;
        self.count_request();
        let read = async {
            let result = self.inner.get(&path).await?;
            let meta = result.meta.clone();
            Ok((result.bytes().await?, meta))
        };
        match read.await {
            Ok(read) => {
                self.count_bytes(read.0.len());
                Ok(Some(read))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.request("read", key).failed(error)),
        }
    }

    /// The bytes of a range, exactly as many as asked for. One request; none for an empty range.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the object does not exist, [`Corrupt`](ErrorKind::Corrupt)
    /// if it ends before the range does.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(key)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.count_request();
        let read = match &self.local {
            Some(local) => local.read_range(&path, range.clone()).await,
            None => self.inner.get_range(&path, range.clone()).await,
        };
        let bytes = match read {
            Ok(bytes) => {
                self.count_bytes(bytes.len());
                bytes
            }
            Err(error) if is_missing(&error) => return Err(self.missing(key)),
            // A range that begins behind the end is an error to the client, not a short answer.
            Err(error) => match self.head(key).await? {
                Some(info) if info.size < range.end => Bytes::new(),
                Some(_) => return Err(self.request("read", key).failed(error)),
                None => return Err(self.missing(key)),
            },
        };
        self.whole(key, &range, bytes)
    }

    /// Size and age of an object, or nothing if it does not exist. One request.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        self.count_request();
        match self.inner.head(&path).await {
            Ok(meta) => Ok(Some(self.info(meta)?)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.request("read", key).failed(error)),
        }
    }

    pub(super) fn info(&self, meta: ObjectMeta) -> Result<ObjectInfo> {
        let (seconds, nanos) =
            (meta.last_modified.timestamp(), meta.last_modified.timestamp_subsec_nanos());
        let last_modified =
            Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0)).map_err(|error| {
                Error::corrupt("the store gives an object an impossible age")
                    .with("key", &meta.location)
                    .with("store", self.url())
                    .caused_by(error)
            })?;
        Ok(ObjectInfo { key: meta.location.into(), size: meta.size, last_modified })
    }

    pub(super) fn whole(&self, key: &str, range: &Range<u64>, bytes: Bytes) -> Result<Bytes> {
        match bytes.len() as u64 == range.end - range.start {
            true => Ok(bytes),
            false => Err(self.too_short(key, range)),
        }
    }

    pub(super) fn too_short(&self, key: &str, range: &Range<u64>) -> Error {
        Error::corrupt("the object is shorter than it should be")
            .with("key", key)
            .with("range", format!("{}..{}", range.start, range.end))
            .with("store", self.url())
    }

    pub(super) fn missing(&self, key: &str) -> Error {
        Error::new(ErrorKind::NotFound, "the object does not exist")
            .with("key", key)
            .with("store", self.url())
    }
}

pub(super) fn is_missing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || is_missing_file(error)
}
