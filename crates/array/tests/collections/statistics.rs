//! Tests of statistics: they save requests and never change a result, whichever program writes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rows::{self, Kind};
use futures::TryStreamExt;
use partita_array::dataset::Chunks;
use partita_array::json::Attributes;
use partita_array::layout::Layout;
use partita_array::{
    AlterOptions, Array, Collection, CreateOptions, DType, Dataset, InsertOptions, MapOptions,
    Merge, MergeWith, PartitionData, PartitionRows, Partitioning, ReadOptions, Schema, Selection,
    Variable, VariableSchema, VerifyOptions,
};
use partita_core::testing::CountingStore;
use partita_core::{Predicate, Store, StoreOptions};
use proptest::prelude::*;
use tempfile::TempDir;

/// A row: the cycle that it belongs to, its time, and a latitude.
type Row = (i64, i64, f64);

fn dataset(rows: &[Row]) -> Dataset {
    let integers = |value: fn(&Row) -> i64| {
        let bytes: Vec<u8> = rows.iter().flat_map(|row| value(row).to_le_bytes()).collect();
        Array::from_bytes(DType::Int64, vec![rows.len()], bytes).unwrap()
    };
    let latitudes: Vec<u8> = rows.iter().flat_map(|row| row.2.to_le_bytes()).collect();
    let latitudes = Array::from_bytes(DType::Float64, vec![rows.len()], latitudes).unwrap();
    let variable = |name: &str, data: Array| {
        Variable::new(VariableSchema::new(name, data.dtype(), &["time"]), data).unwrap()
    };
    let variables = vec![
        variable("cycle", integers(|row| row.0)),
        variable("lat", latitudes),
        variable("time", integers(|row| row.1)),
    ];
    let mut dataset = Dataset::new(variables, Attributes::new()).unwrap();
    dataset.set_chunks("time", Chunks::Size(3));
    dataset
}

fn rows_of(data: &Dataset) -> Vec<Row> {
    let integers = |name: &str| data.variable(name).unwrap().data().integers().unwrap();
    let latitudes = data.variable("lat").unwrap().data();
    let latitude = |i: usize| f64::from_le_bytes(latitudes.item(i).unwrap().try_into().unwrap());
    let pairs = integers("cycle").into_iter().zip(integers("time")).enumerate();
    let number = |value: i128| i64::try_from(value).unwrap();
    pairs.map(|(i, (cycle, time))| (number(cycle), number(time), latitude(i))).collect()
}

async fn create(store: Store, kind: impl Into<Kind>, statistics: &[&str]) -> Collection {
    create_of(store, kind.into(), statistics, dataset(&[]).schema()).await
}

async fn create_of(store: Store, kind: Kind, statistics: &[&str], schema: Schema) -> Collection {
    let layout = match kind {
        Kind::Plain(layout) => layout,
        Kind::Icechunk => Layout::ZarrV3,
    };
    let options = CreateOptions {
        layout,
        statistics: statistics.iter().map(ToString::to_string).collect(),
        ..CreateOptions::default()
    };
    let by = Partitioning::sequence(&["cycle"]);
    let made = match kind {
        Kind::Plain(_) => Collection::create_in(store, schema, "time", by, &options).await,
        Kind::Icechunk => {
            Collection::create_in_repository(store, schema, "time", by, &options).await
        }
    };
    made.unwrap()
}

fn memory() -> Store {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let url = format!("memory://statistics-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Store::open(&url, &StoreOptions::default()).unwrap()
}

fn files(directory: &TempDir) -> Store {
    Store::open(directory.path().to_str().unwrap(), &StoreOptions::default()).unwrap()
}

fn condition(text: &str) -> ReadOptions {
    let predicate = Some(Predicate::parse(text).unwrap());
    ReadOptions { predicate, ..ReadOptions::default() }
}

async fn insert(collection: &Collection, rows: &[Row], merge: Merge) {
    let options = InsertOptions { merge: MergeWith::Strategy(merge), ..InsertOptions::default() };
    collection.insert(&dataset(rows), &options).await.unwrap();
}

/// Writes a partition as another program does, without statistics and commits.
async fn overwrite(store: &Store, layout: Layout, rows: &[Row]) {
    let other = create(memory(), layout, &[]).await;
    insert(&other, rows, Merge::Replace).await;
    let path = format!("cycle={}/", rows[0].0);
    let old: Vec<_> = store.list(&path).try_collect().await.unwrap();
    for info in old {
        store.delete(&info.key).await.unwrap();
    }
    let new: Vec<_> = other.store().list(&path).try_collect().await.unwrap();
    for info in new {
        let bytes = other.store().get(&info.key).await.unwrap();
        store.put(&info.key, bytes).await.unwrap();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>, Merge),
    Negate(i64),
    NegateFirst,
    Overwrite(Vec<Row>),
    Rebuild,
}

fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    let latitude = prop_oneof![8 => -90.0..90.0f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    prop::collection::vec((0..4i64, 0..40i64, latitude), 1..9)
}

fn step() -> impl Strategy<Value = Step> {
    let merge = prop::sample::select(vec![
        Merge::Replace,
        Merge::Concat,
        Merge::TimeSeries { tolerance: None },
        Merge::Upsert { tolerance: None },
    ]);
    let overwrite = some_rows().prop_map(|mut rows| {
        let cycle = rows[0].0;
        rows.iter_mut().for_each(|row| row.0 = cycle);
        Step::Overwrite(rows)
    });
    prop_oneof![
        4 => (some_rows(), merge).prop_map(|(rows, merge)| Step::Insert(rows, merge)),
        1 => (0..4i64).prop_map(Step::Negate),
        1 => Just(Step::NegateFirst),
        1 => overwrite,
        1 => Just(Step::Rebuild),
    ]
}

/// Negates the latitudes.
fn negated(data: PartitionData) -> partita_core::Result<Vec<Variable>> {
    let lat = data.data.variable("lat").unwrap();
    let bytes = lat.data().bytes().unwrap();
    let values = bytes.chunks(8).map(|v| f64::from_le_bytes(v.try_into().unwrap()));
    let bytes: Vec<u8> = values.flat_map(|value| (-value).to_le_bytes()).collect();
    let array = Array::from_bytes(DType::Float64, vec![lat.data().len()], bytes)?;
    Ok(vec![Variable::new(lat.schema().clone(), array)?])
}

async fn perform(collection: &Collection, kind: Kind, step: &Step) {
    match (step, kind) {
        (Step::Insert(rows, merge), _) => insert(collection, rows, *merge).await,
        (Step::Negate(from), _) => {
            let predicate = Some(Predicate::parse(&format!("cycle >= {from}")).unwrap());
            let options = MapOptions { predicate, ..MapOptions::default() };
            collection.update(Arc::new(negated), &options).await.unwrap();
        }
        (Step::NegateFirst, _) => {
            let row = Range { start: 0, end: 1 };
            let first = |partition| PartitionRows { partition, rows: vec![row.clone()] };
            let partitions = collection.partitions(None).await.unwrap();
            let commit = collection.last_commit().await.unwrap().own;
            let rows = Some(Selection::new(commit, partitions.into_iter().map(first)));
            let options = MapOptions { rows, ..MapOptions::default() };
            collection.update(Arc::new(negated), &options).await.unwrap();
        }
        (Step::Overwrite(rows), Kind::Plain(layout)) => {
            overwrite(collection.store(), layout, rows).await;
        }
        (Step::Overwrite(rows), Kind::Icechunk) => insert(collection, rows, Merge::Replace).await,
        (Step::Rebuild, _) => {
            let options = VerifyOptions { repair: true, ..VerifyOptions::default() };
            collection.verify(&options).await.unwrap();
        }
    }
}

/// True if a row matches.
type Matches = Box<dyn Fn(&Row) -> bool>;

fn conditions(number: i64, latitude: f64) -> Vec<(String, Matches)> {
    vec![
        (format!("lat > {latitude:?}"), Box::new(move |row| row.2 > latitude)),
        (
            format!("not lat > {latitude:?}"),
            Box::new(move |row| row.2.is_nan() || row.2 <= latitude),
        ),
        (format!("time <= {number}"), Box::new(move |row| row.1 <= number)),
        (
            format!("time == {number} or lat < {latitude:?} and cycle > 1"),
            Box::new(move |row| row.1 == number || row.2 < latitude && row.0 > 1),
        ),
        (
            format!("time >= {number} and lat <= {latitude:?}"),
            Box::new(move |row| row.1 >= number && row.2 <= latitude),
        ),
    ]
}

fn bits(rows: impl IntoIterator<Item = Row>) -> Vec<(i64, i64, u64)> {
    rows.into_iter().map(|(cycle, time, latitude)| (cycle, time, latitude.to_bits())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn answers_are_those_of_the_rows(
        steps in prop::collection::vec(step(), 1..6),
        number in 0..40i64, latitude in -90.0..90.0f64,
        kind in prop::sample::select(Kind::ALL.to_vec()), on_files in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = if on_files { files(&directory) } else { memory() };
        runtime.block_on(async {
            let collection = create(store, kind, &["lat"]).await;
            for step in &steps {
                perform(&collection, kind, step).await;
                let all = rows_of(&collection.read(&ReadOptions::default()).await.unwrap());
                for (text, wanted) in conditions(number, latitude) {
                    let found = rows_of(&collection.read(&condition(&text)).await.unwrap());
                    let expected = all.iter().filter(|row| wanted(row)).copied();
                    assert_eq!(bits(found), bits(expected), "{text} after {step:?}");
                }
            }
            let options = VerifyOptions { data: true, ..VerifyOptions::default() };
            assert_eq!(collection.verify(&options).await.unwrap(), []);
        });
    }
}

/// A collection of `number` cycles of ten rows, each one degree further north than the one before.
async fn cycles(store: Store, number: i64, statistics: &[&str]) -> Collection {
    let collection = create(store, Layout::ZarrV2, statistics).await;
    let rows = |cycle: i64| (0..10).map(move |row| (cycle, cycle * 10 + row, cycle as f64));
    let rows: Vec<Row> = (0..number).flat_map(rows).collect();
    insert(&collection, &rows, Merge::Replace).await;
    collection
}

async fn counted(store: &Store, text: &str) -> (usize, usize) {
    let (rows, keys) = objects_read(store, Layout::ZarrV2.into(), text).await;
    (rows, keys.len())
}

/// The number of matching rows, and the keys that were read for them.
async fn objects_read(store: &Store, kind: Kind, text: &str) -> (usize, Vec<String>) {
    let mut counter = None;
    let store = store.wrap(|inner| {
        let counting = Arc::new(CountingStore::new(inner));
        counter = Some(Arc::clone(&counting));
        counting
    });
    let collection = rows::open(store, kind).await;
    let counter = counter.unwrap();
    counter.reset();
    let found = collection.read(&condition(text)).await.unwrap();
    (rows_of(&found).len(), counter.keys_read())
}

#[tokio::test]
async fn partitions_without_such_rows_are_not_opened() {
    let store = memory();
    let collection = cycles(store.clone(), 30, &[]).await;
    // The axis always has statistics; the ten rows of one cycle are in four chunks of three
    // variables.
    let (rows, gets) = counted(&store, "time >= 290").await;
    assert_eq!(rows, 10);
    assert!(gets < 30, "{gets}");
    let (rows, without) = counted(&store, "lat > 28").await;
    assert_eq!(rows, 10);
    collection.set_statistics(&["lat".to_owned()], &AlterOptions::default()).await.unwrap();
    let (rows, with) = counted(&store, "lat > 28").await;
    assert_eq!(rows, 10);
    assert!(with < 30 && without > 4 * 30, "{with} {without}");
    let (rows, gets) = counted(&store, "lat < 1 or cycle == 29 and time > 298").await;
    assert_eq!(rows, 11);
    assert!(gets < 60, "{gets}");
}

#[tokio::test]
async fn commits_of_repositories_say_what_they_leave() {
    // Chunks of values that do not compress well are objects of their own.
    let of_cycle = |cycle: i64| {
        let noise = |row: i64| ((row * 7919 + cycle * 104_729) % 997) as f64 / 1000.0;
        let row = |row: i64| (cycle, cycle * 400 + row, cycle as f64 + noise(row));
        let mut data = dataset(&(0..400).map(row).collect::<Vec<Row>>());
        data.set_chunks("time", Chunks::Size(400));
        data
    };
    let (store, kind) = (memory(), Kind::Icechunk);
    let collection = create_of(store.clone(), kind, &[], of_cycle(0).schema()).await;
    for cycle in 0..20 {
        collection.insert(&of_cycle(cycle), &InsertOptions::default()).await.unwrap();
    }
    let chunks = async |text: &str| {
        let (rows, keys) = objects_read(&store, kind, text).await;
        assert_eq!(rows, 400);
        keys.iter().filter(|key| key.contains("chunks/")).count()
    };
    assert!(chunks("time >= 7600").await <= 3);
    assert!(chunks("lat >= 19").await >= 20);
    collection.set_statistics(&["lat".to_owned()], &AlterOptions::default()).await.unwrap();
    assert!(chunks("lat >= 19").await <= 3);
    // Statistics of partitions that an update does not touch stay.
    let same = Arc::new(|data: PartitionData| Ok(vec![data.data.variable("lat").unwrap().clone()]));
    let predicate = Some(Predicate::parse("cycle < 10").unwrap());
    let options = MapOptions { predicate, ..MapOptions::default() };
    collection.update(same, &options).await.unwrap();
    for text in ["time >= 7600", "lat >= 19"] {
        assert!(chunks(text).await <= 3, "{text}");
    }
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    assert_eq!(collection.verify(&options).await.unwrap(), []);
}

#[tokio::test]
async fn many_commits_leave_few_documents() {
    let store = memory();
    let collection = create(store.clone(), Layout::ZarrV2, &["lat"]).await;
    for cycle in 0..40 {
        insert(&collection, &[(cycle, cycle, cycle as f64)], Merge::Replace).await;
    }
    let documents: Vec<_> = store.list(".partita/statistics/").try_collect().await.unwrap();
    assert!(documents.len() <= 16, "{}", documents.len());
    let (rows, gets) = counted(&store, "lat == 17").await;
    assert_eq!(rows, 1);
    assert!(gets < 40, "{gets}");
}

#[tokio::test]
async fn what_is_not_true_is_found_and_mended() {
    let store = memory();
    let collection = cycles(store.clone(), 3, &["lat"]).await;
    let documents: Vec<_> = store.list(".partita/statistics/").try_collect().await.unwrap();
    let text = store.get(&documents[0].key).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap().replace("\"2.0\"", "\"5.0\"");
    store.put(&documents[0].key, text.into()).await.unwrap();
    let options = VerifyOptions { data: true, repair: true, ..VerifyOptions::default() };
    let problems = collection.verify(&options).await.unwrap();
    let told: Vec<_> =
        problems.iter().map(|p| (p.kind.name(), p.at.as_str(), p.repaired)).collect();
    assert_eq!(told, [("statistics", "cycle=2", true)]);
    assert_eq!(collection.verify(&options).await.unwrap(), []);
    assert_eq!(counted(&store, "lat == 2").await.0, 10);
}

#[tokio::test]
async fn documents_that_cannot_be_read_are_passed_over() {
    let store = memory();
    let _collection = cycles(store.clone(), 3, &["lat"]).await;
    let documents: Vec<_> = store.list(".partita/statistics/").try_collect().await.unwrap();
    for text in ["{", "{\"format\": 9, \"partitions\": {}}", "[]"] {
        store.put(&documents[0].key, text.into()).await.unwrap();
        assert_eq!(counted(&store, "lat == 2").await.0, 10);
    }
}

#[tokio::test]
async fn only_coordinates_have_statistics() {
    let collection = cycles(memory(), 1, &[]).await;
    let asked = collection.set_statistics(&["depth".to_owned()], &AlterOptions::default()).await;
    assert!(asked.unwrap_err().to_string().contains("depth"));
    assert!(collection.config().statistics.is_empty());
}
