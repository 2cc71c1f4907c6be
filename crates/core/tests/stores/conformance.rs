//! The conformance suite on every kind of store that is available to tests.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use partita_core::store::{Capability, Condition};
use partita_core::testing::{
    CountingStore, FaultStore, LatencyStore, conformance, race_increments,
};
use partita_core::{Store, StoreOptions};
use partita_s3_server::{Faults, Server};

fn s3(faults: Faults) -> (tempfile::TempDir, Server, Store) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), 0, faults).unwrap();
    let options: StoreOptions = server.options().into_iter().collect();
    let options = options.with("retry_backoff", "5ms");
    let store = Store::open("s3://test/some%20where/deep", &options).unwrap();
    (dir, server, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    let store = Store::open("memory://conforms/deep", &StoreOptions::new()).unwrap();
    conformance(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/yet/a b%20c");
    let store = Store::open(root.to_str().unwrap(), &StoreOptions::new()).unwrap();
    assert!(!dir.path().join("not").exists(), "opening makes nothing");
    conformance(&store).await.unwrap();
    let url = format!("file://{}/x%20y", dir.path().to_str().unwrap());
    conformance(&Store::open(&url, &StoreOptions::new()).unwrap()).await.unwrap();
    assert!(dir.path().join("x y").is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3_conforms() {
    let (_dir, _server, store) = s3(Faults::default());
    conformance(&store).await.unwrap();
    let probed = store.probe().await.unwrap();
    assert_eq!(probed, Capability::Conditional(Condition::Etag));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn busy_s3_conforms() {
    let (_dir, _server, store) = s3("busy:7".parse().unwrap());
    conformance(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrapped_stores_conform() {
    let counting = CountingStore::new(Arc::new(InMemory::new()));
    let late = LatencyStore::new(Arc::new(counting.clone()), Duration::from_millis(1));
    let faulty = FaultStore::new(Arc::new(late));
    let store = Store::from_object_store(Arc::new(faulty), "wrapped", &StoreOptions::new());
    conformance(&store).await.unwrap();
    let counts = counting.counts();
    assert!(counts.puts > 50 && counts.gets > 50 && counts.lists > 5, "{counts:?}");
    assert!(counts.multipart >= 4 && counts.bytes_written > 33 << 20, "{counts:?}");
}

/// The lock and the condition of local files work through a wrapper, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrapped_local_files_are_probed() {
    let dir = tempfile::tempdir().unwrap();
    let files = Store::open(dir.path().to_str().unwrap(), &StoreOptions::new()).unwrap();
    let store = Store::from_object_store(files.object_store(), "wrapped", &StoreOptions::new());
    let probed = store.probe().await.unwrap();
    assert_eq!(probed, Capability::Conditional(Condition::ContentHash));
    conformance(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (_keep, _server, s3) = s3(Faults::default());
    let options = StoreOptions::new();
    let stores = [
        Store::open("memory://increments", &options).unwrap(),
        Store::open(dir.path().to_str().unwrap(), &options).unwrap(),
        s3,
    ];
    for store in stores {
        let race = race_increments(&store, "new/counter", 8, 50).await.unwrap();
        assert_eq!(race.done, 400);
    }
    let left: Vec<_> = std::fs::read_dir(dir.path().join("new")).unwrap().collect();
    assert_eq!(left.len(), 1, "no lock, no temporary file: {left:?}");
}
