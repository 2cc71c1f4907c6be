//! Tables partitioned by the hash of a column.

use crate::trips::{Trip, rows, source, trip};
use partita_core::{ErrorKind, Predicate, StoreOptions, col};
use partita_table::{BucketPartition, CopyOptions, CreateOptions, Table, WriteOptions};
use proptest::prelude::*;

fn bucketed(column: &str, buckets: u32) -> CreateOptions {
    let bucket = BucketPartition { column: column.into(), buckets };
    CreateOptions {
        partition_by: vec![bucket.name()],
        bucket: Some(bucket),
        ..CreateOptions::default()
    }
}

async fn made(trips: &[Trip], options: &CreateOptions, url: &str) -> Table {
    Table::create_from(url, source(trips), options, &StoreOptions::new()).await.unwrap()
}

fn matching(trips: &[Trip], keep: impl Fn(&Trip) -> bool) -> Vec<Trip> {
    let mut kept: Vec<Trip> = trips.iter().filter(|trip| keep(trip)).cloned().collect();
    kept.sort_by(|a, b| a.partial_cmp(b).unwrap());
    kept
}

fn some_trips() -> impl Strategy<Value = Vec<Trip>> {
    let rider = prop::option::of(prop_oneof![-3..20i64, any::<i64>()]);
    let one = (prop::sample::select(vec!["Oslo", "", "é", "x y/z"]), rider, 0..4i32);
    prop::collection::vec(one, 1..40).prop_map(|all| {
        all.into_iter().map(|(city, rider, fare)| trip(city, rider, f64::from(fare))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn reads_find_every_row(trips in some_trips(), more in some_trips(), buckets in 1..9u32) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for column in ["rider", "city"] {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("{}/t", folder.path().display());
                let table = made(&trips, &bucketed(column, buckets), &url).await;
                table.append(source(&more), &WriteOptions::default()).await.unwrap();
                let all = [trips.clone(), more.clone()].concat();
                let table = Table::open(&url, &StoreOptions::new()).await.unwrap();
                prop_assert_eq!(rows(table.scan()).await, matching(&all, |_| true));
                let one = &all[all.len() / 2];
                let (rider, city) = (one.rider.unwrap_or(5), one.city.clone());
                let other = all[0].rider.unwrap_or(6);
                type Case<'a> = (Predicate, Box<dyn Fn(&Trip) -> bool + 'a>);
                let cases: Vec<Case> = vec![
                    (col("rider").eq(rider), Box::new(|t| t.rider == Some(rider))),
                    (col("city").eq(city.as_str()), Box::new(|t| t.city == city)),
                    (col("rider").ne(rider), Box::new(|t| t.rider.is_some_and(|r| r != rider))),
                    (col("rider").is_in([rider, other]), Box::new(|t| {
                        t.rider.is_some_and(|r| r == rider || r == other)
                    })),
                    (Predicate::IsNull { column: "rider".into(), negated: false }, Box::new(|t| {
                        t.rider.is_none()
                    })),
                    (col("rider").eq(rider).or(col("city").eq("é")), Box::new(|t| {
                        t.rider == Some(rider) || t.city == "é"
                    })),
                ];
                for (predicate, keep) in cases {
                    let scan = table.scan().filter(predicate);
                    prop_assert_eq!(rows(scan).await, matching(&all, keep));
                }
                let by = if column == "rider" {
                    col("rider").eq(rider)
                } else {
                    col("city").eq(city.as_str())
                };
                let plan = table.scan().filter(by).explain().await.unwrap();
                prop_assert!(plan.files_read <= 2, "{}", plan);
            }
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_kept_by_all_that_writes() {
    let folder = tempfile::tempdir().unwrap();
    let trips: Vec<Trip> = (0..200).map(|i| trip("Oslo", i, 1.0)).collect();
    let url = format!("{}/t", folder.path().display());
    let table = made(&trips, &bucketed("rider", 8), &url).await;
    assert_eq!(table.partitions().await.unwrap().len(), 8);
    let write = WriteOptions::default();
    table.upsert(source(&[trip("Oslo", 7, 2.0)]), &["rider".to_owned()], &write).await.unwrap();
    table.delete(&col("rider").ge(100), &write).await.unwrap();
    table.append(source(&[trip("Oslo", 900, 3.0)]), &write).await.unwrap();
    table.optimize(&partita_table::OptimizeOptions::default(), &write).await.unwrap();
    let place = format!("{}/copy", folder.path().display());
    let some = CopyOptions { scope: Some(col("rider").lt(50)), ..CopyOptions::default() };
    let copy = table.copy(&place, &StoreOptions::new(), &some).await.unwrap();
    for (table, count) in [(&table, 101), (&copy, 50)] {
        assert_eq!(table.scan().count().await.unwrap(), count);
        let bucket = table.bucket_partition().unwrap();
        assert_eq!((bucket.name().as_str(), bucket.buckets), ("rider_bucket", 8));
        let scan = table.scan().filter(col("rider").eq(7));
        let plan = scan.explain().await.unwrap();
        assert_eq!((plan.files, plan.files_read), (8, 1), "{plan}");
        assert_eq!(rows(scan).await, [trip("Oslo", 7, 2.0)]);
    }
    let error = table
        .widen_column("rider", &arrow::datatypes::DataType::Float64, &write)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_buckets_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/t", folder.path().display());
    let cases = [
        ("fare", 4, ErrorKind::InvalidArgument),
        ("rider", 0, ErrorKind::InvalidArgument),
        ("driver", 4, ErrorKind::NotFound),
    ];
    for (column, buckets, kind) in cases {
        let options = bucketed(column, buckets);
        let data = source(&[trip("Oslo", 1, 1.0)]);
        let error =
            Table::create_from(&url, data, &options, &StoreOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_laid_out_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/t", folder.path().display());
    let trips: Vec<Trip> = (0..40).map(|i| trip("Oslo", i, 1.0)).collect();
    made(&trips, &bucketed("rider", 4), &url).await;
    let anew = CreateOptions { overwrite: true, ..CreateOptions::default() };
    let table = made(&trips, &anew, &url).await;
    assert_eq!(table.bucket_partition(), None);
    let old = table.at(1).await.unwrap();
    assert_eq!(old.bucket_partition().unwrap().buckets, 4);
    assert_eq!(old.scan().filter(col("rider").eq(3)).explain().await.unwrap().files_read, 1);
    table.restore(1, &WriteOptions::default()).await.unwrap();
    table.append(source(&[trip("Rome", 3, 2.0)]), &WriteOptions::default()).await.unwrap();
    let scan = table.scan().filter(col("rider").eq(3));
    assert_eq!(scan.explain().await.unwrap().files_read, 2);
    assert_eq!(rows(scan).await, [trip("Oslo", 3, 1.0), trip("Rome", 3, 2.0)]);
}
