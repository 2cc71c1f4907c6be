//! Random sequences of operations against a model in memory.

use std::collections::HashSet;

use crate::trips::{self, Trip, rows, source, trip};
use partita_core::{ErrorKind, Predicate, StoreOptions, col};
use partita_table::{CreateOptions, OptimizeOptions, Table, WriteOptions};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Trip>),
    Replace(String, Vec<Trip>),
    Delete(String),
    DeleteRows(i64, i32),
    ReplaceRows(i64, Vec<Trip>),
    Upsert(Vec<Trip>),
    Optimize(bool),
    Index(bool),
    Reopen,
}

fn city() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["Oslo", "São Paulo/Süd", "a=b%", ""]).prop_map(str::to_owned)
}

fn trips_strategy() -> impl Strategy<Value = Vec<Trip>> {
    let one = (city(), prop::option::of(0..5i64), 0..20i32);
    prop::collection::vec(one, 1..6).prop_map(|all| {
        all.into_iter().map(|(city, rider, fare)| trip(&city, rider, f64::from(fare))).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => trips_strategy().prop_map(Step::Append),
        2 => (city(), trips_strategy()).prop_map(|(city, trips)| Step::Replace(city, trips)),
        1 => city().prop_map(Step::Delete),
        2 => (0..5i64, 0..20i32).prop_map(|(rider, fare)| Step::DeleteRows(rider, fare)),
        1 => (0..5i64, trips_strategy()).prop_map(|(rider, trips)| Step::ReplaceRows(rider, trips)),
        2 => trips_strategy().prop_map(Step::Upsert),
        1 => any::<bool>().prop_map(Step::Optimize),
        1 => any::<bool>().prop_map(Step::Index),
        1 => Just(Step::Reopen),
    ]
}

async fn check(table: &Table, model: &[Trip]) {
    let expect = |keep: &dyn Fn(&Trip) -> bool| {
        let mut kept: Vec<Trip> = model.iter().filter(|t| keep(t)).cloned().collect();
        kept.sort_by(|a, b| a.partial_cmp(b).unwrap());
        kept
    };
    assert_eq!(rows(table.scan()).await, expect(&|_| true));
    type Case<'a> = (Predicate, &'a dyn Fn(&Trip) -> bool);
    let cases: [Case; 5] = [
        (col("city").eq("a=b%"), &|t| t.city == "a=b%"),
        (col("rider").eq(3), &|t| t.rider == Some(3)),
        (col("rider").is_null().or(col("fare").gt(15.0)), &|t| t.rider.is_none() || t.fare > 15.0),
        (col("rider").is_in([1i64, 2]).and(col("city").ne("Oslo")), &|t| {
            matches!(t.rider, Some(1 | 2)) && t.city != "Oslo"
        }),
        (!col("fare").le(5.0), &|t| t.fare > 5.0),
    ];
    for (predicate, keep) in cases {
        let named = predicate.to_string();
        let expected = expect(keep);
        let counted = table.scan().filter(predicate.clone()).count().await.unwrap();
        assert_eq!(counted as usize, expected.len(), "{named}");
        assert_eq!(rows(table.scan().filter(predicate)).await, expected, "{named}");
    }
}

/// Upserts by rider and city; keys that are null or occur twice are refused and change nothing.
async fn upsert(table: &Table, model: &mut Vec<Trip>, trips: Vec<Trip>) {
    let on = ["rider".to_owned(), "city".to_owned()];
    let outcome = table.upsert(source(&trips), &on, &WriteOptions::default()).await;
    let keys: HashSet<_> = trips.iter().map(|trip| (trip.rider, trip.city.clone())).collect();
    if keys.len() < trips.len() || trips.iter().any(|trip| trip.rider.is_none()) {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidArgument);
        return;
    }
    outcome.unwrap();
    model.retain(|trip| !keys.contains(&(trip.rider, trip.city.clone())));
    model.extend(trips);
}

async fn play(steps: Vec<Step>, url: &str) {
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    };
    let write = WriteOptions::default();
    let store = StoreOptions::new();
    let mut table = Table::create(url, trips::schema(), &options, &store).await.unwrap();
    let mut model: Vec<Trip> = Vec::new();
    for step in steps {
        match step {
            Step::Append(trips) => {
                table.append(source(&trips), &write).await.unwrap();
                model.extend(trips);
            }
            Step::Replace(city, trips) => {
                let scope = col("city").eq(city.as_str());
                table.replace(&scope, source(&trips), &write).await.unwrap();
                model.retain(|trip| trip.city != city);
                model.extend(trips);
            }
            Step::Delete(city) => {
                table.delete(&col("city").eq(city.as_str()), &write).await.unwrap();
                model.retain(|trip| trip.city != city);
            }
            Step::DeleteRows(rider, fare) => {
                let fare = f64::from(fare);
                let scope = col("rider").eq(rider).and(col("fare").lt(fare));
                let commit = table.delete(&scope, &write).await.unwrap();
                let before = model.len();
                model.retain(|trip| !(trip.rider == Some(rider) && trip.fare < fare));
                assert_eq!(commit.rows_removed as usize, before - model.len());
            }
            Step::ReplaceRows(rider, trips) => {
                table.replace(&col("rider").eq(rider), source(&trips), &write).await.unwrap();
                model.retain(|trip| trip.rider != Some(rider));
                model.extend(trips);
            }
            Step::Upsert(trips) => upsert(&table, &mut model, trips).await,
            Step::Optimize(sorted) => {
                let sort_by = if sorted { vec!["fare".to_owned()] } else { Vec::new() };
                let optimize = OptimizeOptions { sort_by, ..OptimizeOptions::default() };
                table.optimize(&optimize, &write).await.unwrap();
                let cities: HashSet<&str> = model.iter().map(|trip| trip.city.as_str()).collect();
                assert_eq!(table.num_files(), cities.len());
            }
            Step::Index(build) => {
                let columns = vec!["fare".to_owned()];
                match build {
                    true => drop(table.build_index(&columns, &write).await.unwrap()),
                    false => drop(table.drop_index(&columns, &write).await),
                }
                assert_eq!(table.index_columns().contains(&columns[0]), build);
            }
            Step::Reopen => table = Table::open(url, &store).await.unwrap(),
        }
        check(&table, &model).await;
    }
    table.drop_table().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_table_is_its_model(steps in prop::collection::vec(step(), 1..12), on_disk in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = if on_disk {
            format!("{}/model", folder.path().display())
        } else {
            format!("memory://{}/model", folder.path().file_name().unwrap().to_string_lossy())
        };
        runtime.block_on(play(steps, &url));
    }
}
