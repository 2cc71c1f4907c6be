//! Every operation of a collection, stopped at every request, and with a fault at every request.

use std::ops::Range;
use std::sync::Arc;

use crate::changes::double;
use crate::rows::{DAY, Kind, Row, dataset, merging, open, try_create, try_open};
use crate::views::{extra, hours, schema};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use jiff::SignedDuration;
use object_store::prefix::PrefixStore;
use partita_array::json::Attributes;
use partita_array::layout::Layout;
use partita_array::{
    AlterOptions, At, BuildOptions, Collection, CopyOptions, Dataset, DropOptions, GarbageOptions,
    Index, IndexPlace, IndexSource, InsertOptions, MapOptions, Merge, MergeWith, MigrateOptions,
    MigratedView, ReadOptions, RefreshOptions, VerifyOptions, View, ViewOptions,
};
use partita_core::testing::{Extent, OnStore, Operation, on_store};
use partita_core::{ErrorKind, Predicate, Result, Store, StoreOptions};

/// Notes of the same commit that several publishers wrote, which the next commit of the partition
/// makes superfluous; the lease of writers that take turns; and what Icechunk keeps of each object
/// that it was about to replace.
const LEAVES: [&str; 3] = [".partita/notes/", ".partita/turn", "overwritten/"];
const INDEX: &str = "time.parquet";
const UPSERT: Merge = Merge::Upsert { tolerance: None };

/// Two rows a day.
fn few(days: Range<i64>, value: i32) -> Vec<Row> {
    days.flat_map(|day| [(day * DAY, value), (day * DAY + 3600, value)]).collect()
}

/// Rows for a partition that is there, one of them new, and for a new partition.
fn more() -> Dataset {
    dataset(&[(DAY + 3600, 5), (DAY + 7200, 5), (2 * DAY, 5)])
}

/// Two partitions, in two commits.
async fn prepared(store: Store, kind: Kind) {
    let collection = try_create(store, kind).await.unwrap();
    for (days, value) in [(0..2, 1), (1..2, 2)] {
        collection.insert(&dataset(&few(days, value)), &merging(UPSERT)).await.unwrap();
    }
}

async fn read(store: Store, kind: Kind) -> String {
    match try_open(store, kind).await {
        Err(error) if error.kind() == ErrorKind::NotFound => "no collection".to_owned(),
        opened => shown(&opened.unwrap()).await,
    }
}

/// Everything that a reader sees, but for ids and times.
async fn shown(collection: &Collection) -> String {
    let data = match collection.read(&ReadOptions::default()).await {
        Err(error) if error.kind() == ErrorKind::OutOfSync => return "out of sync".to_owned(),
        read => read.unwrap(),
    };
    let partitions = collection.partitions(None).await.unwrap();
    let partitions: Vec<String> = partitions.into_iter().map(|found| found.path).collect();
    let variables: Vec<_> =
        data.variables().map(|own| (own.name().to_owned(), own.data().integers())).collect();
    let mut history = Vec::new();
    for record in collection.history().await.unwrap() {
        let is_kept = collection.at(record.sequence).await.is_ok();
        history.push((record.operation, is_kept));
    }
    let mut indexes = Vec::new();
    for name in collection.indexes().await.unwrap() {
        let place = IndexPlace::beside(collection, &name);
        let index = Index::open(collection, place, None).await.unwrap();
        indexes.push((name, index.commit()));
    }
    format!("{:#?}", (partitions, variables, data.attributes(), history, indexes))
}

async fn opened_or_made(store: Store, kind: Kind) -> Collection {
    match try_open(store.clone(), kind).await {
        Err(error) if error.kind() == ErrorKind::NotFound => try_create(store, kind).await.unwrap(),
        opened => opened.unwrap(),
    }
}

async fn follow(store: Store, kind: Kind) {
    let collection = opened_or_made(store, kind).await;
    collection.insert(&dataset(&few(1..4, 3)), &merging(UPSERT)).await.unwrap();
}

async fn collect(store: Store, kind: Kind) {
    clean(&opened_or_made(store, kind).await).await;
}

async fn clean(collection: &Collection) {
    collection.collect_garbage(&GarbageOptions::default()).await.unwrap();
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    assert_eq!(collection.verify(&options).await.unwrap(), []);
}

type Change = fn(Collection) -> LocalBoxFuture<'static, Result<()>>;

/// A change of the prepared collection, as one commit.
fn change(name: &str, kind: Kind, change: Change) -> Operation {
    Operation {
        name: format!("{name}, {kind:?}"),
        prepare: on_store(move |store| prepared(store, kind)),
        run: on_store(move |store| async move { change(try_open(store, kind).await?).await }),
        read: on_store(move |store| read(store, kind)),
        follow: on_store(move |store| follow(store, kind)),
        collect: on_store(move |store| collect(store, kind)),
        is_commit: true,
        leaves: &LEAVES,
        between: |_| false,
    }
}

/// A change of the collection after something more was done to it.
fn change_after(name: &str, kind: Kind, before: Change, then: Change) -> Operation {
    let prepare = on_store(move |store: Store| async move {
        prepared(store.clone(), kind).await;
        before(try_open(store, kind).await.unwrap()).await.unwrap();
    });
    Operation { prepare, ..change(name, kind, then) }
}

/// What consists of other requests than those of a commit.
fn upkeep(operation: Operation) -> Operation {
    Operation { is_commit: false, ..operation }
}

fn create(kind: Kind) -> Operation {
    let run = on_store(move |store: Store| async move { try_create(store, kind).await.map(drop) });
    let prepare = on_store(|_| async {});
    Operation { prepare, run, ..change("create", kind, |_| async { Ok(()) }.boxed_local()) }
}

async fn insert(collection: Collection, options: InsertOptions) -> Result<()> {
    collection.insert(&more(), &options).await.map(drop)
}

fn insert_replace(kind: Kind) -> Operation {
    change("insert, replace", kind, |found| insert(found, merging(Merge::Replace)).boxed_local())
}

fn insert_concat(kind: Kind) -> Operation {
    change("insert, concat", kind, |found| insert(found, merging(Merge::Concat)).boxed_local())
}

fn insert_time_series(kind: Kind) -> Operation {
    let merge = |found| insert(found, merging(Merge::TimeSeries { tolerance: None })).boxed_local();
    change("insert, time series", kind, merge)
}

fn insert_upsert(kind: Kind) -> Operation {
    change("insert, upsert", kind, |found| insert(found, merging(UPSERT)).boxed_local())
}

fn insert_by_function(kind: Kind) -> Operation {
    change("insert, function", kind, |found| {
        let both = |old: Dataset, new: Dataset| Dataset::concat(&[&old, &new], "time");
        let merge = MergeWith::Function(Arc::new(both));
        insert(found, InsertOptions { merge, ..InsertOptions::default() }).boxed_local()
    })
}

fn insert_with_key(kind: Kind) -> Operation {
    change("insert with a key", kind, |found| {
        insert(found, InsertOptions { key: Some("k".to_owned()), ..merging(UPSERT) }).boxed_local()
    })
}

fn commit_staged(kind: Kind) -> Operation {
    change("commit of what was staged", kind, |found| {
        async move {
            let staged = found.stage_insert(&more(), &merging(UPSERT), true).await?;
            found.commit_staged("insert", staged, None).await.map(drop)
        }
        .boxed_local()
    })
}

fn update(kind: Kind) -> Operation {
    change("update", kind, |found| {
        async move { found.update(double(), &MapOptions::default()).await.map(drop) }.boxed_local()
    })
}

fn added(found: Collection) -> LocalBoxFuture<'static, Result<()>> {
    async move { found.add_variable("", &extra("w"), &AlterOptions::default()).await }.boxed_local()
}

fn add_variable(kind: Kind) -> Operation {
    change("add a variable", kind, added)
}

fn drop_variable(kind: Kind) -> Operation {
    change_after("drop a variable", kind, added, |found| {
        async move { found.drop_variable("w", &AlterOptions::default()).await }.boxed_local()
    })
}

fn set_attributes(kind: Kind) -> Operation {
    change("set attributes", kind, |found| {
        async move {
            let attributes = Attributes::from([("units".to_owned(), "m".into())]);
            found.set_attributes(None, attributes, &AlterOptions::default()).await
        }
        .boxed_local()
    })
}

/// A commit, and documents that are computed after it.
fn set_statistics(kind: Kind) -> Operation {
    upkeep(change_after("set statistics", kind, added, |found| {
        async move { found.set_statistics(&["w".to_owned()], &AlterOptions::default()).await }
            .boxed_local()
    }))
}

fn drop_partitions(kind: Kind) -> Operation {
    change("drop partitions", kind, |found| {
        async move {
            let predicate = Some(Predicate::parse("day == 1")?);
            let options = DropOptions { predicate, ..DropOptions::default() };
            found.drop_partitions(&options).await.map(drop)
        }
        .boxed_local()
    })
}

fn restore(kind: Kind) -> Operation {
    change("restore", kind, |found| {
        async move { found.restore(At::Number(1), None).await.map(drop) }.boxed_local()
    })
}

fn expired(found: Collection) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        match found.branch() {
            Some(_) => found.expire(SignedDuration::ZERO).await.map(drop),
            None => found.expire_all_but(1).await.map(drop),
        }
    }
    .boxed_local()
}

fn expire(kind: Kind) -> Operation {
    upkeep(change("expire", kind, expired))
}

fn collect_garbage(kind: Kind) -> Operation {
    let before = |found: Collection| {
        async move {
            found.stage_insert(&more(), &merging(UPSERT), true).await?;
            expired(found).await
        }
        .boxed_local()
    };
    upkeep(change_after("collect garbage", kind, before, |found| {
        async move {
            let grace = SignedDuration::ZERO;
            let options = GarbageOptions { grace, ..GarbageOptions::default() };
            found.collect_garbage(&options).await.map(drop)
        }
        .boxed_local()
    }))
}

fn indexed(found: Collection) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let place = IndexPlace::beside(&found, INDEX);
        let source = IndexSource::Variables(vec!["time".to_owned()]);
        Index::build(&found, place, source, &BuildOptions::default()).await.map(drop)
    }
    .boxed_local()
}

fn build_index(kind: Kind) -> Operation {
    upkeep(change("build an index", kind, indexed))
}

fn refresh_index(kind: Kind) -> Operation {
    let before = |found: Collection| {
        async move {
            indexed(found.clone()).await?;
            insert(found, merging(UPSERT)).await
        }
        .boxed_local()
    };
    upkeep(change_after("refresh an index", kind, before, |found| {
        async move {
            let index = Index::open(&found, IndexPlace::beside(&found, INDEX), None).await?;
            index.refresh(&RefreshOptions::default()).await.map(drop)
        }
        .boxed_local()
    }))
}

fn drop_index(kind: Kind) -> Operation {
    upkeep(change_after("drop an index", kind, indexed, |found| {
        async move { found.drop_index(INDEX).await }.boxed_local()
    }))
}

/// The part of a store below a directory.
fn part(store: &Store, directory: &'static str) -> Store {
    store.wrap(|inner| Arc::new(PrefixStore::new(inner, directory)))
}

/// A change of a copy by another process, which finishes it if it is not visible: it is no place
/// for another collection.
fn follow_copy(run: &OnStore<Result<()>>, kind: Kind) -> OnStore<()> {
    let run = run.clone();
    on_store(move |store: Store| {
        let run = run.clone();
        async move {
            if try_open(part(&store, "target"), kind).await.is_err() {
                run(store.clone()).await.unwrap();
            }
            follow(part(&store, "target"), kind).await;
        }
    })
}

/// The copy is visible before its statistics and indexes are complete, without which reads are
/// right.
fn copy(kind: Kind) -> Operation {
    let target = Kind::Plain(Layout::ZarrV3);
    let run = on_store(move |store: Store| async move {
        let source = try_open(part(&store, "source"), kind).await?;
        source.copy(part(&store, "target"), &CopyOptions::default()).await.map(drop)
    });
    Operation {
        prepare: on_store(move |store: Store| prepared(part(&store, "source"), kind)),
        follow: follow_copy(&run, target),
        run,
        read: on_store(move |store: Store| read(part(&store, "target"), target)),
        collect: on_store(move |store: Store| collect(part(&store, "target"), target)),
        ..upkeep(change("copy", kind, |_| async { Ok(()) }.boxed_local()))
    }
}

async fn base_of(store: &Store, kind: Kind) -> Result<Collection> {
    try_open(part(store, "base"), kind).await
}

async fn make_view(store: &Store, kind: Kind) -> Result<View> {
    let base = base_of(store, kind).await?;
    View::create_in(part(store, "view"), &base, &schema(&["w"]), &ViewOptions::default()).await
}

async fn view_of(store: &Store, kind: Kind) -> Result<View> {
    View::open_over_in(part(store, "view"), &base_of(store, kind).await?).await
}

async fn view_opened_or_made(store: &Store, kind: Kind) -> View {
    match view_of(store, kind).await {
        Err(error) if error.kind() == ErrorKind::NotFound => make_view(store, kind).await.unwrap(),
        opened => opened.unwrap(),
    }
}

type ViewChange = fn(View) -> LocalBoxFuture<'static, Result<()>>;

/// A change of a view of one variable over the prepared collection.
fn view_change(name: &str, kind: Kind, run: ViewChange) -> Operation {
    Operation {
        prepare: on_store(move |store: Store| async move {
            prepared(part(&store, "base"), kind).await;
            make_view(&store, kind).await.unwrap();
        }),
        run: on_store(move |store: Store| async move { run(view_of(&store, kind).await?).await }),
        read: on_store(move |store: Store| async move {
            match view_of(&store, kind).await {
                Err(error) if error.kind() == ErrorKind::NotFound => "no view".to_owned(),
                opened => shown(&opened.unwrap()).await,
            }
        }),
        follow: on_store(move |store: Store| async move {
            let view = view_opened_or_made(&store, kind).await;
            view.sync(&ViewOptions::default()).await.unwrap();
            view.update(hours("w", 5), &MapOptions::default()).await.unwrap();
        }),
        collect: on_store(move |store: Store| async move {
            let view = view_opened_or_made(&store, kind).await;
            clean(&view).await;
        }),
        ..change(name, kind, |_| async { Ok(()) }.boxed_local())
    }
}

fn synced(view: View) -> LocalBoxFuture<'static, Result<()>> {
    async move { view.sync(&ViewOptions::default()).await.map(drop) }.boxed_local()
}

/// Two commits: one creates the view, and one its partitions.
fn create_view(kind: Kind) -> Operation {
    let run = on_store(move |store: Store| async move {
        match make_view(&store, kind).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                synced(view_of(&store, kind).await?).await
            }
            made => made.map(drop),
        }
    });
    let operation = upkeep(view_change("create a view", kind, synced));
    let shown = operation.read.clone();
    // A repetition makes the partitions of a view that exists by a commit of another name.
    let read = on_store(move |store: Store| {
        let shown = shown.clone();
        async move { shown(store).await.replace("\"sync\"", "\"create\"") }
    });
    Operation {
        prepare: on_store(move |store: Store| prepared(part(&store, "base"), kind)),
        run,
        read,
        between: |found| found == "out of sync" || found.starts_with("(\n    [],"),
        ..operation
    }
}

fn update_view(kind: Kind) -> Operation {
    view_change("update a view", kind, |view| {
        async move { view.update(hours("w", 1), &MapOptions::default()).await.map(drop) }
            .boxed_local()
    })
}

fn sync_view(kind: Kind) -> Operation {
    let prepare = on_store(move |store: Store| async move {
        prepared(part(&store, "base"), kind).await;
        make_view(&store, kind).await.unwrap();
        insert(base_of(&store, kind).await.unwrap(), merging(UPSERT)).await.unwrap();
    });
    Operation { prepare, ..view_change("sync a view", kind, synced) }
}

/// A collection, and then a view over it, each as a whole. They are opened through a client that is
/// handed over, in which nothing is conditional.
fn migrate(kind: Kind) -> Operation {
    let run = on_store(move |store: Store| async move {
        let client = StoreOptions::new().with_client(store.object_store()).single_writer(true);
        let view = view_of(&store, kind).await?;
        let (base, url) = (view.under().clone(), "copied".to_owned());
        let views = vec![MigratedView { view, url, store: client.clone(), schema: None }];
        let options = MigrateOptions { views, ..MigrateOptions::default() };
        match base.migrate("target", &client, &options).await {
            // It was complete.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            done => done.map(drop),
        }
    });
    let read = on_store(move |store: Store| async move {
        let target = match try_open(part(&store, "target"), kind).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return "no copy".to_owned(),
            opened => opened.unwrap(),
        };
        match View::open_over_in(part(&store, "copied"), &target).await {
            Err(error) if error.kind() == ErrorKind::NotFound => "no view".to_owned(),
            opened => shown(&opened.unwrap()).await,
        }
    });
    Operation {
        follow: follow_copy(&run, kind),
        run,
        read,
        collect: on_store(move |store: Store| async move {
            collect(part(&store, "target"), kind).await;
            let target = open(part(&store, "target"), kind).await;
            clean(&View::open_over_in(part(&store, "copied"), &target).await.unwrap()).await;
        }),
        between: |found| found == "no view",
        ..upkeep(view_change("migrate", kind, synced))
    }
}

fn zarr2() -> Kind {
    Kind::Plain(Layout::ZarrV2)
}

fn zarr3() -> Kind {
    Kind::Plain(Layout::ZarrV3)
}

fn icechunk() -> Kind {
    Kind::Icechunk
}

async fn check(operation: Operation, extent: Extent) {
    let tally = operation.check(extent).await.unwrap();
    println!("{}: stopped {} times, {} faults", operation.name, tally.stops, tally.faults);
    assert!(tally.stops > 0 && tally.faults > 0, "{}: nothing was tried", operation.name);
}

macro_rules! checked {
    ($($operation:ident: $($kind:ident),+;)*) => {$(
        mod $operation {
            use super::{Extent, check};

            $(
                #[tokio::test(start_paused = true)]
                async fn $kind() {
                    check(super::$operation(super::$kind()), Extent::Sample).await;
                }
            )+

            #[tokio::test(start_paused = true)]
            #[ignore = "takes long; `make soak` runs it"]
            async fn every_fault() {
                $(check(super::$operation(super::$kind()), Extent::All).await;)+
            }
        }
    )*};
}

// Merges, indexes and views are committed by the same code in all layouts.
checked! {
    create: zarr2, zarr3, icechunk;
    insert_replace: zarr2, zarr3, icechunk;
    insert_concat: zarr3;
    insert_time_series: zarr2;
    insert_upsert: zarr2, zarr3, icechunk;
    insert_by_function: zarr3;
    insert_with_key: zarr2, icechunk;
    commit_staged: zarr2, zarr3, icechunk;
    update: zarr2, zarr3, icechunk;
    add_variable: zarr2, zarr3, icechunk;
    drop_variable: zarr3, icechunk;
    set_attributes: zarr2, icechunk;
    set_statistics: zarr2;
    drop_partitions: zarr2, zarr3, icechunk;
    restore: zarr2, zarr3;
    expire: zarr2, icechunk;
    collect_garbage: zarr2, icechunk;
    build_index: zarr2;
    refresh_index: zarr3;
    drop_index: zarr2;
    copy: zarr2, icechunk;
    create_view: zarr2;
    update_view: zarr3;
    sync_view: zarr2;
    migrate: zarr3;
}
