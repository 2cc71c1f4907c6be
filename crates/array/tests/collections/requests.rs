//! Tests of the requests that operations send, and of damaged collections, which give errors and
//! never a panic.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::rows::{Row, create, dataset, days, memory, merging};
use partita_array::layout::Layout;
use partita_array::{Collection, DropOptions, InsertOptions, Merge, ReadOptions};
use partita_core::testing::{CountingStore, Rounds};
use partita_core::{Predicate, Store, StoreOptions};
use proptest::prelude::*;

fn golden(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/golden/zcollection").canonicalize().unwrap().join(name)
}

/// The files of a golden collection, by key.
fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((key, std::fs::read(&path).unwrap()));
            }
        }
    }
    let (root, mut found) = (golden(name), Vec::new());
    walk(&root, &root, &mut found);
    found.sort();
    found
}

fn counted(name: &str) -> (Store, Arc<CountingStore>) {
    counting(Store::open(golden(name).to_str().unwrap(), &StoreOptions::default()).unwrap())
}

fn counting(store: Store) -> (Store, Arc<CountingStore>) {
    let mut counter = None;
    let store = store.wrap(|inner| {
        let counting = Arc::new(CountingStore::new(inner));
        counter = Some(Arc::clone(&counting));
        counting
    });
    (store, counter.unwrap())
}

fn options(predicate: &str, variable: &str) -> ReadOptions {
    ReadOptions {
        predicate: Some(Predicate::parse(predicate).unwrap()),
        variables: Some(vec![variable.to_owned()]),
        ..ReadOptions::default()
    }
}

#[tokio::test]
async fn a_variable_of_a_partition_costs_its_metadata_and_its_chunks() {
    let (store, counter) = counted("v1-date");
    let collection = Collection::open_in(store).await.unwrap();
    // The document of the collection, in either layout, and the pending commits: a head and a
    // record.
    assert_eq!(counter.reset().requests(), 4);
    collection.read(&options("month == 2", "ssh")).await.unwrap();
    let counts = counter.reset();
    // The directories of years and months; metadata and one chunk; and, before and after them, the
    // requests that detect a commit in between.
    assert_eq!((counts.lists, counts.gets), (2, 2 + 4 + 2));

    let (store, counter) = counted("v3-date");
    let collection = Collection::open_in(store).await.unwrap();
    assert_eq!(counter.reset().requests(), 4);
    collection.read(&options("month == 2", "ssh")).await.unwrap();
    let counts = counter.reset();
    // The catalog, metadata and two chunks.
    assert_eq!((counts.lists, counts.gets), (0, 4 + 4 + 2));
}

#[tokio::test]
async fn immutable_variables_need_no_partition() {
    let (store, counter) = counted("v1-date");
    let collection = Collection::open_in(store).await.unwrap();
    counter.reset();
    collection.read(&options("month == 2", "lut")).await.unwrap();
    assert_eq!(counter.reset().gets, 2 + 4 + 2);
}

#[tokio::test]
async fn a_merge_reads_each_chunk_once() {
    let (store, counter) = counting(memory());
    let collection = create(store, Layout::ZarrV2).await;
    // The rows are in forty chunks, and each of them moves by one row.
    let rows: Vec<Row> = (1..=120).map(|number| (number * 600, 1)).collect();
    collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    counter.reset();
    let merge = merging(Merge::Upsert { tolerance: None });
    collection.insert(&dataset(&[(0, 2)]), &merge).await.unwrap();
    let chunks = |name: &str| {
        let mut read = counter.keys_read();
        read.retain(|key| key.contains(&format!("/day=01/{name}/")));
        read.sort();
        let requests = read.len();
        read.dedup();
        (requests, read.len())
    };
    assert_eq!((chunks("time"), chunks("v")), ((40, 40), (40, 40)));
}

/// The number does not depend on the numbers of partitions and chunks. The clock is simulated.
#[tokio::test(start_paused = true)]
async fn few_requests_are_waited_for() {
    for (layout, inserts, merges, reads, drops) in
        [(Layout::ZarrV2, 14, 18, 6, 10), (Layout::ZarrV3, 21, 26, 7, 12)]
    {
        let (store, mut rounds) = Rounds::of(&memory());
        let collection = create(store.clone(), layout).await;
        rounds.waited();
        let all: Vec<Row> = (0..120).map(|number| (number * 600, 1)).collect();
        collection.insert(&dataset(&all), &InsertOptions::default()).await.unwrap();
        let waited = rounds.waited();
        assert!(waited <= inserts, "{waited} for 80 chunks of one partition");
        collection.insert(&dataset(&days(1..12, 1)), &InsertOptions::default()).await.unwrap();
        let waited = rounds.waited();
        assert!(waited <= inserts, "{waited} for 11 partitions");
        let again = merging(Merge::Upsert { tolerance: None });
        collection.insert(&dataset(&all[60..70]), &again).await.unwrap();
        let waited = rounds.waited();
        assert!(waited <= merges, "{waited} for a merge");
        collection.read(&options("day == 1", "v")).await.unwrap();
        let waited = rounds.waited();
        assert!(waited <= reads, "{waited} for 40 chunks");
        let predicate = Some(Predicate::parse("day == 2").unwrap());
        let options = DropOptions { predicate, ..DropOptions::default() };
        collection.drop_partitions(&options).await.unwrap();
        let waited = rounds.waited();
        assert!(waited <= drops, "{waited} for a dropped partition");
        let again = Collection::open_in(store).await.unwrap();
        assert_eq!(rounds.waited(), 2, "the mark, and what it tells to ask for");
        again.refresh().await.unwrap();
        assert_eq!(rounds.waited(), 1, "all at once, since the mark has not moved");
        collection.insert(&dataset(&days(20..21, 1)), &InsertOptions::default()).await.unwrap();
        rounds.waited();
        // Now it has.
        assert_eq!(again.partitions(None).await.unwrap().len(), 12);
    }
}

/// Opens and reads a collection in which one file was changed.
async fn read_changed(files: &[(String, Vec<u8>)], changed: usize, bytes: Vec<u8>) {
    let url = format!("memory://{:032x}", rand_id());
    let store = Store::open(&url, &StoreOptions::default()).unwrap();
    for (number, (key, content)) in files.iter().enumerate() {
        let content = if number == changed { bytes.clone() } else { content.clone() };
        store.put(key, content.into()).await.unwrap();
    }
    if let Ok(collection) = Collection::open_in(store).await {
        let _ = collection.read(&ReadOptions::default()).await;
    }
}

fn rand_id() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damage_is_no_panic(
        name in prop::sample::select(vec!["v1-date", "v3-date", "dev-grouped"]),
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        kind in 0..4u8, byte in any::<u8>(), digits in "[0-9]{1,19}",
    ) {
        let files = files(name);
        let changed = file.index(files.len());
        let mut bytes = files[changed].1.clone();
        prop_assume!(!bytes.is_empty());
        let at = place.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.truncate(at),
            2 => {
                // The next number is replaced by another one, often larger than any memory.
                let from = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()).unwrap_or(at);
                let to = (from..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(from);
                bytes.splice(from..to, digits.bytes());
            }
            _ => bytes.clear(),
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(read_changed(&files, changed, bytes));
    }
}
