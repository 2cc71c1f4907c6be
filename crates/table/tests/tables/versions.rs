//! Older versions: reading, restoring, expiring, and collecting garbage.

use crate::trips::{Trip, rows, source, trip};
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use partita_core::{ErrorKind, Store, StoreOptions, col};
use partita_table::{
    At, CreateOptions, GarbageOptions, Keep, Operation, OptimizeOptions, Table, WriteOptions,
};

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn at_once() -> GarbageOptions {
    // The store's clock may not have advanced since the objects were written.
    GarbageOptions { grace: SignedDuration::ZERO, ..GarbageOptions::default() }
}

/// A table of four versions: created, appended to, partly replaced, compacted.
async fn four(name: &str) -> (Store, Table, Vec<Vec<Trip>>) {
    let store = Store::open(&format!("memory://versions-{name}"), &StoreOptions::new()).unwrap();
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    };
    let mut states = vec![vec![trip("Oslo", 1, 1.0), trip("Rome", 2, 2.0)]];
    let table =
        Table::create_in(store.clone(), "trips", source(&states[0]), &options).await.unwrap();
    table.append(source(&[trip("Oslo", 3, 3.0)]), &write()).await.unwrap();
    states.push(vec![trip("Oslo", 1, 1.0), trip("Oslo", 3, 3.0), trip("Rome", 2, 2.0)]);
    let rome = [trip("Rome", 4, 4.0), trip("Rome", 5, 5.0)];
    table.replace(&col("city").eq("Rome"), source(&rome), &write()).await.unwrap();
    let [one, two] = rome;
    states.push(vec![trip("Oslo", 1, 1.0), trip("Oslo", 3, 3.0), one, two]);
    table.optimize(&OptimizeOptions::default(), &write()).await.unwrap();
    states.push(states[2].clone());
    (store, table, states)
}

async fn check(table: &Table, expected: &[Trip]) {
    assert_eq!(rows(table.scan()).await, expected);
    for trip in expected {
        let found = rows(table.scan().filter(col("rider").eq(trip.rider))).await;
        assert_eq!(found, std::slice::from_ref(trip));
    }
}

async fn keys(store: &Store) -> Vec<String> {
    let mut keys: Vec<String> =
        store.list("trips/").map_ok(|object| object.key).try_collect().await.unwrap();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_can_be_read_and_none_changed() {
    let (_, table, states) = four("read").await;
    for (version, expected) in (1..).zip(&states) {
        let old = table.at(version).await.unwrap();
        assert_eq!(old.version(), Some(version));
        check(&old, expected).await;
        let error = old.append(source(expected), &write()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(error.to_string().contains("restore"), "{error}");
        old.refresh().await.unwrap();
        assert_eq!(old.version(), Some(version));
        assert_eq!(old.drop_table().await.unwrap_err().kind(), ErrorKind::ReadOnly);
    }
    for missing in [At::Number(0), At::Number(5), At::from("v1"), At::Time(Timestamp::UNIX_EPOCH)] {
        assert_eq!(table.at(missing).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    check(&table.at("2").await.unwrap(), &states[1]).await;
    let history = table.history().await.unwrap();
    for snapshot in history {
        let then = table.at(snapshot.time).await.unwrap();
        assert_eq!(then.version(), Some(snapshot.version));
    }
    check(&table.at(Timestamp::now()).await.unwrap(), states.last().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_is_a_commit_that_goes_on() {
    let (store, table, states) = four("restore").await;
    let stale = Table::open_in(store.clone(), "trips").await.unwrap();
    table.append(source(&[trip("Lima", 9, 9.0)]), &write()).await.unwrap();
    let commit = stale.restore(2, &write()).await.unwrap();
    assert_eq!((commit.version, commit.attempts), (6, 2));
    check(&stale, &states[1]).await;
    let fresh = Table::open_in(store, "trips").await.unwrap();
    check(&fresh, &states[1]).await;
    let newest = fresh.history().await.unwrap().into_iter().next().unwrap();
    assert_eq!((newest.operation, newest.rows, newest.version), (Operation::Restore, 3, 6));
    fresh.append(source(&[trip("Rome", 7, 7.0)]), &write()).await.unwrap();
    fresh.delete(&col("rider").eq(7), &write()).await.unwrap();
    check(&fresh, &states[1]).await;
    fresh.restore(5, &write()).await.unwrap();
    assert_eq!(fresh.scan().count().await.unwrap(), 5);
    assert_eq!(fresh.restore(99, &write()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_what_no_version_names() {
    let (store, table, states) = four("garbage").await;
    let before = keys(&store).await;
    let garbage = table.collect_garbage(&at_once()).await.unwrap();
    assert_eq!(garbage.keys, Vec::<String>::new(), "the history names everything");
    assert_eq!(keys(&store).await, before);

    // Files that were staged but never committed.
    let staged = table.stage(source(&states[0]), &write()).await.unwrap();
    let orphans = keys(&store).await.len() - before.len();
    assert!(orphans >= 2);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let kept = table.collect_garbage(&GarbageOptions::default()).await.unwrap();
    assert_eq!(kept.keys.len(), 0, "it is young");
    let dry = GarbageOptions { dry_run: true, ..at_once() };
    let told = table.collect_garbage(&dry).await.unwrap();
    assert_eq!(told.keys.len(), orphans);
    assert!(told.bytes > 0);
    assert_eq!(keys(&store).await.len(), before.len() + orphans);
    assert_eq!(table.collect_garbage(&at_once()).await.unwrap(), told);
    assert_eq!(keys(&store).await, before);
    drop(staged);

    assert_eq!(table.expire(Keep::Last(0)).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(table.expire(Keep::Within(SignedDuration::from_hours(1))).await.unwrap(), 0);
    assert_eq!(table.expire(Keep::Last(2)).await.unwrap(), 2);
    let versions: Vec<u64> = table.history().await.unwrap().iter().map(|s| s.version).collect();
    assert_eq!(versions, [4, 3]);
    let freed = table.collect_garbage(&at_once()).await.unwrap();
    assert!(freed.keys.iter().any(|key| key.contains("city=Rome")), "{freed:?}");
    check(&table, &states[3]).await;
    check(&table.at(3).await.unwrap(), &states[2]).await;
    assert_eq!(table.at(2).await.unwrap_err().kind(), ErrorKind::NotFound);

    // A version whose files another program removed reports so.
    let old = table.at(3).await.unwrap();
    let named: Vec<String> = keys(&store).await;
    table.expire(Keep::Last(1)).await.unwrap();
    table.collect_garbage(&at_once()).await.unwrap();
    assert!(keys(&store).await.len() < named.len());
    let error = old.scan().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("garbage"), "{error}");
    check(&table, &states[3]).await;
    table.append(source(&[trip("Rome", 8, 8.0)]), &write()).await.unwrap();
    assert_eq!(table.history().await.unwrap().len(), 2);
}
