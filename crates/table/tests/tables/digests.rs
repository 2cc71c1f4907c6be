//! Stored bytes that are not what was committed: reads and checks notice them.

use std::ops::Range;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions, col};
use partita_table::{
    Compression, CreateOptions, Encoding, OptimizeOptions, Problem, Table, VerifyOptions,
    WriteOptions,
};

use crate::trips::{Trip, rows, source, trip};

const CITIES: [&str; 2] = ["Oslo", "Voss"];

/// Trips of which the codec can make little, so that files get large.
fn trips(count: i64) -> Vec<Trip> {
    let fare =
        |number: i64| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()) >> 12) as f64;
    let rider = |number: i64| (number % 7 != 0).then_some(number * 31 % 4096);
    (0..count).map(|i| trip(CITIES[i as usize % 2], rider(i), fare(i))).collect()
}

async fn table(name: &str, count: i64, header: Encoding) -> (Store, Table) {
    let store = opened(name, &StoreOptions::new());
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        header,
        write: WriteOptions {
            // Without compression no codec notices damage by itself.
            compression: Compression::None,
            bloom_filters: Some(vec!["fare".into()]),
            row_group_rows: 40_000,
            ..WriteOptions::default()
        },
        ..CreateOptions::default()
    };
    let table = Table::create_in(store.clone(), "t", source(&trips(count)), &options).await;
    (store, table.unwrap())
}

fn opened(name: &str, options: &StoreOptions) -> Store {
    Store::open(&format!("memory://digests-{name}"), options).unwrap()
}

async fn keys(store: &Store, part: &str) -> Vec<String> {
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    let keys = listed.into_iter().map(|object| object.key);
    keys.filter(|key| key.contains(part)).collect()
}

async fn flip(store: &Store, key: &str, bit: usize) {
    let mut bytes = store.get(key).await.unwrap().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    store.put(key, bytes.into()).await.unwrap();
}

async fn verified(store: &Store) -> Result<Vec<Problem>> {
    let table = Table::open_in(store.clone(), "t").await?;
    table.verify(&VerifyOptions { data: true, ..VerifyOptions::default() }).await
}

/// The rows that several reads return, as text, or the first error.
async fn found(store: &Store) -> Result<Vec<String>> {
    let table = Table::open_in(store.clone(), "t").await?;
    let wanted = trips(60)[8].clone();
    let mut found = Vec::new();
    for predicate in [
        None,
        Some(col("rider").eq(wanted.rider.unwrap())),
        Some(col("fare").eq(wanted.fare)),
        Some(col("city").eq("Oslo")),
    ] {
        let scan = predicate.map_or(table.scan(), |predicate| table.scan().filter(predicate));
        found.push(pretty_format_batches(&scan.collect().await?)?.to_string());
    }
    Ok(found)
}

/// After a flipped bit in any file, a read returns what was committed or an error, or `verify`
/// reports it. A flipped bit in a data file or a snapshot is always reported by `verify`.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_no_other_value_in_silence() {
    for header in [Encoding::Json, Encoding::Msgpack] {
        let (store, _) = table(&format!("flip-{header:?}"), 60, header).await;
        let healthy = found(&store).await.unwrap();
        assert!(verified(&store).await.unwrap().is_empty());
        for key in keys(&store, "").await {
            let whole = store.get(&key).await.unwrap();
            let bits = whole.len() * 8;
            for bit in (0..bits).step_by((bits / 60).max(1) | 1) {
                flip(&store, &key, bit).await;
                let read = found(&store).await;
                let told = verified(&store).await.map_or(true, |problems| !problems.is_empty());
                let same = read.as_ref().is_ok_and(|read| *read == healthy);
                assert!(read.is_err() || same || told, "{key} {bit}: another value in silence");
                if key.starts_with("t/table/") && key.ends_with(".parquet") {
                    assert!(told, "{key} {bit} of {bits}: not told");
                }
                store.put(&key, whole.clone()).await.unwrap();
            }
        }
    }
}

fn column_chunks(file: &[u8]) -> Vec<(usize, String, Range<u64>)> {
    let file = bytes::Bytes::copy_from_slice(file);
    let metadata: ParquetMetaData = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let groups = metadata.row_groups().iter().enumerate();
    let chunks = groups.flat_map(|(number, group)| {
        group.columns().iter().map(move |chunk| {
            let (start, length) = chunk.byte_range();
            (number, chunk.column_path().string(), start..start + length)
        })
    });
    chunks.collect()
}

fn says(error: &Error, name: &str, value: &str) -> bool {
    error.context().iter().any(|(own, text)| *own == name && text == value)
}

/// The files are small ones, which are fetched whole, and large ones, of which row groups are
/// fetched.
#[tokio::test(flavor = "multi_thread")]
async fn an_altered_column_chunk_is_named() {
    for (name, count) in [("small", 60), ("large", 300_000)] {
        let (store, _) = table(name, count, Encoding::Json).await;
        let key = &keys(&store, "city=Oslo").await[0];
        let whole = store.get(key).await.unwrap();
        assert_eq!(whole.len() > 1 << 20, count > 60);
        for (group, column, place) in column_chunks(&whole) {
            // Within the values of a page, where no codec notices it.
            flip(&store, key, usize::try_from(place.end).unwrap() * 8 - 20).await;
            let table = Table::open_in(store.clone(), "t").await.unwrap();
            let error = table.scan().collect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("not what was committed"), "{error}");
            assert!(says(&error, "row group", &group.to_string()), "{error}");
            assert!(says(&error, "column", &column) && says(&error, "key", key), "{error}");
            let problems = verified(&store).await.unwrap();
            assert!(problems.iter().any(|problem| problem.at == *key), "{problems:?}");
            // Other columns are read.
            let other = if column == "fare" { "rider" } else { "fare" };
            table.scan().columns(vec![other.into()]).collect().await.unwrap();

            let options = StoreOptions::new().with("checksums", "false");
            let unchecked = Table::open_in(opened(name, &options), "t").await.unwrap();
            if let Err(error) = unchecked.scan().collect().await {
                assert!(!error.to_string().contains("not what was committed"), "{error}");
            }
            let data = VerifyOptions { data: true, ..VerifyOptions::default() };
            assert!(!unchecked.verify(&data).await.unwrap().is_empty(), "checks compare always");
            store.put(key, whole.clone()).await.unwrap();
        }
        assert!(verified(&store).await.unwrap().is_empty());
    }
    let wrong = StoreOptions::new().with("checksums", "perhaps");
    let error = Store::open("memory://digests-small", &wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// Every operation that writes or keeps files keeps their digests.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_writing_leaves_digests() {
    let (store, table) = table("ways", 60, Encoding::Json).await;
    let write = WriteOptions::default();
    table.append(source(&trips(10)), &write).await.unwrap();
    table.delete(&col("rider").eq(31), &write).await.unwrap();
    table.upsert(source(&[trip("Bergen", 3, 1.0)]), &["rider".into()], &write).await.unwrap();
    let tip = Schema::new(vec![Field::new("tip", DataType::Float64, true)]);
    table.add_columns(tip, &write).await.unwrap();
    table.optimize(&OptimizeOptions::default(), &write).await.unwrap();
    let expected = rows(table.scan()).await;
    assert!(verified(&store).await.unwrap().is_empty());
    for key in keys(&store, "t/table/city").await {
        let whole = store.get(&key).await.unwrap();
        let Some((_, _, place)) = column_chunks(&whole).pop() else { continue };
        let named = table.scan().keys().await.unwrap().contains(&key);
        flip(&store, &key, usize::try_from(place.end).unwrap() * 8 - 20).await;
        assert_eq!(!verified(&store).await.unwrap().is_empty(), named, "{key}");
        store.put(&key, whole).await.unwrap();
    }
    assert_eq!(rows(table.scan()).await, expected);
}

/// The header is compared with the commit, in whatever plateau leaves alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_altered_header_is_told() {
    let (store, _) = table("header", 60, Encoding::Json).await;
    let key = "t.by-dataset-metadata.json";
    let whole: serde_json::Value = serde_json::from_slice(&store.get(key).await.unwrap()).unwrap();
    let label = whole["partitions"].as_object().unwrap().keys().next().unwrap().clone();
    let alter = |what: &str| {
        let mut header = whole.clone();
        let own = &mut header["metadata"]["_partita"];
        match what {
            "columns" => own["columns"] = vec!["fare", "city", "rider"].into(),
            "commit" => own["commit"] = "0".repeat(32).into(),
            "bloom" => own["bloom_filters"] = vec!["rider"].into(),
            "created" => header["metadata"]["creation_time"] = "2020-01-01T00:00:00".into(),
            "label" => {
                let files = header["partitions"].as_object_mut().unwrap();
                let entry = files.shift_remove(&label).unwrap();
                files
                    .insert(label.replace("city=Oslo", "city=Osla").replace("Voss", "Voso"), entry);
            }
            // Changes that plateau may make.
            "annotation" => header["metadata"]["note"] = "mine".into(),
            "form" => {}
            _ => unreachable!(),
        }
        serde_json::to_vec_pretty(&header).unwrap()
    };
    for what in ["columns", "commit", "bloom", "created", "label", "annotation", "form"] {
        store.put(key, alter(what).into()).await.unwrap();
        let told = verified(&store)
            .await
            .map_or(true, |problems| problems.iter().any(|problem| problem.at == key));
        assert_eq!(told, !["annotation", "form"].contains(&what), "{what}");
    }
}
