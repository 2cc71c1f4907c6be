//! A client that counts requests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// Counts of requests and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole objects and ranges read.
    pub gets: u64,
    /// Requests for metadata only.
    pub heads: u64,
    /// Objects written by one request.
    pub puts: u64,
    /// Requests of multipart uploads: the beginning, each part, the end.
    pub multipart: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Listings begun.
    pub lists: u64,
    /// Objects copied or renamed by the store.
    pub copies: u64,
    /// Bytes requested.
    pub bytes_read: u64,
    /// Bytes sent.
    pub bytes_written: u64,
}

impl Counts {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.gets
            + self.heads
            + self.puts
            + self.multipart
            + self.deletes
            + self.lists
            + self.copies
    }
}

#[derive(Debug, Default)]
struct Tally {
    gets: AtomicU64,
    heads: AtomicU64,
    puts: AtomicU64,
    multipart: AtomicU64,
    deletes: AtomicU64,
    lists: AtomicU64,
    copies: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    keys_read: Mutex<Vec<String>>,
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Counts requests and bytes by verb. Clones share the counts.
#[derive(Debug, Clone)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    tally: Arc<Tally>,
}

impl CountingStore {
    /// Counts the requests to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, tally: Arc::default() }
    }

    /// The counts since the beginning or the last [`CountingStore::reset`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            gets: get(&self.tally.gets),
            heads: get(&self.tally.heads),
            puts: get(&self.tally.puts),
            multipart: get(&self.tally.multipart),
            deletes: get(&self.tally.deletes),
            lists: get(&self.tally.lists),
            copies: get(&self.tally.copies),
            bytes_read: get(&self.tally.bytes_read),
            bytes_written: get(&self.tally.bytes_written),
        }
    }

    /// The keys of the objects read, in order, one entry for each request.
    #[must_use]
    pub fn keys_read(&self) -> Vec<String> {
        self.tally.keys_read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Resets the counts, and returns their previous values.
    pub fn reset(&self) -> Counts {
        let counts = self.counts();
        let tally = &self.tally;
        for counter in [
            &tally.gets,
            &tally.heads,
            &tally.puts,
            &tally.multipart,
            &tally.deletes,
            &tally.lists,
            &tally.copies,
            &tally.bytes_read,
            &tally.bytes_written,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        tally.keys_read.lock().unwrap_or_else(PoisonError::into_inner).clear();
        counts
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountingStore({})", self.inner)
    }
}

// `get_ranges` keeps its default, which merges neighbouring ranges as remote stores do and sends
// one request for each of the rest.
#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        add(&self.tally.puts, 1);
        add(&self.tally.bytes_written, data.content_length() as u64);
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        add(&self.tally.multipart, 1);
        let inner = self.inner.put_multipart_opts(at, how).await?;
        Ok(Box::new(CountingUpload { inner, tally: Arc::clone(&self.tally) }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let head = how.head;
        add(if head { &self.tally.heads } else { &self.tally.gets }, 1);
        let result = self.inner.get_opts(at, how).await?;
        if !head {
            add(&self.tally.bytes_read, result.range.end - result.range.start);
            let mut keys = self.tally.keys_read.lock().unwrap_or_else(PoisonError::into_inner);
            keys.push(at.to_string());
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let tally = Arc::clone(&self.tally);
        self.inner.delete_stream(paths.inspect(move |_| add(&tally.deletes, 1)).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        add(&self.tally.lists, 1);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        add(&self.tally.lists, 1);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        add(&self.tally.copies, 1);
        self.inner.copy_opts(from, to, how).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        add(&self.tally.copies, 1);
        self.inner.rename_opts(from, to, how).await
    }
}

#[derive(Debug)]
struct CountingUpload {
    inner: Box<dyn MultipartUpload>,
    tally: Arc<Tally>,
}

#[async_trait]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        add(&self.tally.multipart, 1);
        add(&self.tally.bytes_written, data.content_length() as u64);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        add(&self.tally.multipart, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        add(&self.tally.multipart, 1);
        self.inner.abort().await
    }
}
