//! Commits on stores that fail or give wrong answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use partita_core::store::Swap;
use partita_core::testing::{CountingStore, Fault, FaultStore, race_increments};
use partita_core::{ErrorKind, Store, StoreOptions};
use partita_s3_server::{Faults, Server};

fn s3_options(server: &Server) -> StoreOptions {
    server.options().into_iter().collect()
}

fn serve(fault: &str) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), 0, fault.parse::<Faults>().unwrap()).unwrap();
    (dir, server)
}

async fn swap_kind(store: &Store) -> ErrorKind {
    let swap = store.compare_and_swap("t.json", None, Bytes::from_static(b"id"), "id").await;
    swap.unwrap_err().kind()
}

/// The client below retries a put whose response was 500, and the retry fails its own condition.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_answers_are_recovered() {
    let (_dir, server) = serve("lost:10");
    let options = s3_options(&server).with("retry_backoff", "5ms");
    let store = Store::open("s3://test/x", &options).unwrap();
    assert_eq!(race_increments(&store, "counter", 8, 50).await.unwrap().done, 400);
    assert!(server.lost_answers() >= 40, "{}", server.lost_answers());
}

/// The client gives up at once, with an unknown outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_answers_are_recovered_without_retries() {
    let (_dir, server) = serve("lost:5");
    let store = Store::open("s3://test", &s3_options(&server).with("max_retries", "0")).unwrap();
    assert_eq!(race_increments(&store, "counter", 8, 25).await.unwrap().done, 200);
    assert!(server.lost_answers() >= 40, "{}", server.lost_answers());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_of_a_write_is_survived() {
    let faults =
        [Fault::Fail, Fault::Ambiguous, Fault::Duplicate, Fault::Delay(Duration::from_millis(3))];
    for fault in faults {
        let dir = tempfile::tempdir().unwrap();
        for root in [format!("memory://faults-{fault:?}"), dir.path().to_string_lossy().into()] {
            let store = Store::open(&root, &StoreOptions::new()).unwrap().wrap(|inner| {
                Arc::new(FaultStore::new(inner).on_every_write(4, fault).fail_every_read(9))
            });
            let lines = race_with_failing_reads(&store, 4, 10).await;
            assert_eq!(lines, 40, "{fault:?} on {root}");
        }
    }
}

/// Like `race_increments`, but retries reads outside of swaps that the test makes fail.
async fn race_with_failing_reads(store: &Store, tasks: u64, each: u64) -> usize {
    let writers = (0..tasks).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..each {
                let id = format!("commit-{task}-{number}.");
                loop {
                    let Ok(current) = store.get_versioned("counter").await else { continue };
                    let (bytes, version) = current.unzip();
                    let next = [bytes.unwrap_or_default().as_ref(), id.as_bytes()].concat();
                    let swap =
                        store.compare_and_swap("counter", version.as_ref(), next.into(), &id);
                    if let Swap::Done(_) = swap.await.unwrap() {
                        break;
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let bytes = loop {
        if let Ok(bytes) = store.get("counter").await {
            break bytes;
        }
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let ids: std::collections::BTreeSet<_> = text.split_terminator('.').collect();
    assert_eq!(ids.len(), text.matches('.').count(), "no commit is there twice");
    ids.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_that_ignore_conditions_are_refused() {
    for fault in ["unconditional", "unlocked"] {
        let (_dir, server) = serve(fault);
        let store = Store::open("s3://test/x", &s3_options(&server)).unwrap();
        assert_eq!(swap_kind(&store).await, ErrorKind::CommitUnsupported, "{fault}");
        assert!(store.get_opt("t.json").await.unwrap().is_none(), "nothing was written");
        let asked = server.requests();
        let other = Store::open("s3://test/x", &s3_options(&server)).unwrap();
        assert_eq!(swap_kind(&other).await, ErrorKind::CommitUnsupported);
        assert_eq!(server.requests(), asked, "the process asks once");

        let alone = Store::open("s3://test/y", &s3_options(&server).single_writer(true)).unwrap();
        swaps_of_one_writer(&alone).await;
    }
}

async fn swaps_of_one_writer(store: &Store) {
    let body = |text: &'static str| Bytes::from_static(text.as_bytes());
    let first = store.compare_and_swap("s", None, body("id-1"), "id-1").await.unwrap();
    let Swap::Done(first) = first else { panic!("a single writer creates") };
    let lost = store.compare_and_swap("s", None, body("id-2"), "id-2").await.unwrap();
    assert!(matches!(lost, Swap::Lost { current: Some(_) }));
    let second = store.compare_and_swap("s", Some(&first), body("id-3"), "id-3").await.unwrap();
    assert!(matches!(second, Swap::Done(_)));
    let lost = store.compare_and_swap("s", Some(&first), body("id-4"), "id-4").await.unwrap();
    assert!(matches!(lost, Swap::Lost { .. }));
    assert_eq!(store.get("s").await.unwrap(), "id-3");
}

#[tokio::test]
async fn a_store_without_conditions_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plain = object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap();
    let store = Store::from_object_store(Arc::new(plain), "plain", &StoreOptions::new());
    assert_eq!(swap_kind(&store).await, ErrorKind::CommitUnsupported);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the probe cleans up");
}

#[tokio::test]
async fn read_only_stores_refuse_every_write() {
    let options = StoreOptions::new().read_only(true);
    let web = Store::open("https://example.org/data", &StoreOptions::new()).unwrap();
    let memory = Store::open("memory://read-only", &options).unwrap();
    for store in [web, memory] {
        assert!(store.is_read_only());
        let errors = [
            store.put("x", Bytes::new()).await.unwrap_err(),
            store.delete("x").await.unwrap_err(),
            store.delete_many(vec!["x".to_owned()]).await.unwrap_err(),
            store.probe().await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::ReadOnly));
        assert_eq!(swap_kind(&store).await, ErrorKind::ReadOnly);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_store_says_so() {
    let options = StoreOptions::new()
        .with("endpoint_url", "http://127.0.0.1:9")
        .with("key", "a")
        .with("secret", "b")
        .with("max_retries", "1")
        .with("retry_backoff", "1ms")
        .with("connect_timeout", "500ms");
    let store = Store::open("s3://nowhere/x", &options).unwrap();
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains("s3://nowhere/x"), "{error}");
    // The probe fails, so nothing was written.
    assert_eq!(swap_kind(&store).await, ErrorKind::Store);
}

#[tokio::test]
async fn a_commit_without_any_answer_is_in_doubt() {
    let memory = Store::open("memory://in-doubt", &StoreOptions::new()).unwrap();
    let mute = memory.wrap(|inner| {
        Arc::new(FaultStore::new(inner).on_every_write(1, Fault::Ambiguous).fail_every_read(1))
    });
    assert_eq!(swap_kind(&mute).await, ErrorKind::CommitUnknown);
    assert_eq!(memory.get("t.json").await.unwrap(), "id", "it did happen");
    let crashed = memory.wrap(|inner| Arc::new(FaultStore::new(inner).stop_writes_at(1)));
    let kind = crashed.compare_and_swap("new", None, Bytes::from_static(b"id"), "id").await;
    assert_eq!(kind.unwrap_err().kind(), ErrorKind::CommitUnknown);
    assert!(memory.get_opt("new").await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_costs_one_request() {
    let counting = Arc::new(std::sync::Mutex::new(None));
    let store = Store::open("memory://costs", &StoreOptions::new()).unwrap().wrap(|inner| {
        let store = CountingStore::new(inner);
        *counting.lock().unwrap() = Some(store.clone());
        Arc::new(store)
    });
    let counting = counting.lock().unwrap().take().unwrap();
    let body = Bytes::from_static(b"id-1");
    let Swap::Done(version) = store.compare_and_swap("s", None, body, "id-1").await.unwrap() else {
        panic!("nobody else writes")
    };
    let body = Bytes::from_static(b"id-2");
    let _ = store.compare_and_swap("s", Some(&version), body, "id-2").await.unwrap();
    let counts = counting.reset();
    assert_eq!((counts.requests(), counts.puts), (2, 2), "{counts:?}");
    let _ = store.compare_and_swap("s", None, Bytes::from_static(b"id-3"), "id-3").await.unwrap();
    assert_eq!(counting.counts().requests(), 2, "a lost race costs a read, too");
}

/// A client passed in by the caller, and the conditions for writing through it.
#[tokio::test]
async fn clients_need_a_single_writer() {
    let client = Arc::new(object_store::memory::InMemory::new());
    let handed = StoreOptions::new().with_client(client);
    let root = Store::open(".", &handed).unwrap();
    let store = Store::open("/lake/raw/", &handed).unwrap();
    assert!(store.get_opt("t.json").await.unwrap().is_none());
    let written = store.put("t.json", Bytes::from_static(b"x")).await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::CommitUnsupported);
    assert_eq!(swap_kind(&store).await, ErrorKind::CommitUnsupported);
    assert!(root.list_directories("").await.unwrap().is_empty());

    let alone = Store::open("lake/raw", &handed.clone().single_writer(true)).unwrap();
    assert_eq!(race_increments(&alone, "counter", 1, 20).await.unwrap().done, 20);
    assert_eq!(store.get("counter").await.unwrap(), alone.get("counter").await.unwrap());
    assert!(root.head("lake/raw/counter").await.unwrap().is_some());
    // An outdated version is rejected, though not atomically.
    let (_, old) = alone.get_versioned("counter").await.unwrap().unwrap();
    for lost in [false, true] {
        let id = format!("id {lost}");
        let body = Bytes::from(id.clone());
        let swap = alone.compare_and_swap("counter", Some(&old), body, &id).await.unwrap();
        assert_eq!(matches!(swap, Swap::Lost { .. }), lost);
    }

    let with_options = handed.with("key", "k");
    let error = Store::open("lake", &with_options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// Other buckets and other credentials make no difference: a connection belongs to a server.
#[tokio::test]
async fn stores_of_one_server_share_connections() {
    let (_dir, server) = serve("slow:1");
    server.create_bucket("other").unwrap();
    for round in 0..10 {
        for url in ["s3://test/x", "s3://test/y/z", "s3://other"] {
            let store = Store::open(url, &s3_options(&server)).unwrap();
            store.put("a", Bytes::from_static(b"a")).await.unwrap();
            assert_eq!(store.get("a").await.unwrap(), "a", "{round}");
            assert_eq!(store.get_opt("b").await.unwrap(), None);
        }
    }
    assert!(server.requests() >= 90);
    // One is enough; the client opens a second one if the first is not free yet.
    assert!(server.connections() < 10, "{}", server.connections());
}
