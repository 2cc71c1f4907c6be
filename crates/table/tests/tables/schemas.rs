//! Schemas that grow and change: merged appends, columns renamed, dropped, reordered and commented,
//! alone, against other writers, and in the face of crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::trips::dying;
use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use arrow::record_batch::RecordBatchIterator;
use futures::TryStreamExt;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use partita_core::convert::shown;
use partita_core::{ErrorKind, Result, Store, StoreOptions, col};
use partita_table::{
    BatchSource, Commit, CreateOptions, Operation, OptimizeOptions, SchemaMode, Table, WriteOptions,
};

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn merging() -> WriteOptions {
    WriteOptions { schema_mode: SchemaMode::Merge, ..write() }
}

fn keyed(key: &str, options: WriteOptions) -> WriteOptions {
    WriteOptions { idempotency_key: Some(key.to_owned()), ..options }
}

fn store(name: &str) -> Store {
    Store::open(&format!("memory://schemas-{name}"), &StoreOptions::new()).unwrap()
}

fn data(columns: Vec<(&str, ArrayRef)>) -> BatchSource {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema = batch.schema();
    Box::new(RecordBatchIterator::new([Ok(batch)], schema))
}

fn ints(values: impl Into<Vec<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from(values.into()))
}

fn floats(values: impl Into<Vec<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from(values.into()))
}

fn texts(values: impl Into<Vec<&'static str>>) -> ArrayRef {
    Arc::new(StringArray::from(values.into()))
}

/// A table by city with an index on id, and a column n.
async fn cities(name: &str) -> (Store, Table) {
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["id".into()],
        ..CreateOptions::default()
    };
    let first =
        data(vec![("city", texts(["Oslo", "Rome"])), ("id", ints([1, 2])), ("n", ints([10, 20]))]);
    let store = store(name);
    let table = Table::create_in(store.clone(), "t", first, &options).await.unwrap();
    (store, table)
}

async fn reopened(store: &Store) -> Table {
    Table::open_in(store.clone(), "t").await.unwrap()
}

/// The rows as texts, each with the names of its columns, sorted.
async fn cells(table: &Table) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in table.scan().collect().await.unwrap() {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let cells = schema.fields().iter().zip(batch.columns());
            let cells =
                cells.map(|(field, values)| format!("{}={}", field.name(), shown(values, row)));
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

fn types(table: &Table) -> BTreeMap<String, DataType> {
    let schema = table.schema();
    let fields = schema.fields().iter();
    fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// Every column of every data file of the newest version has the id that the table gives it.
async fn check_ids(store: &Store, table: &Table) {
    let ids = table.column_ids();
    assert_eq!(ids.len(), table.schema().fields().len());
    let files: Vec<_> = table.scan().files().await.unwrap();
    for file in files {
        let bytes = store.get(&file.key).await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        for field in reader.schema().fields() {
            let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).unwrap();
            assert_eq!(*id, ids[field.name()].to_string(), "{} of {}", field.name(), file.key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_data_may_lack_columns_and_bring_others() {
    let (store, table) = cities("merge").await;
    let more = || data(vec![("city", texts(["Oslo"])), ("tip", floats([0.5])), ("id", ints([3]))]);
    let refused = table.append(more(), &write()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SchemaMismatch);
    table.append(more(), &merging()).await.unwrap();
    assert_eq!(
        cells(&reopened(&store).await).await,
        [
            "city=Oslo id=1 n=10 tip=null",
            "city=Oslo id=3 n=null tip=0.5",
            "city=Rome id=2 n=20 tip=null",
        ]
    );
    assert_eq!(table.scan().filter(col("n").is_null()).count().await.unwrap(), 1);
    assert_eq!(table.scan().filter(col("tip").gt(0.1)).count().await.unwrap(), 1);
    assert_eq!(table.scan().filter(col("id").eq(3)).count().await.unwrap(), 1);
    check_ids(&store, &table).await;
    // A key cannot be null.
    let error = table.append(data(vec![("id", ints([4]))]), &merging()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("city"), "{error}");
    table.optimize(&OptimizeOptions::default(), &write()).await.unwrap();
    assert_eq!(cells(&table).await.len(), 3);
    check_ids(&store, &table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn integers_become_doubles_where_a_value_needs_it_and_none_is_rounded() {
    let (store, table) = cities("doubles").await;
    let more = |id: i64, n: f64| {
        data(vec![("city", texts(["Oslo"])), ("id", ints([id])), ("n", floats([n]))])
    };
    table.append(more(3, 30.0), &merging()).await.unwrap();
    assert_eq!(types(&table)["n"], DataType::Int64, "no value needed it");
    table.append(more(4, 2.5), &merging()).await.unwrap();
    assert_eq!(types(&table)["n"], DataType::Float64);
    assert_eq!(table.scan().filter(col("n").lt(10.5)).count().await.unwrap(), 2);
    assert_eq!(table.scan().filter(col("n").eq(2.5)).count().await.unwrap(), 1);
    let late =
        data(vec![("city", texts(["Oslo"])), ("id", ints([5])), ("n", ints([(1 << 53) + 1]))]);
    let error = table.append(late, &merging()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
    check_ids(&store, &table).await;

    // The largest integers that are there, in a table, in the same data, and beside the commit.
    for (wide, exact) in [((1_i64 << 53) - 1, true), (1 << 53, false), (i64::MIN, false)] {
        let (_, table) = cities(&format!("doubles-{wide}")).await;
        let column = |n| data(vec![("city", texts(["Oslo"])), ("id", ints([7])), ("n", n)]);
        table.append(column(ints([wide])), &write()).await.unwrap();
        let widened = table.widen_column("n", &DataType::Float64, &write()).await;
        assert_eq!(widened.is_ok(), exact, "{wide}");
        let merged = table.append(column(floats([0.5])), &merging()).await;
        assert_eq!(merged.is_ok(), exact, "{wide}");

        let (_, table) = cities(&format!("pieces-{wide}")).await;
        let pieces = [column(ints([wide])), column(floats([0.5]))];
        let schema = column(ints([wide])).schema();
        let pieces = pieces.into_iter().flatten().collect::<Vec<_>>();
        let pieces = Box::new(RecordBatchIterator::new(pieces, schema));
        assert_eq!(table.append(pieces, &merging()).await.is_ok(), exact, "{wide}");

        let (store, table) = cities(&format!("beside-{wide}")).await;
        let staged = table.stage(column(ints([wide])), &write()).await.unwrap();
        let other = reopened(&store).await;
        other.append(column(floats([0.5])), &merging()).await.unwrap();
        let committed = table.commit(vec![staged], None, &write()).await;
        assert_eq!(committed.is_ok(), exact, "{wide}: {committed:?}");

        let (_, table) = cities(&format!("together-{wide}")).await;
        let staged = vec![
            table.stage(column(ints([wide])), &write()).await.unwrap(),
            table.stage(column(floats([0.5])), &merging()).await.unwrap(),
        ];
        assert_eq!(table.commit(staged, None, &write()).await.is_ok(), exact, "{wide}");
    }
}

fn record(a: i32, b: Option<&str>) -> ArrayRef {
    let mut fields = vec![(
        Arc::new(Field::new("a", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![a])) as ArrayRef,
    )];
    if let Some(b) = b {
        let values = Arc::new(StringArray::from(vec![b])) as ArrayRef;
        fields.push((Arc::new(Field::new("b", DataType::Utf8, true)), values));
    }
    Arc::new(StructArray::from(fields))
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_get_fields() {
    let store = store("structs");
    let first = data(vec![("id", ints([1])), ("r", record(1, None))]);
    let table =
        Table::create_in(store.clone(), "t", first, &CreateOptions::default()).await.unwrap();
    let wide = || data(vec![("id", ints([2])), ("r", record(2, Some("x")))]);
    assert!(table.append(wide(), &write()).await.is_err());
    table.append(wide(), &merging()).await.unwrap();
    let narrow = data(vec![("id", ints([3])), ("r", record(3, None))]);
    table.append(narrow, &merging()).await.unwrap();
    let read = |filter| {
        let scan = table.scan().filter(filter);
        async move {
            let batches = scan.collect().await.unwrap();
            shown(batches.first().unwrap().column_by_name("r").unwrap(), 0)
        }
    };
    assert!(read(col("id").eq(1)).await.contains("null"), "{}", read(col("id").eq(1)).await);
    assert!(read(col("id").eq(2)).await.contains('x'));
    table.optimize(&OptimizeOptions::default(), &write()).await.unwrap();
    assert!(read(col("id").eq(3)).await.contains("null"));
    assert!(read(col("id").eq(2)).await.contains('x'));
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_and_dropped_columns_are_so_in_every_file_and_not_in_older_versions() {
    let (store, table) = cities("rename").await;
    let before = cells(&table).await;
    let ids = table.column_ids();
    table.rename_column("id", "key", &write()).await.unwrap();
    assert_eq!(table.index_columns(), ["key"]);
    assert_eq!(table.column_ids()["key"], ids["id"]);
    assert_eq!(
        cells(&reopened(&store).await).await,
        ["city=Oslo key=1 n=10", "city=Rome key=2 n=20"]
    );
    let found = table.scan().filter(col("key").eq(2)).explain().await.unwrap();
    assert_eq!((found.files_read, found.indices), (1, vec!["key".to_owned()]));
    table.drop_column("n", &write()).await.unwrap();
    table
        .append(data(vec![("city", texts(["Oslo"])), ("key", ints([3]))]), &write())
        .await
        .unwrap();
    assert_eq!(cells(&table).await, ["city=Oslo key=1", "city=Oslo key=3", "city=Rome key=2"]);
    check_ids(&store, &table).await;
    assert_eq!(cells(&table.at(1).await.unwrap()).await, before);
    // The name may be used again. It is another column then.
    table
        .add_columns(Schema::new(vec![Field::new("n", DataType::Utf8, true)]), &write())
        .await
        .unwrap();
    assert!(table.column_ids()["n"] > ids["n"]);
    table.drop_column("key", &write()).await.unwrap();
    assert!(table.index_columns().is_empty());
    assert_eq!(cells(&table).await.len(), 3);
    assert!(table.verify(&Default::default()).await.unwrap().is_empty());
    table.restore(1, &write()).await.unwrap();
    assert_eq!(cells(&reopened(&store).await).await, before);
    assert_eq!(table.index_columns(), ["id"]);
    assert!(table.verify(&Default::default()).await.unwrap().is_empty());
    let history = table.history().await.unwrap();
    assert_eq!(history.iter().filter(|s| s.operation == Operation::Alter).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_renamed_or_dropped_is_refused_by_name() {
    let (_, table) = cities("refused").await;
    let kinds = [
        table.rename_column("x", "y", &write()).await.unwrap_err(),
        table.rename_column("n", "id", &write()).await.unwrap_err(),
        table.rename_column("n", "", &write()).await.unwrap_err(),
        table.rename_column("city", "town", &write()).await.unwrap_err(),
        table.drop_column("city", &write()).await.unwrap_err(),
        table.drop_column("x", &write()).await.unwrap_err(),
        table.reorder_columns(&["x".into()], &write()).await.unwrap_err(),
        table.reorder_columns(&["n".into(), "n".into()], &write()).await.unwrap_err(),
        table.set_comment("x", Some("y"), &write()).await.unwrap_err(),
    ];
    use ErrorKind::{AlreadyExists, InvalidArgument, NotFound};
    assert_eq!(
        kinds.map(|error| error.kind()),
        [
            NotFound,
            AlreadyExists,
            InvalidArgument,
            InvalidArgument,
            InvalidArgument,
            NotFound,
            NotFound,
            InvalidArgument,
            NotFound,
        ]
    );
    assert_eq!(table.version(), Some(1));
    table.drop_column("n", &write()).await.unwrap();
    let last = table.drop_column("id", &write()).await.unwrap_err();
    assert_eq!(last.kind(), InvalidArgument, "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn order_and_comments_change_without_a_file() {
    let (store, table) = cities("order").await;
    let commit = table.reorder_columns(&["n".into()], &write()).await.unwrap();
    assert_eq!((commit.files_added, commit.files_removed), (0, 0));
    assert_eq!(table.reorder_columns(&["n".into()], &write()).await.unwrap().version, 2, "idle");
    table.set_comment("n", Some("how many"), &write()).await.unwrap();
    let other = reopened(&store).await;
    let names: Vec<String> = other.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["n", "city", "id"]);
    assert_eq!(other.comments(), BTreeMap::from([("n".to_owned(), "how many".to_owned())]));
    other.rename_column("n", "count", &write()).await.unwrap();
    assert_eq!(other.comments()["count"], "how many");
    other.set_comment("count", None, &write()).await.unwrap();
    assert!(other.comments().is_empty());
    assert!(other.verify(&Default::default()).await.unwrap().is_empty());

    other
        .append(
            data(vec![("city", texts(["Oslo"])), ("id", ints([3])), ("count", ints([1]))]),
            &write(),
        )
        .await
        .unwrap();
    let schemas = other.schema_history().await.unwrap();
    let versions: Vec<u64> = schemas.iter().map(|schema| schema.version).collect();
    assert_eq!(versions, [5, 4, 3, 2, 1], "the last commit changed nothing");
    let named: Vec<&String> = schemas.iter().map(|schema| schema.schema.field(0).name()).collect();
    assert_eq!(named, ["count", "count", "n", "n", "city"]);
    assert_eq!(schemas[0].column_ids["count"], schemas[4].column_ids["n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_become_times_and_integers_decimals_in_files_written_again() {
    let store = store("written-again");
    let first = data(vec![
        ("id", ints([1, 2])),
        ("day", Arc::new(Date32Array::from(vec![0, 19000]))),
        ("n", ints([1, 2])),
    ]);
    let table =
        Table::create_in(store.clone(), "t", first, &CreateOptions::default()).await.unwrap();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let commit = table.widen_column("day", &time, &write()).await.unwrap();
    assert_eq!((commit.files_added, commit.files_removed, commit.rows_added), (1, 1, 0));
    assert_eq!(types(&table)["day"], time);
    let decimal = DataType::Decimal128(21, 2);
    table.widen_column("n", &decimal, &write()).await.unwrap();
    let first = cells(&table).await.remove(0);
    assert!(first.starts_with("id=1 day=1970-01-01") && first.ends_with("n=1.00"), "{first}");
    let error = table.widen_column("n", &DataType::Decimal128(10, 2), &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(table.verify(&Default::default()).await.unwrap().is_empty());
    // Times of which nanoseconds are out of reach are refused, and nothing is committed.
    let far = data(vec![("id", ints([1])), ("day", Arc::new(Date32Array::from(vec![2_932_896])))]);
    let table = Table::create_in(store, "far", far, &CreateOptions::default()).await.unwrap();
    assert!(table.widen_column("day", &time, &write()).await.is_err());
    assert_eq!(table.version(), Some(1));
    // A merged append does not write files again.
    let times = RecordBatch::try_from_iter([
        ("id", ints([1])),
        ("day", arrow::compute::cast(&ints([1]), &time).unwrap()),
    ]);
    let times = times.unwrap();
    let schema = times.schema();
    let times = Box::new(RecordBatchIterator::new([Ok(times)], schema));
    let error = table.append(times, &merging()).await.unwrap_err();
    assert!(error.to_string().contains("widen_column"), "{error}");
}

/// Whichever of two is first, both take effect or one is refused, and readers see one schema.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_beside_a_rename_ends_in_one_state() {
    // The append is first: its file is written again too.
    let (store, table) = cities("append-first").await;
    let other = reopened(&store).await;
    let more = || data(vec![("city", texts(["Oslo"])), ("id", ints([3])), ("n", ints([30]))]);
    other.append(more(), &write()).await.unwrap();
    let commit = table.rename_column("n", "count", &write()).await.unwrap();
    assert_eq!((commit.attempts, commit.files_removed), (2, 3));
    assert_eq!(
        cells(&reopened(&store).await).await,
        ["city=Oslo id=1 count=10", "city=Oslo id=3 count=30", "city=Rome id=2 count=20"]
    );
    check_ids(&store, &table).await;

    // The rename is first: data of the old columns are refused, merged or not.
    let cases = [(write(), false), (merging(), false), (write(), true), (merging(), true)];
    for (case, (options, apart)) in cases.into_iter().enumerate() {
        let (store, table) = cities(&format!("rename-first-{case}")).await;
        let other = reopened(&store).await;
        let staged = other.stage(more(), &options).await.unwrap();
        table.rename_column("n", "count", &write()).await.unwrap();
        let error = match apart {
            true => other.commit(vec![staged], None, &write()).await.unwrap_err(),
            false => other.append(more(), &options).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
        assert!(error.to_string().contains('n'), "{error}");
        assert_eq!(cells(&reopened(&store).await).await.len(), 2);
        check_ids(&store, &reopened(&store).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_and_changes_of_the_schema_at_once() {
    let (store, _) = cities("at-once").await;
    let appends = (0..8_i64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let table = reopened(&store).await;
            let name = format!("c{}", writer % 4);
            let rows = data(vec![
                ("city", texts(["Oslo"])),
                ("id", ints([100 + writer])),
                (name.as_str(), ints([writer])),
            ]);
            table.append(rows, &merging()).await.map(drop)
        })
    });
    let renames = [("n", "m"), ("m", "n")].map(|(from, to)| {
        let store = store.clone();
        tokio::spawn(async move {
            let table = reopened(&store).await;
            table.rename_column(from, to, &write()).await.map(drop)
        })
    });
    let outcomes: Vec<Result<()>> = futures::future::join_all(appends.chain(renames))
        .await
        .into_iter()
        .map(|o| o.unwrap())
        .collect();
    let table = reopened(&store).await;
    let appended = outcomes[..8].iter().filter(|outcome| outcome.is_ok()).count();
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let kind = error.kind();
        assert!([ErrorKind::SchemaMismatch, ErrorKind::NotFound].contains(&kind), "{error}");
    }
    assert_eq!(cells(&table).await.len(), 2 + appended);
    check_ids(&store, &table).await;
    let known: i64 = {
        let names: Vec<String> = table.column_ids().into_keys().collect();
        let mut sum = 0;
        for name in names.iter().filter(|name| name.starts_with('c') && *name != "city") {
            sum +=
                table.scan().filter(col(name.as_str()).is_not_null()).count().await.unwrap() as i64;
        }
        sum
    };
    assert_eq!(known, appended as i64, "each append brought one value to a column of its own");
    assert!(table.verify(&Default::default()).await.unwrap().is_empty());
}

/// Two writers add different columns at once: the files of the second are written again, under ids
/// of their own. Also where they were staged apart, and what is not committed is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn two_columns_that_are_added_at_once_have_ids_of_their_own() {
    let (store, table) = cities("two-ids").await;
    let other = reopened(&store).await;
    let rows = |id: i64, name: &'static str| {
        data(vec![("city", texts(["Oslo"])), ("id", ints([id])), (name, floats([0.5]))])
    };
    let apart = other.stage(rows(5, "apart"), &merging()).await.unwrap();
    let upserted = reopened(&store).await;
    table.append(rows(3, "tip"), &merging()).await.unwrap();
    other.append(rows(4, "toll"), &merging()).await.unwrap();
    table.commit(vec![apart.clone()], None, &write()).await.unwrap();
    let again = table.commit(vec![apart], None, &write()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    upserted.upsert(rows(1, "late"), &["id".to_owned()], &merging()).await.unwrap();
    let table = reopened(&store).await;
    let ids: Vec<i32> = table.column_ids().into_values().collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 7, "{ids:?}");
    for name in ["tip", "toll", "apart", "late"] {
        assert_eq!(
            table.scan().filter(col(name).is_not_null()).count().await.unwrap(),
            1,
            "{name}"
        );
    }
    assert_eq!(table.scan().count().await.unwrap(), 5);
    check_ids(&store, &table).await;
    let mut named: Vec<String> =
        table.scan().files().await.unwrap().into_iter().map(|file| file.key).collect();
    for at in 1..=4 {
        let old = table.at(at).await.unwrap();
        named.extend(old.scan().files().await.unwrap().into_iter().map(|file| file.key));
    }
    let stored: Vec<String> = store.list("t/table/").map_ok(|o| o.key).try_collect().await.unwrap();
    let stray = stored.iter().filter(|key| key.ends_with(".parquet") && !named.contains(key));
    // The file that was staged apart stays with its owner.
    assert_eq!(stray.count(), 1);
}

/// A rewrite that lost its race to a new column goes on.
#[tokio::test(flavor = "multi_thread")]
async fn rewrites_beside_new_columns_and_types_succeed() {
    let (store, table) = cities("rewrites").await;
    let row = |id: i64| data(vec![("city", texts(["Oslo"])), ("id", ints([id])), ("n", ints([1]))]);
    table.append(row(3), &write()).await.unwrap();
    let wide = || {
        data(vec![
            ("city", texts(["Oslo"])),
            ("id", ints([9])),
            ("n", floats([0.5])),
            ("x", ints([1])),
        ])
    };
    let stale = [reopened(&store).await, reopened(&store).await];
    table.append(wide(), &merging()).await.unwrap();
    stale[0].optimize(&OptimizeOptions::default(), &write()).await.unwrap();
    stale[1].delete(&col("id").eq(1), &write()).await.unwrap();
    assert_eq!(
        cells(&reopened(&store).await).await,
        ["city=Oslo id=3 n=1.0 x=null", "city=Oslo id=9 n=0.5 x=1", "city=Rome id=2 n=20.0 x=null",]
    );
    check_ids(&store, &table).await;
}

type Change = fn(Table, WriteOptions) -> futures::future::BoxFuture<'static, Result<Commit>>;

const CHANGES: [(&str, Change); 7] = [
    ("rename", |t, o| Box::pin(async move { t.rename_column("n", "m", &o).await })),
    ("drop", |t, o| Box::pin(async move { t.drop_column("n", &o).await })),
    ("widen", |t, o| Box::pin(async move { t.widen_column("n", &DataType::Float64, &o).await })),
    ("decimal", |t, o| {
        Box::pin(async move { t.widen_column("n", &DataType::Decimal128(20, 0), &o).await })
    }),
    ("reorder", |t, o| Box::pin(async move { t.reorder_columns(&["n".into()], &o).await })),
    ("comment", |t, o| Box::pin(async move { t.set_comment("n", Some("c"), &o).await })),
    ("merge", |t, o| {
        Box::pin(async move {
            let o = WriteOptions { schema_mode: SchemaMode::Merge, ..o };
            let rows = data(vec![("city", texts(["Oslo"])), ("id", ints([3])), ("x", ints([1]))]);
            t.append(rows, &o).await
        })
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_change_with_a_key_counts_once() {
    for (name, change) in CHANGES {
        let (store, table) = cities(&format!("keyed-{name}")).await;
        let stale = reopened(&store).await;
        let first = change(table.clone(), keyed("k", write())).await.unwrap();
        assert_eq!((first.version, first.is_repeated()), (2, false), "{name}");
        let state = cells(&table).await;
        for again in [table, reopened(&store).await, stale] {
            let repeated = change(again, keyed("k", write())).await.unwrap();
            assert_eq!((repeated.version, repeated.is_repeated()), (2, true), "{name}");
        }
        let after = reopened(&store).await;
        assert_eq!(cells(&after).await, state, "{name}");
        assert_eq!(after.history().await.unwrap().len(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_write_leaves_the_old_state_or_the_new() {
    for (name, change) in CHANGES {
        let (_, table) = cities(&format!("whole-{name}")).await;
        let before = (cells(&table).await, table.schema());
        change(table.clone(), write()).await.unwrap();
        let after = (cells(&table).await, table.schema());
        for stop in 1..60 {
            let (store, _) = cities(&format!("crash-{name}-{stop}")).await;
            let (dying, faults) = dying(&store, stop);
            let outcome = change(reopened(&dying).await, write()).await;
            let found = reopened(&store).await;
            let state = (cells(&found).await, found.schema());
            if state != after || found.version() == Some(1) {
                assert_eq!(state, before, "{name} {stop}");
                assert!(outcome.is_err(), "{name} {stop}");
                change(found.clone(), write()).await.unwrap();
                assert_eq!((cells(&found).await, found.schema()), after, "{name} {stop}");
            }
            check_ids(&store, &found).await;
            if faults.writes() < stop {
                assert!(outcome.is_ok(), "{name}");
                break;
            }
        }
    }
}

/// Tables of releases that gave no ids get them, and keep them.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_ids_gets_them_with_the_next_commit() {
    let (store, table) = cities("without-ids").await;
    // As plateau leaves it: a header without our entry.
    let key = "t.by-dataset-metadata.json";
    let bytes = store.get(key).await.unwrap();
    let mut header: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    header["metadata"].as_object_mut().unwrap().remove("_partita");
    store.put(key, serde_json::to_vec(&header).unwrap().into()).await.unwrap();
    drop(table);
    let table = reopened(&store).await;
    assert_eq!(table.version(), None);
    let ids = table.column_ids();
    assert_eq!(ids.values().copied().collect::<Vec<_>>(), [1, 2, 3]);
    table.rename_column("n", "m", &write()).await.unwrap();
    let again = reopened(&store).await;
    assert_eq!(again.column_ids()["m"], ids["n"]);
    let total: i64 = again
        .scan()
        .collect()
        .await
        .unwrap()
        .iter()
        .map(|batch| {
            let m = batch.column_by_name("m").unwrap();
            arrow::array::AsArray::as_primitive::<Int64Type>(m).values().iter().sum::<i64>()
        })
        .sum();
    assert_eq!(total, 30);
}
