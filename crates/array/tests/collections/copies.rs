//! Tests of interrupted copies, and of changes staged by many workers for one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rows::{Kind, create, dataset, days, memory, merging, open, read, rows_of, try_create};
use futures::TryStreamExt;
use partita_array::dataset::Chunks;
use partita_array::layout::Layout;
use partita_array::{
    Collection, Committed, CopyOptions, DropOptions, InsertOptions, Merge, Staged, VerifyOptions,
};
use partita_core::testing::FaultStore;
use partita_core::{ErrorKind, Predicate, Progress, Store};

#[tokio::test]
async fn copies_in_both_layouts_hold_the_same() {
    for (from, to) in [(Layout::ZarrV2, Layout::ZarrV3), (Layout::ZarrV3, Layout::ZarrV2)] {
        let collection = create(memory(), from).await;
        collection.insert(&dataset(&days(0..4, 1)), &InsertOptions::default()).await.unwrap();
        for layout in [None, Some(to)] {
            let predicate = Some(Predicate::parse("day > 2").unwrap());
            let options = partita_array::CopyOptions { predicate, layout, ..Default::default() };
            let target = memory();
            let copy = collection.copy(target.clone(), &options).await.unwrap();
            assert_eq!(read(&copy).await, days(2..4, 1));
            assert_eq!(copy.config().layout, layout.unwrap_or(from));
            copy.insert(&dataset(&days(4..5, 9)), &InsertOptions::default()).await.unwrap();
            assert_eq!(read(&copy).await.len(), 21);
            let again = collection.copy(target, &options).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        }
    }
}

async fn sound(collection: &Collection) {
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    assert_eq!(collection.verify(&options).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_stops_at_any_write_is_continued() {
    for (from, to) in [(Layout::ZarrV2, Layout::ZarrV3), (Layout::ZarrV3, Layout::ZarrV3)] {
        let collection = create(memory(), from).await;
        collection.insert(&dataset(&days(0..5, 1)), &InsertOptions::default()).await.unwrap();
        let options = CopyOptions { layout: Some(to), verify: true, ..CopyOptions::default() };
        for number in 1.. {
            let target = memory();
            let faulty =
                target.wrap(|inner| Arc::new(FaultStore::new(inner).stop_writes_at(number)));
            let done = collection.copy(faulty, &options).await;
            let copy = match Collection::open_in(target.clone()).await {
                Ok(copy) => copy,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                    assert!(done.is_err(), "write {number}");
                    collection.copy(target, &options).await.unwrap()
                }
            };
            assert_eq!(read(&copy).await, days(0..5, 1), "write {number}");
            sound(&copy).await;
            if done.is_ok() {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_copy_left_is_no_part_of_the_next() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..6, 1)), &InsertOptions::default()).await.unwrap();
    for number in [20, 40, 60] {
        let target = memory();
        let faulty = target.wrap(|inner| Arc::new(FaultStore::new(inner).stop_writes_at(number)));
        collection.copy(faulty, &CopyOptions::default()).await.unwrap_err();
        let predicate = Some(Predicate::parse("day > 4").unwrap());
        for layout in [Layout::ZarrV2, Layout::ZarrV3] {
            let options = CopyOptions {
                predicate: predicate.clone(),
                layout: Some(layout),
                ..Default::default()
            };
            if let Err(error) = collection.copy(target.clone(), &options).await {
                assert_eq!((error.kind(), layout), (ErrorKind::AlreadyExists, Layout::ZarrV3));
            }
            let copy = Collection::open_in(target.clone()).await.unwrap();
            assert_eq!(read(&copy).await, days(4..6, 1));
        }
        let left: Vec<String> =
            target.list(".partita/copy/").map_ok(|info| info.key).try_collect().await.unwrap();
        assert_eq!(left, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_copy_is_no_place_for_another_collection() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..6, 1)), &InsertOptions::default()).await.unwrap();
    let target = memory();
    let faulty = target.wrap(|inner| Arc::new(FaultStore::new(inner).stop_writes_at(20)));
    collection.copy(faulty, &CopyOptions::default()).await.unwrap_err();
    for layout in [Layout::ZarrV2, Layout::ZarrV3] {
        let refused = try_create(target.clone(), Kind::Plain(layout)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    }
    let copy = collection.copy(target, &CopyOptions::default()).await.unwrap();
    assert_eq!(read(&copy).await, days(0..6, 1));
}

/// Sends a message once a copy has begun.
#[derive(Debug)]
struct Meddler(tokio::sync::mpsc::UnboundedSender<()>, AtomicBool);

impl Progress for Meddler {
    fn start(&self, _what: &str, _total: Option<u64>) {}

    fn finish(&self) {}

    fn advance(&self, _amount: u64) {
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0.send(()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_is_of_one_state_whatever_writers_do() {
    for layout in [Layout::ZarrV2, Layout::ZarrV3] {
        let collection = create(memory(), Layout::ZarrV2).await;
        collection.insert(&dataset(&days(0..20, 1)), &InsertOptions::default()).await.unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut options = CopyOptions { layout: Some(layout), ..CopyOptions::default() };
        options.work.progress = Arc::new(Meddler(tell, AtomicBool::new(false)));
        let writing = async {
            told.recv().await.unwrap();
            let rows = dataset(&days(1..18, 2));
            collection.insert(&rows, &InsertOptions::default()).await.unwrap();
            let predicate = Some(Predicate::parse("day == 1").unwrap());
            let drops = DropOptions { predicate, ..DropOptions::default() };
            collection.drop_partitions(&drops).await.unwrap();
        };
        let (copy, ()) = futures::join!(collection.copy(memory(), &options), writing);
        let copy = copy.unwrap();
        let found = read(&copy).await;
        let (first, last) = ([days(1..18, 2), days(18..20, 1)].concat(), days(0..20, 1));
        let middle = [days(0..1, 1), first.clone()].concat();
        assert!([first, middle, last].contains(&found));
        sound(&copy).await;
    }
}

#[tokio::test]
async fn a_copy_has_the_chunks_and_codecs_that_are_asked_for() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..3, 1)), &InsertOptions::default()).await.unwrap();
    let mut schema = collection.config().schema.clone();
    schema.dimensions.iter_mut().for_each(|own| own.chunks = Some(Chunks::Size(2)));
    let options =
        CopyOptions { schema: Some(schema.clone()), verify: true, ..CopyOptions::default() };
    let copy = collection.copy(memory(), &options).await.unwrap();
    assert_eq!(copy.config().schema, schema);
    assert_eq!(read(&copy).await, days(0..3, 1));
    let chunks = async |collection: &Collection| {
        let listed = collection.store().list("year=1970/month=01/day=01/v/");
        listed.try_fold(0, async |count, _| Ok(count + 1)).await.unwrap()
    };
    assert!(chunks(&copy).await > chunks(&collection).await);
    schema.variables.shift_remove("v");
    let options = CopyOptions { schema: Some(schema), ..CopyOptions::default() };
    let error = collection.copy(memory(), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// The staged changes of a worker, sent as text.
async fn staged(store: &Store, kind: Kind, day: i64, value: i32, merge: Merge) -> Vec<Staged> {
    let worker = open(store.clone(), kind).await;
    let rows = dataset(&days(day..day + 1, value));
    let staged = worker.stage_insert(&rows, &merging(merge), true).await.unwrap();
    let text = serde_json::to_string(&staged).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn what_many_stage_is_one_commit() {
    let merge = Merge::Upsert { tolerance: None };
    for kind in Kind::ALL {
        let store = memory();
        let collection = create(store.clone(), kind).await;
        collection.insert(&dataset(&days(0..2, 1)), &InsertOptions::default()).await.unwrap();
        let mut all = Vec::new();
        for day in 1..4 {
            all.extend(staged(&store, kind, day, 2, merge).await);
        }
        // The changes of a task that ran twice.
        all.extend(staged(&store, kind, 3, 2, merge).await);
        assert_eq!(read(&collection).await, days(0..2, 1));
        for _ in 0..2 {
            let done = collection.commit_staged("insert", all.clone(), Some("once")).await.unwrap();
            assert_eq!(done, Committed::Done(collection.last_commit().await.unwrap().own));
        }
        let after = [days(0..1, 1), days(1..4, 2)].concat();
        assert_eq!(read(&collection).await, after);
        sound(&collection).await;
    }
}

#[tokio::test]
async fn staged_changes_of_what_others_changed_are_stale() {
    let merge = Merge::Upsert { tolerance: None };
    for kind in Kind::ALL {
        let store = memory();
        let collection = create(store.clone(), kind).await;
        collection.insert(&dataset(&days(0..3, 1)), &InsertOptions::default()).await.unwrap();
        let mut all = Vec::new();
        for day in 0..3 {
            all.extend(staged(&store, kind, day, 2, merge).await);
        }
        collection.insert(&dataset(&days(1..2, 3)[..2]), &merging(merge)).await.unwrap();
        let done = collection.commit_staged("insert", all.clone(), None).await.unwrap();
        let path = "year=1970/month=01/day=02";
        assert_eq!(done, Committed::Stale(vec![path.to_owned()]));
        let stale = all.iter().position(|one| one.change.path == path).unwrap();
        collection.discard(&[all.swap_remove(stale)]).await.unwrap();
        all.extend(staged(&store, kind, 1, 4, merge).await);
        let done = collection.commit_staged("insert", all, None).await.unwrap();
        assert_eq!(done, Committed::Done(collection.last_commit().await.unwrap().own));
        let after = [days(0..1, 2), days(1..2, 4), days(2..3, 2)].concat();
        assert_eq!(read(&collection).await, after);
        sound(&collection).await;
    }
}

#[tokio::test]
async fn planned_rows_are_read_as_they_were_or_not_at_all() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..3, 1)), &InsertOptions::default()).await.unwrap();
    let predicate = Some(Predicate::parse("day > 1 and v is not null").unwrap());
    let options = partita_array::ReadOptions { predicate, ..Default::default() };
    assert!(collection.plan(&options).await.is_err(), "v has two dimensions");
    let predicate = Some(Predicate::parse("time >= '1970-01-02T03:00:00'").unwrap());
    let options = partita_array::ReadOptions { predicate, ..Default::default() };
    let plan = collection.plan(&options).await.unwrap();
    let rows = |found: &partita_array::PlannedRows| {
        assert_eq!(found.chunk, 3);
        (found.rows.partition.path.clone(), found.rows.rows.clone())
    };
    let rows: Vec<_> = plan.partitions.iter().map(rows).collect();
    let read = async |rows: &[_]| {
        let options = partita_array::ReadOptions::default();
        collection.read_rows(rows, plan.commit, &options).await
    };
    assert_eq!(rows_of(&read(&rows).await.unwrap()), days(1..3, 1)[3..]);
    collection.insert(&dataset(&days(2..3, 2)), &InsertOptions::default()).await.unwrap();
    assert_eq!(rows_of(&read(&rows[..1]).await.unwrap()), days(1..2, 1)[3..]);
    assert_eq!(read(&rows).await.unwrap_err().kind(), ErrorKind::CommitConflict);
    let nowhere = [("year=1970/month=01/day=99x".to_owned(), Vec::new())];
    assert_eq!(read(&nowhere).await.unwrap_err().kind(), ErrorKind::NotFound);
}
