//! Collaborative writes: drafts of tables, merged staged files, and reads of selected files.

use crate::trips::{Trip, rows, source, trip};
use partita_core::{ErrorKind, Store, StoreOptions, col};
use partita_table::{CreateOptions, Draft, Staged, Table, WriteOptions};

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn store(name: &str) -> Store {
    Store::open(&format!("memory://drafts-{name}"), &StoreOptions::new()).unwrap()
}

fn draft(store: &Store, key: Option<&str>) -> Draft {
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        write: WriteOptions { idempotency_key: key.map(Into::into), ..write() },
        ..CreateOptions::default()
    };
    Draft::new_in(store.clone(), "trips", options).unwrap()
}

async fn staged(draft: &Draft, trips: &[Trip]) -> Staged {
    let staged = draft.stage(source(trips), &write()).await.unwrap();
    serde_json::from_str(&serde_json::to_string(&staged).unwrap()).unwrap()
}

async fn parts(draft: &Draft) -> Vec<Staged> {
    let mut parts = Vec::new();
    for n in 0..5 {
        let here = [trip("Oslo", n, n as f64), trip("Rome", n + 10, n as f64)];
        parts.push(staged(draft, &here).await);
    }
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_by_one_commit_of_what_many_staged() {
    let store = store("made");
    let draft = draft(&store, None);
    let parts = parts(&draft).await;
    let absent = Table::open_in(store.clone(), "trips").await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);

    let (table, commit) = draft.create(parts.clone()).await.unwrap();
    assert_eq!((commit.version, commit.rows_added, commit.files_added), (1, 10, 10));
    assert_eq!(rows(table.scan().filter(col("rider").eq(12))).await, [trip("Rome", 12, 2.0)]);
    assert_eq!(draft.check_absent().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(draft.create(parts.clone()).await.unwrap_err().kind(), ErrorKind::AlreadyExists);

    // Files that the table names are not discarded; the others are.
    let surplus = staged(&draft, &[trip("Oslo", 77, 1.0)]).await;
    let key = surplus.keys().remove(0);
    draft.discard(&[parts, vec![surplus]].concat()).await.unwrap();
    assert_eq!(rows(table.scan()).await.len(), 10);
    assert!(store.get_opt(&key).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_twice_with_a_key_is_made_once() {
    let store = store("key");
    let draft = draft(&store, Some("night job"));
    let (_, first) = draft.create(parts(&draft).await).await.unwrap();
    let (table, again) = draft.create(parts(&draft).await).await.unwrap();
    assert_eq!((again.version, again.id, again.rows_added), (1, first.id, 0));
    assert_eq!(table.scan().count().await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_files_put_together_are_those_that_went_in() {
    let store = store("merge");
    let draft = draft(&store, None);
    let parts = parts(&draft).await;
    let merged = Staged::merge(parts.clone()).unwrap();
    assert_eq!(merged.len(), 1);
    assert_eq!((merged[0].rows(), merged[0].keys().len()), (10, 10));
    assert_eq!(merged[0].bytes(), parts.iter().map(Staged::bytes).sum::<u64>());

    let fewer = merged[0].without(&parts[3].keys()).unwrap();
    assert_eq!(fewer.rows(), 8);
    let (table, _) = draft.create(vec![fewer]).await.unwrap();
    assert_eq!(rows(table.scan().filter(col("rider").eq(13))).await, []);
    assert_eq!(rows(table.scan().filter(col("rider").eq(14))).await, [trip("Rome", 14, 4.0)]);
    assert!(Staged::merge(Vec::new()).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_rows_take_the_place_of_those_with_the_same_key() {
    let store = store("upsert");
    let draft = draft(&store, None);
    let (table, _) = draft.create(parts(&draft).await).await.unwrap();
    let new = [trip("Oslo", 3, 30.0), trip("Rome", 99, 99.0)];
    let staged = table.stage(source(&new), &write()).await.unwrap();
    let on = ["city".to_owned(), "rider".to_owned()];
    let commit = table.commit_upsert(vec![staged.clone()], &on, &write()).await.unwrap();
    assert_eq!((commit.rows_added, commit.rows_removed), (2, 1));
    assert_eq!(rows(table.scan().filter(col("rider").eq(3))).await, [trip("Oslo", 3, 30.0)]);

    let twice = vec![
        table.stage(source(&new), &write()).await.unwrap(),
        table.stage(source(&new), &write()).await.unwrap(),
    ];
    let error = table.commit_upsert(twice, &on, &write()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(table.scan().count().await.unwrap(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_scan_can_be_read_one_by_one() {
    let store = store("files");
    let draft = draft(&store, None);
    let (table, _) = draft.create(parts(&draft).await).await.unwrap();
    let scan = table.scan().filter(col("city").eq("Oslo"));
    let files = scan.files().await.unwrap();
    assert_eq!(files.len(), 5);
    assert!(files.iter().all(|file| file.rows == Some(1) && file.bytes > Some(0)));
    let mut found = Vec::new();
    for file in &files {
        assert_eq!(file.partition.to_string(), "city=Oslo");
        found.extend(rows(scan.only(vec![file.key.clone()]).unwrap()).await);
    }
    found.sort_by_key(|trip| trip.rider);
    let mut whole = rows(scan.clone()).await;
    whole.sort_by_key(|trip| trip.rider);
    assert_eq!(found, whole);
    let error = scan.only(vec!["trips/table/gone.parquet".into()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
