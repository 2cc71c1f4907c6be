//! Requests that are sent twice take effect once: commits with a key, staged files, creations.

use std::sync::Arc;

use crate::trips::{rows, source, trip};
use arrow::datatypes::{DataType, Field, Schema};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use partita_core::testing::CountingStore;
use partita_core::{ErrorKind, Result, Store, StoreOptions, col};
use partita_table::{
    Commit, CreateOptions, Draft, Encoding, GarbageOptions, Keep, OptimizeOptions, Staged, Table,
    WriteOptions,
};

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn keyed(key: &str) -> WriteOptions {
    WriteOptions { idempotency_key: Some(key.to_owned()), ..write() }
}

fn store(name: &str) -> Store {
    Store::open(&format!("memory://once-{name}"), &StoreOptions::new()).unwrap()
}

async fn table(name: &str) -> (Store, Table) {
    let store = store(name);
    let options = CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    };
    let first = source(&[trip("Oslo", 0, 0.0), trip("Rome", 1, 1.0)]);
    let table = Table::create_in(store.clone(), "trips", first, &options).await.unwrap();
    (store, table)
}

async fn reopened(store: &Store) -> Table {
    Table::open_in(store.clone(), "trips").await.unwrap()
}

fn more(rider: i64) -> partita_table::BatchSource {
    source(&[trip("Oslo", rider, 2.0)])
}

type Change = fn(Table, WriteOptions) -> BoxFuture<'static, Result<Commit>>;

/// Every kind of change that creates a commit.
const CHANGES: [(&str, Change); 12] = [
    ("append", |t, o| async move { t.append(more(7), &o).await }.boxed()),
    ("replace", |t, o| {
        async move { t.replace(&col("city").eq("Oslo"), more(7), &o).await }.boxed()
    }),
    ("delete", |t, o| async move { t.delete(&col("city").eq("Rome"), &o).await }.boxed()),
    ("delete rows", |t, o| async move { t.delete(&col("rider").eq(0), &o).await }.boxed()),
    ("upsert", |t, o| async move { t.upsert(more(0), &["rider".to_owned()], &o).await }.boxed()),
    ("commit", |t, o| {
        async move {
            let staged = t.stage(more(7), &write()).await?;
            t.commit(vec![staged], None, &o).await
        }
        .boxed()
    }),
    ("annotate", |t, mut o| {
        async move {
            o.metadata.insert("n".into(), 1.into());
            t.set_metadata(&o).await
        }
        .boxed()
    }),
    ("add columns", |t, o| {
        async move {
            let note = Schema::new(vec![Field::new("note", DataType::Utf8, true)]);
            t.add_columns(note, &o).await
        }
        .boxed()
    }),
    ("build index", |t, o| async move { t.build_index(&["fare".to_owned()], &o).await }.boxed()),
    ("drop index", |t, o| async move { t.drop_index(&["rider".to_owned()], &o).await }.boxed()),
    ("restore", |t, o| async move { t.restore(1, &o).await }.boxed()),
    ("optimize", |t, o| {
        async move {
            let sorted = OptimizeOptions { sort_by: vec!["fare".into()], ..Default::default() };
            t.optimize(&sorted, &o).await
        }
        .boxed()
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_change_with_a_key_counts_once() {
    for (name, change) in CHANGES {
        let (store, table) = table(&format!("changes-{name}")).await;
        let first = change(table.clone(), keyed("k")).await.unwrap();
        assert_eq!((first.version, first.is_repeated()), (2, false), "{name}");
        let state = rows(reopened(&store).await.scan()).await;
        // The same process, another one, and one that does not know of the commit yet.
        for again in [table, reopened(&store).await, reopened(&store).await] {
            if name == "drop index" {
                continue; // There is none to drop any more.
            }
            if name == "add columns" {
                continue; // The column is there.
            }
            let repeated = change(again, keyed("k")).await.unwrap();
            assert_eq!((repeated.version, &repeated.id), (2, &first.id), "{name}");
            assert_eq!((repeated.is_repeated(), repeated.rows_added), (true, 0), "{name}");
        }
        let after = reopened(&store).await;
        assert_eq!(rows(after.scan()).await, state, "{name}");
        assert_eq!(after.history().await.unwrap().len(), 2, "{name}");
        assert_eq!(after.committed("k").await.unwrap().unwrap().version, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_as_long_as_the_history() {
    let (store, table) = table("long").await;
    let first = table.append(more(7), &keyed("k")).await.unwrap();
    for n in 0..70 {
        let mut options = write();
        options.metadata.insert("n".into(), n.into());
        table.set_metadata(&options).await.unwrap();
    }
    for again in [table.clone(), reopened(&store).await] {
        let repeated = again.append(more(7), &keyed("k")).await.unwrap();
        assert_eq!((repeated.version, repeated.id, repeated.attempts), (2, first.id.clone(), 0));
    }
    assert_eq!(table.scan().count().await.unwrap(), 3);
    let other = table.delete(&col("city").eq("Rome"), &keyed("k")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidArgument, "{other}");
    // The key is removed together with its commit.
    reopened(&store).await.expire(Keep::Last(3)).await.unwrap();
    assert!(table.committed("k").await.unwrap().is_none());
    let anew = reopened(&store).await.append(more(7), &keyed("k")).await.unwrap();
    assert_eq!((anew.version, anew.rows_added), (73, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_costs_one_request_more() {
    let (store, _) = table("cost").await;
    let mut counting = None;
    let counted = store.wrap(|inner| {
        let wrapper = CountingStore::new(inner);
        counting = Some(wrapper.clone());
        Arc::new(wrapper)
    });
    let (counting, table) = (counting.unwrap(), Table::open_in(counted, "trips").await.unwrap());
    let mut costs = Vec::new();
    for options in [write(), keyed("k")] {
        counting.reset();
        table.append(more(7), &options).await.unwrap();
        costs.push(counting.reset().requests());
    }
    assert_eq!(costs[1], costs[0] + 1);
    counting.reset();
    table.append(more(7), &keyed("k")).await.unwrap();
    assert_eq!(counting.reset().requests(), 4, "the data file, twice, and the key, twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_with_one_key_at_once_make_one_commit() {
    for round in 0..5 {
        let (store, _) = table(&format!("at-once-{round}")).await;
        let callers = (0..6).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let table = reopened(&store).await;
                table.append(more(7), &keyed("k")).await.unwrap()
            })
        });
        let made: Vec<Commit> =
            join_all(callers).await.into_iter().map(|made| made.unwrap()).collect();
        assert!(made.iter().all(|commit| commit.version == 2 && commit.id == made[0].id));
        assert_eq!(made.iter().filter(|commit| !commit.is_repeated()).count(), 1);
        let after = reopened(&store).await;
        assert_eq!(after.scan().count().await.unwrap(), 3);
        assert_eq!(after.history().await.unwrap().len(), 2);
        let snapshots = store.list("trips/_partita/snapshots/");
        let snapshots: Vec<_> = futures::TryStreamExt::try_collect(snapshots).await.unwrap();
        assert_eq!(snapshots.len(), 2);
        let at_once = GarbageOptions { grace: jiff::SignedDuration::ZERO, ..Default::default() };
        after.collect_garbage(&at_once).await.unwrap();
        assert_eq!(after.scan().count().await.unwrap(), 3);
    }
}

fn travelled(staged: &Staged) -> Staged {
    serde_json::from_str(&serde_json::to_string(staged).unwrap()).unwrap()
}

type Committing<'a> = &'a dyn Fn(Table, Vec<Staged>) -> BoxFuture<'static, Result<Commit>>;

#[tokio::test(flavor = "multi_thread")]
async fn staged_files_are_committed_once() {
    let (store, table) = table("staged").await;
    let staged = table.stage(more(7), &write()).await.unwrap();
    let other = table.stage(more(8), &write()).await.unwrap();
    let merged = Staged::merge(vec![travelled(&staged), travelled(&other)]).unwrap();
    table.commit(vec![staged.clone()], None, &write()).await.unwrap();
    let commits: [Committing<'_>; 3] = [
        &|t, s| async move { t.commit(s, None, &write()).await }.boxed(),
        &|t, s| async move { t.commit(s, Some(&col("rider").eq(99)), &write()).await }.boxed(),
        &|t, s| async move { t.commit_upsert(s, &["rider".to_owned()], &write()).await }.boxed(),
    ];
    for compacted in [false, true] {
        if compacted {
            let sorted = OptimizeOptions { sort_by: vec!["fare".into()], ..Default::default() };
            table.optimize(&sorted, &write()).await.unwrap();
        }
        for commit in commits {
            for again in [vec![staged.clone()], vec![travelled(&staged)], merged.clone()] {
                let error = commit(reopened(&store).await, again).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
            }
        }
    }
    assert_eq!(table.scan().count().await.unwrap(), 3);
    table.commit(vec![other], None, &write()).await.unwrap();
    assert_eq!(table.scan().count().await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_files_that_are_gone_or_old_are_refused() {
    let (store, table) = table("expired").await;
    let staged = table.stage(more(7), &write()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    // More than half of this period has passed already.
    let short = WriteOptions { grace: jiff::SignedDuration::from_millis(10), ..write() };
    for old in [staged.clone(), travelled(&staged)] {
        let error = table.commit(vec![old], None, &short).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StagedExpired, "{error}");
        assert!(error.to_string().contains("long enough"), "{error}");
    }
    let at_once = GarbageOptions { grace: jiff::SignedDuration::ZERO, ..Default::default() };
    table.collect_garbage(&at_once).await.unwrap();
    for gone in [staged.clone(), travelled(&staged)] {
        let error = table.commit(vec![gone], None, &write()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StagedExpired, "{error}");
    }
    assert_eq!(rows(reopened(&store).await.scan()).await.len(), 2);
    assert_eq!(table.version(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_in_two_forms_are_one() {
    for round in 0..10 {
        let store = store(&format!("forms-{round}"));
        let creators = (0..6).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let header = if number % 2 == 0 { Encoding::Json } else { Encoding::Msgpack };
                let options = CreateOptions { header, ..CreateOptions::default() };
                let draft = Draft::new_in(store, "trips", options).unwrap();
                let staged = draft.stage(more(number), &write()).await.unwrap();
                draft.create(vec![staged]).await.map(|(_, commit)| commit)
            })
        });
        let outcomes = join_all(creators).await.into_iter().map(|outcome| outcome.unwrap());
        let (made, refused): (Vec<_>, Vec<_>) = outcomes.partition(|outcome| outcome.is_ok());
        assert_eq!(made.len(), 1);
        for error in refused {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        let headers = store.list_shallow().await.unwrap();
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(reopened(&store).await.scan().count().await.unwrap(), 1);
    }
}
