//! What operations cost, and what damaged collections give: errors, never a panic.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use partita_array::{Collection, ReadOptions};
use partita_core::testing::CountingStore;
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
    let store = Store::open(golden(name).to_str().unwrap(), &StoreOptions::default()).unwrap();
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
    // What the collection is, and whether commits wait to be published: a mark, and a record.
    assert_eq!(counter.reset().requests(), 3);
    collection.read(&options("month == 2", "ssh")).await.unwrap();
    let counts = counter.reset();
    // Directories of years and of months; metadata and one chunk; and before and after them what
    // tells whether a commit came in between.
    assert_eq!((counts.lists, counts.gets), (2, 2 + 3 + 2));

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
    assert_eq!(counter.reset().gets, 2 + 3 + 2);
}

/// Opens and reads a collection of which one file was changed.
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
                // The next number becomes another, larger than any memory as often as not.
                let from = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()).unwrap_or(at);
                let to = (from..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(from);
                bytes.splice(from..to, digits.bytes());
            }
            _ => bytes.clear(),
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read_changed(&files, changed, bytes));
    }
}
