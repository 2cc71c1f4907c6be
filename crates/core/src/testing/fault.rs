//! A client that injects faults: requests fail, run twice, run late, or run without an answer, and
//! processes stop.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use tokio::sync::watch;

use super::Verb;

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not carried out, and fails.
    Fail,
    /// It is not carried out, and answered with this status of HTTP.
    Status(u16),
    /// It is carried out, and fails: the answer is lost.
    Ambiguous,
    /// It fails, and is carried out after this time, when its caller may have gone on.
    Late(Duration),
    /// It is carried out twice; the second answer counts.
    Duplicate,
    /// It is carried out after this time, for which its caller waits.
    Delay(Duration),
    /// The process that sends it stops: before the request is carried out, or after it was. This
    /// request and all later ones wait until [`FaultStore::end`], and are not carried out.
    Stop {
        /// Whether this request is still carried out.
        carried_out: bool,
    },
}

/// Chooses the fault of a request by its kind and its key.
type Choose = Arc<dyn Fn(Verb, &str) -> Option<Fault> + Send + Sync>;

/// The state of the process whose requests pass a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Process {
    #[default]
    Runs,
    Stopped,
    Ended,
}

#[derive(Default)]
struct Plan {
    choose: Mutex<Option<Choose>>,
    at: Mutex<BTreeMap<u64, Fault>>,
    every: Mutex<Option<(u64, Fault)>>,
    stop_at: AtomicU64,
    writes: AtomicU64,
    fail_reads_every: AtomicU64,
    reads: AtomicU64,
    process: watch::Sender<Process>,
}

/// Injects faults into writes by their number, counted from one, and into reads; or into all
/// requests by a function. Clones share the numbers and the plan.
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

    /// Lets a function choose the faults of all requests, instead of the numbers below.
    #[must_use]
    pub fn choosing(
        self,
        choose: impl Fn(Verb, &str) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        *lock(&self.plan.choose) = Some(Arc::new(choose));
        self
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

    /// Waits until a request meets a [`Fault::Stop`].
    pub async fn stopped(&self) {
        self.plan.reach(|process| process != Process::Runs).await;
    }

    /// Ends the process: requests that wait fail, and so do all later ones.
    pub fn end(&self) {
        self.plan.process.send_replace(Process::Ended);
    }
}

impl Plan {
    fn fault_of(&self, verb: Verb, key: &str) -> Option<Fault> {
        let choose = lock(&self.choose).clone();
        match choose {
            Some(choose) => choose(verb, key),
            None if matches!(verb, Verb::Get | Verb::List) => self.next_of_reads(),
            None => self.next_of_writes(),
        }
    }

    fn next_of_writes(&self) -> Option<Fault> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let stop = self.stop_at.load(Ordering::SeqCst);
        if stop > 0 && number >= stop {
            return Some(Fault::Fail);
        }
        let single = lock(&self.at).get(&number).copied();
        let repeated = || lock(&self.every).filter(|(every, _)| number.is_multiple_of(*every));
        single.or_else(|| repeated().map(|(_, fault)| fault))
    }

    fn next_of_reads(&self) -> Option<Fault> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.fail_reads_every.load(Ordering::SeqCst);
        (every > 0 && number.is_multiple_of(every)).then_some(Fault::Fail)
    }

    async fn reach(&self, state: impl Fn(Process) -> bool) {
        // The channel is open as long as this plan exists.
        let _ = self.process.subscribe().wait_for(|process| state(*process)).await.is_ok();
    }

    /// Waits, and fails, if the process was stopped.
    async fn check_running(&self) -> Result<()> {
        let process = *self.process.borrow();
        if process == Process::Runs {
            return Ok(());
        }
        self.reach(|process| process == Process::Ended).await;
        Err(injected("the process has ended"))
    }

    async fn carry_out<T: Send + 'static>(
        &self,
        verb: Verb,
        key: &str,
        request: impl Fn() -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T> {
        self.check_running().await?;
        match self.fault_of(verb, key) {
            None => request().await,
            Some(Fault::Fail) => Err(injected("the request was not carried out")),
            Some(Fault::Status(status)) => Err(answered(status, key)),
            Some(Fault::Ambiguous) => {
                let _ = request().await;
                Err(injected("the request was carried out and its answer lost"))
            }
            Some(Fault::Late(delay)) => {
                let late = request();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = late.await;
                });
                Err(injected("the request was not answered in time"))
            }
            Some(Fault::Duplicate) => {
                let _ = request().await;
                request().await
            }
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                request().await
            }
            Some(Fault::Stop { carried_out }) => {
                if carried_out {
                    let _ = request().await;
                }
                self.process.send_replace(Process::Stopped);
                self.reach(|process| process == Process::Ended).await;
                Err(injected("the process has ended"))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn injected(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "FaultStore", source: what.into() }
}

/// The error of the client for an answer with this status.
fn answered(status: u16, key: &str) -> object_store::Error {
    let source = format!("Server returned non-2xx status code: {status}").into();
    match status {
        401 => object_store::Error::Unauthenticated { path: key.to_owned(), source },
        403 => object_store::Error::PermissionDenied { path: key.to_owned(), source },
        _ => object_store::Error::Generic { store: "FaultStore", source },
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("process", &*self.process.borrow()).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        let verb = match how.mode {
            PutMode::Overwrite => Verb::Put,
            PutMode::Create | PutMode::Update(_) => Verb::Swap,
        };
        let request = || {
            let (inner, at, data, how) =
                (Arc::clone(&self.inner), at.clone(), data.clone(), how.clone());
            async move { inner.put_opts(&at, data, how).await }.boxed()
        };
        self.plan.carry_out(verb, at.as_ref(), request).await
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
        let inner = self.plan.carry_out(Verb::Put, at.as_ref(), begin).await?;
        let (plan, key) = (Arc::clone(&self.plan), at.to_string());
        Ok(Box::new(FaultUpload { inner, plan, key }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let request = || {
            let (inner, at, how) = (Arc::clone(&self.inner), at.clone(), how.clone());
            async move { inner.get_opts(&at, how).await }.boxed()
        };
        self.plan.carry_out(Verb::Get, at.as_ref(), request).await
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
                store.plan.carry_out(Verb::Delete, path.as_ref(), request).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let key = prefix.as_ref().map_or("", |prefix| prefix.as_ref());
            let request = || {
                let listed = store.inner.list(prefix.as_ref());
                async move { Ok::<_, object_store::Error>(listed) }.boxed()
            };
            store.plan.carry_out(Verb::List, key, request).await
        };
        stream::once(listed.boxed()).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map_or("", |prefix| prefix.as_ref());
        let request = || {
            let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
            async move { inner.list_with_delimiter(prefix.as_ref()).await }.boxed()
        };
        self.plan.carry_out(Verb::List, key, request).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        let request = || {
            let (inner, from, to, how) =
                (Arc::clone(&self.inner), from.clone(), to.clone(), how.clone());
            async move { inner.copy_opts(&from, &to, how).await }.boxed()
        };
        self.plan.carry_out(Verb::Put, to.as_ref(), request).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        let request = || {
            let (inner, from, to, how) =
                (Arc::clone(&self.inner), from.clone(), to.clone(), how.clone());
            async move { inner.rename_opts(&from, &to, how).await }.boxed()
        };
        self.plan.carry_out(Verb::Put, to.as_ref(), request).await
    }
}

/// An upload in parts, whose requests know failures, lost answers and delays only.
#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<Plan>,
    key: String,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.plan.fault_of(Verb::Put, &self.key) {
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
            Some(_) => async { Err(injected("the part was not carried out")) }.boxed(),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.plan.fault_of(Verb::Put, &self.key) {
            Some(Fault::Ambiguous) => {
                self.inner.complete().await?;
                Err(injected("the upload was completed and its answer lost"))
            }
            Some(Fault::Duplicate | Fault::Delay(_)) | None => self.inner.complete().await,
            Some(_) => Err(injected("the upload was not completed")),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
