//! A client that simulates network latency.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::Store;

/// Delays every request: by a fixed time, as a network does, or by random times before and after it
/// is carried out, so that a seed decides which of several callers is first.
///
/// A listing is delayed once, and parts of a multipart upload are not.
#[derive(Debug, Clone)]
pub struct LatencyStore {
    inner: Arc<dyn ObjectStore>,
    delay: Delay,
}

/// Counts the answers that operations wait for, one after the other. Needs the paused clock of tokio.
#[derive(Debug)]
pub struct Rounds(Instant);

impl Rounds {
    const DELAY: Duration = Duration::from_millis(100);

    /// The store with late answers, and the count of them, which begins now.
    #[must_use]
    pub fn of(store: &Store) -> (Store, Self) {
        let late = store.wrap(|inner| Arc::new(LatencyStore::new(inner, Self::DELAY)));
        (late, Self(Instant::now()))
    }

    /// The number of answers since the last call, or since the beginning.
    pub fn waited(&mut self) -> u128 {
        let began = std::mem::replace(&mut self.0, Instant::now());
        began.elapsed().as_millis() / Self::DELAY.as_millis()
    }
}

#[derive(Debug, Clone)]
enum Delay {
    Fixed(Duration),
    Random { source: Arc<Mutex<StdRng>>, longest: Duration },
}

impl LatencyStore {
    /// Puts `delay` before every request to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, delay: Duration) -> Self {
        Self { inner, delay: Delay::Fixed(delay) }
    }

    /// Puts a random delay of up to `longest` before every request to `inner`, and another one
    /// before its answer.
    #[must_use]
    pub fn random(inner: Arc<dyn ObjectStore>, seed: u64, longest: Duration) -> Self {
        let source = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { inner, delay: Delay::Random { source, longest } }
    }

    async fn travel(&self) {
        tokio::time::sleep(self.delay.next()).await;
    }

    async fn delayed<T>(&self, request: impl Future<Output = T> + Send) -> T {
        self.travel().await;
        let answer = request.await;
        if let Delay::Random { .. } = self.delay {
            self.travel().await;
        }
        answer
    }

    fn delayed_stream<T: Send + 'static>(
        &self,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let delay = self.delay.next();
        let late = async move {
            tokio::time::sleep(delay).await;
            Ok::<_, object_store::Error>(items)
        };
        stream::once(late).try_flatten().boxed()
    }
}

impl Delay {
    fn next(&self) -> Duration {
        match self {
            Self::Fixed(delay) => *delay,
            Self::Random { source, longest } => {
                let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                longest.mul_f64(source.random_range(0.0..=1.0))
            }
        }
    }
}

impl fmt::Display for LatencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LatencyStore({:?}, {})", self.delay, self.inner)
    }
}

// `get_ranges` keeps its default, which sends single requests.
#[async_trait]
impl ObjectStore for LatencyStore {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.delayed(self.inner.put_opts(at, data, how)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.delayed(self.inner.put_multipart_opts(at, how)).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.delayed(self.inner.get_opts(at, how)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.delayed_stream(self.inner.delete_stream(paths))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // The listing is of the moment at which it is carried out.
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            store.travel().await;
            Ok::<_, object_store::Error>(store.inner.list(prefix.as_ref()))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.delayed(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.delayed(self.inner.copy_opts(from, to, how)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        self.delayed(self.inner.rename_opts(from, to, how)).await
    }
}
