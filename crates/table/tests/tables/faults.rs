//! Lost answers and the cost of operations in requests.

use std::sync::Arc;

use crate::trips::{Trip, rows, source, trip};
use partita_core::testing::{CountingStore, Fault, FaultStore, Rounds};
use partita_core::{ErrorKind, Store, StoreOptions, col};
use partita_table::{CreateOptions, Table, WriteOptions};

fn options() -> CreateOptions {
    CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    }
}

fn before() -> Vec<Trip> {
    vec![trip("Bergen", 2, 20.0), trip("Oslo", 1, 10.0)]
}

fn after() -> Vec<Trip> {
    vec![trip("Bergen", 2, 20.0), trip("Oslo", 8, 80.0), trip("Voss", 9, 90.0)]
}

async fn fresh(name: &str) -> Store {
    let store = Store::open(&format!("memory://{name}"), &StoreOptions::new()).unwrap();
    Table::create_in(store.clone(), "trips", source(&before()), &options()).await.unwrap();
    store
}

async fn replace(table: &Table) -> partita_core::Result<()> {
    let data = source(&[trip("Oslo", 8, 80.0), trip("Voss", 9, 90.0)]);
    let scope = col("city").is_in(["Oslo", "Voss"]);
    table.replace(&scope, data, &WriteOptions::default()).await.map(|_| ())
}

/// Checks the content of `table`, by a scan and by the index.
async fn check(store: &Store, expected: &[Trip]) {
    let table = Table::open_in(store.clone(), "trips").await.unwrap();
    assert_eq!(rows(table.scan()).await, expected);
    for trip in expected {
        let found = rows(table.scan().filter(col("rider").eq(trip.rider))).await;
        assert_eq!(found, std::slice::from_ref(trip));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_neither_a_failure_nor_a_second_commit() {
    for every in 1..=5 {
        let store = fresh(&format!("lost-{every}")).await;
        let lossy = store
            .wrap(|inner| Arc::new(FaultStore::new(inner).on_every_write(every, Fault::Ambiguous)));
        let table = Table::open_in(lossy, "trips").await.unwrap();
        match replace(&table).await {
            Ok(()) => check(&store, &after()).await,
            // A data file whose write appears to have failed fails the operation, not the table.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Store, "{error}");
                check(&store, &before()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_and_reading_cost_few_requests() {
    let store = fresh("requests").await;
    let many: Vec<Trip> = (0..200).map(|i| trip(&format!("c{i}"), i, i as f64)).collect();
    let table = Table::open_in(store.clone(), "trips").await.unwrap();
    table.append(source(&many), &WriteOptions::default()).await.unwrap();

    let mut counting = None;
    let counted = store.wrap(|inner| {
        let wrapper = CountingStore::new(inner);
        counting = Some(wrapper.clone());
        Arc::new(wrapper)
    });
    let counting = counting.unwrap();
    let table = Table::open_in(counted, "trips").await.unwrap();
    assert_eq!(counting.reset().requests(), 2, "the header and its snapshot");
    assert_eq!(table.scan().count().await.unwrap(), 202);
    assert_eq!(counting.reset().requests(), 0, "the statistics know");
    let one = table.scan().filter(col("rider").eq(150)).collect().await.unwrap();
    assert_eq!(one.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    assert_eq!(counting.reset().requests(), 2, "the index and one file");
    let city = table.scan().filter(col("city").eq("c7")).count().await.unwrap();
    assert_eq!((city, counting.reset().requests()), (1, 0));
    table.append(source(&[trip("c7", 1000, 1.0)]), &WriteOptions::default()).await.unwrap();
    let cost = counting.reset();
    assert_eq!(cost.puts, 4, "data, index, snapshot, header");
}

/// Riders that a column of trips in this order neither sorts nor compresses.
fn rider(number: i64) -> i64 {
    number.wrapping_mul(0x1E37_79B9_7F4A_7C15)
}

/// The numbers do not depend on the size of the table. The clock is simulated.
#[tokio::test(start_paused = true)]
async fn few_answers_are_waited_for() {
    let mut counting = None;
    let memory = Store::open("memory://rounds", &StoreOptions::new()).unwrap();
    let counted = memory.wrap(|inner| {
        let wrapper = CountingStore::new(inner);
        counting = Some(wrapper.clone());
        Arc::new(wrapper)
    });
    let counting = counting.unwrap();
    let (store, mut rounds) = Rounds::of(&counted);
    let mut cost = |what: &str, most: (u128, u64)| {
        let (waited, counts) = (rounds.waited(), counting.reset());
        let within = waited <= most.0 && counts.requests() <= most.1;
        assert!(within, "{what}: {waited} rounds, {counts:?}");
        counts.bytes_read
    };
    let many: Vec<Trip> =
        (0..80_000).map(|number| trip("Oslo", rider(number), rider(!number) as f64)).collect();
    Table::create_in(store.clone(), "trips", source(&many), &options()).await.unwrap();
    cost("a new table", (8, 11));
    let table = Table::open_in(store.clone(), "trips").await.unwrap();
    cost("the header, and the snapshot that it names", (2, 2));
    let point = table.scan().filter(col("rider").eq(rider(777)));
    assert_eq!(point.files().await.unwrap().len(), 1);
    assert!(cost("a plan: the end of an index, and its pages", (2, 2)) < 1 << 20);
    assert_eq!(rows(point).await, [many[777].clone()]);
    cost("a point: the index, and the end and the pages of a file", (4, 5));
    let one = [trip("Oslo", 1, 1.0)];
    table.append(source(&one), &WriteOptions::default()).await.unwrap();
    cost("rows, the index before and after, the snapshot and the header", (4, 5));
    table.delete(&col("city").eq("Oslo"), &WriteOptions::default()).await.unwrap();
    cost("a deleted partition: the same without rows", (3, 4));
    assert_eq!(table.scan().count().await.unwrap(), 0);
    cost("what the statistics know", (0, 0));
}
