//! A client with a simulated clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::time::Instant;

/// Shows the times of writes by a clock that runs with that of tokio, which tests can pause, and
/// that can be set forward. Objects that were written past it keep their times. Clones share the
/// clock.
#[derive(Debug, Clone)]
pub struct ClockStore {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<Mutex<Clock>>,
}

#[derive(Debug)]
struct Clock {
    began: Instant,
    /// The time shown at the beginning, with all steps since.
    zero: SystemTime,
    written: HashMap<Path, SystemTime>,
}

impl ClockStore {
    /// A clock that is `ahead` of the time of the objects that `inner` holds.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, ahead: Duration) -> Self {
        let zero = SystemTime::now() + ahead;
        let clock = Clock { began: Instant::now(), zero, written: HashMap::new() };
        Self { inner, clock: Arc::new(Mutex::new(clock)) }
    }

    /// Sets the clock forward.
    pub fn advance(&self, by: Duration) {
        self.clock().zero += by;
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, at: &Path) {
        let mut clock = self.clock();
        let now = clock.zero + clock.began.elapsed();
        clock.written.insert(at.clone(), now);
    }

    fn shown(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(written) = self.clock().written.get(&meta.location) {
            meta.last_modified = (*written).into();
        }
        meta
    }
}

impl fmt::Display for ClockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClockStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for ClockStore {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        let written = self.inner.put_opts(at, data, how).await?;
        self.note(at);
        Ok(written)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let mut found = self.inner.get_opts(at, how).await?;
        found.meta = self.shown(found.meta);
        Ok(found)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        self.inner.list(prefix).map_ok(move |meta| store.shown(meta)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        found.objects = found.objects.into_iter().map(|meta| self.shown(meta)).collect();
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await?;
        self.note(to);
        Ok(())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, how).await?;
        self.note(to);
        Ok(())
    }
}
