//! Tests that committed changes stay: delayed requests, other programs, staged changes that are
//! sent twice or late, clean-up, and earlier states.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use futures::{FutureExt, TryStreamExt};
use jiff::SignedDuration;
use partita_array::layout::Layout;
use partita_array::{
    Activity, Collection, DropOptions, Expiry, GarbageOptions, InsertOptions, Merge, ReadOptions,
    Retention, Staged, VerifyOptions,
};
use partita_core::{ErrorKind, Predicate, Store, StoreOptions};

use crate::rows::{DAY, Row, create, dataset, days, memory, merging, read, rows_of};
use crate::undo::watched;

const LAYOUTS: [Layout; 2] = [Layout::ZarrV2, Layout::ZarrV3];

fn upserting() -> InsertOptions {
    merging(Merge::Upsert { tolerance: None })
}

async fn insert(collection: &Collection, rows: &[Row]) {
    collection.insert(&dataset(rows), &InsertOptions::default()).await.unwrap();
}

/// The objects of the partition of a day, by their names.
async fn objects(store: &Store, day: u32) -> BTreeMap<String, bytes::Bytes> {
    let prefix = format!("year=1970/month=01/day={day:02}/");
    let mut found = BTreeMap::new();
    let listed: Vec<_> = store.list(&prefix).try_collect().await.unwrap();
    for object in listed {
        let bytes = store.get(&object.key).await.unwrap();
        found.insert(object.key, bytes);
    }
    found
}

async fn staged_keys(store: &Store) -> Vec<String> {
    let listed: Vec<_> = store.list(".partita/stage/").try_collect().await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

/// Each object of a partition in turn is overwritten with the content of an earlier commit, or
/// removed, as by a delayed request of that commit's publisher.
#[tokio::test]
async fn requests_that_are_carried_out_late_change_nothing() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..2, 1)).await;
        let early = objects(&store, 1).await;
        insert(&collection, &days(0..1, 2)).await;
        let newest = objects(&store, 1).await;
        let expected: Vec<Row> = days(0..1, 2).into_iter().chain(days(1..2, 1)).collect();
        for key in newest.keys() {
            match early.get(key) {
                Some(bytes) => store.put(key, bytes.clone()).await.unwrap(),
                None => store.delete(key).await.unwrap(),
            }
            assert_eq!(read(&collection).await, expected, "{key} is overwritten");
            store.delete(key).await.unwrap();
            assert_eq!(read(&collection).await, expected, "{key} is removed");
            store.put(key, newest[key].clone()).await.unwrap();
            assert_eq!(read(&collection).await, expected, "{key} is written again");
        }
        // All of them are overwritten at once; the next commit repairs what it touches.
        for key in newest.keys() {
            store.delete(key).await.unwrap();
        }
        assert_eq!(read(&collection).await, expected);
        for (key, bytes) in &early {
            store.put(key, bytes.clone()).await.unwrap();
        }
        assert_eq!(read(&collection).await, expected);
        collection.insert(&dataset(&[(60, 3)]), &upserting()).await.unwrap();
        let mut expected = expected;
        expected.insert(1, (60, 3));
        assert_eq!(read(&collection).await, expected);
        // A program that does not know commits reads the same.
        store.delete_directory(".partita", "scratch").await.unwrap();
        assert_eq!(read(&Collection::open_in(store).await.unwrap()).await, expected);
    }
}

/// The objects of an earlier state are compared with its manifest when they are read.
#[tokio::test]
async fn an_altered_object_of_an_earlier_state_is_named() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..1, 1)).await;
        let early = staged_keys(&store).await;
        collection.insert(&dataset(&days(0..1, 2)), &upserting()).await.unwrap();
        let past = collection.at(1).await.unwrap();
        assert_eq!(read(&past).await, days(0..1, 1));
        let chunks = early.iter().filter(|key| key.contains("/v/") && !key.ends_with("json"));
        for key in chunks.filter(|key| !key.contains("/.")) {
            let whole = store.get(key).await.unwrap();
            let mut altered = whole.to_vec();
            *altered.last_mut().unwrap() ^= 1;
            store.put(key, altered.into()).await.unwrap();
            let past = collection.at(1).await.unwrap();
            let error = past.read(&ReadOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("not what was committed"), "{error}");
            store.put(key, whole).await.unwrap();
        }
    }
}

/// A delayed request does not bring back a partition that was dropped.
#[tokio::test]
async fn dropped_partitions_stay_dropped() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..2, 1)).await;
        let early = objects(&store, 1).await;
        let predicate = Some(Predicate::parse("day == 1").unwrap());
        let options = DropOptions { predicate, ..DropOptions::default() };
        collection.drop_partitions(&options).await.unwrap();
        for (key, bytes) in early {
            store.put(&key, bytes).await.unwrap();
        }
        assert_eq!(read(&collection).await, days(1..2, 1));
    }
}

/// Objects that no manifest names were written by another program, and become part of the state.
#[tokio::test]
async fn writes_of_other_programs_count() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..2, 1)).await;
        let elsewhere = memory();
        let other = create(elsewhere.clone(), layout).await;
        insert(&other, &days(0..1, 9)[..3]).await;
        store.delete_directory("year=1970/month=01/day=01", "scratch").await.unwrap();
        for (key, bytes) in objects(&elsewhere, 1).await {
            store.put(&key, bytes).await.unwrap();
        }
        let mut expected: Vec<Row> = days(0..1, 9)[..3].to_vec();
        expected.extend(days(1..2, 1));
        assert_eq!(read(&collection).await, expected);
        collection.insert(&dataset(&[(7200, 5)]), &upserting()).await.unwrap();
        expected[2] = (7200, 5);
        assert_eq!(read(&collection).await, expected);
        let verified = collection.verify(&VerifyOptions { data: true, ..Default::default() }).await;
        assert_eq!(verified.unwrap(), []);
    }
}

#[tokio::test]
async fn a_missing_chunk_is_no_fill_value() {
    for layout in LAYOUTS {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("c");
        let store = Store::open(root.to_str().unwrap(), &StoreOptions::default()).unwrap();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..1, 1)).await;
        let chunk = match layout {
            Layout::ZarrV2 => "year=1970/month=01/day=01/v/1.0",
            Layout::ZarrV3 => "year=1970/month=01/day=01/v/c/1/0",
        };
        let chunks = objects(&store, 1).await;
        let key = chunks.keys().find(|key| key.as_str() == chunk).unwrap_or_else(|| {
            chunks.keys().find(|key| key.contains("/v/") && key.ends_with("/0")).unwrap()
        });
        store.delete(key).await.unwrap();
        // The staged copy is read as long as it is retained.
        assert_eq!(read(&collection).await, days(0..1, 1));
        store.delete_directory(".partita/stage", "scratch").await.unwrap();
        let lost = collection.read(&Default::default()).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Corrupt, "{lost}");
    }
}

async fn staged(collection: &Collection, rows: &[Row]) -> Vec<Staged> {
    collection.stage_insert(&dataset(rows), &upserting(), true).await.unwrap()
}

/// Staged changes may be committed in parts, twice, or discarded at the same time: every object
/// that a commit names exists.
#[tokio::test]
async fn what_is_staged_counts_once() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..4, 1)).await;
        let changes = staged(&collection, &days(0..4, 2)).await;
        let (first, rest) = changes.split_at(1);
        collection.commit_staged("part", first.to_vec(), None).await.unwrap();
        collection.discard(&changes[..1]).await.unwrap();
        collection.commit_staged("rest", rest.to_vec(), None).await.unwrap();
        assert_eq!(read(&collection).await, days(0..4, 2));
        insert(&collection, &days(0..1, 3)).await;
        collection.commit_staged("again", changes.clone(), None).await.unwrap();
        collection.discard(&changes).await.unwrap();
        let expected: Vec<Row> = days(0..1, 3).into_iter().chain(days(1..4, 2)).collect();
        assert_eq!(read(&collection).await, expected);
    }
}

/// What is staged and leases that are held are seen, until the one is committed and the other
/// released.
#[tokio::test]
async fn what_others_are_doing_is_seen() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        insert(&collection, &days(0..2, 1)).await;
        assert_eq!(collection.activity().await.unwrap(), Activity::default());

        let changes = staged(&collection, &days(0..2, 2)).await;
        let lease = store.lease(".partita/publish").await.unwrap();
        let seen = collection.activity().await.unwrap();
        assert_eq!(seen.staged.len(), 1, "{seen:?}");
        let named = |key: &String| key.contains(&seen.staged[0].writer);
        let own = staged_keys(&store).await.iter().filter(|key| named(key)).count();
        assert_eq!(seen.staged[0].objects, own as u64);
        assert_eq!(seen.leases.len(), 1);
        assert_eq!(seen.leases[0].task.name(), "publish");

        lease.release(&store).await;
        collection.commit_staged("staged", changes, None).await.unwrap();
        assert_eq!(collection.activity().await.unwrap(), Activity::default());
    }
}

#[tokio::test]
async fn what_would_expire_is_what_expires() {
    let collection = create(memory(), Layout::ZarrV3).await;
    for value in 0..5 {
        collection.insert(&dataset(&days(0..1, value)), &upserting()).await.unwrap();
    }
    for expiry in [Expiry::AllBut(3), Expiry::OlderThan(SignedDuration::ZERO)] {
        let before = collection.expirable(expiry).await.unwrap();
        assert!(!before.is_empty());
        assert_eq!(collection.expirable(expiry).await.unwrap(), before);
        let expired = match expiry {
            Expiry::AllBut(last) => collection.expire_all_but(last).await,
            Expiry::OlderThan(age) => collection.expire(age).await,
        };
        assert_eq!(expired.unwrap(), before);
        assert_eq!(collection.expirable(expiry).await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn what_was_collected_or_is_too_old_is_not_committed() {
    let store = memory();
    let collection = create(store.clone(), Layout::ZarrV3).await;
    insert(&collection, &days(0..2, 1)).await;
    for lost in 0..3 {
        let changes = staged(&collection, &days(0..2, 2)).await;
        let mut own = staged_keys(&store).await.into_iter().filter(|key| {
            let manifest = key.ends_with(".manifest");
            changes.iter().any(|change| {
                let text = serde_json::to_string(change).unwrap();
                let writer = key.split('/').nth(2).unwrap();
                text.contains(writer) && manifest == (lost == 0)
            })
        });
        store.delete(&own.nth(lost).unwrap()).await.unwrap();
        let error = collection.commit_staged("late", changes, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StagedExpired, "{error}");
        assert_eq!(read(&collection).await, days(0..2, 1));
    }
    let changes = staged(&collection, &days(0..2, 2)).await;
    collection.set_retention(Retention::default(), Some(SignedDuration::ZERO)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let error = collection.commit_staged("old", changes, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StagedExpired, "{error}");
    assert_eq!(read(&collection).await, days(0..2, 1));
}

#[tokio::test]
async fn earlier_states_are_read_and_restored() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        let mut states: Vec<Vec<Row>> = vec![Vec::new()];
        insert(&collection, &days(0..3, 1)).await;
        states.push(read(&collection).await);
        for number in 0..20 {
            let rows = [(DAY + number * 60, 2), (2 * DAY + number, 3)];
            collection.insert(&dataset(&rows), &upserting()).await.unwrap();
            states.push(read(&collection).await);
        }
        let predicate = Some(Predicate::parse("day == 2").unwrap());
        let options = DropOptions { predicate, ..DropOptions::default() };
        collection.drop_partitions(&options).await.unwrap();
        states.push(read(&collection).await);
        insert(&collection, &days(1..2, 7)).await;
        states.push(read(&collection).await);
        for (number, expected) in states.iter().enumerate() {
            let past = collection.at(number as u64).await.unwrap();
            assert_eq!(read(&past).await, *expected, "{number}");
            assert_eq!(past.check_writable().unwrap_err().kind(), ErrorKind::ReadOnly);
        }
        for number in [5u64, 1, 22] {
            collection.restore(number.into(), None).await.unwrap();
            assert_eq!(read(&collection).await, states[number as usize], "{number}");
        }
        let beyond = collection.at(1000).await.unwrap_err();
        assert_eq!(beyond.kind(), ErrorKind::NotFound);
    }
}

/// Whatever is committed during a read of an earlier state, the read returns this state: beside each
/// request of it in turn, another process changes a partition, creates one and drops one.
#[tokio::test]
async fn an_earlier_state_is_whole_beside_commits() {
    for (layout, lazily) in LAYOUTS.into_iter().flat_map(|own| [(own, false), (own, true)]) {
        for moment in (0..).step_by(2) {
            let store = memory();
            let collection = create(store.clone(), layout).await;
            insert(&collection, &days(0..4, 1)).await;
            collection.insert(&dataset(&days(0..1, 2)), &upserting()).await.unwrap();
            let commits = move || async move {
                collection.insert(&dataset(&days(1..2, 9)), &upserting()).await.unwrap();
                insert(&collection, &days(7..8, 9)).await;
                let predicate = Some(Predicate::parse("day == 3").unwrap());
                let options = DropOptions { predicate, ..DropOptions::default() };
                collection.drop_partitions(&options).await.unwrap();
            };
            let (reader, seen) = watched(&store, moment, || commits().boxed()).await;
            let past = reader.at(1).await.unwrap();
            let found = if lazily { read_planned(&past).await } else { read(&past).await };
            assert_eq!(found, days(0..4, 1), "{layout:?}, moment {moment}");
            if seen.load(Ordering::SeqCst) <= moment {
                break;
            }
        }
    }
}

async fn read_planned(collection: &Collection) -> Vec<Row> {
    let options = ReadOptions::default();
    let plan = collection.plan(&options).await.unwrap();
    let rows =
        plan.partitions.into_iter().map(|planned| (planned.rows.partition.path, planned.rows.rows));
    let rows: Vec<_> = rows.collect();
    rows_of(&collection.read_rows(&rows, plan.commit, &options).await.unwrap())
}

/// After everything that is retained was removed, the collection is unchanged, and can be changed
/// as before.
#[tokio::test]
async fn clean_up_leaves_the_newest_state() {
    for layout in LAYOUTS {
        let store = memory();
        let collection = create(store.clone(), layout).await;
        collection.set_retention(Retention::default(), None).await.unwrap();
        insert(&collection, &days(0..3, 1)).await;
        let mut expected = days(0..3, 1);
        let garbage = GarbageOptions { grace: SignedDuration::ZERO, ..Default::default() };
        for round in 0..3 {
            for number in 0..6 {
                let rows = [(DAY + number * 60 + 1, round), (2 * DAY + number * 60 + 1, round)];
                collection.insert(&dataset(&rows), &upserting()).await.unwrap();
                expected.retain(|(time, _)| !rows.iter().any(|(own, _)| own == time));
                expected.extend(rows);
            }
            expected.sort_unstable();
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
            let gone = collection.collect_garbage(&garbage).await.unwrap();
            assert!(!gone.keys.is_empty());
            assert_eq!(read(&collection).await, expected);
            // Only the manifests of the current state are left.
            let left = staged_keys(&store).await;
            assert!(left.iter().all(|key| key.ends_with("/.manifest")), "{left:?}");
            assert_eq!(collection.at(1).await.unwrap_err().kind(), ErrorKind::NotFound);
            let options = VerifyOptions { data: true, ..Default::default() };
            assert_eq!(collection.verify(&options).await.unwrap(), []);
        }
        // The state that is replaced now can still be read, since its objects were copied before.
        let latest = collection.last_commit().await.unwrap().own;
        insert(&collection, &days(0..3, 9)).await;
        assert_eq!(read(&collection.at(latest).await.unwrap()).await, expected);
        assert_eq!(read(&collection).await, days(0..3, 9));
    }
}

/// A power failure leaves empty group documents of an earlier publisher. In Zarr v2 there are no
/// groups above partitions.
#[tokio::test]
async fn documents_of_groups_without_content_are_written_again() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
    let collection = create(store.clone(), Layout::ZarrV3).await;
    let keys = ["year=1970/zarr.json", "year=1970/month=01/zarr.json"];
    for key in keys {
        store.put(key, "".into()).await.unwrap();
    }
    insert(&collection, &days(0..1, 1)).await;
    for key in keys {
        assert!(!store.get(key).await.unwrap().is_empty(), "{key}");
    }
    // A document with content stays as another program has written it.
    store.put(keys[0], "{}".into()).await.unwrap();
    insert(&collection, &days(1..2, 1)).await;
    assert_eq!(store.get(keys[0]).await.unwrap(), "{}");
}

/// A power failure leaves parts of notes that publishers had written and that no head names.
#[tokio::test]
async fn parts_of_notes_of_publishers_that_died_are_in_nobodys_way() {
    for layout in LAYOUTS {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
        let collection = create(store.clone(), layout).await;
        for number in 1..4 {
            for day in 1..=3 {
                let notes = format!(".partita/notes/year=1970+month=01+day={day:02}");
                for content in ["", "{\"format\""] {
                    let key = format!("{notes}/{number:016}-ffffff{:02}", content.len());
                    store.put(&key, content.into()).await.unwrap();
                }
            }
        }
        for number in 1..4 {
            insert(&collection, &days(0..3, number)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let garbage = GarbageOptions { grace: SignedDuration::ZERO, ..Default::default() };
        collection.collect_garbage(&garbage).await.unwrap();
        insert(&collection, &days(0..1, 9)).await;
        let expected: Vec<Row> = days(0..1, 9).into_iter().chain(days(1..3, 3)).collect();
        assert_eq!(read(&collection).await, expected);
    }
}
