//! Reading objects.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStoreExt};
use tokio::sync::SemaphorePermit;

use super::failure::{NotApplied, is_missing_bucket, is_missing_file};
use super::{ObjectInfo, Store, Version, open_files};
use crate::{Error, ErrorKind, Result};

/// The largest object that is read as a whole, in bytes. A larger chunk or index is not valid, and
/// would exhaust memory.
pub const LARGEST: u64 = 1 << 32;

/// The largest document that is read, in bytes. Documents describe a schema, or have some hundred
/// bytes for each partition of which they tell, so this is enough for a million partitions. Whoever
/// reads objects that may be larger states how large they may be.
pub const DOCUMENT: u64 = 1 << 29;

/// The maximum number of bytes that are allocated in advance on the word of a response's length.
const TRUSTED: usize = 64 << 20;

/// An existing object: its content, or an open local file, whose read-ahead has begun and which is
/// read by the calling thread.
#[derive(Debug)]
pub struct Opened(Source);

#[derive(Debug)]
enum Source {
    Content(Bytes),
    File { file: File, store: Store, key: String, _place: SemaphorePermit<'static> },
}

impl Opened {
    /// The content, if it has been read already.
    #[must_use]
    pub fn content(&self) -> Option<&Bytes> {
        match &self.0 {
            Source::Content(bytes) => Some(bytes),
            Source::File { .. } => None,
        }
    }

    /// Reads the next bytes of a local file, at most the length of `into`; empty at its end.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the file cannot be read.
    pub fn read<'a>(&mut self, into: &'a mut [u8]) -> Result<&'a [u8]> {
        let Source::File { file, store, key, .. } = &mut self.0 else { return Ok(&[]) };
        let mut filled = 0;
        loop {
            let (_, rest) = into.split_at_mut(filled);
            match file.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(store, key, &error)),
            }
        }
        store.count_bytes(filled);
        let (filled, _) = into.split_at(filled);
        Ok(filled)
    }

    /// Reads the whole content, including the part that was read before, if it is at most `most`
    /// bytes. The content of a local file replaces that of `memory`.
    ///
    /// # Errors
    /// The errors are those of [`Opened::read`]; [`Corrupt`](ErrorKind::Corrupt) if it is longer.
    pub fn read_all(self, mut memory: Vec<u8>, most: u64) -> Result<Bytes> {
        match self.0 {
            Source::Content(bytes) => match bytes.len() as u64 <= most {
                true => Ok(bytes),
                false => Err(larger(bytes.len() as u64, most)),
            },
            Source::File { mut file, store, key, .. } => {
                let size = file.metadata().map_err(|error| unreadable(&store, &key, &error))?.len();
                if size > most {
                    return Err(larger(size, most).with("key", key).with("store", store.url()));
                }
                memory.clear();
                let read = file.rewind().and_then(|()| file.take(most).read_to_end(&mut memory));
                store.count_bytes(read.map_err(|error| unreadable(&store, &key, &error))?);
                Ok(memory.into())
            }
        }
    }
}

impl From<Bytes> for Opened {
    fn from(content: Bytes) -> Self {
        Self(Source::Content(content))
    }
}

fn unreadable(store: &Store, key: &str, error: &io::Error) -> Error {
    let error = NotApplied::error(format!("cannot read the file: {error}"));
    store.request("read", key).failed(error)
}

impl Store {
    /// The content of a document of at most [`DOCUMENT`] bytes. One request.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it does not exist; otherwise those of
    /// [`Store::get_within`].
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        self.get_opt(key).await?.ok_or_else(|| self.missing(key))
    }

    /// The content of a document of at most [`DOCUMENT`] bytes; `None` if it does not exist. One
    /// request.
    ///
    /// # Errors
    /// The errors are those of [`Store::get_within`].
    pub async fn get_opt(&self, key: &str) -> Result<Option<Bytes>> {
        self.get_within(key, DOCUMENT).await
    }

    /// The content of an object of at most `most` bytes; `None` if it does not exist. One request.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is longer, or if a pipe, a socket or a device is in its
    /// place; [`Store`](ErrorKind::Store) if the store fails.
    pub async fn get_within(&self, key: &str, most: u64) -> Result<Option<Bytes>> {
        if let Some(files) = &self.local {
            self.count_request();
            let read = files.read(&self.path(key)?, most.min(LARGEST)).await;
            let read = read.map_err(|error| self.request("read", key).failed(error))?;
            self.count_bytes(read.as_ref().map_or(0, Bytes::len));
            return Ok(read);
        }
        Ok(self.fetch(key, most.min(LARGEST)).await?.map(|(bytes, _)| bytes))
    }

    /// Starts to read an object; `None` if it does not exist. A local file is read at once if many
    /// are open already. One request.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails.
    pub async fn begin_get(&self, key: &str) -> Result<Option<Opened>> {
        let Some(files) = &self.local else {
            return Ok(self.fetch(key, LARGEST).await?.map(|(bytes, _)| bytes.into()));
        };
        let Some(place) = open_files::ahead() else {
            return Ok(self.get_within(key, LARGEST).await?.map(Opened::from));
        };
        self.count_request();
        let file = files.open(&self.path(key)?).await;
        let file = file.map_err(|error| self.request("read", key).failed(error))?;
        let source =
            |file| Source::File { file, store: self.clone(), key: key.to_owned(), _place: place };
        Ok(file.map(source).map(Opened))
    }

    /// The content of a document of at most [`DOCUMENT`] bytes, with the version to pass to
    /// [`Store::compare_and_swap`]; `None` if it does not exist. One request.
    ///
    /// # Errors
    /// The errors are those of [`Store::get_within`].
    pub async fn get_versioned(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.get_versioned_within(key, DOCUMENT).await
    }

    /// Like [`Store::get_versioned`], for an object of at most `most` bytes.
    ///
    /// # Errors
    /// The errors are those of [`Store::get_within`].
    pub async fn get_versioned_within(
        &self,
        key: &str,
        most: u64,
    ) -> Result<Option<(Bytes, Version)>> {
        let versioned = |(bytes, meta): (Bytes, ObjectMeta)| {
            let version = Version::of_read(&meta, &bytes);
            (bytes, version)
        };
        Ok(self.fetch(key, most.min(LARGEST)).await?.map(versioned))
    }

    async fn fetch(&self, key: &str, most: u64) -> Result<Option<(Bytes, ObjectMeta)>> {
        let path = self.path(key)?;
        self.count_request();
        let read = async {
            let result = self.inner.get(&path).await?;
            let meta = result.meta.clone();
            Ok((content(result, most).await?, meta))
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

    /// Reads a range, exactly as many bytes as requested. One request; none for an empty range.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the object does not exist,
    /// [`Corrupt`](ErrorKind::Corrupt) if it ends before the range does.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(key)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.count_request();
        let read = match &self.local {
            Some(local) => local.read_range(&path, range.clone()).await,
            None => self.fetch_range(&path, range.clone()).await,
        };
        let bytes = match read {
            Ok(bytes) => {
                self.count_bytes(bytes.len());
                bytes
            }
            Err(error) if is_missing(&error) => return Err(self.missing(key)),
            // The client reports a range that begins beyond the end as an error, not as a short
            // response.
            Err(error) => match self.head(key).await? {
                Some(info) if info.size < range.end => Bytes::new(),
                Some(_) => return Err(self.request("read", key).failed(error)),
                None => return Err(self.missing(key)),
            },
        };
        self.whole(key, &range, bytes)
    }

    async fn fetch_range(
        &self,
        path: &object_store::path::Path,
        range: Range<u64>,
    ) -> object_store::Result<Bytes> {
        let length = range.end - range.start;
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        content(self.inner.get_opts(path, options).await?, length).await
    }

    /// The size and the time of an object; `None` if it does not exist. One request.
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
                Error::corrupt("the store reports an invalid modification time of an object")
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

    /// The error for an object that does not exist.
    #[must_use]
    pub fn missing(&self, key: &str) -> Error {
        Error::new(ErrorKind::NotFound, "the object does not exist")
            .with("key", key)
            .with("store", self.url())
    }
}

/// The content of a response, of at most `most` bytes. The length that the response states is not
/// trusted.
///
/// # Errors
/// The errors are those of the client; one of ours in it if the content is longer.
pub async fn content(result: GetResult, most: u64) -> object_store::Result<Bytes> {
    let length = result.range.end.saturating_sub(result.range.start);
    refuse_larger(length, most)?;
    if matches!(result.payload, GetResultPayload::File(..)) {
        return result.bytes().await;
    }
    let mut parts = result.into_stream();
    let first = parts.try_next().await?.unwrap_or_default();
    if first.len() as u64 == length {
        return Ok(first);
    }
    let mut all = Vec::new();
    let room = usize::try_from(length).unwrap_or(usize::MAX).min(TRUSTED);
    all.try_reserve_exact(room).map_err(|_| own(no_memory(length)))?;
    all.extend_from_slice(&first);
    while let Some(part) = parts.try_next().await? {
        let total = all.len() + part.len();
        refuse_larger(total as u64, length)?;
        all.try_reserve(part.len()).map_err(|_| own(no_memory(length)))?;
        all.extend_from_slice(&part);
    }
    Ok(all.into())
}

/// Fails if the size is over the limit.
pub(super) fn refuse_larger(size: u64, most: u64) -> object_store::Result<()> {
    if size > most { Err(own(larger(size, most))) } else { Ok(()) }
}

fn larger(size: u64, most: u64) -> Error {
    Error::corrupt("the object exceeds the maximum size").with("bytes", size).with("most", most)
}

fn no_memory(length: u64) -> Error {
    Error::corrupt("there is not enough memory for the stated size of the object")
        .with("bytes", length)
}

/// An error of the engine, wrapped as one of the client.
pub(super) fn own(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "partita", source: Box::new(error) }
}

pub(super) fn is_missing(error: &object_store::Error) -> bool {
    let missing = matches!(error, object_store::Error::NotFound { .. }) || is_missing_file(error);
    missing && !is_missing_bucket(error)
}
