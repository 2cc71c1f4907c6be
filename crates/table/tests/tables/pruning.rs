//! Pruned data never matches, and the report of the pruning is true.

use std::sync::Arc;
use std::sync::OnceLock;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int16Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatchIterator;
use partita_core::predicate::{CompareOp, Literal};
use partita_core::testing::CountingStore;
use partita_core::{ErrorKind, Predicate, Store, StoreOptions, col};
use partita_table::{
    BatchSource, Compression, CopyOptions, CreateOptions, Reading, Table, WriteOptions,
};
use proptest::prelude::*;

const ROWS: usize = 90_000;
const GROUP: usize = 45_000;

/// Texts longer than the bounds of pages, which are truncated to 64 bytes.
fn text(step: usize) -> String {
    let last = char::from_u32(0x10_FFFF).unwrap();
    format!("{}{}{step:05}", "é".repeat(40), if step.is_multiple_of(7) { last } else { 'x' })
}

/// Runs of similar rows, so that pages differ; some runs are nulls, or NaN.
fn data() -> RecordBatch {
    let run = |row: usize| row / 4_000;
    let ids = (0..ROWS).map(|row| (run(row) % 5 != 3).then_some(row as i64 / 3));
    let floats = (0..ROWS).map(|row| match run(row) % 6 {
        0 => Some(f64::NAN),
        1 if row % 2 == 0 => None,
        2 if row % 3 == 0 => Some(f64::NAN),
        3 => Some(if row % 2 == 0 { 0.0 } else { -0.0 }),
        4 if row % 999 == 0 => Some(f64::INFINITY),
        other => Some(other as f64 + row as f64 / ROWS as f64),
    });
    let texts = (0..ROWS).map(|row| (row % 11 != 0).then(|| text(row / 1_000)));
    let times = (0..ROWS).map(|row| (run(row) != 7).then_some(1_700_000_000_000_000 + row as i64));
    let short = (0..ROWS).map(|row| Some((run(row) as i16 - 10) * 100));
    let flags = (0..ROWS).map(|row| (row % 5000 != 0).then_some(run(row) > 12));
    // Incompressible values that identify the row, so that the file is large.
    let unique = (0..ROWS as u64).map(|row| row.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(ids.collect::<Int64Array>())),
        ("float", Arc::new(floats.collect::<Float64Array>())),
        ("text", Arc::new(texts.collect::<StringArray>())),
        ("time", Arc::new(times.collect::<TimestampMicrosecondArray>())),
        ("short", Arc::new(short.collect::<Int16Array>())),
        ("flag", Arc::new(flags.collect::<BooleanArray>())),
        ("unique", Arc::new(UInt64Array::from_iter_values(unique))),
        ("row", Arc::new(Int64Array::from_iter_values(0..ROWS as i64))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn source(batch: RecordBatch) -> BatchSource {
    let schema = batch.schema();
    Box::new(RecordBatchIterator::new([Ok(batch)], schema))
}

fn write() -> WriteOptions {
    WriteOptions {
        row_group_rows: GROUP,
        compression: Compression::None,
        ..WriteOptions::default()
    }
}

fn with_filters() -> WriteOptions {
    let columns = ["id", "float", "text", "time", "short", "unique"];
    WriteOptions {
        row_group_rows: 9_000,
        bloom_filters: Some(columns.map(str::to_owned).to_vec()),
        ..write()
    }
}

/// The rows in an order in which bounds exclude nothing.
fn shuffled() -> RecordBatch {
    let order = (0..ROWS as u64).map(|row| row * 7_919 % ROWS as u64);
    take_record_batch(&data(), &UInt64Array::from_iter_values(order)).unwrap()
}

struct Setting {
    runtime: tokio::runtime::Runtime,
    table: Table,
    /// The same rows, shuffled, in small row groups with bloom filters.
    filtered: Table,
    counts: CountingStore,
    /// All rows in the form that the table returns.
    all: RecordBatch,
}

fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (table, filtered, counts, all) = runtime.block_on(async {
            let store = Store::open("memory://pruning", &StoreOptions::new()).unwrap();
            let mut counts = None;
            let store = store.wrap(|inner| {
                let counting = CountingStore::new(inner);
                counts = Some(counting.clone());
                Arc::new(counting)
            });
            let options = CreateOptions { write: write(), ..CreateOptions::default() };
            let made = Table::create_in(store.clone(), "t", source(data()), &options);
            let table = made.await.unwrap();
            let options = CreateOptions { write: with_filters(), ..CreateOptions::default() };
            let made = Table::create_in(store, "filtered", source(shuffled()), &options);
            let filtered = made.await.unwrap();
            let batches = table.scan().collect().await.unwrap();
            let all = concat_batches(&table.schema(), &batches).unwrap();
            (table, filtered, counts.unwrap(), all)
        });
        Setting { runtime, table, filtered, counts, all }
    })
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| {
        batch.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

fn literal() -> impl Strategy<Value = (String, Literal)> {
    let row = 0..ROWS;
    prop_oneof![
        row.clone().prop_map(|row| ("id".into(), Literal::from(row as i64 / 3))),
        prop::sample::select(vec![
            0.0,
            -0.0,
            1.5,
            2.25,
            5.5,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN
        ])
        .prop_map(|value| ("float".into(), Literal::from(value))),
        row.clone().prop_map(|row| ("float".into(), {
            let value = data_float(row);
            Literal::from(value)
        })),
        (0..95usize).prop_map(|step| ("text".into(), Literal::from(text(step).as_str()))),
        (0..95usize).prop_map(|step| {
            let text: String = text(step).chars().take(30).collect();
            ("text".into(), Literal::from(text.as_str()))
        }),
        row.clone().prop_map(|row| {
            let nanos = (1_700_000_000_000_000 + row as i128) * 1000 + i128::from(row % 9 == 0);
            ("time".into(), Literal::Timestamp { nanos, utc: false })
        }),
        (-1200..1500i64).prop_map(|value| ("short".into(), Literal::from(value / 50 * 50))),
        any::<bool>().prop_map(|flag| ("flag".into(), Literal::from(flag))),
    ]
}

fn data_float(row: usize) -> f64 {
    (row / 4_000 % 6) as f64 + row as f64 / ROWS as f64
}

fn predicate() -> impl Strategy<Value = Predicate> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let op = prop::sample::select(vec![Eq, Eq, Eq, Ne, Lt, Le, Gt, Ge]);
    let leaf = prop_oneof![
        6 => (literal(), op)
            .prop_map(|((column, value), op)| Predicate::Compare { column, op, value }),
        2 => (prop::collection::vec(literal(), 1..4), any::<bool>()).prop_map(|(some, negated)| {
            let column = some[0].0.clone();
            let values = some.into_iter().filter(|(c, _)| *c == column).map(|(_, v)| v).collect();
            Predicate::In { column, values, negated }
        }),
        1 => (literal(), any::<bool>())
            .prop_map(|((column, _), negated)| Predicate::IsNull { column, negated }),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Predicate::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Predicate::Or),
            inner.prop_map(|inner| Predicate::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn nothing_wanted_is_left_out(predicate in predicate()) {
        let Setting { runtime, table, filtered, counts, all } = setting();
        let mask = predicate.bind(&table.schema()).unwrap().evaluate(all).unwrap();
        let expected = numbers(&[filter_record_batch(all, &mask).unwrap()]);
        runtime.block_on(async {
            let scan = table.scan().filter(predicate.clone()).columns(vec!["row".into()]);
            counts.reset();
            let planned = scan.explain().await.unwrap();
            let looked = counts.reset();
            prop_assert_eq!(planned.last_run, None);
            prop_assert_eq!(numbers(&scan.clone().collect().await.unwrap()), expected.clone());
            let real = counts.reset();
            let again = scan.explain().await.unwrap();
            let run = again.last_run.unwrap();
            prop_assert_eq!((run.requests, run.bytes), (real.gets + real.heads, real.bytes_read));
            let costless = |reading: Reading| Reading { requests: 0, bytes: 0, ..reading };
            prop_assert_eq!(costless(run), costless(planned.reading));
            prop_assert_eq!(&again.reading, &planned.reading);
            prop_assert!(looked.bytes_read <= real.bytes_read);
            prop_assert!(run.bytes <= planned.reading.bytes, "{} {:?}", planned, run);
            prop_assert!(expected.len() as u64 <= planned.rows_at_most);

            let scan = filtered.scan().filter(predicate.clone()).columns(vec!["row".into()]);
            let mut found = numbers(&scan.collect().await.unwrap());
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            Ok(())
        })?;
    }
}

#[test]
fn pages_that_cannot_match_are_not_fetched() {
    let Setting { runtime, table, counts, .. } = setting();
    runtime.block_on(async {
        let all = table.scan().explain().await.unwrap().reading;
        assert_eq!((all.row_groups_read, all.pages), (2, 0));

        let scan = table.scan().filter(col("id").eq(50)).columns(vec!["unique".into()]);
        let reading = scan.explain().await.unwrap().reading;
        assert_eq!(reading.row_groups_pruned_by_statistics, 1);
        assert_eq!(reading.row_groups_read, 1);
        // Three pages for each of two columns, whose boundaries lie at different rows.
        assert_eq!((reading.pages, reading.pages_pruned), (6, 3));
        counts.reset();
        assert_eq!(scan.clone().collect().await.unwrap()[0].num_rows(), 3);
        let read = counts.reset();
        // The footer with the page index, and the pages of each column.
        assert_eq!(read.gets, 3);
        // Both columns of the row group together have 720,000 bytes, and the page index is fetched
        // in a request for 64 KiB.
        assert!(read.bytes_read < 640_000, "{read:?}");

        let apart = (col("id").lt(100)).and(col("short").gt(0));
        let nothing = table.scan().filter(apart);
        let reading = nothing.explain().await.unwrap().reading;
        assert_eq!(reading.row_groups_pruned_by_page_index, 1);
        assert_eq!(reading.row_groups_read, 0);
        assert_eq!(nothing.count().await.unwrap(), 0);
    });
}

#[test]
fn a_limit_stops_the_account_early() {
    let Setting { runtime, table, .. } = setting();
    runtime.block_on(async {
        let scan = table.scan().limit(10);
        assert_eq!(scan.explain().await.unwrap().rows_at_most, 10);
        assert_eq!(scan.clone().collect().await.unwrap()[0].num_rows(), 10);
        assert!(scan.explain().await.unwrap().last_run.is_some());
        assert_eq!(scan.columns(Vec::new()).explain().await.unwrap().last_run, None);
    });
}

#[test]
fn filters_leave_out_row_groups_without_the_value() {
    let Setting { runtime, filtered, counts, .. } = setting();
    runtime.block_on(async {
        let predicates = [
            col("id").eq(50),
            col("id").is_in([50, 77]),
            col("time").eq(Literal::Timestamp { nanos: 1_700_000_000_000_123_000, utc: false }),
            Predicate::Not(Box::new(col("id").ne(50))),
            col("id").eq(50).or(col("unique").eq(5)).or(col("id").eq(51)),
            col("id").eq(50).and(col("text").ne("a")),
        ];
        for predicate in predicates {
            let scan = filtered.scan().filter(predicate.clone());
            let reading = scan.explain().await.unwrap().reading;
            let pruned = reading.row_groups_pruned_by_bloom_filter;
            assert!(pruned >= 3, "{predicate}: {reading:?}");
            assert!(scan.count().await.unwrap() > 0, "{predicate}");
        }
        for predicate in [col("id").gt(50), col("id").ne(50), col("id").not_in([50])] {
            let reading = filtered.scan().filter(predicate).explain().await.unwrap().reading;
            assert_eq!(reading.row_groups_pruned_by_bloom_filter, 0);
        }
        // A value that does not occur costs the footer and one request for all filters.
        counts.reset();
        let nowhere = filtered.scan().filter(
            col("time").eq(Literal::Timestamp { nanos: 1_700_000_000_029_000_000, utc: false }),
        );
        assert_eq!(nowhere.collect().await.unwrap(), []);
        assert!(counts.reset().gets <= 2);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keeps_to_its_filters() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/t", folder.path().display());
    let options = CreateOptions { write: with_filters(), ..CreateOptions::default() };
    let store = StoreOptions::new();
    let table = Table::create_from(&url, source(shuffled()), &options, &store).await.unwrap();
    let plain = WriteOptions { row_group_rows: 9_000, ..write() };
    table.append(source(shuffled()), &plain).await.unwrap();
    let without = WriteOptions { bloom_filters: Some(Vec::new()), ..plain.clone() };
    table.append(source(shuffled()), &without).await.unwrap();
    let table = Table::open(&url, &store).await.unwrap();
    assert_eq!(table.bloom_filters().len(), 6);
    let left_out = |table: &Table| {
        let scan = table.scan().filter(col("unique").eq((1_i64 << 62) + 5));
        async move { scan.explain().await.unwrap().reading }
    };
    let reading = left_out(&table).await;
    assert_eq!(reading.row_groups, 30);
    let pruned = reading.row_groups_pruned_by_bloom_filter;
    assert!((16..=20).contains(&pruned), "{reading:?}");

    table.delete(&col("row").lt(10), &plain).await.unwrap();
    let copy = format!("{}/copy", folder.path().display());
    let scope = CopyOptions { scope: Some(col("row").gt(5)), ..CopyOptions::default() };
    let copy = table.copy(&copy, &store, &scope).await.unwrap();
    assert_eq!(copy.bloom_filters(), table.bloom_filters());
    let reading = left_out(&table).await;
    assert_eq!(reading.row_groups_pruned_by_bloom_filter, reading.row_groups, "{reading:?}");

    let unfit = WriteOptions { bloom_filters: Some(vec!["flag".into()]), ..write() };
    let error = table.append(source(data()), &unfit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let unknown = WriteOptions { bloom_filters: Some(vec!["flat".into()]), ..write() };
    let error = table.append(source(data()), &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
