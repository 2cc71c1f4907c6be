use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::StoreOptions;
use crate::store::Swap;
use crate::testing::FaultStore;

async fn takes_turns(store: Store) {
    let inside = Arc::new(AtomicU32::new(0));
    let tasks = (0..6).map(|_| {
        let (store, inside) = (store.clone(), Arc::clone(&inside));
        tokio::spawn(async move {
            for _ in 0..3 {
                let lease = store.lease(".partita/publish").await.unwrap();
                lease.check().unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                lease.release(&store).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_holder_at_a_time() {
    takes_turns(Store::open("memory://leases", &StoreOptions::default()).unwrap()).await;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    takes_turns(Store::open(root, &StoreOptions::default()).unwrap()).await;
    let shared = StoreOptions::default().with("shared_files", "true");
    takes_turns(Store::open(root, &shared).unwrap()).await;
}

#[tokio::test]
async fn who_holds_a_lease_is_seen_until_it_is_released() {
    let store = Store::open("memory://seen-leases", &StoreOptions::default()).unwrap();
    assert_eq!(store.lease_renewed_at("lease").await.unwrap(), None);
    let lease = store.lease("lease").await.unwrap();
    let written = store.head("lease").await.unwrap().unwrap().last_modified;
    assert_eq!(store.lease_renewed_at("lease").await.unwrap(), Some(written));
    lease.release(&store).await;
    assert_eq!(store.lease_renewed_at("lease").await.unwrap(), None);
}

#[tokio::test]
async fn a_machine_that_serves_files_waits_for_those_that_have_them_over_a_network() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let shared = StoreOptions::default().with("shared_files", "true");
    let client = Store::open(root, &shared).unwrap();
    let server = Store::open(root, &shared.with("shared_files", "false")).unwrap();
    let locked = server.lease("lease").await.unwrap();
    assert!(matches!(locked.held, Held::Lock(_)));
    drop(locked);
    let lease = client.lease("lease").await.unwrap();
    let waiting = tokio::spawn(async move { server.lease("lease").await.unwrap() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    lease.release(&client).await;
    assert!(matches!(waiting.await.unwrap().held, Held::Object(_)));
}

/// A store with configurable anomalies.
#[derive(Debug, Default)]
struct Peculiar {
    memory: InMemory,
    /// The object `lease` appears this many seconds older than the others.
    older: u64,
    /// The number of writes that are carried out but never answered.
    unanswered: AtomicU32,
}

impl fmt::Display for Peculiar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("peculiar")
    }
}

fn open(peculiar: Arc<Peculiar>) -> Store {
    Store::from_object_store(peculiar, "peculiar://lease", &StoreOptions::default())
}

#[async_trait]
impl ObjectStore for Peculiar {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let written = self.memory.put_opts(at, payload, options).await;
        let one_less = |left: u32| left.checked_sub(1);
        let ordering = Ordering::SeqCst;
        if self.unanswered.fetch_update(ordering, ordering, one_less).is_ok() {
            std::future::pending::<()>().await;
        }
        written
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let mut found = self.memory.get_opts(at, options).await?;
        if at.as_ref() == "lease" {
            found.meta.last_modified -= Duration::from_secs(self.older);
        }
        Ok(found)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.memory.delete_stream(paths)
    }

    fn list(&self, at: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.memory.list(at)
    }

    async fn list_with_delimiter(&self, at: Option<&Path>) -> object_store::Result<ListResult> {
        self.memory.list_with_delimiter(at).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_died_long_ago_is_not_waited_for() {
    for (age, waits) in [(0, true), (120, true), (600, false)] {
        let store = open(Arc::new(Peculiar { older: age, ..Peculiar::default() }));
        drop(store.lease("lease").await.unwrap());
        let began = Instant::now();
        let lease = store.lease("lease").await.unwrap();
        assert_eq!(began.elapsed() > TERM, waits, "{age}");
        lease.check().unwrap();
        let left: Vec<_> = store.list("").try_collect().await.unwrap();
        assert_eq!(left.len(), 1, "what told the time is gone");
    }
}

/// Sets the flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Works for a number of seconds. Returns the result, the duration, and whether the work was
/// dropped.
async fn work(lease: &Lease, seconds: u64) -> (Result<()>, Duration, bool) {
    let (began, dropped) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let guard = Dropped(Arc::clone(&dropped));
    let done = lease.hold(async move {
        let _guard = guard;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    });
    (done.await, began.elapsed(), dropped.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_slow_holder_keeps_its_lease() {
    let peculiar = Arc::new(Peculiar::default());
    let store = open(Arc::clone(&peculiar));
    let lease = store.lease("lease").await.unwrap();
    let other = tokio::spawn({
        let store = store.clone();
        async move { store.lease("lease").await.unwrap() }
    });
    // Some renewals are carried out without an answer.
    for unanswered in [0, 1, 0, 1] {
        peculiar.unanswered.store(unanswered, Ordering::SeqCst);
        let (done, took, _) = work(&lease, 200).await;
        done.unwrap();
        assert_eq!(took.as_secs(), 200);
        lease.check().unwrap();
        assert!(!other.is_finished());
    }
    let released = Instant::now();
    lease.release(&store).await;
    other.await.unwrap().check().unwrap();
    assert!(released.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_after_a_renewal_without_an_answer() {
    let peculiar = Arc::new(Peculiar::default());
    let store = open(Arc::clone(&peculiar));
    let lease = store.lease("lease").await.unwrap();
    peculiar.unanswered.store(1, Ordering::SeqCst);
    work(&lease, 15).await.0.unwrap();
    assert_eq!(peculiar.unanswered.load(Ordering::SeqCst), 0, "the renewal is under way");
    lease.release(&store).await;
    let began = Instant::now();
    drop(store.lease("lease").await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_renewals_fail_stops_before_its_term_ends() {
    let memory = Store::open("memory://failing-lease", &StoreOptions::default()).unwrap();
    let faulty = memory.wrap(|inner| Arc::new(FaultStore::new(inner).stop_writes_at(2)));
    let lease = faulty.lease("lease").await.unwrap();
    work(&lease, 25).await.0.unwrap();
    let (done, took, dropped) = work(&lease, 1000).await;
    assert_eq!(done.unwrap_err().kind(), ErrorKind::CommitConflict);
    assert!(took <= TERM - MARGIN && dropped, "{took:?}");
    assert_eq!(lease.check().unwrap_err().kind(), ErrorKind::CommitConflict);
    let (done, took, _) = work(&lease, 0).await;
    assert_eq!((done.unwrap_err().kind(), took), (ErrorKind::CommitConflict, Duration::ZERO));
    // Another process gets the lease only after the term has ended.
    drop(memory.lease("lease").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_one_has_is_lost() {
    let store = Store::open("memory://lost-lease", &StoreOptions::default()).unwrap();
    let lease = store.lease("lease").await.unwrap();
    let (_, version) = store.get_versioned("lease").await.unwrap().unwrap();
    let body = Bytes::from("held by another");
    let swap = store.compare_and_swap("lease", Some(&version), body, "another").await.unwrap();
    assert!(matches!(swap, Swap::Done(_)));
    let (done, took, dropped) = work(&lease, 1000).await;
    assert_eq!(done.unwrap_err().kind(), ErrorKind::CommitConflict);
    assert!(took < Duration::from_secs(15) && dropped, "{took:?}");
    lease.release(&store).await;
    assert_eq!(store.get("lease").await.unwrap(), "held by another");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_is_not_renewed() {
    let store = Store::open("memory://dropped-lease", &StoreOptions::default()).unwrap();
    drop(store.lease("lease").await.unwrap());
    let before = store.get("lease").await.unwrap();
    tokio::time::sleep(TERM).await;
    assert_eq!(store.get("lease").await.unwrap(), before);
}

/// Work on files that nobody awaits any more continues to the end of its step, under the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_kept_until_the_work_under_it_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let hasty = StoreOptions::default().with("lock_timeout", "50ms");
    let store = Store::open(directory.path().to_str().unwrap(), &hasty).unwrap();
    let lease = store.lease("lease").await.unwrap();
    let (begun, begins) = std::sync::mpsc::channel::<()>();
    let (ends, end) = std::sync::mpsc::channel::<()>();
    let files = Arc::clone(store.local.as_ref().unwrap());
    let work = tokio::spawn(async move {
        let steps = move |_: &_, _: &_| {
            begun.send(()).unwrap();
            end.recv().unwrap();
            Ok(())
        };
        files.work(steps).await.unwrap();
    });
    tokio::task::block_in_place(|| begins.recv()).unwrap();
    work.abort();
    drop(lease);
    let error = store.lease("lease").await.unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    ends.send(()).unwrap();
    let patient = Store::open(directory.path().to_str().unwrap(), &StoreOptions::default());
    patient.unwrap().lease("lease").await.unwrap();
}
