//! A client that injects faults: requests fail, run twice, run late, or run without an answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};

/// A fault of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not carried out, and fails.
    Fail,
    /// It is carried out, and fails: the answer is lost.
    Ambiguous,
    /// It is carried out twice; the second answer counts.
    Duplicate,
    /// It is carried out late.
    Delay(Duration),
}

#[derive(Debug, Default)]
struct Plan {
    at: Mutex<BTreeMap<u64, Fault>>,
    every: Mutex<Option<(u64, Fault)>>,
    stop_at: AtomicU64,
    writes: AtomicU64,
    fail_reads_every: AtomicU64,
    reads: AtomicU64,
}

/// Injects faults into writes by their number, counted from one, and into reads. Clones share the
/// numbers and the plan.
///
/// Each put, delete, copy and rename is a write, and of a multipart upload the beginning, each
/// part and the end.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Plan>,
}

impl FaultStore {
    /// No faults yet.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// Puts a fault on write number `number`.
    #[must_use]
    pub fn on_write(self, number: u64, fault: Fault) -> Self {
        lock(&self.plan.at).insert(number, fault);
        self
    }

    /// Puts a fault on every `every`-th write.
    #[must_use]
    pub fn on_every_write(self, every: u64, fault: Fault) -> Self {
        *lock(&self.plan.every) = Some((every, fault));
        self
    }

    /// From write number `number` on, nothing is carried out, as after a crash.
    #[must_use]
    pub fn stop_writes_at(self, number: u64) -> Self {
        self.plan.stop_at.store(number, Ordering::SeqCst);
        self
    }

    /// Fails every `every`-th read or listing.
    #[must_use]
    pub fn fail_every_read(self, every: u64) -> Self {
        self.plan.fail_reads_every.store(every, Ordering::SeqCst);
        self
    }

    /// The number of writes requested so far, carried out or not.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.plan.writes.load(Ordering::SeqCst)
    }

    async fn write<T>(
        &self,
        request: impl Fn() -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
    {
        self.plan.write(request).await
    }
}

impl Plan {
    fn next_fault(&self) -> Option<Fault> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let stop = self.stop_at.load(Ordering::SeqCst);
        if stop > 0 && number >= stop {
            return Some(Fault::Fail);
        }
        let single = lock(&self.at).get(&number).copied();
        let repeated = || lock(&self.every).filter(|(every, _)| number.is_multiple_of(*every));
        single.or_else(|| repeated().map(|(_, fault)| fault))
    }

    async fn write<T>(
        &self,
        request: impl Fn() -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T> {
        match self.next_fault() {
            None => request().await,
            Some(Fault::Fail) => Err(injected("the write was not carried out")),
            Some(Fault::Ambiguous) => {
                let _ = request().await;
                Err(injected("the write was carried out and its answer lost"))
            }
            Some(Fault::Duplicate) => {
                let _ = request().await;
                request().await
            }
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                request().await
            }
        }
    }

    fn read(&self) -> Result<()> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.fail_reads_every.load(Ordering::SeqCst);
        if every > 0 && number.is_multiple_of(every) {
            return Err(injected("the read failed"));
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn injected(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "FaultStore", source: what.into() }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.write(|| {
            let (inner, at, data, how) =
                (Arc::clone(&self.inner), at.clone(), data.clone(), how.clone());
            async move { inner.put_opts(&at, data, how).await }.boxed()
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begin = || {
            let (inner, at, how) = (Arc::clone(&self.inner), at.clone(), how.clone());
            async move { inner.put_multipart_opts(&at, how).await }.boxed()
        };
        let inner = self.write(begin).await?;
        Ok(Box::new(FaultUpload { inner, plan: Arc::clone(&self.plan) }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.plan.read()?;
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                let request = || {
                    let (inner, path) = (Arc::clone(&store.inner), path.clone());
                    async move { inner.delete(&path).await }.boxed()
                };
                store.write(request).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.plan.read() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.plan.read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.write(|| {
            let (inner, from, to, how) =
                (Arc::clone(&self.inner), from.clone(), to.clone(), how.clone());
            async move { inner.copy_opts(&from, &to, how).await }.boxed()
        })
        .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        self.write(|| {
            let (inner, from, to, how) =
                (Arc::clone(&self.inner), from.clone(), to.clone(), how.clone());
            async move { inner.rename_opts(&from, &to, how).await }.boxed()
        })
        .await
    }
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<Plan>,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.plan.next_fault() {
            Some(Fault::Fail) => async { Err(injected("the part was not carried out")) }.boxed(),
            Some(Fault::Ambiguous) => {
                let part = self.inner.put_part(data);
                async move { part.await.and(Err(injected("the part's answer was lost"))) }.boxed()
            }
            Some(Fault::Delay(delay)) => {
                let part = self.inner.put_part(data);
                async move {
                    tokio::time::sleep(delay).await;
                    part.await
                }
                .boxed()
            }
            // A part sent twice would become a second part.
            Some(Fault::Duplicate) | None => self.inner.put_part(data),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.plan.next_fault() {
            Some(Fault::Fail) => Err(injected("the upload was not completed")),
            Some(Fault::Ambiguous) => {
                self.inner.complete().await?;
                Err(injected("the upload was completed and its answer lost"))
            }
            _ => self.inner.complete().await,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
