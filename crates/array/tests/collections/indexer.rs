//! Tests of indexes against a model: their results, their requests, and how they follow changes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt16Array};
use arrow::datatypes::DataType;
use partita_array::json::Attributes;
use partita_array::layout::Layout;
use partita_array::{
    Action, Array, BuildOptions, Collection, CreateOptions, DType, Dataset, Depth, DropOptions,
    Index, IndexFunction, IndexPlace, IndexSource, InsertOptions, MapOptions, Merge, MergeWith,
    PartitionData, Partitioning, ReadOptions, RefreshOptions, Selection, Stale, UpdateFunction,
    Variable, VariableSchema, Work,
};
use partita_core::partition::{CalendarUnit, Resolution};
use partita_core::testing::CountingStore;
use partita_core::{ErrorKind, Predicate, Store, StoreOptions};
use proptest::prelude::*;

const DAY: i64 = 86_400;

/// A row: its time in seconds, its cycle, and a value.
type Row = (i64, i16, i32);

fn dataset(rows: &[Row]) -> Dataset {
    let time = DType::DateTime(CalendarUnit::Second, 1);
    let variable = |name: &str, dtype: DType, dimensions: &[&str], bytes: Vec<u8>| {
        let shape = if dimensions.len() == 2 { vec![rows.len(), 2] } else { vec![rows.len()] };
        let data = Array::from_bytes(dtype, shape, bytes).unwrap();
        Variable::new(VariableSchema::new(name, dtype, dimensions), data).unwrap()
    };
    let times = rows.iter().flat_map(|row| row.0.to_le_bytes()).collect();
    let cycles = rows.iter().flat_map(|row| row.1.to_le_bytes()).collect();
    let values = rows.iter().flat_map(|row| [row.2, -row.2]).flat_map(i32::to_le_bytes).collect();
    let texts: Vec<String> = rows.iter().map(|row| "x".repeat(row.2 as usize % 4)).collect();
    let texts = Array::from_texts(&texts).unwrap();
    let texts = Variable::new(VariableSchema::new("text", DType::Text, &["time"]), texts);
    let variables = vec![
        variable("time", time, &["time"], times),
        variable("cycle", DType::Int16, &["time"], cycles),
        variable("v", DType::Int32, &["time", "x"], values),
        texts.unwrap(),
    ];
    let mut dataset = Dataset::new(variables, Attributes::new()).unwrap();
    dataset.set_chunks("time", partita_array::dataset::Chunks::Size(3));
    dataset
}

fn rows_of(data: &Dataset) -> Vec<Row> {
    let integers = |name: &str| data.variable(name).unwrap().data().integers().unwrap();
    let (times, cycles, values) = (integers("time"), integers("cycle"), integers("v"));
    let texts = data.variable("text").unwrap().data();
    let row = |(at, time): (usize, i128)| {
        let value = i32::try_from(values[at * 2]).unwrap();
        assert_eq!(values[at * 2 + 1], i128::from(-value), "a torn row");
        assert_eq!(texts.item(at).unwrap().len(), value as usize % 4, "a torn row");
        (i64::try_from(time).unwrap(), i16::try_from(cycles[at]).unwrap(), value)
    };
    times.into_iter().enumerate().map(row).collect()
}

fn memory() -> Store {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let url = format!("memory://indexer-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Store::open(&url, &StoreOptions::default()).unwrap()
}

async fn create(store: Store, layout: Layout) -> Collection {
    let partitioning = Partitioning::date("time", Resolution::Day);
    let catalog = layout == Layout::ZarrV3;
    let options = CreateOptions { layout, catalog, ..CreateOptions::default() };
    let schema = dataset(&[]).schema();
    Collection::create_in(store, schema, "time", partitioning, &options).await.unwrap()
}

async fn build(collection: &Collection, name: &str) -> Index {
    let source = IndexSource::Variables(vec!["cycle".to_owned()]);
    let options = BuildOptions { overwrite: true, ..BuildOptions::default() };
    let place = IndexPlace::beside(collection, name);
    Index::build(collection, place, source, &options).await.unwrap()
}

async fn query(index: &Index, text: &str) -> Selection {
    let predicate = Predicate::parse(text).unwrap();
    index.query(Some(&predicate), Stale::Refresh, &Work::default()).await.unwrap()
}

fn only(rows: Selection) -> ReadOptions {
    ReadOptions { rows: Some(rows), ..ReadOptions::default() }
}

/// Adds an amount to the values; the second column has the negated ones.
fn adding(amount: i32) -> UpdateFunction {
    Arc::new(move |partition: PartitionData| {
        let rows: Vec<Row> =
            rows_of(&partition.data).iter().map(|row| (row.0, row.1, row.2 + amount)).collect();
        let found = dataset(&rows);
        Ok(["v", "text"].map(|name| found.variable(name).unwrap().clone()).to_vec())
    })
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>, bool),
    Drop(i64),
    Add(i16, i32),
    Reopen,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..4i64, 0..40i64, 0..3i16, 0..50i32), 1..30).prop_map(|rows| {
        rows.into_iter().map(|(day, hour, cycle, v)| (day * DAY + hour * 60, cycle, v)).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (rows(), any::<bool>()).prop_map(|(rows, joins)| Step::Insert(rows, joins)),
        1 => (0..3i64).prop_map(Step::Drop),
        3 => (0..3i16, 1..9i32).prop_map(|(cycle, amount)| Step::Add(cycle, amount)),
        1 => Just(Step::Reopen),
    ]
}

/// Partitions by day, each a list of rows.
type Model = BTreeMap<i64, Vec<Row>>;

fn modelled(model: &mut Model, step: &Step) {
    match step {
        Step::Insert(rows, joins) => {
            let mut days: Model = BTreeMap::new();
            for row in rows {
                days.entry(row.0.div_euclid(DAY)).or_default().push(*row);
            }
            for (day, new) in days {
                let old = model.remove(&day).filter(|_| *joins).unwrap_or_default();
                model.insert(day, [old, new].concat());
            }
        }
        Step::Drop(before) => model.retain(|day, _| *day >= *before),
        Step::Add(cycle, amount) => {
            let rows = model.values_mut().flatten().filter(|row| row.1 == *cycle);
            rows.for_each(|row| row.2 += amount);
        }
        Step::Reopen => {}
    }
}

async fn perform(collection: &Collection, index: &mut Index, step: &Step) {
    match step {
        Step::Insert(rows, joins) => {
            let merge = if *joins { Merge::Concat } else { Merge::Replace };
            let merge = MergeWith::Strategy(merge);
            let options = InsertOptions { merge, ..InsertOptions::default() };
            collection.insert(&dataset(rows), &options).await.unwrap();
        }
        Step::Drop(before) => {
            let predicate = Some(Predicate::parse(&format!("day <= {before}")).unwrap());
            let options = DropOptions { predicate, ..DropOptions::default() };
            collection.drop_partitions(&options).await.unwrap();
        }
        Step::Add(cycle, amount) => {
            let rows = Some(query(index, &format!("cycle == {cycle}")).await);
            let options = MapOptions { rows, ..MapOptions::default() };
            collection.update(adding(*amount), &options).await.unwrap();
        }
        Step::Reopen => {
            let place = IndexPlace::beside(collection, "cycle.parquet");
            *index = Index::open(collection, place, None).await.unwrap();
        }
    }
}

async fn follows(layout: Layout, steps: Vec<Step>, stores: Vec<bool>) {
    let collection = create(memory(), layout).await;
    let mut index = build(&collection, "cycle.parquet").await;
    let mut model = Model::new();
    for (step, stored) in steps.iter().zip(stores) {
        perform(&collection, &mut index, step).await;
        modelled(&mut model, step);
        if stored {
            index.refresh(&RefreshOptions::default()).await.unwrap();
        }
        let all: Vec<Row> = model.values().flatten().copied().collect();
        for cycle in 0..3 {
            let found = query(&index, &format!("cycle == {cycle} and day >= 2")).await;
            let expected: Vec<Row> =
                all.iter().filter(|row| row.1 == cycle && row.0 >= DAY).copied().collect();
            let read = collection.read(&only(found.clone())).await.unwrap();
            assert_eq!(rows_of(&read), expected);
            // A condition on rows further restricts a row selection.
            let predicate = Some(Predicate::parse("time >= '1970-01-03T00:05'").unwrap());
            let both = ReadOptions { predicate, ..only(found) };
            let expected: Vec<Row> =
                expected.into_iter().filter(|row| row.0 >= 2 * DAY + 300).collect();
            assert_eq!(rows_of(&collection.read(&both).await.unwrap()), expected);
        }
        assert_eq!(rows_of(&collection.read(&ReadOptions::default()).await.unwrap()), all);
        let fresh = build(&collection, "fresh.parquet").await;
        assert_eq!(index.table().unwrap(), fresh.table().unwrap());
    }
    let names = collection.indexes().await.unwrap();
    assert!(names.contains(&"cycle.parquet".to_owned()));
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_index_follows_its_collection(
        newer in any::<bool>(),
        steps in prop::collection::vec((step(), any::<bool>()), 1..7),
    ) {
        let layout = if newer { Layout::ZarrV3 } else { Layout::ZarrV2 };
        let (steps, stores) = steps.into_iter().unzip();
        run(follows(layout, steps, stores));
    }
}

fn counted() -> (Store, Arc<CountingStore>) {
    let mut counter = None;
    let store = memory().wrap(|inner| {
        let counting = Arc::new(CountingStore::new(inner));
        counter = Some(Arc::clone(&counting));
        counting
    });
    (store, counter.unwrap())
}

/// One day of 90 rows in 30 chunks; the cycle is 1 in rows 31, 32, 60 to 62, and 89.
fn long_day() -> Vec<Row> {
    let is_one = |row: i64| matches!(row, 31 | 32 | 60..=62 | 89);
    (0..90).map(|row| (row, i16::from(is_one(row)), 100 + row as i32)).collect()
}

#[tokio::test]
async fn only_chunks_with_the_rows_are_read_and_written() {
    let (store, counter) = counted();
    let collection = create(store, Layout::ZarrV2).await;
    collection.insert(&dataset(&long_day()), &InsertOptions::default()).await.unwrap();
    let index = build(&collection, "cycle.parquet").await;
    let found = query(&index, "cycle == 1").await;
    let rows: Vec<Range<usize>> = vec![31..33, 60..63, 89..90];
    assert_eq!(found.partitions()[0].rows, rows);

    counter.reset();
    let options = ReadOptions { variables: Some(vec!["v".to_owned()]), ..only(found.clone()) };
    collection.read(&options).await.unwrap();
    let chunks = |counter: &CountingStore| {
        let keys = counter.keys_read().into_iter().filter(|key| !key.starts_with(".partita/notes"));
        let name = |key: String| key.split_once("day=01/").map(|(_, name)| name.to_owned());
        let mut names: Vec<String> =
            keys.filter_map(name).filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    };
    assert_eq!(chunks(&counter), ["v/10.0", "v/20.0", "v/29.0"]);
    let counts = counter.reset();
    // The state before the read, in either layout, and after it; the last note, since the commit is
    // recent; metadata; three chunks. Nothing is listed.
    assert_eq!((counts.lists, counts.gets), (0, 4 + 2 + 1 + 1 + 3));

    let read: Arc<std::sync::Mutex<Vec<usize>>> = Arc::default();
    let seen = Arc::clone(&read);
    let update: UpdateFunction = Arc::new(move |partition: PartitionData| {
        let v = partition.data.require("v").unwrap();
        seen.lock().unwrap().push(v.data().shape()[0]);
        let ones: Vec<u8> = [7i32, -7].repeat(6).into_iter().flat_map(i32::to_le_bytes).collect();
        let data = Array::from_bytes(DType::Int32, vec![6, 2], ones)?;
        Ok(vec![Variable::new(v.schema().clone(), data)?])
    });
    let options = MapOptions {
        rows: Some(found.clone()),
        variables: Some(vec!["v".to_owned()]),
        ..MapOptions::default()
    };
    collection.update(update, &options).await.unwrap();
    assert_eq!(*read.lock().unwrap(), [6]);
    // The second chunk is replaced as a whole, so that it is not read.
    let twice = ["v/10.0", "v/10.0", "v/20.0", "v/29.0", "v/29.0"];
    let chunks_read: Vec<String> =
        chunks(&counter).into_iter().filter(|key| !key.contains("stage")).collect();
    assert_eq!(chunks_read, twice);
    let counts = counter.reset();
    let record = collection.history().await.unwrap().swap_remove(0);
    let Action::Patch { replaced, .. } = &record.changes[0].action else { panic!("{record:?}") };
    // The manifest names the chunks.
    assert_eq!(replaced, &["v"]);
    // Three chunks are staged, and published; further writes are a manifest, a note of the
    // published versions, a record, a head, a lease and its release.
    assert!(counts.puts + counts.copies <= 3 + 3 + 6, "{counts:?}");

    let values: Vec<i32> = rows_of_values(&collection).await;
    let expected = long_day().into_iter().map(|row| if row.1 == 1 { 7 } else { row.2 });
    assert_eq!(values, expected.collect::<Vec<_>>());
    // The index of the cycles does not depend on the values.
    assert_eq!(index.refresh(&RefreshOptions::default()).await.unwrap(), 0);
    let again = query(&index, "cycle == 1").await;
    assert_eq!(again.partitions(), found.partitions());
    assert!(again.commit() > found.commit());
    let error = collection.read(&only(found)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitConflict);
}

async fn rows_of_values(collection: &Collection) -> Vec<i32> {
    let data = collection.read(&ReadOptions::default()).await.unwrap();
    let values = data.require("v").unwrap().data().integers().unwrap();
    values.chunks(2).map(|pair| i32::try_from(pair[0]).unwrap()).collect()
}

#[tokio::test]
async fn rows_that_were_changed_are_not_updated() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&long_day()), &InsertOptions::default()).await.unwrap();
    let index = build(&collection, "cycle.parquet").await;
    let rows = Some(query(&index, "cycle == 1").await);
    let options = MapOptions { rows: rows.clone(), ..MapOptions::default() };
    collection.update(adding(4), &options).await.unwrap();
    let error = collection.update(adding(4), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitConflict);
    let options = MapOptions { rows, depth: Depth::Rows(1), ..MapOptions::default() };
    let error = collection.update(adding(4), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    // A function must return as many rows as it was given.
    let rows = Some(query(&index, "cycle == 1").await);
    let options = MapOptions { rows, ..MapOptions::default() };
    let whole: UpdateFunction = Arc::new(|_| Ok(vec![dataset(&long_day()).require("v")?.clone()]));
    let error = collection.update(whole, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    let updated = long_day().into_iter().map(|row| row.2 + 4 * i32::from(row.1));
    assert_eq!(rows_of_values(&collection).await, updated.collect::<Vec<_>>());
}

/// Slices of four rows, with the number of each slice.
fn quarters() -> IndexFunction {
    Arc::new(|partition: PartitionData| {
        let rows = partition.own.len() as i64;
        let starts: Vec<i64> = (0..rows).step_by(4).collect();
        let stops: Vec<i64> = starts.iter().map(|start| (start + 4).min(rows)).collect();
        let numbers: Vec<u16> = (0..starts.len() as u16).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("number", Arc::new(UInt16Array::from(numbers))),
            ("start", Arc::new(Int64Array::from(starts))),
            ("stop", Arc::new(Int64Array::from(stops))),
        ];
        Ok(Some(RecordBatch::try_from_iter(columns)?))
    })
}

#[tokio::test]
async fn an_index_of_a_function_needs_it_to_follow() {
    let collection = create(memory(), Layout::ZarrV2).await;
    let rows: Vec<Row> = (0..10).map(|row| (row, 0, row as i32)).collect();
    collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    let source =
        IndexSource::Function { function: quarters(), variables: Some(vec!["time".to_owned()]) };
    let place = IndexPlace::beside(&collection, "quarters.parquet");
    let options = BuildOptions::default();
    let index = Index::build(&collection, place.clone(), source.clone(), &options).await.unwrap();
    let error = Index::build(&collection, place.clone(), source, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let names: Vec<String> =
        index.table().unwrap().schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["start", "stop", "number", "year", "month", "day"]);
    assert_eq!(
        query(&index, "number >= 1").await.partitions()[0].rows,
        [Range { start: 4, end: 10 }]
    );
    assert_eq!(query(&index, "start == 8").await.num_rows(), 2);
    let predicate = Predicate::parse("color == 1").unwrap();
    let error = index.query(Some(&predicate), Stale::Refresh, &Work::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidPredicate);

    let stranger = Index::open(&collection, place.clone(), None).await.unwrap();
    // The index depends on the time alone.
    collection.update(adding(4), &MapOptions::default()).await.unwrap();
    assert_eq!(query(&stranger, "number >= 1").await.num_rows(), 6);
    let more: Vec<Row> = (0..3).map(|row| (DAY + row, 0, 1)).collect();
    collection.insert(&dataset(&more), &InsertOptions::default()).await.unwrap();
    let refused = stranger.query(None, Stale::Refresh, &Work::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StaleIndex);
    let refused = stranger.refresh(&RefreshOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StaleIndex);
    let old = stranger.query(None, Stale::Allow, &Work::default()).await.unwrap();
    assert_eq!(rows_of(&collection.read(&only(old)).await.unwrap()).len(), 10);
    assert_eq!(query(&index, "number == 0").await.num_rows(), 4 + 3);
    assert_eq!(index.refresh(&RefreshOptions::default()).await.unwrap(), 0);
    let stranger = Index::open(&collection, place, None).await.unwrap();
    assert_eq!(query(&stranger, "number == 0").await.num_rows(), 4 + 3);
}

#[tokio::test]
async fn a_function_that_gives_no_slices_is_refused_and_nothing_is_stored() {
    let collection = create(memory(), Layout::ZarrV2).await;
    let rows: Vec<Row> = (0..10).map(|row| (row, 0, row as i32)).collect();
    collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    let table = |columns: Vec<(&'static str, ArrayRef)>| -> IndexFunction {
        Arc::new(move |_| Ok(Some(RecordBatch::try_from_iter(columns.clone())?)))
    };
    let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let half: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.5]));
    let cases = [
        (table(vec![("start", number(0))]), ErrorKind::SchemaMismatch),
        (table(vec![("start", half), ("stop", number(1))]), ErrorKind::SchemaMismatch),
        (table(vec![("start", number(0)), ("stop", number(11))]), ErrorKind::InvalidArgument),
        (table(vec![("start", number(-1)), ("stop", number(1))]), ErrorKind::InvalidArgument),
        (table(vec![("start", number(2)), ("stop", number(1))]), ErrorKind::InvalidArgument),
        (
            table(vec![("start", number(0)), ("stop", number(1)), ("day", number(1))]),
            ErrorKind::InvalidArgument,
        ),
    ];
    for (function, kind) in cases {
        let source = IndexSource::Function { function, variables: None };
        let place = IndexPlace::beside(&collection, "bad.parquet");
        let built = Index::build(&collection, place, source, &BuildOptions::default()).await;
        let error = built.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("day=01"), "{error}");
    }
    assert!(collection.indexes().await.unwrap().is_empty());
    for (names, kind) in [
        (vec!["v"], ErrorKind::InvalidArgument),
        (vec!["none"], ErrorKind::NotFound),
        (vec![], ErrorKind::InvalidArgument),
    ] {
        let names = names.into_iter().map(str::to_owned).collect();
        let place = IndexPlace::beside(&collection, "bad.parquet");
        let source = IndexSource::Variables(names);
        let built = Index::build(&collection, place, source, &BuildOptions::default()).await;
        assert_eq!(built.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn two_that_refresh_at_once_lose_nothing() {
    let collection = create(memory(), Layout::ZarrV2).await;
    build(&collection, "cycle.parquet").await;
    let open = || async {
        let place = IndexPlace::beside(&collection, "cycle.parquet");
        Index::open(&collection, place, None).await.unwrap()
    };
    let indexes = [open().await, open().await, open().await];
    for day in 0..6 {
        let rows: Vec<Row> = (0..5).map(|row| (day * DAY + row, row as i16, 0)).collect();
        collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
        let refreshed = indexes
            .iter()
            .map(|index| async { index.refresh(&RefreshOptions::default()).await.unwrap() });
        futures::future::join_all(refreshed).await;
    }
    let fresh = build(&collection, "fresh.parquet").await.table().unwrap();
    assert_eq!(open().await.table().unwrap(), fresh);
    for index in &indexes {
        assert_eq!(index.table().unwrap(), fresh);
    }
}

#[tokio::test]
async fn where_records_are_gone_everything_is_looked_at() {
    let collection = create(memory(), Layout::ZarrV2).await;
    let day = |day: i64, cycle: i16| -> Vec<Row> {
        (0..3).map(|row| (day * DAY + row, cycle, 0)).collect()
    };
    for number in 0..3 {
        collection.insert(&dataset(&day(number, 1)), &InsertOptions::default()).await.unwrap();
    }
    let index = build(&collection, "cycle.parquet").await;
    collection.insert(&dataset(&day(0, 2)), &InsertOptions::default()).await.unwrap();
    collection.insert(&dataset(&day(1, 2)), &InsertOptions::default()).await.unwrap();
    collection.store().delete(".partita/log/0000000000000004.json").await.unwrap();
    assert_eq!(query(&index, "cycle == 2").await.num_rows(), 6);
    let place = IndexPlace::beside(&collection, "cycle.parquet");
    let other = Index::open(&collection, place, None).await.unwrap();
    assert_eq!(other.refresh(&RefreshOptions::default()).await.unwrap(), 3);
    assert_eq!(query(&other, "cycle == 1").await.partitions().len(), 1);
    assert_eq!(index.refresh(&RefreshOptions::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_index_of_another_collection_at_the_same_place_is_made_anew() {
    let (old, new) =
        (create(memory(), Layout::ZarrV2).await, create(memory(), Layout::ZarrV2).await);
    let url = format!("memory://indexer-elsewhere-{}", std::process::id());
    let place = IndexPlace::at(&format!("{url}/cycle.parquet"), &StoreOptions::default()).unwrap();
    old.insert(&dataset(&[(0, 1, 1), (1, 2, 2)]), &InsertOptions::default()).await.unwrap();
    new.insert(&dataset(&[(0, 5, 1), (1, 6, 2)]), &InsertOptions::default()).await.unwrap();
    let source = IndexSource::Variables(vec!["cycle".to_owned()]);
    Index::build(&old, place.clone(), source, &BuildOptions::default()).await.unwrap();
    let index = Index::open(&new, place, None).await.unwrap();
    assert_eq!(query(&index, "cycle == 1").await.num_rows(), 0);
    assert_eq!(query(&index, "cycle == 6").await.num_rows(), 1);
}

#[tokio::test]
async fn an_index_tells_of_some_partitions() {
    let collection = create(memory(), Layout::ZarrV3).await;
    let rows: Vec<Row> = (0..4).map(|day| (day * DAY, 1, 1)).collect();
    collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    let predicate = Some(Predicate::parse("day in (2, 3)").unwrap());
    let source = IndexSource::Variables(vec!["cycle".to_owned(), "time".to_owned()]);
    let place = IndexPlace::beside(&collection, "some.parquet");
    let options = BuildOptions { predicate, ..BuildOptions::default() };
    Index::build(&collection, place.clone(), source, &options).await.unwrap();
    collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    let index = Index::open(&collection, place, None).await.unwrap();
    assert_eq!(query(&index, "cycle == 1").await.partitions().len(), 2);
    assert_eq!(query(&index, "time == '1970-01-03'").await.num_rows(), 1);
    let table = index.table().unwrap();
    let types: Vec<(String, DataType)> = table
        .schema()
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().clone()))
        .collect();
    assert_eq!(types[0], ("_start".to_owned(), DataType::Int64));
    assert_eq!(types[2], ("cycle".to_owned(), DataType::Int16));
    assert_eq!(types[4], ("_partition".to_owned(), DataType::Utf8));
}

fn golden(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/golden/zcollection").canonicalize().unwrap().join(name)
}

/// A collection that ZCollection wrote, and an index of it.
async fn golden_index(name: &str) -> (Collection, Index) {
    let options = StoreOptions::default();
    let collection = Collection::open(golden(name).to_str().unwrap(), &options).await.unwrap();
    let file = golden(&format!("{name}-index.parquet"));
    let place = IndexPlace::at(file.to_str().unwrap(), &options.read_only(true)).unwrap();
    let index = Index::open(&collection, place, None).await.unwrap();
    (collection, index)
}

#[tokio::test]
async fn indexes_of_zcollection_are_read() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    for (name, column) in [("v1-date", "cycle_number"), ("v3-date", "cycle")] {
        let (collection, index) = golden_index(name).await;
        let file = std::fs::File::open(golden(&format!("{name}-index.parquet"))).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let stored = reader.next().unwrap().unwrap();
        let table = index.table().unwrap();
        let columns = |batch: &RecordBatch| -> Vec<(String, DataType, ArrayRef)> {
            let schema = batch.schema();
            let named = schema.fields().iter().zip(batch.columns());
            named.map(|(f, c)| (f.name().clone(), f.data_type().clone(), Arc::clone(c))).collect()
        };
        assert_eq!(columns(&table), columns(&stored));
        assert_eq!((index.commit(), index.variables()), (None, None));
        // It is not known which state of the collection the index reflects.
        let refused = index.query(None, Stale::Refresh, &Work::default()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StaleIndex);
        let predicate = Predicate::parse(&format!("{column} >= 0 and month == 2")).unwrap();
        let found = index.query(Some(&predicate), Stale::Allow, &Work::default()).await.unwrap();
        let paths: Vec<&str> =
            found.partitions().iter().map(|found| found.partition.path.as_str()).collect();
        assert_eq!(paths, ["year=2022/month=02"]);
        let read = collection.read(&only(found)).await.unwrap();
        let february = ReadOptions {
            predicate: Some(Predicate::parse("month == 2").unwrap()),
            ..ReadOptions::default()
        };
        assert_eq!(read, collection.read(&february).await.unwrap());
    }
}

#[tokio::test]
async fn an_index_is_written_as_zcollection_does() {
    let options = StoreOptions::default();
    for name in ["v1-date", "v3-date"] {
        let (collection, golden) = golden_index(name).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("index.parquet");
        let expected = golden.table().unwrap();
        let rows = expected.clone();
        // The function returns the rows that were given to ZCollection.
        let function: IndexFunction = Arc::new(move |partition: PartitionData| {
            let row = usize::from(partition.key.get("month") == Some(2));
            let row = rows.slice(row, 1);
            let named = row.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
            Ok(Some(
                row.project(
                    &(0..named.len())
                        .filter(|at| {
                            !["year", "month", "_partition"].contains(&named[*at].as_str())
                        })
                        .collect::<Vec<_>>(),
                )?,
            ))
        });
        let place = IndexPlace::at(file.to_str().unwrap(), &options).unwrap();
        let source = IndexSource::Function { function, variables: None };
        let build = BuildOptions::default();
        let index = Index::build(&collection, place.clone(), source, &build).await.unwrap();
        assert_eq!(index.table().unwrap().schema(), expected.schema());
        assert_eq!(index.table().unwrap(), expected);
        let again = Index::open(&collection, place, None).await.unwrap();
        assert_eq!(again.table().unwrap(), expected);
        assert_eq!(again.commit(), Some(0));
    }
}
