//! Tests of changes against a model, and with concurrent writers.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use crate::rows::{DAY, Kind, Row, create, dataset, days, memory, merging, open, read, rows_of};
use partita_array::json::Attributes;
use partita_array::layout::Layout;
use partita_array::merge::Tolerance;
use partita_array::{
    AlterOptions, Array, Collection, DType, Dataset, Depth, DropOptions, GarbageOptions,
    InsertOptions, MapOptions, Merge, ReadOptions, Variable, VariableSchema, VerifyOptions,
};
use partita_core::partition::CalendarUnit;
use partita_core::{ErrorKind, Predicate, Store, StoreOptions};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>, Merge),
    /// This many existing rows are delivered again, from a row on, with another value.
    Revise(usize, usize, i32),
    Drop(i64),
    Double(i64),
    Reopen,
}

/// Partitions by day, each a list of rows.
#[derive(Default)]
struct Model(BTreeMap<i64, Vec<Row>>);

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Insert(rows, merge) => {
                let mut days: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
                for row in rows {
                    days.entry(row.0.div_euclid(DAY)).or_default().push(*row);
                }
                for (day, new) in days {
                    let old = self.0.remove(&day).unwrap_or_default();
                    self.0.insert(day, merged(*merge, old, new));
                }
            }
            Step::Revise(..) => unreachable!("it is done as an insert"),
            Step::Drop(before) => self.0.retain(|day, _| *day >= *before),
            Step::Double(from) => {
                for (_, rows) in self.0.iter_mut().filter(|(day, _)| *day >= from) {
                    rows.iter_mut().for_each(|row| row.1 = row.1.wrapping_mul(2) % 1000);
                }
            }
            Step::Reopen => {}
        }
    }

    /// The insert that delivers the rows of a revision.
    fn insert_of(&self, step: &Step) -> Step {
        let Step::Revise(from, count, value) = step else { return step.clone() };
        let rows = self.rows().into_iter().skip(*from).take(*count);
        let rows = rows.map(|(time, _)| (time, *value)).collect();
        Step::Insert(rows, Merge::Upsert { tolerance: None })
    }

    fn rows(&self) -> Vec<Row> {
        self.0.values().flatten().copied().collect()
    }
}

/// The definition of the strategies, row by row.
fn merged(merge: Merge, old: Vec<Row>, new: Vec<Row>) -> Vec<Row> {
    let times: Vec<i64> = new.iter().map(|row| row.0).collect();
    let tolerance = |tolerance: Option<Tolerance>| {
        let axis = DType::DateTime(CalendarUnit::Second, 1);
        tolerance.map(|tolerance| i64::try_from(tolerance.in_steps_of(axis).unwrap()).unwrap())
    };
    let keep: Box<dyn Fn(i64) -> bool> = match merge {
        Merge::Replace => return new,
        Merge::Concat => return [old, new].concat(),
        Merge::Upsert { tolerance: within } => {
            let within = tolerance(within).unwrap_or(0);
            Box::new(move |time| !times.iter().any(|other| (other - time).abs() <= within))
        }
        Merge::TimeSeries { tolerance: step } => {
            let step = tolerance(step);
            let mut sorted = times;
            sorted.sort_unstable();
            Box::new(move |time| {
                let covered = sorted.contains(&time)
                    || sorted.windows(2).any(|pair| {
                        (pair[0]..=pair[1]).contains(&time)
                            && step.is_none_or(|step| pair[1] - pair[0] <= step)
                    });
                !covered
            })
        }
        _ => unreachable!(),
    };
    let mut rows: Vec<Row> = old.into_iter().filter(|row| keep(row.0)).chain(new).collect();
    rows.sort_by_key(|row| row.0);
    rows
}

async fn perform(collection: &mut Collection, step: &Step) {
    match step {
        Step::Insert(rows, merge) => {
            collection.insert(&dataset(rows), &merging(*merge)).await.unwrap();
        }
        Step::Revise(..) => unreachable!("it is done as an insert"),
        Step::Drop(before) => {
            let all = collection.partitions(None).await.unwrap();
            let gone = all.len()
                - all.iter().filter(|partition| day(partition.key.values()) >= *before).count();
            let days: Vec<String> = (0..*before).map(|day| (day + 1).to_string()).collect();
            if days.is_empty() {
                return;
            }
            let predicate = Predicate::parse(&format!("day in ({},)", days.join(", "))).unwrap();
            let options = DropOptions { predicate: Some(predicate), ..DropOptions::default() };
            assert_eq!(collection.drop_partitions(&options).await.unwrap().len(), gone);
        }
        Step::Double(from) => {
            let predicate = Some(Predicate::parse(&format!("day >= {}", from + 1)).unwrap());
            let options = MapOptions { predicate, ..MapOptions::default() };
            collection.update(double(), &options).await.unwrap();
        }
        Step::Reopen => {
            let kind = match collection.branch() {
                Some(_) => Kind::Icechunk,
                None => Kind::Plain(collection.config().layout),
            };
            *collection = open(collection.store().clone(), kind).await;
        }
    }
}

/// All days of the tests are in January 1970.
fn day(key: &[i128]) -> i64 {
    i64::try_from(key[2]).unwrap() - 1
}

pub fn double() -> partita_array::UpdateFunction {
    Arc::new(|partition| {
        let v = partition.data.variable("v").unwrap();
        let values = v.data().integers().unwrap();
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| (i32::try_from(*v).unwrap() * 2 % 1000).to_le_bytes())
            .collect();
        let data = Array::from_bytes(DType::Int32, v.data().shape().to_vec(), bytes)?;
        Ok(vec![Variable::new(v.schema().clone(), data)?])
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..6 * DAY / 600, -99..99i32).prop_map(|(slot, value)| (slot * 600, value));
    let rows = prop::collection::vec(row, 0..25);
    let tolerance = prop::option::of((0..3000u64).prop_map(Tolerance::steps));
    let merge = prop_oneof![
        Just(Merge::Replace),
        Just(Merge::Concat),
        tolerance.clone().prop_map(|tolerance| Merge::TimeSeries { tolerance }),
        tolerance.prop_map(|tolerance| Merge::Upsert { tolerance }),
    ];
    let step = prop_oneof![
        6 => (rows, merge).prop_map(|(rows, merge)| Step::Insert(rows, merge)),
        3 => (0..20usize, 1..8usize, -99..99i32).prop_map(|(from, count, value)| {
            Step::Revise(from, count, value)
        }),
        1 => (0..6i64).prop_map(Step::Drop),
        2 => (0..6i64).prop_map(Step::Double),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_changes_leave_what_the_model_has(steps in steps(), kind in 0..3usize, local in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = match local {
            true => Store::open(directory.path().to_str().unwrap(), &StoreOptions::default()).unwrap(),
            false => memory(),
        };
        runtime.block_on(async {
            let mut collection = create(store, Kind::ALL[kind]).await;
            let mut model = Model::default();
            for step in &steps {
                let step = model.insert_of(step);
                perform(&mut collection, &step).await;
                model.apply(&step);
                assert_eq!(read(&collection).await, model.rows(), "{step:?}");
            }
            let days: Vec<i64> = collection.partitions(None).await.unwrap().iter()
                .map(|partition| day(partition.key.values())).collect();
            assert_eq!(days, model.0.keys().copied().collect::<Vec<_>>());
            let options = VerifyOptions { data: true, ..VerifyOptions::default() };
            assert_eq!(collection.verify(&options).await.unwrap(), []);
            // A condition on the axis must find the rows that a filter finds.
            let predicate = "time >= '1970-01-02T03:00:00' and time < '1970-01-04T12:00:00'";
            let predicate = Some(Predicate::parse(predicate).unwrap());
            let found = collection.read(&ReadOptions { predicate, ..ReadOptions::default() }).await;
            let mut expected = model.rows();
            expected.retain(|row| (DAY + 3 * 3600..3 * DAY + 12 * 3600).contains(&row.0));
            assert_eq!(rows_of(&found.unwrap()), expected);
        });
    }
}

async fn eight_writers(store: Store, kind: Kind) {
    create(store.clone(), kind).await;
    let tasks = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let collection = open(store, kind).await;
            for round in 0..4i64 {
                // Every writer inserts its own rows into the same days.
                let rows: Vec<Row> = (0..3)
                    .map(|day| {
                        (day * DAY + round * 1000 + writer * 10, i32::try_from(writer).unwrap())
                    })
                    .collect();
                collection
                    .insert(&dataset(&rows), &merging(Merge::Upsert { tolerance: None }))
                    .await
                    .unwrap();
                let found = read(&collection).await;
                // Each commit is visible as a whole.
                let counts: Vec<usize> = (0..3)
                    .map(|day| found.iter().filter(|row| row.0 / DAY == day).count())
                    .collect();
                assert_eq!(counts[0], counts[1]);
                assert_eq!(counts[1], counts[2]);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let collection = open(store, kind).await;
    assert_eq!(read(&collection).await.len(), 8 * 4 * 3);
    let records = collection.history().await.unwrap();
    assert_eq!(records.iter().filter(|record| record.operation == "insert").count(), 32);
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    assert_eq!(collection.verify(&options).await.unwrap(), []);
    let options = GarbageOptions { grace: jiff::SignedDuration::ZERO, ..GarbageOptions::default() };
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    collection.collect_garbage(&options).await.unwrap();
    assert_eq!(read(&collection).await.len(), 8 * 4 * 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_writers_of_the_same_partitions_lose_nothing() {
    eight_writers(memory(), Kind::Plain(Layout::ZarrV2)).await;
    eight_writers(memory(), Kind::Icechunk).await;
    for kind in [Kind::Plain(Layout::ZarrV3), Kind::Icechunk] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        eight_writers(Store::open(path, &StoreOptions::default()).unwrap(), kind).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_delivery_again_writes_its_chunks_alone() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
    let collection = create(store, Layout::ZarrV2).await;
    let rows: Vec<Row> = (0..20).map(|number| (number * 600, 1)).collect();
    collection.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    let files = || -> BTreeMap<String, u64> {
        let chunks = (0..7).flat_map(|chunk| [format!("time/{chunk}"), format!("v/{chunk}.0")]);
        let day = place.path().join("year=1970/month=01/day=01");
        chunks.map(|name| (name.clone(), day.join(name).metadata().unwrap().ino())).collect()
    };
    let changed = |before: &BTreeMap<String, u64>| -> Vec<String> {
        let now = files().into_iter();
        now.filter(|(name, file)| before[name] != *file).map(|(name, _)| name).collect()
    };
    // Chunks have three rows each, the last one two.
    for (rows, chunks) in [(7..9, 2..3), (11..13, 3..5), (0..1, 0..1), (17..20, 5..7)] {
        let (before, value) = (files(), i32::try_from(rows.start).unwrap());
        let again: Vec<Row> = rows.map(|number| (number * 600, value)).collect();
        let merge = Merge::TimeSeries { tolerance: None };
        collection.insert(&dataset(&again), &merging(merge)).await.unwrap();
        let time = chunks.clone().map(|chunk| format!("time/{chunk}"));
        let expected = time.chain(chunks.map(|chunk| format!("v/{chunk}.0")));
        assert_eq!(changed(&before), expected.collect::<Vec<_>>());
        let found = read(&collection).await;
        assert!(again.iter().all(|row| found.contains(row)));
    }
    assert_eq!(read(&collection).await.len(), 20);
}

/// A writer builds a partition from links to files, which may be old.
#[tokio::test]
async fn garbage_is_as_old_as_its_directory() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
    let collection = create(store, Kind::Plain(Layout::ZarrV2)).await;
    let old = place.path().join("old");
    let mut file = std::fs::File::create(&old).unwrap();
    file.write_all(b"content").unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.set_modified(long_ago).unwrap();
    let own = place.path().join(".partita/scratch/writer");
    std::fs::create_dir_all(own.join("empty")).unwrap();
    std::fs::hard_link(&old, own.join("0.0")).unwrap();

    let found = collection.collect_garbage(&GarbageOptions::default()).await.unwrap();
    assert_eq!(found.keys, [""; 0]);
    assert!(own.join("0.0").exists());

    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let now = GarbageOptions { grace: jiff::SignedDuration::ZERO, ..GarbageOptions::default() };
    let told = GarbageOptions { dry_run: true, ..now.clone() };
    let told = collection.collect_garbage(&told).await.unwrap();
    assert_eq!(told.keys, [".partita/scratch/writer/0.0"]);
    assert_eq!(told.bytes, 7);
    assert!(own.join("0.0").exists());
    assert_eq!(collection.collect_garbage(&now).await.unwrap(), told);
    assert!(!own.exists());
    assert!(old.exists());
}

/// Every operation can be spawned, because its future is `Send`.
#[tokio::test]
async fn operations_run_on_other_threads() {
    fn spawned<T: Send>(_: impl Future<Output = T> + Send) {}
    let collection = create(memory(), Layout::ZarrV2).await;
    let (data, alter) = (dataset(&[]), AlterOptions::default());
    spawned(Collection::open_in(memory()));
    spawned(collection.read(&ReadOptions::default()));
    spawned(collection.insert(&data, &InsertOptions::default()));
    spawned(collection.update(double(), &MapOptions::default()));
    let function: partita_array::MapFunction<()> = Arc::new(|_| Ok(()));
    spawned(collection.map(function, &MapOptions::default()));
    spawned(collection.drop_partitions(&DropOptions::default()));
    spawned(collection.drop_variable("v", &alter));
    spawned(collection.verify(&VerifyOptions::default()));
    spawned(collection.collect_garbage(&GarbageOptions::default()));
    spawned(collection.copy(memory(), &partita_array::CopyOptions::default()));
    spawned(collection.history());
}

#[tokio::test]
async fn variables_and_attributes_are_changed() {
    let alter = AlterOptions::default();
    for layout in [Layout::ZarrV2, Layout::ZarrV3] {
        let collection = create(memory(), layout).await;
        collection.insert(&dataset(&days(0..3, 1)), &InsertOptions::default()).await.unwrap();
        let added = VariableSchema::new("w", DType::Int16, &["time", "x"]).with_fill(7).unwrap();
        collection.add_variable("", &added, &alter).await.unwrap();
        let error = collection.add_variable("", &added, &alter).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let other = Collection::open_in(collection.store().clone()).await.unwrap();
        let found = other.read(&ReadOptions::default()).await.unwrap();
        let values = found.variable("w").unwrap().data().integers().unwrap();
        assert_eq!(values, vec![7; 42]);
        collection.insert(&dataset(&days(2..4, 2)), &InsertOptions::default()).await.unwrap();
        let found = other.read(&ReadOptions::default()).await.unwrap();
        assert_eq!(found.variable("w").unwrap().data().len(), 56);
        for refused in ["time", "nothing"] {
            assert!(collection.drop_variable(refused, &alter).await.is_err());
        }
        collection.drop_variable("w", &alter).await.unwrap();
        let found = other.read(&ReadOptions::default()).await.unwrap();
        assert!(found.variable("w").is_none());
        assert_eq!(rows_of(&found).len(), 28);
        let attributes = Attributes::from([("units".to_owned(), "m".into())]);
        collection.set_attributes(Some("v"), attributes.clone(), &alter).await.unwrap();
        collection.set_attributes(None, attributes.clone(), &alter).await.unwrap();
        let found = other.read(&ReadOptions::default()).await.unwrap();
        assert_eq!(found.variable("v").unwrap().schema().attributes, attributes);
        assert_eq!(found.attributes(), &attributes);
        let keys: Vec<String> = {
            use futures::TryStreamExt;
            let objects = collection.store().list("year=");
            objects.map_ok(|info| info.key).try_collect().await.unwrap()
        };
        assert!(keys.iter().all(|key| !key.contains("/w/")), "{keys:?}");
    }
}

#[tokio::test]
async fn neighbours_are_those_of_the_whole_collection() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..6, 1)), &InsertOptions::default()).await.unwrap();
    let sizes = async |depth: Depth, predicate: &str| {
        let predicate = Some(Predicate::parse(predicate).unwrap());
        let options = MapOptions { predicate, depth, ..MapOptions::default() };
        let function: partita_array::MapFunction<(usize, usize, usize)> = Arc::new(|partition| {
            let rows = partition.data.size("time").unwrap();
            Ok((partition.own.start, partition.own.end, rows))
        });
        let found = collection.map(function, &options).await.unwrap();
        found.into_iter().map(|(_, sizes)| sizes).collect::<Vec<_>>()
    };
    assert_eq!(sizes(Depth::None, "day == 3").await, [(0, 7, 7)]);
    assert_eq!(sizes(Depth::Partitions(1), "day in (1, 3)").await, [(0, 7, 14), (7, 14, 21)]);
    assert_eq!(sizes(Depth::Partitions(9), "day == 6").await, [(35, 42, 42)]);
    assert_eq!(sizes(Depth::Rows(3), "day in (1, 3)").await, [(0, 7, 10), (3, 10, 13)]);
    assert_eq!(sizes(Depth::Rows(10), "day == 3").await, [(10, 17, 27)]);
}

#[tokio::test]
async fn a_failing_function_changes_nothing_and_is_placed() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..4, 1)), &InsertOptions::default()).await.unwrap();
    let before = read(&collection).await;
    let function: partita_array::UpdateFunction = Arc::new(|partition| {
        if day(partition.key.values()) == 2 {
            return Err(partita_core::Error::invalid("no such luck"));
        }
        (double())(partition)
    });
    let error = collection.update(function, &MapOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("day=03"), "{error}");
    assert_eq!(read(&collection).await, before);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let collection = create(memory(), Layout::ZarrV2).await;
    collection.insert(&dataset(&days(0..2, 1)), &InsertOptions::default()).await.unwrap();
    let before = read(&collection).await;
    let rows = days(5..6, 1);
    let refused = async |schema: VariableSchema, shape: Vec<usize>| {
        let array = Array::full(schema.dtype, shape, None).unwrap();
        let time = dataset(&rows).variable("time").unwrap().clone();
        let variables = vec![time, Variable::new(schema, array).unwrap()];
        let data = Dataset::new(variables, Attributes::new()).unwrap();
        let error = collection.insert(&data, &InsertOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
        error.to_string()
    };
    let text = refused(VariableSchema::new("u", DType::Int32, &["time"]), vec![7]).await;
    assert!(text.contains("variable: u"), "{text}");
    let text = refused(VariableSchema::new("v", DType::Int64, &["time", "x"]), vec![7, 2]).await;
    assert!(text.contains("variable: v") && text.contains("<i4"), "{text}");
    let text = refused(VariableSchema::new("v", DType::Int32, &["time"]), vec![7]).await;
    assert!(text.contains("variable: v"), "{text}");
    let text = refused(VariableSchema::new("v", DType::Int32, &["time", "x"]), vec![7, 3]).await;
    assert!(text.contains("variable: v") && text.contains("dimension: x"), "{text}");
    assert_eq!(read(&collection).await, before);
    // A dataset without rows is not an error, and changes nothing.
    collection
        .insert(&dataset(&[]), &merging(Merge::TimeSeries { tolerance: None }))
        .await
        .unwrap();
    assert_eq!(read(&collection).await, before);
    // The dataset has only the axis: integers have no value that means missing.
    let only = dataset(&days(5..6, 1)).filtered(&|path, _| path == "time");
    let error = collection.insert(&only, &InsertOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
    assert!(error.to_string().contains("variable: v"), "{error}");
    assert_eq!(read(&collection).await, before);
}

#[tokio::test]
async fn an_insert_with_a_name_happens_once() {
    for kind in Kind::ALL {
        let collection = create(memory(), kind).await;
        let options =
            InsertOptions { key: Some("delivery-7".to_owned()), ..merging(Merge::Concat) };
        for _ in 0..3 {
            collection.insert(&dataset(&days(0..1, 1)), &options).await.unwrap();
        }
        assert_eq!(read(&collection).await.len(), 7);
    }
}
