//! Garbage collection, expiry, restoring and dropping beside other readers and writers.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::trips::{Trip, rows, source, trip};
use futures::{FutureExt, TryStreamExt};
use jiff::SignedDuration;
use partita_core::testing::{Asked, Phase, ScriptedStore, Verb};
use partita_core::{ErrorKind, Store, StoreOptions, col};
use partita_table::{CreateOptions, GarbageOptions, Keep, Table, WriteOptions};

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn grace(grace: SignedDuration) -> GarbageOptions {
    GarbageOptions { grace, ..GarbageOptions::default() }
}

fn store(name: &str) -> Store {
    Store::open(&format!("memory://upkeep-{name}"), &StoreOptions::new()).unwrap()
}

fn first() -> Vec<Trip> {
    vec![trip("Oslo", 0, 0.0), trip("Rome", 1, 1.0)]
}

async fn made(store: &Store) -> Table {
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    };
    Table::create_in(store.clone(), "trips", source(&first()), &options).await.unwrap()
}

async fn reopened(store: &Store) -> Table {
    Table::open_in(store.clone(), "trips").await.unwrap()
}

async fn keys(store: &Store) -> Vec<String> {
    let mut keys: Vec<String> =
        store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    keys.sort();
    keys
}

async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
}

/// Files that were written long ago become garbage only after the grace period since they were
/// dropped, whichever operation dropped them, and whether or not versions have expired since.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_as_old_as_what_dropped_it() {
    let grace_period = SignedDuration::from_millis(25);
    for number in 0..4 {
        let store = store(&format!("ages-{number}"));
        let table = made(&store).await;
        let reader = reopened(&store).await;
        pause().await;
        match number {
            0 => table.delete(&col("city").eq("Rome"), &write()).await.map(drop),
            1 => table.delete(&col("rider").eq(1), &write()).await.map(drop),
            2 => table
                .replace(&col("city").eq("Rome"), source(&[trip("Rome", 2, 2.0)]), &write())
                .await
                .map(drop),
            _ => {
                table.append(source(&[trip("Lima", 9, 9.0)]), &write()).await.unwrap();
                table.delete(&col("city").eq("Rome"), &write()).await.map(drop)
            }
        }
        .unwrap();
        assert!(table.expire(Keep::Last(1)).await.unwrap() > 0);
        let young = table.collect_garbage(&grace(grace_period)).await.unwrap();
        assert_eq!(young.keys, Vec::<String>::new(), "{number}");
        assert_eq!(rows(reader.scan()).await, first(), "a reader keeps its files");
        pause().await;
        let old = table.collect_garbage(&grace(grace_period)).await.unwrap();
        assert!(old.keys.iter().any(|key| key.contains("city=Rome")), "{number}: {old:?}");
        assert!(old.keys.iter().any(|key| key.contains("/indices/")), "{number}: {old:?}");
        assert_eq!(old.missing, Vec::<String>::new());
        reopened(&store).await.append(source(&first()), &write()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_with_a_gap_is_not_collected() {
    let store = store("gap");
    let table = made(&store).await;
    for n in 0..4 {
        table.append(source(&[trip("Oslo", 10 + n, 1.0)]), &write()).await.unwrap();
    }
    let all = grace(SignedDuration::ZERO);
    table.collect_garbage(&all).await.unwrap();
    assert_eq!(table.expire(Keep::Last(4)).await.unwrap(), 1);
    table.collect_garbage(&all).await.unwrap();
    let lost = keys(&store).await;
    let lost = lost.iter().find(|key| key.contains("snapshots/000000000003")).unwrap();
    store.delete(lost).await.unwrap();
    let before = keys(&store).await;
    let error = table.collect_garbage(&all).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(lost.as_str()), "{error}");
    assert_eq!(keys(&store).await, before);
    // Expiring truncates the history there, which is an explicit decision.
    assert_eq!(table.expire(Keep::Last(9)).await.unwrap(), 0);
    table.collect_garbage(&all).await.unwrap();
    assert_eq!(table.history().await.unwrap().len(), 2);
    assert_eq!(table.scan().count().await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_removed_is_reported() {
    let store = store("foreign");
    let table = made(&store).await;
    table.delete(&col("city").eq("Rome"), &write()).await.unwrap();
    let removed = keys(&store).await;
    let removed = removed.iter().find(|key| key.contains("city=Rome")).unwrap();
    store.delete(removed).await.unwrap();
    let garbage = table.collect_garbage(&grace(SignedDuration::ZERO)).await.unwrap();
    assert_eq!(garbage.missing, std::slice::from_ref(removed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_killed_writers_leave_is_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap(), &StoreOptions::new()).unwrap();
    let table = made(&store).await;
    let left = [
        "trips.by-dataset-metadata.json#123",
        ".partita-probe-0a1b",
        "trips/table/city=Oslo/x.parquet#9",
        "trips/_partita/clock-77",
        "trips/_partita/snapshots/000000000009-dead-beef.parquet",
    ];
    let kept = ["notes.json#12x", "other.by-dataset-metadata.json#123", "trips/README.txt"];
    for name in left.iter().chain(&kept) {
        let path = folder.path().join(name);
        std::fs::File::create(path).unwrap().write_all(b"x").unwrap();
    }
    assert_eq!(table.collect_garbage(&GarbageOptions::default()).await.unwrap().keys.len(), 0);
    pause().await;
    let mut expected = left.map(str::to_owned);
    expected.sort();
    let garbage = table.collect_garbage(&grace(SignedDuration::ZERO)).await.unwrap();
    assert_eq!(garbage.keys, expected);
    assert!(left.iter().all(|name| !folder.path().join(name).exists()));
    assert!(kept.iter().all(|name| folder.path().join(name).exists()));
}

/// Others expire and collect garbage between the read of an old version and the swap that restores
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_restored_keeps_its_files() {
    let store = store("restore");
    let table = made(&store).await;
    table.delete(&col("city").eq("Rome"), &write()).await.unwrap();
    let mut script = None;
    let scripted = store.wrap(|inner| {
        let scripted = ScriptedStore::new(inner);
        script = Some(scripted.clone());
        Arc::new(scripted)
    });
    let restoring = Table::open_in(scripted, "trips").await.unwrap();
    let (seen, other) = (Arc::new(AtomicU32::new(0)), reopened(&store).await);
    script.unwrap().set(Arc::new(move |asked: Asked| {
        let (seen, other) = (Arc::clone(&seen), other.clone());
        async move {
            let is_swap = asked.verb == Verb::Swap && asked.phase == Phase::Before;
            if is_swap && asked.key.ends_with(".json") && seen.fetch_add(1, Ordering::SeqCst) == 0 {
                other.expire(Keep::Last(1)).await.unwrap();
                other.collect_garbage(&grace(SignedDuration::ZERO)).await.unwrap();
            }
            None
        }
        .boxed()
    }));
    assert_eq!(restoring.restore(1, &write()).await.unwrap().version, 3);
    assert_eq!(rows(reopened(&store).await.scan()).await, first());
    assert!(!keys(&store).await.iter().any(|key| key.contains("/pins/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_takes_what_is_its_own() {
    let store = store("drop");
    let table = made(&store).await;
    table.append(source(&[trip("Oslo", 5, 5.0)]), &write()).await.unwrap();
    table.delete(&col("city").eq("Rome"), &write()).await.unwrap();
    // Another dataset in the same directory, and files of the user.
    for key in ["trips/x/table/1.parquet", "trips/x.by-dataset-metadata.json", "trips/notes.txt"] {
        store.put(key, "x".into()).await.unwrap();
    }
    assert!(table.drop_table().await.unwrap() > 10);
    let left = ["trips/notes.txt", "trips/x.by-dataset-metadata.json", "trips/x/table/1.parquet"];
    assert_eq!(keys(&store).await, left);
}

/// A table that is created while another one of its name is dropped loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_during_a_drop_is_whole() {
    let moments =
        [(Verb::List, Phase::Before), (Verb::Delete, Phase::Before), (Verb::Delete, Phase::After)];
    for (verb, moment) in moments {
        let store = store(&format!("drop-{moment:?}-{verb:?}"));
        made(&store).await;
        let mut script = None;
        let scripted = store.wrap(|inner| {
            let scripted = ScriptedStore::new(inner);
            script = Some(scripted.clone());
            Arc::new(scripted)
        });
        let dropping = Table::open_in(scripted, "trips").await.unwrap();
        let (seen, inner) = (Arc::new(AtomicU32::new(0)), store.clone());
        script.unwrap().set(Arc::new(move |asked: Asked| {
            let (seen, inner) = (Arc::clone(&seen), inner.clone());
            async move {
                let gone = inner.head("trips.by-dataset-metadata.json").await.unwrap().is_none();
                let now = asked.verb == verb && asked.phase == moment && gone;
                if now && seen.fetch_add(1, Ordering::SeqCst) == 0 {
                    made(&inner).await;
                }
                None
            }
            .boxed()
        }));
        dropping.drop_table().await.unwrap();
        let table = reopened(&store).await;
        assert_eq!(rows(table.scan()).await, first(), "{verb:?} {moment:?}");
        assert_eq!(table.verify(&Default::default()).await.unwrap(), []);
    }
}
