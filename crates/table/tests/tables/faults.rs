//! Crashes, lost answers and the cost of operations in requests.

use std::sync::Arc;

use crate::trips::{Trip, dying, rows, source, trip};
use partita_core::testing::{CountingStore, Fault, FaultStore};
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
async fn a_crash_at_any_write_leaves_the_old_state_or_the_new() {
    let mut outcomes = (0, 0);
    for stop in 1..100 {
        let store = fresh(&format!("crash-{stop}")).await;
        let (dying, faults) = dying(&store, stop);
        let table = Table::open_in(dying, "trips").await.unwrap();
        let outcome = replace(&table).await;
        let found = rows(Table::open_in(store.clone(), "trips").await.unwrap().scan()).await;
        if found == after() {
            outcomes.1 += 1;
            check(&store, &after()).await;
        } else {
            assert!(outcome.is_err(), "nothing was written at {stop}, and success reported");
            outcomes.0 += 1;
            check(&store, &before()).await;
        }
        // The leftovers of the dead writer do not disturb the next one.
        let next = Table::open_in(store.clone(), "trips").await.unwrap();
        replace(&next).await.unwrap();
        check(&store, &after()).await;
        if faults.writes() < stop {
            assert!(outcomes.0 >= 4 && outcomes.1 >= 1, "{outcomes:?}");
            return;
        }
    }
    panic!("the operation never ended");
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
