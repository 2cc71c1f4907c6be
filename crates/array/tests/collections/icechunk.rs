//! Tests of collections in Icechunk repositories: a repository of ZCollection, history, branches,
//! tags, garbage.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rows::{self, Kind, create, dataset, days, memory, merging, read};
use futures::TryStreamExt;
use jiff::SignedDuration;
use partita_array::dataset::Chunks;
use partita_array::json::Json;
use partita_array::layout::Layout;
use partita_array::{
    AlterOptions, Array, At, Collection, CopyOptions, CreateOptions, DType, Dataset, DropOptions,
    GarbageOptions, InsertOptions, MapOptions, Merge, Partitioning, ReadOptions, Schema,
    UpdateFunction, Variable, VariableSchema, VerifyOptions, View, ViewOptions,
};
use partita_core::partition::Resolution;
use partita_core::{Cancel, ErrorKind, Predicate, Progress, Store, StoreOptions};

fn golden() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/golden/zcollection/v3-icechunk").canonicalize().unwrap()
}

async fn sound(collection: &Collection) {
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    assert_eq!(collection.verify(&options).await.unwrap(), []);
}

async fn put(collection: &Collection, range: std::ops::Range<i64>, value: i32) {
    let rows = dataset(&days(range, value));
    collection.insert(&rows, &InsertOptions::default()).await.unwrap();
}

fn copy_of(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_of(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn what_zcollection_wrote_is_read_and_continued() {
    let directory = tempfile::tempdir().unwrap();
    copy_of(&golden(), directory.path());
    let url = format!("icechunk+{}", directory.path().display());
    let collection = Collection::open(&url, &StoreOptions::default()).await.unwrap();
    assert!(collection.url().starts_with("icechunk+/"));
    let config = collection.config();
    assert_eq!((config.layout, config.catalog), (Layout::ZarrV3, true));
    assert_eq!(config.partitioning, Partitioning::date("time", Resolution::Month));
    let data = collection.read(&ReadOptions::default()).await.unwrap();
    let time = data.variable("time").unwrap().data().integers().unwrap();
    let cycle = data.variable("cycle").unwrap().data().integers().unwrap();
    assert_eq!((time.len(), cycle.len()), (10_000, 10_000));
    assert!(time.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(cycle.windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!(data.attributes().get("title"), Some(&Json::from("demo")));
    let history = collection.history().await.unwrap();
    let operations: Vec<&str> = history.iter().map(|record| record.operation.as_str()).collect();
    assert_eq!(operations, ["zcollection mutation", "zcollection mutation", "bootstrap"]);
    assert_eq!(collection.last_commit().await.unwrap().own, 3);
    sound(&collection).await;

    // The first partition is inserted again with the rows that it had before ZCollection's last
    // commit.
    let january = Some(Predicate::parse("month == 1").unwrap());
    let options = ReadOptions { predicate: january.clone(), ..ReadOptions::default() };
    let january_rows = collection.read(&options).await.unwrap();
    let drops = DropOptions { predicate: january, ..DropOptions::default() };
    assert_eq!(collection.drop_partitions(&drops).await.unwrap().len(), 1);
    collection.insert(&january_rows, &InsertOptions::default()).await.unwrap();
    assert_eq!(collection.read(&ReadOptions::default()).await.unwrap(), data);
    let first = collection.at(3).await.unwrap();
    assert_eq!(first.read(&ReadOptions::default()).await.unwrap(), data);
    let dropped = collection.at(4).await.unwrap();
    assert_eq!(dropped.partitions(None).await.unwrap().len(), 1);
    sound(&collection).await;
}

#[tokio::test]
async fn every_commit_can_be_opened_again() {
    let collection = create(memory(), Kind::Icechunk).await;
    put(&collection, 0..2, 1).await;
    put(&collection, 1..3, 2).await;
    collection.create_tag("release", None).await.unwrap();
    let drops =
        DropOptions { predicate: Some(Predicate::parse("day < 3").unwrap()), ..Default::default() };
    collection.drop_partitions(&drops).await.unwrap();
    collection.drop_variable("v", &AlterOptions::default()).await.unwrap();
    let history = collection.history().await.unwrap();
    let known: Vec<(u64, &str)> =
        history.iter().map(|record| (record.sequence, record.operation.as_str())).collect();
    let expected =
        [(5, "drop_variable"), (4, "drop_partitions"), (3, "insert"), (2, "insert"), (1, "create")];
    assert_eq!(known, expected);
    assert!(history.windows(2).all(|pair| pair[0].time >= pair[1].time));
    let changed: Vec<&str> = history[2].changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changed, ["year=1970/month=01/day=02", "year=1970/month=01/day=03"]);

    let after_two = [days(0..1, 1), days(1..3, 2)].concat();
    let states = [
        At::Number(3),
        At::Time(history[2].time),
        At::Name(history[2].id.clone()),
        At::from("release"),
    ];
    for at in states {
        let old = collection.at(at).await.unwrap();
        assert_eq!(read(&old).await, after_two);
        assert_eq!(old.history().await.unwrap().len(), 3);
        assert_eq!(old.branch(), None);
        let refused = old.insert(&dataset(&days(0..1, 1)), &InsertOptions::default()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly);
    }
    let newest = collection.at("main").await.unwrap();
    assert!(newest.config().schema.variable("v").is_none());
    assert_eq!(read(&collection.at(2).await.unwrap()).await, days(0..2, 1));
    let before = history[4].time - SignedDuration::from_hours(1);
    for at in [At::Number(0), At::Number(9), At::from("nothing"), At::Time(before)] {
        assert_eq!(collection.at(at).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn branches_go_their_own_ways() {
    let store = memory();
    let main = create(store.clone(), Kind::Icechunk).await;
    put(&main, 0..2, 1).await;
    main.create_branch("trial", None).await.unwrap();
    main.create_branch("early", Some(&At::Number(1))).await.unwrap();
    let trial = main.on_branch("trial").await.unwrap();
    put(&trial, 1..3, 7).await;
    put(&main, 5..6, 2).await;
    assert_eq!(read(&trial).await, [days(0..1, 1), days(1..3, 7)].concat());
    assert_eq!(read(&main).await, [days(0..2, 1), days(5..6, 2)].concat());
    assert_eq!(read(&main.on_branch("early").await.unwrap()).await, []);
    assert_eq!((main.branch(), trial.branch()), (Some("main"), Some("trial")));
    assert_eq!(main.branches().await.unwrap(), ["early", "main", "trial"]);
    assert_eq!(trial.last_commit().await.unwrap().own, 3);
    let kind = async |made: partita_core::Result<()>| made.unwrap_err().kind();
    assert_eq!(kind(main.create_branch("trial", None).await).await, ErrorKind::AlreadyExists);
    assert_eq!(kind(main.delete_branch("none").await).await, ErrorKind::NotFound);
    assert_eq!(kind(main.delete_branch("main").await).await, ErrorKind::InvalidArgument);
    assert_eq!(kind(main.create_branch("a/b", None).await).await, ErrorKind::InvalidArgument);
    assert_eq!(main.on_branch("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    main.create_tag("v1", Some(&At::from("trial"))).await.unwrap();
    assert_eq!(kind(main.create_tag("v1", None).await).await, ErrorKind::AlreadyExists);
    main.delete_branch("trial").await.unwrap();
    assert_eq!(main.tags().await.unwrap(), ["v1"]);
    assert_eq!(read(&main.at("v1").await.unwrap()).await, [days(0..1, 1), days(1..3, 7)].concat());
    main.delete_tag("v1").await.unwrap();
    assert_eq!(kind(main.delete_tag("v1").await).await, ErrorKind::NotFound);
    sound(&main).await;
}

#[tokio::test]
async fn what_expired_is_removed_and_the_rest_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let store = Store::open(path, &StoreOptions::default()).unwrap();
    let collection = create(store.clone(), Kind::Icechunk).await;
    for value in 1..6 {
        put(&collection, 0..40, value).await;
    }
    let kept = collection.at(3).await.unwrap();
    kept.create_tag("kept", None).await.unwrap();
    // A worker stages changes that are never committed.
    collection
        .stage_insert(&dataset(&days(0..40, 9)), &merging(Merge::Replace), true)
        .await
        .unwrap();
    let now = GarbageOptions { grace: SignedDuration::ZERO, ..GarbageOptions::default() };
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let young = collection.collect_garbage(&GarbageOptions::default()).await.unwrap();
    assert_eq!(young.keys, Vec::<String>::new());
    let gone = collection.expire(SignedDuration::ZERO).await.unwrap();
    assert!(!gone.is_empty());
    let trial = GarbageOptions { dry_run: true, ..now.clone() };
    let promised = collection.collect_garbage(&trial).await.unwrap();
    let removed = collection.collect_garbage(&now).await.unwrap();
    assert_eq!(removed, promised);
    assert!(removed.bytes > 0 && removed.keys.iter().any(|key| key.starts_with("snapshots/")));
    for key in &removed.keys {
        assert!(store.head(key).await.unwrap().is_none(), "{key}");
    }
    assert_eq!(collection.collect_garbage(&now).await.unwrap().keys, Vec::<String>::new());
    let fresh = Collection::open_in_repository(store).await.unwrap();
    assert_eq!(read(&fresh).await, days(0..40, 5));
    assert_eq!(read(&fresh.at("kept").await.unwrap()).await, days(0..40, 2));
    assert_eq!(fresh.at(2).await.unwrap_err().kind(), ErrorKind::NotFound);
    sound(&fresh).await;
    put(&fresh, 0..1, 8).await;
    assert_eq!(fresh.last_commit().await.unwrap().own, 7);
}

#[tokio::test]
async fn what_is_planned_is_read_as_it_was() {
    let collection = create(memory(), Kind::Icechunk).await;
    put(&collection, 0..3, 1).await;
    let plan = collection.plan(&ReadOptions::default()).await.unwrap();
    put(&collection, 0..3, 2).await;
    let rows: Vec<_> = plan
        .partitions
        .iter()
        .map(|found| (found.rows.partition.path.clone(), found.rows.rows.clone()))
        .collect();
    let found = collection.read_rows(&rows, plan.commit, &ReadOptions::default()).await.unwrap();
    assert_eq!(rows::rows_of(&found), days(0..3, 1));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let store = StoreOptions::default();
    let schema = || dataset(&[]).schema();
    let by_day = || Partitioning::date("time", Resolution::Day);
    let made = |url: &'static str, layout| {
        let options = CreateOptions { layout, ..CreateOptions::default() };
        let (schema, by_day, store) = (schema(), by_day(), store.clone());
        async move { Collection::create(url, schema, "time", by_day, &options, &store).await }
    };
    let url = "icechunk+memory://refused/c";
    let open = Collection::open(url, &store).await;
    assert_eq!(open.unwrap_err().kind(), ErrorKind::NotFound);
    let old = made(url, Layout::ZarrV2).await.unwrap_err();
    assert_eq!(old.kind(), ErrorKind::InvalidArgument);
    let collection = made(url, Layout::ZarrV3).await.unwrap();
    assert_eq!(made(url, Layout::ZarrV3).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(&collection).await, []);
    let plain = Collection::open("memory://refused/c", &store).await.unwrap_err();
    assert_eq!(plain.kind(), ErrorKind::NotFound);
    let raw = Store::open(url, &store).unwrap_err();
    assert_eq!(raw.kind(), ErrorKind::InvalidArgument);
    let read_only = Collection::open(url, &StoreOptions::new().read_only(true)).await.unwrap();
    let refused = read_only.insert(&dataset(&days(0..1, 1)), &InsertOptions::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly);
    let plain = create(memory(), Layout::ZarrV3).await;
    assert_eq!(plain.branches().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(plain.at(1).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(plain.branch(), None);
}

/// A byte is changed in each kind of object.
#[tokio::test]
async fn damaged_objects_are_told() {
    let store = memory();
    put(&create(store.clone(), Kind::Icechunk).await, 0..3, 1).await;
    for prefix in ["repo", "snapshots/", "manifests/"] {
        let keys: Vec<String> =
            store.list(prefix).map_ok(|info| info.key).try_collect().await.unwrap();
        for damage in
            [|bytes: &[u8]| bytes[..bytes.len() / 2].to_vec(), |bytes: &[u8]| vec![7; bytes.len()]]
        {
            for key in &keys {
                let kept = store.get(key).await.unwrap();
                store.put(key, damage(&kept).into()).await.unwrap();
                let found = async {
                    let collection = Collection::open_in_repository(store.clone()).await?;
                    collection.read(&ReadOptions::default()).await
                };
                let found = found.await.map(|data| rows::rows_of(&data));
                // Damage in objects of other states is not detected by this read.
                match found {
                    Ok(found) => assert_eq!(found, days(0..3, 1), "{key}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{key}: {error}"),
                }
                store.put(key, kept).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn copies_into_repositories_and_out_of_them() {
    let store = StoreOptions::default();
    let plain = create(memory(), Layout::ZarrV2).await;
    put(&plain, 0..4, 1).await;
    for verify in [false, true] {
        let url = format!("icechunk+memory://copies/{verify}");
        let predicate = Some(Predicate::parse("day > 2").unwrap());
        let options = CopyOptions { predicate, verify, ..CopyOptions::default() };
        let copy = plain.copy_to(&url, &store, &options).await.unwrap();
        assert_eq!(read(&copy).await, days(2..4, 1));
        let operations: Vec<String> =
            copy.history().await.unwrap().into_iter().map(|record| record.operation).collect();
        assert_eq!(operations, ["copy"]);
        sound(&copy).await;
        put(&copy, 3..5, 2).await;
        let again = plain.copy_to(&url, &store, &options).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        for layout in [None, Some(Layout::ZarrV2)] {
            let options = CopyOptions { layout, verify, ..CopyOptions::default() };
            let out = copy.copy(memory(), &options).await.unwrap();
            assert_eq!(read(&out).await, [days(2..3, 1), days(3..5, 2)].concat());
            sound(&out).await;
        }
    }
    let old = CopyOptions { layout: Some(Layout::ZarrV2), ..CopyOptions::default() };
    let refused = plain.copy_to("icechunk+memory://copies/old", &store, &old).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn urls_name_branches_and_states() {
    let store = StoreOptions::default();
    let url = "icechunk+memory://named/c";
    let plain = create(memory(), Layout::ZarrV3).await;
    put(&plain, 0..1, 1).await;
    let main = plain.copy_to(url, &store, &CopyOptions::default()).await.unwrap();
    main.create_branch("trial", None).await.unwrap();
    let trial = Collection::open(&format!("{url}?branch=trial"), &store).await.unwrap();
    put(&trial, 1..2, 2).await;
    trial.create_tag("v1", None).await.unwrap();
    put(&trial, 2..3, 3).await;
    let both = [days(0..1, 1), days(1..2, 2)].concat();
    let tagged = Collection::open(&format!("{url}?at=v1"), &store).await.unwrap();
    assert_eq!(read(&tagged).await, both);
    // The URL of any such handle opens the same state.
    let again = Collection::open(trial.at("v1").await.unwrap().url(), &store).await.unwrap();
    assert_eq!(read(&again).await, both);
    let again = Collection::open(trial.url(), &store).await.unwrap();
    assert_eq!((again.branch(), read(&again).await.len()), (Some("trial"), 21));
    let time = trial.history().await.unwrap()[1].time.to_string();
    assert_eq!(read(&trial.at(time.as_str()).await.unwrap()).await, both);
    for end in ["?branch=none", "?at=none", "?at=99", "?at=1999-01-01"] {
        let error = Collection::open(&format!("{url}{end}"), &store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{end}");
    }
}

/// Rows whose chunks are too large to be stored inline in manifests.
fn large(day: i64, seed: i32) -> Dataset {
    let value =
        |row: i64| i32::try_from(row).unwrap().wrapping_add(seed).wrapping_mul(40_503_211) / 2;
    let rows: Vec<rows::Row> =
        (0..2000).map(|row| (day * rows::DAY + row * 37, value(row))).collect();
    let mut data = dataset(&rows);
    data.set_chunks("time", Chunks::Size(2000));
    data
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_chunk_is_stored_twice_because_another_commit_was_faster() {
    let store = memory();
    let partitioning = Partitioning::date("time", Resolution::Day);
    let options =
        CreateOptions { layout: Layout::ZarrV3, catalog: true, ..CreateOptions::default() };
    let schema = large(0, 0).schema();
    let made =
        Collection::create_in_repository(store.clone(), schema, "time", partitioning, &options);
    made.await.unwrap();
    let writers = (0..4i64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let collection = Collection::open_in_repository(store).await.unwrap();
            for round in 0..4 {
                let rows = large(writer * 4 + round, 1);
                let merge = merging(Merge::Upsert { tolerance: None });
                collection.insert(&rows, &merge).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let collection = Collection::open_in_repository(store.clone()).await.unwrap();
    assert_eq!(read(&collection).await.len(), 16 * 2000);
    assert!(chunks_in(&store).await.len() >= 16);
    let grace = SignedDuration::ZERO;
    let options = GarbageOptions { grace, dry_run: true, ..GarbageOptions::default() };
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let garbage = collection.collect_garbage(&options).await.unwrap();
    assert!(!garbage.keys.iter().any(|key| key.starts_with("chunks/")), "{:?}", garbage.keys);
    sound(&collection).await;
}

/// Cancels the work after a number of partitions.
#[derive(Debug)]
struct CancelAfter(AtomicU64, Cancel);

impl Progress for CancelAfter {
    fn start(&self, _what: &str, _total: Option<u64>) {}

    fn finish(&self) {}

    fn advance(&self, amount: u64) {
        if self.0.fetch_sub(amount, Ordering::Relaxed) == 1 {
            self.1.cancel();
        }
    }
}

async fn chunks_in(store: &Store) -> Vec<String> {
    store.list("chunks/").map_ok(|info| info.key).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_copy_into_a_repository_is_continued() {
    let (schema, partitioning) =
        (large(0, 0).schema(), Partitioning::date("time", Resolution::Day));
    let options = CreateOptions::default();
    let made = Collection::create_in(memory(), schema, "time", partitioning, &options);
    let plain = made.await.unwrap();
    for day in 0..80 {
        plain.insert(&large(day, 1), &InsertOptions::default()).await.unwrap();
    }
    let store = StoreOptions::default();
    for collected in [false, true] {
        let url = format!("memory://continued/{collected}");
        let target = Store::open(&url, &store).unwrap();
        let mut options = CopyOptions::default();
        options.work.progress =
            Arc::new(CancelAfter(AtomicU64::new(70), options.work.cancel.clone()));
        let repository = format!("icechunk+{url}");
        let stopped = plain.copy_to(&repository, &store, &options).await.unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::Interrupted);
        let error = Collection::open(&repository, &store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);

        let before = chunks_in(&target).await;
        assert!(before.len() >= 64);
        if collected {
            target.delete_many(before[..10].to_vec()).await.unwrap();
        }
        // Partitions that were changed since are copied again.
        plain.insert(&large(3, 2), &InsertOptions::default()).await.unwrap();
        let copy = plain.copy_to(&repository, &store, &CopyOptions::default()).await.unwrap();
        assert_eq!(read(&copy).await, read(&plain).await);
        sound(&copy).await;
        assert_eq!(copy.history().await.unwrap().len(), 1);
        let made = chunks_in(&target).await.iter().filter(|key| !before.contains(key)).count();
        let anew = 80 - 64 + 1 + if collected { 10 } else { 0 };
        let of_each = 2;
        assert!(made <= anew * of_each, "{made}");
        let left: Vec<String> =
            target.list(".partita/copy/").map_ok(|info| info.key).try_collect().await.unwrap();
        assert_eq!(left, Vec::<String>::new());
    }
}

#[tokio::test]
async fn variables_may_have_the_names_of_chunks() {
    let collection = create(memory(), Kind::Icechunk).await;
    put(&collection, 0..2, 1).await;
    for name in ["c", "0"] {
        let variable = VariableSchema::new(name, DType::Int32, &["time", "x"]);
        collection.add_variable("", &variable, &AlterOptions::default()).await.unwrap();
    }
    let value = |value: i32| -> UpdateFunction {
        Arc::new(move |partition| {
            let v = partition.data.variable("v").unwrap().data().shape().to_vec();
            let items = std::iter::repeat_n(value.to_le_bytes(), v.iter().product());
            let data = Array::from_bytes(DType::Int32, v, items.flatten().collect::<Vec<u8>>())?;
            let variable = |name| {
                let schema = VariableSchema::new(name, DType::Int32, &["time", "x"]);
                Variable::new(schema, data.clone())
            };
            Ok(vec![variable("c")?, variable("0")?])
        })
    };
    // Chunks of zeros are not stored, so that the previous chunks must be removed.
    for number in [7, 0, 8] {
        collection.update(value(number), &MapOptions::default()).await.unwrap();
        let data = collection.read(&ReadOptions::default()).await.unwrap();
        for name in ["c", "0"] {
            let found = data.variable(name).unwrap().data().integers().unwrap();
            assert!(found.iter().all(|item| *item == i128::from(number)), "{name}: {found:?}");
        }
    }
    collection.drop_variable("c", &AlterOptions::default()).await.unwrap();
    sound(&collection).await;
    let data = collection.read(&ReadOptions::default()).await.unwrap();
    assert_eq!(rows::rows_of(&data), days(0..2, 1));
    assert_eq!(data.variable("0").unwrap().data().integers().unwrap()[0], 8);
}

#[tokio::test]
async fn a_view_lies_over_a_repository() {
    let url = "icechunk+memory://under/base";
    let plain = create(memory(), Layout::ZarrV3).await;
    put(&plain, 0..3, 1).await;
    let options = StoreOptions::default();
    let base = plain.copy_to(url, &options, &CopyOptions::default()).await.unwrap();
    let own = VariableSchema::new("w", DType::Int32, &["time"]);
    let own = own.with_fill(Json::Int(-9)).unwrap();
    let schema = Schema::new(Vec::new(), vec![own]).unwrap();
    let all = ViewOptions::default();
    View::create("memory://under/view", &base, &schema, &all, &options).await.unwrap();
    let view = View::open("memory://under/view", &options).await.unwrap();
    let data = view.read(&ReadOptions::default()).await.unwrap();
    assert_eq!(rows::rows_of(&data), days(0..3, 1));
    assert_eq!(data.variable("w").unwrap().data().integers().unwrap(), vec![-9; 21]);
    put(&base, 3..4, 2).await;
    assert!(!view.is_synced().await.unwrap());
    view.sync(&all).await.unwrap();
    assert_eq!(read(&view).await, [days(0..3, 1), days(3..4, 2)].concat());
    let inside = View::create(url, &base, &schema, &all, &options).await;
    assert_eq!(inside.unwrap_err().kind(), ErrorKind::AlreadyExists);
}
