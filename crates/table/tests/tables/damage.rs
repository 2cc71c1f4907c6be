//! Tables with damaged files: detection, remaining function, and repair.

use bytes::Bytes;
use futures::TryStreamExt;
use partita_core::store::ObjectInfo;
use partita_core::{ErrorKind, Result, Store, StoreOptions};
use partita_table::{
    CreateOptions, Encoding, GarbageOptions, ProblemKind, Table, VerifyOptions, WriteOptions,
};

use crate::trips::{rows, source, trip};

/// A table of four versions; the first has rows that the newest lacks.
async fn table(name: &str, header: Encoding) -> (Store, Table) {
    let store = Store::open(&format!("memory://damage-{name}"), &StoreOptions::new()).unwrap();
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        header,
        ..CreateOptions::default()
    };
    let first = source(&[trip("Oslo", 1, 10.0), trip("Bergen", 2, 20.0)]);
    let table = Table::create_in(store.clone(), "trips", first, &options).await.unwrap();
    let write = WriteOptions::default();
    let gone = partita_core::col("city").eq("Oslo");
    table.delete(&gone, &write).await.unwrap();
    for fare in [30.0, 40.0] {
        table.append(source(&[trip("Voss", 3, fare)]), &write).await.unwrap();
    }
    (store, table)
}

async fn objects(store: &Store) -> Vec<ObjectInfo> {
    let mut found: Vec<ObjectInfo> = store.list("").try_collect().await.unwrap();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

async fn snapshots(store: &Store) -> Vec<String> {
    let keys = objects(store).await.into_iter().map(|object| object.key);
    keys.filter(|key| key.contains("/snapshots/")).collect()
}

fn collected() -> GarbageOptions {
    GarbageOptions { grace: jiff::SignedDuration::ZERO, ..GarbageOptions::default() }
}

fn repairing() -> VerifyOptions {
    VerifyOptions { repair: true, ..VerifyOptions::default() }
}

async fn open(store: &Store) -> Result<Table> {
    Table::open_in(store.clone(), "trips").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_snapshot_loses_no_history_in_silence() {
    // The newest snapshot and those before it; missing, empty, and truncated.
    for lost in 0..4 {
        for (number, damage) in [None, Some(&b""[..]), Some(&b"PAR1"[..])].into_iter().enumerate() {
            let (store, _) = table(&format!("lost-{lost}-{number}"), Encoding::Json).await;
            let newest = rows(open(&store).await.unwrap().scan()).await;
            let keys = snapshots(&store).await;
            let key = &keys[keys.len() - 1 - lost];
            match damage {
                None => store.delete(key).await.unwrap(),
                Some(bytes) => store.put(key, Bytes::from_static(bytes)).await.unwrap(),
            }
            // The rows are complete, in the order of the columns, and appends work.
            let table = open(&store).await.unwrap();
            assert_eq!(rows(table.scan()).await, newest);
            let names: Vec<String> =
                table.schema().fields().iter().map(|field| field.name().clone()).collect();
            assert_eq!(names, ["city", "rider", "fare"]);
            let one = source(&[trip("Voss", 9, 90.0)]);
            table.append(one, &WriteOptions::default()).await.unwrap();
            let before = objects(&store).await;
            let swept = open(&store).await.unwrap().collect_garbage(&collected()).await;
            assert_eq!(swept.unwrap_err().kind(), ErrorKind::Corrupt, "{key}");
            assert_eq!(objects(&store).await, before, "nothing is removed");

            let table = open(&store).await.unwrap();
            let found = table.verify(&VerifyOptions::default()).await.unwrap();
            assert!(found.iter().any(|problem| problem.kind == ProblemKind::History), "{found:?}");
            table.verify(&repairing()).await.unwrap();
            assert!(table.verify(&VerifyOptions::default()).await.unwrap().is_empty());
            let table = open(&store).await.unwrap();
            assert_eq!(table.history().await.unwrap().len(), 4);
            table.collect_garbage(&collected()).await.unwrap();
            if lost < 3 {
                assert_eq!(rows(table.at(1).await.unwrap().scan()).await.len(), 2);
            }
            assert_eq!(rows(table.scan()).await.len(), newest.len() + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_snapshot_is_written_again() {
    let (store, _) = table("again", Encoding::Json).await;
    let keys = snapshots(&store).await;
    store.delete(keys.last().unwrap()).await.unwrap();
    let table = open(&store).await.unwrap();
    assert_eq!(table.history().await.unwrap_err().kind(), ErrorKind::Corrupt);
    table.verify(&repairing()).await.unwrap();
    assert_eq!(snapshots(&store).await, keys);
    let versions: Vec<u64> =
        table.history().await.unwrap().into_iter().map(|commit| commit.version).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
    assert!(
        open(&store).await.unwrap().verify(&VerifyOptions::default()).await.unwrap().is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_lost_its_partitions_is_no_empty_table() {
    let (store, _) = table("partitions", Encoding::Json).await;
    let key = "trips.by-dataset-metadata.json";
    let mut header: serde_json::Value =
        serde_json::from_slice(&store.get(key).await.unwrap()).unwrap();
    header.as_object_mut().unwrap().remove("partitions");
    store.put(key, serde_json::to_vec(&header).unwrap().into()).await.unwrap();
    assert_eq!(open(&store).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_is_made_of_what_is_there() {
    for (number, header) in [Encoding::Json, Encoding::Msgpack].into_iter().enumerate() {
        let (store, table) = table(&format!("rebuilt-{number}"), header).await;
        let newest = rows(table.scan()).await;
        let key = match header {
            Encoding::Json => "trips.by-dataset-metadata.json",
            Encoding::Msgpack => "trips.by-dataset-metadata.msgpack.zstd",
        };
        let rebuilt = async || Table::rebuild_in(store.clone(), "trips").await;
        assert_eq!(rebuilt().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let whole = store.get(key).await.unwrap();
        let mut damages = vec![None, Some(Bytes::new()), Some(whole.slice(..whole.len() / 2))];
        if header == Encoding::Json {
            let mut entry: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            entry["metadata"]["_partita"]["recent"] = 1.5.into();
            damages.push(Some(serde_json::to_vec(&entry).unwrap().into()));
        }
        for damage in damages {
            match damage {
                None => store.delete(key).await.unwrap(),
                Some(bytes) => store.put(key, bytes).await.unwrap(),
            }
            assert!(open(&store).await.is_err());
            let table = rebuilt().await.unwrap();
            assert_eq!(rows(table.scan()).await, newest);
            assert_eq!(table.history().await.unwrap().len(), 4);
            assert_eq!(rows(table.at(1).await.unwrap().scan()).await.len(), 2);
            assert!(table.verify(&VerifyOptions::default()).await.unwrap().is_empty());
            table.collect_garbage(&collected()).await.unwrap();
        }
        table.refresh().await.unwrap();
        table.append(source(&[trip("Voss", 9, 90.0)]), &WriteOptions::default()).await.unwrap();
        let table = open(&store).await.unwrap();
        assert_eq!(rows(table.scan()).await.len(), newest.len() + 1);
        assert_eq!(table.history().await.unwrap().len(), 5);
    }
    let empty = Store::open("memory://damage-nothing", &StoreOptions::new()).unwrap();
    let error = Table::rebuild_in(empty, "trips").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Uses of a table, each of which may return an error of a kind but must not panic.
async fn uses(store: &Store) -> Result<()> {
    let table = open(store).await?;
    table.scan().collect().await?;
    let rider = table.scan().filter(partita_core::col("rider").eq(3));
    rider.collect().await?;
    table.history().await?;
    let data = VerifyOptions { data: true, ..VerifyOptions::default() };
    table.verify(&data).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_any_file_is_an_error_and_no_panic() {
    let mut state = 7u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below.max(1)
    };
    for header in [Encoding::Json, Encoding::Msgpack] {
        let (store, _) = table(&format!("any-{header:?}"), header).await;
        uses(&store).await.unwrap();
        for object in objects(&store).await {
            let whole = store.get(&object.key).await.unwrap();
            for case in 0..24 {
                let mut bytes = whole.to_vec();
                match case {
                    0..4 => bytes.truncate(random(whole.len())),
                    4 => bytes.clear(),
                    5 => bytes = whole.repeat(2),
                    6 => bytes.fill(0),
                    // The end of the file, which contains the footer, is damaged more often.
                    _ => {
                        let from = if case % 2 == 0 { 0 } else { whole.len().saturating_sub(400) };
                        for _ in 0..1 << (case % 3) {
                            let at = from + random(whole.len() - from);
                            bytes[at] ^= 1 << random(8);
                        }
                    }
                }
                store.put(&object.key, bytes.into()).await.unwrap();
                if let Err(error) = uses(&store).await {
                    let expected = [
                        ErrorKind::Corrupt,
                        ErrorKind::SchemaMismatch,
                        ErrorKind::NotFound,
                        ErrorKind::InvalidArgument,
                        ErrorKind::InvalidPredicate,
                    ];
                    assert!(expected.contains(&error.kind()), "{}: {error}", object.key);
                }
            }
            store.put(&object.key, whole).await.unwrap();
        }
        uses(&store).await.unwrap();
    }
}
