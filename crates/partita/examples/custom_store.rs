//! Keeps a table in a store of one's own: any `ObjectStore`, here one that counts its requests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use partita::arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator};
use partita::object_store::memory::InMemory;
use partita::object_store::path::Path;
use partita::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use partita::{CreateOptions, Store, StoreOptions, Table};

/// Counts the requests that read and write objects.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counting({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// Makes a table in such a store and counts its rows. Returns their number, and those of the
/// requests that read and that write.
pub async fn run() -> partita::Result<(u64, u64, u64)> {
    let counting = Arc::new(Counting::default());
    // Before the first commit, Partita tries out whether the store has conditional writes. Errors
    // show the URL; it opens nothing.
    let client: Arc<dyn ObjectStore> = counting.clone();
    let store = Store::from_object_store(client, "counting://example", &StoreOptions::new());

    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("id", ids)])?;
    let schema = rows.schema();
    let data = Box::new(RecordBatchIterator::new([Ok(rows)], schema));
    let table = Table::create_in(store, "numbers", data, &CreateOptions::default()).await?;
    let rows = table.scan().count().await?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok((rows, count(&counting.reads), count(&counting.writes)))
}

#[tokio::main]
async fn main() -> partita::Result<()> {
    let (rows, reads, writes) = run().await?;
    println!("{rows} rows, {reads} reads and {writes} writes");
    Ok(())
}
