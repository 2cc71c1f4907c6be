//! The public behaviour of tables, on local files and in memory.

use std::sync::Arc;

use crate::trips::{self, Trip, rows, source, trip};
use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch, StringArray};
use arrow::record_batch::RecordBatchIterator;
use partita_core::{ErrorKind, Predicate, Store, StoreOptions, col};
use partita_table::{Annotate, BatchSource, CreateOptions, Operation, Staged, Table, WriteOptions};

fn options() -> CreateOptions {
    CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    }
}

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn first() -> Vec<Trip> {
    vec![trip("Oslo", 1, 10.0), trip("Bergen", 2, 20.0), trip("Oslo", 3, 30.0)]
}

async fn local(folder: &tempfile::TempDir) -> Table {
    let url = format!("{}/trips", folder.path().display());
    Table::create_from(&url, source(&first()), &options(), &StoreOptions::new()).await.unwrap()
}

fn oslo() -> Predicate {
    col("city").eq("Oslo")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_goes_through_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    assert_eq!(table.version(), Some(1));
    let keys: Vec<String> =
        table.partitions().await.unwrap().iter().map(|p| p.key.to_string()).collect();
    assert_eq!(keys, ["city=Bergen", "city=Oslo"]);

    let added = table.append(source(&[trip("Oslo", None, 5.0)]), &write()).await.unwrap();
    assert_eq!((added.version, added.rows_added, added.attempts), (2, 1, 1));
    assert_eq!(table.scan().count().await.unwrap(), 4);
    let cheap = rows(table.scan().filter(col("fare").lt(15.0).and(oslo()))).await;
    assert_eq!(cheap, [trip("Oslo", None, 5.0), trip("Oslo", 1, 10.0)]);

    let swapped = table.replace(&oslo(), source(&[trip("Oslo", 9, 90.0)]), &write()).await.unwrap();
    assert_eq!((swapped.files_removed, swapped.rows_removed), (2, 3));
    table.delete(&col("city").eq("Bergen"), &write()).await.unwrap();
    assert_eq!(rows(table.scan()).await, [trip("Oslo", 9, 90.0)]);

    let url = table.url();
    let again = Table::open(&url, &StoreOptions::new()).await.unwrap();
    assert_eq!(rows(again.scan()).await, [trip("Oslo", 9, 90.0)]);
    let history = again.history().await.unwrap();
    let operations: Vec<Operation> = history.iter().map(|info| info.operation).collect();
    use Operation::{Append, Create, Delete, Replace};
    assert_eq!(operations, [Delete, Replace, Append, Create]);
    assert_eq!(history.first().map(|info| (info.version, info.rows)), Some((4, 1)));

    again.drop_table().await.unwrap();
    let error = Table::open(&url, &StoreOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let left: Vec<_> = walk(folder.path());
    assert!(left.is_empty(), "{left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_the_files_and_nulls_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    table.append(source(&[trip("Voss", None, 1.0)]), &write()).await.unwrap();
    table.append(source(&[trip("Molde", 3, 2.0)]), &write()).await.unwrap();

    let one = table.scan().filter(col("rider").eq(3));
    let explain = one.explain().await.unwrap();
    assert_eq!((explain.files, explain.files_read), (4, 2), "{explain}");
    assert_eq!(explain.pruned_by_index, 2);
    assert_eq!(rows(one).await, [trip("Molde", 3, 2.0), trip("Oslo", 3, 30.0)]);

    let unknown = table.scan().filter(col("rider").is_null());
    assert_eq!(rows(unknown).await, [trip("Voss", None, 1.0)]);
    let either = col("rider").eq(2).or(col("fare").lt(1.5));
    assert_eq!(rows(table.scan().filter(either)).await.len(), 2);
    assert_eq!(table.scan().filter(col("rider").eq(77)).count().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_bounds_skip_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    let explain = table.scan().filter(col("fare").gt(25.0)).explain().await.unwrap();
    assert_eq!((explain.pruned_by_statistics, explain.files_read), (1, 1), "{explain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_named_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    let before = walk(folder.path()).len();
    let only = |name: &str, column: ArrayRef| -> BatchSource {
        let city: ArrayRef = Arc::new(StringArray::from(vec!["Oslo"]));
        let batch = RecordBatch::try_from_iter([("city", city), (name, column)]).unwrap();
        let schema = batch.schema();
        Box::new(RecordBatchIterator::new([Ok(batch)], schema))
    };
    let missing = table.append(only("rider", Arc::new(Int64Array::from(vec![1]))), &write()).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::SchemaMismatch);

    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let mut wrong = trips::batch(&first()[..1]).columns().to_vec();
    wrong[2] = text;
    let wrong =
        RecordBatch::try_from_iter(["city", "rider", "fare"].into_iter().zip(wrong)).unwrap();
    let schema = wrong.schema();
    let wrong = Box::new(RecordBatchIterator::new([Ok(wrong)], schema));
    let error = table.append(wrong, &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("column: fare"), "{error}");

    let misspelt = table.delete(&col("citty").eq("Oslo"), &write()).await.unwrap_err();
    assert_eq!(misspelt.kind(), ErrorKind::InvalidPredicate);
    let typed = table.delete(&col("fare").eq("ten"), &write()).await.unwrap_err();
    assert_eq!(typed.kind(), ErrorKind::InvalidPredicate);
    let exists =
        Table::create_from(&table.url(), source(&first()), &options(), &StoreOptions::new()).await;
    assert_eq!(exists.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let column = table.scan().columns(vec!["nope".into()]).schema().unwrap_err();
    assert_eq!(column.kind(), ErrorKind::NotFound);

    let read_only = StoreOptions::new().read_only(true);
    let guarded = Table::open(&table.url(), &read_only).await.unwrap();
    let error = guarded.append(source(&first()), &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);

    assert_eq!(walk(folder.path()).len(), before, "no file was left behind");
    table.refresh().await.unwrap();
    assert_eq!((table.version(), rows(table.scan()).await.len()), (Some(1), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_metadata_is_an_error_that_names_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    let header = folder.path().join("trips.by-dataset-metadata.json");
    let whole = std::fs::read(&header).unwrap();
    let store = || Store::open(&folder.path().display().to_string(), &StoreOptions::new()).unwrap();
    for length in (0..whole.len()).step_by(17) {
        let cut = bytes::Bytes::from(whole[..length].to_vec());
        store().put("trips.by-dataset-metadata.json", cut).await.unwrap();
        let error = Table::open(&table.url(), &StoreOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("trips"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_gone_costs_speed_only() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    for snapshot in walk(&folder.path().join("trips/_partita")) {
        std::fs::remove_file(snapshot).unwrap();
    }
    let again = Table::open(&table.url(), &StoreOptions::new()).await.unwrap();
    assert_eq!(rows(again.scan()).await.len(), 3);
    assert_eq!(rows(again.scan().filter(col("rider").eq(2))).await, [trip("Bergen", 2, 20.0)]);
    again.append(source(&first()), &write()).await.unwrap();
    assert_eq!(again.scan().filter(col("fare").gt(25.0)).count().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_keeps_the_version_it_was_made_at() {
    let table = Table::create_from(
        "memory://versions/trips",
        source(&first()),
        &options(),
        &StoreOptions::new(),
    )
    .await
    .unwrap();
    let scan = table.scan();
    table.delete(&oslo(), &write()).await.unwrap();
    assert_eq!(rows(scan).await.len(), 3);
    assert_eq!(rows(table.scan()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_data_travels_and_is_invisible_until_committed() {
    let folder = tempfile::tempdir().unwrap();
    let table = local(&folder).await;
    let staged = table.stage(source(&[trip("Voss", 4, 1.0)]), &write()).await.unwrap();
    let sent = serde_json::to_string(&staged).unwrap();
    assert_eq!(table.scan().count().await.unwrap(), 3);
    let other = Table::open(&table.url(), &StoreOptions::new()).await.unwrap();
    assert_eq!(other.scan().count().await.unwrap(), 3);
    let received: Staged = serde_json::from_str(&sent).unwrap();
    other.commit(vec![received], None, &write()).await.unwrap();
    assert_eq!(rows(other.scan().filter(col("rider").eq(4))).await, [trip("Voss", 4, 1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_nulls_takes_its_type_later() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/notes", folder.path().display());
    let with = |note: ArrayRef| -> BatchSource {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("id", id), ("note", note)]).unwrap();
        let schema = batch.schema();
        Box::new(RecordBatchIterator::new([Ok(batch)], schema))
    };
    let null: ArrayRef = Arc::new(NullArray::new(1));
    let table = Table::create_from(
        &url,
        with(null.clone()),
        &CreateOptions::default(),
        &StoreOptions::new(),
    )
    .await
    .unwrap();
    table.append(with(Arc::new(StringArray::from(vec!["x"]))), &write()).await.unwrap();
    table.append(with(null), &write()).await.unwrap();
    assert_eq!(table.scan().filter(col("note").is_null()).count().await.unwrap(), 2);
    assert_eq!(table.scan().filter(col("note").eq("x")).count().await.unwrap(), 1);
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let error = table.append(with(number), &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let url = local(&folder).await.url();
    let writers = (0..8).map(|writer| {
        let url = url.clone();
        tokio::spawn(async move {
            let table = Table::open(&url, &StoreOptions::new()).await.unwrap();
            for i in 0..10 {
                let trips = [trip(&format!("city {}", i % 3), writer * 100 + i, 1.0)];
                table.append(source(&trips), &WriteOptions::default()).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let table = Table::open(&url, &StoreOptions::new()).await.unwrap();
    assert_eq!(table.scan().count().await.unwrap(), 83);
    assert_eq!(table.history().await.unwrap().len(), 81);
    for writer in 0..8 {
        let one = table.scan().filter(col("rider").eq(writer * 100 + 7));
        assert_eq!(rows(one).await.len(), 1, "writer {writer}");
    }
    let locks: Vec<_> =
        walk(folder.path()).into_iter().filter(|f| f.to_string_lossy().contains("lock")).collect();
    assert!(locks.is_empty(), "{locks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_creators_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/race", folder.path().display());
    let creators = (0..8).map(|rider| {
        let url = url.clone();
        tokio::spawn(async move {
            let data = source(&[trip("Oslo", rider, 1.0)]);
            Table::create_from(&url, data, &options(), &StoreOptions::new()).await.map(|_| ())
        })
    });
    let outcomes = futures::future::try_join_all(creators).await.unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    let table = Table::open(&url, &StoreOptions::new()).await.unwrap();
    assert_eq!(table.scan().count().await.unwrap(), 1);
    assert_eq!(walk(&folder.path().join("race/table")).len(), 2, "one data file and the schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_input_becomes_row_groups_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/big", folder.path().display());
    let trips: Vec<Trip> =
        (0..10_000).map(|i| trip(["a", "b"][i % 2], i as i64, i as f64)).collect();
    let options = CreateOptions {
        write: WriteOptions {
            row_group_rows: 500,
            target_file_bytes: 20_000,
            ..WriteOptions::default()
        },
        ..options()
    };
    let table =
        Table::create_from(&url, source(&trips), &options, &StoreOptions::new()).await.unwrap();
    assert!(table.num_files() > 4, "{}", table.num_files());
    let found = rows(table.scan().filter(col("fare").ge(9_990.0))).await;
    assert_eq!(found.len(), 10);
    let mut expected = trips;
    expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(rows(table.scan()).await, expected);
    assert_eq!(
        table
            .scan()
            .limit(7)
            .collect()
            .await
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>(),
        7
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_worked_out_from_the_newest_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let url = local(&folder).await.url();
    let runs = |table: &Table| table.metadata().get("runs").and_then(serde_json::Value::as_u64);
    let more = Annotate::new(|present| {
        let runs = present.get("runs").and_then(serde_json::Value::as_u64).unwrap_or(0);
        Ok(serde_json::Map::from_iter([("runs".to_owned(), (runs + 1).into())]))
    });
    let writers = (0..6).map(|i| {
        let (url, more) = (url.clone(), more.clone());
        tokio::spawn(async move {
            let table = Table::open(&url, &StoreOptions::new()).await.unwrap();
            let counted = WriteOptions { annotate: Some(more.clone()), ..write() };
            table.append(source(&[trip("Oslo", i, 1.0)]), &counted).await.unwrap();
            table.set_metadata(&counted).await.unwrap();
        })
    });
    futures_of(writers).await;
    let table = Table::open(&url, &StoreOptions::new()).await.unwrap();
    assert_eq!((runs(&table), table.scan().count().await.unwrap()), (Some(12), 9));

    let failing = Annotate::new(|_| Err(partita_core::Error::invalid("not so")));
    let failing = WriteOptions { annotate: Some(failing), ..write() };
    let error = table.set_metadata(&failing).await.unwrap_err();
    assert_eq!(error.message(), "not so");
    assert_eq!(table.version(), Some(13));
}

async fn futures_of(tasks: impl Iterator<Item = tokio::task::JoinHandle<()>>) {
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}
