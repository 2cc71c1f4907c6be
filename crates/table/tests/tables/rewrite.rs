//! Row deletes, upserts, compaction, new indices and columns: alone, and against other writers.

use std::sync::Arc;

use crate::trips::{self, Trip, rows, source, trip};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int8Type, Schema};
use arrow::record_batch::RecordBatchIterator;
use futures::TryStreamExt;
use partita_core::{ErrorKind, Store, StoreOptions, col};
use partita_table::{CreateOptions, Operation, OptimizeOptions, Table, WriteOptions};

fn write() -> WriteOptions {
    WriteOptions::default()
}

async fn fresh(name: &str, trips: &[Trip]) -> (Store, Table) {
    let store = Store::open(&format!("memory://rewrite-{name}"), &StoreOptions::new()).unwrap();
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    };
    let table = Table::create_in(store.clone(), "trips", source(trips), &options).await.unwrap();
    (store, table)
}

/// Ten trips in each of two cities, one file per city.
async fn ten(name: &str) -> (Store, Table, Vec<Trip>) {
    let trips: Vec<Trip> = (0..10)
        .flat_map(|n| [trip("Oslo", n, n as f64), trip("Rome", n + 100, n as f64)])
        .collect();
    let (store, table) = fresh(name, &trips).await;
    (store, table, trips)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_with_such_rows_are_written_again() {
    let (_, table, _) = ten("files").await;
    let commit = table.delete(&col("rider").eq(3), &write()).await.unwrap();
    assert_eq!((commit.files_added, commit.files_removed), (1, 1));
    assert_eq!((commit.rows_added, commit.rows_removed), (0, 1));
    let commit =
        table.delete(&col("fare").ge(0.0).and(col("rider").lt(50)), &write()).await.unwrap();
    assert_eq!((commit.files_added, commit.files_removed, commit.rows_removed), (0, 1, 9));
    let before = table.version();
    let commit = table.delete(&col("rider").eq(77), &write()).await.unwrap();
    assert_eq!((commit.rows_removed, Some(commit.version)), (0, before));
    assert_eq!(table.version(), before, "nothing to do is no commit");
    assert_eq!(table.scan().count().await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_lost_its_race_looks_at_the_new_rows_too() {
    let (store, table, mut trips) = ten("race").await;
    let other = Table::open_in(store.clone(), "trips").await.unwrap();
    let late = [trip("Oslo", 3, 50.0), trip("Rome", 4, 50.0)];
    other.append(source(&late), &write()).await.unwrap();
    other.delete(&col("rider").eq(103), &write()).await.unwrap();

    let commit = table.delete(&col("rider").is_in([3, 103]), &write()).await.unwrap();
    assert_eq!(commit.attempts, 2);
    assert_eq!(commit.rows_removed, 2);
    trips.retain(|trip| !matches!(trip.rider, Some(3 | 103)));
    trips.push(trip("Rome", 4, 50.0));
    trips.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(rows(table.scan()).await, trips);
    let fresh = Table::open_in(store, "trips").await.unwrap();
    assert_eq!(rows(fresh.scan().filter(col("rider").eq(4))).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_loses_no_concurrent_append() {
    let (store, table) = fresh("compact", &[trip("Oslo", 0, 20.0)]).await;
    for n in 1..20 {
        table.append(source(&[trip("Oslo", n, f64::from(20 - n as i32))]), &write()).await.unwrap();
    }
    let other = Table::open_in(store.clone(), "trips").await.unwrap();
    other.append(source(&[trip("Oslo", 20, 0.5)]), &write()).await.unwrap();
    let optimize = OptimizeOptions { sort_by: vec!["fare".into()], ..OptimizeOptions::default() };
    let commit = table.optimize(&optimize, &write()).await.unwrap();
    assert_eq!((commit.rows_added, commit.rows_removed), (0, 0));
    assert_eq!((commit.files_removed, commit.files_added, table.num_files()), (20, 1, 2));
    let riders: Vec<Option<i64>> = rows(table.scan()).await.iter().map(|t| t.rider).collect();
    assert_eq!(riders, (0..21).map(Some).collect::<Vec<_>>());
    let batches = table.scan().filter(col("rider").lt(20)).collect().await.unwrap();
    let fares: Vec<f64> = batches
        .iter()
        .flat_map(|batch| {
            let fares = batch.column_by_name("fare").unwrap();
            fares.as_primitive::<arrow::datatypes::Float64Type>().values().to_vec()
        })
        .collect();
    assert!(fares.is_sorted(), "{fares:?}");
    assert_eq!(table.history().await.unwrap().first().unwrap().operation, Operation::Optimize);
    let idle = table.optimize(&OptimizeOptions::default(), &write()).await.unwrap();
    assert_eq!(idle.files_removed, 2);
    assert_eq!(
        table.optimize(&OptimizeOptions::default(), &write()).await.unwrap().files_removed,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_upserts_at_once_leave_one_row_of_each_key() {
    let (store, _, _) = ten("upserts").await;
    let writers = (0..6).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let table = Table::open_in(store, "trips").await.unwrap();
            for turn in 0..5 {
                let fare = f64::from(writer * 100 + turn);
                let trips: Vec<Trip> = (0..4).map(|key| trip("Oslo", key + 2, fare)).collect();
                table.upsert(source(&trips), &["rider".to_owned()], &write()).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    let table = Table::open_in(store, "trips").await.unwrap();
    let found = rows(table.scan().filter(col("city").eq("Oslo"))).await;
    let riders: Vec<i64> = found.iter().filter_map(|trip| trip.rider).collect();
    assert_eq!(riders, (0..10).collect::<Vec<i64>>());
    let fares: Vec<f64> = (2..6).map(|rider| found[rider].fare).collect();
    assert!(fares.iter().all(|fare| *fare == fares[0]), "an upsert is whole: {fares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_are_built_kept_up_to_date_and_dropped() {
    let (store, table, _) = ten("index").await;
    let other = Table::open_in(store, "trips").await.unwrap();
    other.append(source(&[trip("Oslo", 500, 42.0)]), &write()).await.unwrap();
    let commit = table.build_index(&["fare".to_owned()], &write()).await.unwrap();
    assert_eq!((commit.attempts, table.num_files()), (2, 3));
    let explain = table.scan().filter(col("fare").eq(42.0)).explain().await.unwrap();
    assert_eq!((explain.files_read, explain.indices), (1, vec!["fare".to_owned()]));
    table.append(source(&[trip("Rome", 501, 43.0)]), &write()).await.unwrap();
    let explain = table.scan().filter(col("fare").eq(43.0)).explain().await.unwrap();
    assert_eq!(explain.files_read, 1);
    let values = table.index_values("fare").await.unwrap();
    assert_eq!(values.len(), 12);
    assert_eq!(rows(table.scan().filter(col("fare").eq(5.0))).await.len(), 2);

    table.drop_index(&["fare".to_owned()], &write()).await.unwrap();
    assert_eq!(table.index_columns(), ["rider"]);
    for wrong in ["fare", "nowhere"] {
        let error = table.drop_index(&[wrong.to_owned()], &write()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let error = table.build_index(&["city".to_owned()], &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_added_and_widened_without_writing_files_again() {
    let (_, table, trips) = ten("columns").await;
    let tip = Schema::new(vec![Field::new("tip", DataType::Int32, true)]);
    table.add_columns(tip.clone(), &write()).await.unwrap();
    let field = table.schema().field_with_name("tip").unwrap().clone();
    assert_eq!(field.data_type(), &DataType::Int32);
    assert_eq!(rows(table.scan()).await.len(), trips.len());
    assert_eq!(table.scan().filter(col("tip").is_null()).count().await.unwrap(), 20);
    assert_eq!(table.scan().filter(col("tip").gt(1)).count().await.unwrap(), 0);
    let error = table.add_columns(tip, &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let error = table.append(source(&trips), &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);

    let one = trips::batch(&[trip("Oslo", 900, 1.0)]);
    let fields: Vec<Field> = one.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let fields = fields.into_iter().chain([Field::new("tip", DataType::Int32, true)]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let tips = Arc::new(arrow::array::Int32Array::from(vec![7]));
    let columns = one.columns().iter().cloned().chain([tips as _]).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let data = Box::new(RecordBatchIterator::new([Ok(batch)], schema));
    table.append(data, &write()).await.unwrap();
    assert_eq!(table.scan().filter(col("tip").eq(7)).count().await.unwrap(), 1);

    table.delete(&col("rider").eq(4), &write()).await.unwrap();
    table.optimize(&OptimizeOptions::default(), &write()).await.unwrap();
    table.widen_column("tip", &DataType::Float64, &write()).await.unwrap();
    assert_eq!(table.scan().filter(col("tip").lt(7.5)).count().await.unwrap(), 1);
    let batches = table.scan().filter(col("tip").is_null()).collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 19);
    let back = table.widen_column("tip", &DataType::Int64, &write()).await.unwrap_err();
    assert_eq!(back.kind(), ErrorKind::SchemaMismatch);
    let indexed = table.widen_column("rider", &DataType::Float64, &write()).await.unwrap_err();
    assert_eq!(indexed.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn narrow_types_of_files_outlive_a_rewrite() {
    let store = Store::open("memory://rewrite-narrow", &StoreOptions::new()).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int8, true)]));
    let column = Arc::new(arrow::array::Int8Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let data = Box::new(RecordBatchIterator::new([Ok(batch)], schema));
    let options = CreateOptions::default();
    let table = Table::create_in(store.clone(), "t", data, &options).await.unwrap();
    table.delete(&col("n").eq(2), &write()).await.unwrap();
    let keys: Vec<String> =
        store.list("t/table/").map_ok(|object| object.key).try_collect().await.unwrap();
    let mut types = Vec::new();
    for key in keys.into_iter().filter(|key| key.ends_with(".parquet")) {
        let bytes = store.get(&key).await.unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes);
        types.push(reader.unwrap().schema().field(0).data_type().clone());
    }
    assert_eq!(types, [DataType::Int8, DataType::Int8]);
    let batches = table.scan().collect().await.unwrap();
    let left = batches.first().unwrap().column(0).as_primitive::<Int8Type>();
    assert_eq!(left.values(), &[1, 3]);
}
