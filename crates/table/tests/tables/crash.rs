//! Every operation of a table, stopped at every request, and with a fault at every request.

use crate::trips::{source, trip};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use partita_core::testing::{Extent, Operation, on_store};
use partita_core::{ErrorKind, Result, Store, StoreOptions, col};
use partita_table::{
    BatchSource, CopyOptions, CreateOptions, Draft, GarbageOptions, Keep, OptimizeOptions,
    SchemaMode, Table, VerifyOptions, WriteOptions,
};

const NAME: &str = "trips";

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn layout() -> CreateOptions {
    CreateOptions {
        partition_by: vec!["city".into()],
        index: vec!["rider".into()],
        ..CreateOptions::default()
    }
}

/// Rows for a partition that is there, and for a new one.
fn more() -> BatchSource {
    source(&[trip("Oslo", 1, 8.0), trip("Voss", 9, 9.0)])
}

async fn open(store: Store) -> Result<Table> {
    Table::open_in(store, NAME).await
}

/// A table with three versions, and two files in one of its partitions.
async fn prepared(store: Store) {
    let first = source(&[trip("Bergen", 2, 20.0), trip("Oslo", 1, 10.0)]);
    let table = Table::create_in(store, NAME, first, &layout()).await.unwrap();
    for rider in [3, 4] {
        table.append(source(&[trip("Oslo", rider, 30.0)]), &write()).await.unwrap();
    }
}

/// Everything that a reader of the table of this name sees, but for ids and times.
async fn read(store: Store, name: &str) -> String {
    let table = match Table::open_in(store, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return "no table".to_owned(),
        opened => opened.unwrap(),
    };
    let batches = table.scan().collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let mut rows: Vec<&str> = text.lines().collect();
    rows.sort_unstable();
    let schema = table.schema();
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    let history = table.history().await.unwrap();
    let history: Vec<String> =
        history.iter().map(|one| format!("{} {:?}", one.version, one.operation)).collect();
    format!(
        "{:#?}",
        (
            table.version(),
            table.num_files(),
            table.index_columns(),
            table.metadata().get("note").cloned(),
            columns,
            rows,
            history,
        )
    )
}

/// The next writer appends, whatever the columns are by now.
async fn follow(store: Store, name: &str) {
    let rows = || source(&[trip("Rome", 5, 50.0)]);
    match Table::open_in(store.clone(), name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Table::create_in(store, name, rows(), &layout()).await.unwrap();
        }
        opened => {
            let options = WriteOptions { schema_mode: SchemaMode::Merge, ..write() };
            opened.unwrap().append(rows(), &options).await.unwrap();
        }
    }
}

async fn collect(store: Store, name: &str) {
    let table = match Table::open_in(store.clone(), name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let rows = source(&[trip("Rome", 5, 50.0)]);
            Table::create_in(store, name, rows, &layout()).await.unwrap()
        }
        opened => opened.unwrap(),
    };
    table.collect_garbage(&GarbageOptions::default()).await.unwrap();
    let problems = table.verify(&VerifyOptions::default()).await.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
}

type Change = fn(Table) -> LocalBoxFuture<'static, Result<()>>;

/// A change of the prepared table, as one commit.
fn change(name: &str, change: Change) -> Operation {
    Operation {
        name: name.to_owned(),
        prepare: on_store(prepared),
        run: on_store(move |store| async move { change(open(store).await?).await }),
        read: on_store(|store| read(store, NAME)),
        follow: on_store(|store| follow(store, NAME)),
        collect: on_store(|store| collect(store, NAME)),
        is_commit: true,
        leaves: &[],
        between: |_| false,
    }
}

/// A change that consists of other requests than those of a commit.
fn upkeep(name: &str, run: Change, between: fn(&str) -> bool) -> Operation {
    Operation { is_commit: false, between, ..change(name, run) }
}

fn create() -> Operation {
    let run = |store: Store| async move {
        Table::create_in(store, NAME, more(), &layout()).await.map(drop)
    };
    let prepare = on_store(|_| async {});
    Operation {
        prepare,
        run: on_store(run),
        ..change("create", |_| async { Ok(()) }.boxed_local())
    }
}

fn create_over() -> Operation {
    let run = |store: Store| async move {
        let options = CreateOptions { overwrite: true, ..layout() };
        Table::create_in(store, NAME, more(), &options).await.map(drop)
    };
    Operation { run: on_store(run), ..change("create over", |_| async { Ok(()) }.boxed_local()) }
}

fn create_from_draft() -> Operation {
    let run = |store: Store| async move {
        let draft = Draft::new_in(store, NAME, layout())?;
        let staged = draft.stage(more(), &write()).await?;
        draft.create(vec![staged]).await.map(drop)
    };
    let prepare = on_store(|_| async {});
    let operation = change("create from a draft", |_| async { Ok(()) }.boxed_local());
    Operation { prepare, run: on_store(run), ..operation }
}

fn append() -> Operation {
    change("append", |table| {
        async move { table.append(more(), &write()).await.map(drop) }.boxed_local()
    })
}

fn append_with_key() -> Operation {
    change("append with a key", |table| {
        async move {
            let options = WriteOptions { idempotency_key: Some("k".into()), ..write() };
            table.append(more(), &options).await.map(drop)
        }
        .boxed_local()
    })
}

fn add_column() -> Operation {
    change("add a column", |table| {
        async move {
            let note = Schema::new(vec![Field::new("note", DataType::Utf8, true)]);
            table.add_columns(note, &write()).await.map(drop)
        }
        .boxed_local()
    })
}

fn commit_staged() -> Operation {
    change("commit of staged files", |table| {
        async move {
            let staged = vec![table.stage(more(), &write()).await?];
            table.commit(staged, Some(&col("rider").eq(1)), &write()).await.map(drop)
        }
        .boxed_local()
    })
}

fn replace_partitions() -> Operation {
    change("replace partitions", |table| {
        async move {
            let scope = col("city").eq("Oslo");
            table.replace(&scope, more(), &write()).await.map(drop)
        }
        .boxed_local()
    })
}

fn replace_rows() -> Operation {
    change("replace rows", |table| {
        async move { table.replace(&col("rider").eq(1), more(), &write()).await.map(drop) }
            .boxed_local()
    })
}

fn delete_partitions() -> Operation {
    change("delete partitions", |table| {
        async move { table.delete(&col("city").eq("Oslo"), &write()).await.map(drop) }.boxed_local()
    })
}

fn delete_rows() -> Operation {
    change("delete rows", |table| {
        async move { table.delete(&col("fare").eq(30.0), &write()).await.map(drop) }.boxed_local()
    })
}

fn upsert() -> Operation {
    change("upsert", |table| {
        async move { table.upsert(more(), &["rider".to_owned()], &write()).await.map(drop) }
            .boxed_local()
    })
}

fn optimize() -> Operation {
    change("optimize", |table| {
        async move { table.optimize(&OptimizeOptions::default(), &write()).await.map(drop) }
            .boxed_local()
    })
}

fn build_index() -> Operation {
    change("build an index", |table| {
        async move { table.build_index(&["fare".to_owned()], &write()).await.map(drop) }
            .boxed_local()
    })
}

fn drop_index() -> Operation {
    change("drop an index", |table| {
        async move { table.drop_index(&["rider".to_owned()], &write()).await.map(drop) }
            .boxed_local()
    })
}

fn restore() -> Operation {
    change("restore", |table| {
        async move { table.restore(1, &write()).await.map(drop) }.boxed_local()
    })
}

fn annotate() -> Operation {
    change("annotate", |table| {
        async move {
            let mut options = write();
            options.metadata.insert("note".into(), 1.into());
            table.set_metadata(&options).await.map(drop)
        }
        .boxed_local()
    })
}

fn rename_column() -> Operation {
    change("rename a column", |table| {
        async move { table.rename_column("fare", "price", &write()).await.map(drop) }.boxed_local()
    })
}

fn drop_column() -> Operation {
    change("drop a column", |table| {
        async move { table.drop_column("fare", &write()).await.map(drop) }.boxed_local()
    })
}

fn reorder_columns() -> Operation {
    change("reorder columns", |table| {
        async move { table.reorder_columns(&["fare".to_owned()], &write()).await.map(drop) }
            .boxed_local()
    })
}

fn comment() -> Operation {
    change("comment on a column", |table| {
        async move { table.set_comment("fare", Some("in euros"), &write()).await.map(drop) }
            .boxed_local()
    })
}

/// Versions are removed one by one, the oldest first.
fn expire() -> Operation {
    let run: Change =
        |table| async move { table.expire(Keep::Last(1)).await.map(drop) }.boxed_local();
    upkeep("expire", run, |found| found.contains("2 Append") && !found.contains("1 Create"))
}

/// After a crash of the collection, the next one removes the rest.
fn collect_garbage() -> Operation {
    let run: Change = |table| {
        async move {
            let now = jiff::SignedDuration::ZERO;
            let options = GarbageOptions { grace: now, ..GarbageOptions::default() };
            table.collect_garbage(&options).await.map(drop)
        }
        .boxed_local()
    };
    let prepare = on_store(|store: Store| async move {
        prepared(store.clone()).await;
        let table = open(store).await.unwrap();
        table.delete(&col("city").eq("Oslo"), &write()).await.unwrap();
        table.stage(more(), &write()).await.unwrap();
        table.expire(Keep::Last(1)).await.unwrap();
    });
    Operation { prepare, ..upkeep("collect garbage", run, |_| false) }
}

/// A table that is dropped in part is none, and a table that is made in its place collects the
/// rest.
fn drop_table() -> Operation {
    let run = |store: Store| async move {
        match open(store).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            opened => opened?.drop_table().await.map(drop),
        }
    };
    let operation = upkeep("drop", |_| async { Ok(()) }.boxed_local(), |_| false);
    Operation { run: on_store(run), ..operation }
}

/// The copy is made through a client that is handed over, in which nothing is conditional.
fn copy_of(name: &str, scope: Option<&'static str>) -> Operation {
    let run = move |store: Store| async move {
        let client = StoreOptions::new().with_client(store.object_store()).single_writer(true);
        let scope = scope.map(|city| col("city").eq(city));
        let options = CopyOptions { scope, ..CopyOptions::default() };
        open(store).await?.copy("copy", &client, &options).await.map(drop)
    };
    Operation {
        run: on_store(run),
        read: on_store(|store| read(store, "copy")),
        follow: on_store(|store| follow(store, "copy")),
        collect: on_store(|store| collect(store, "copy")),
        ..change(name, |_| async { Ok(()) }.boxed_local())
    }
}

fn copy() -> Operation {
    copy_of("copy", None)
}

fn copy_rows() -> Operation {
    copy_of("copy of rows", Some("Oslo"))
}

async fn check(operation: Operation, extent: Extent) {
    let tally = operation.check(extent).await.unwrap();
    println!("{}: stopped {} times, {} faults", operation.name, tally.stops, tally.faults);
    assert!(tally.stops > 0 && tally.faults > 0, "{}: nothing was tried", operation.name);
}

macro_rules! checked {
    ($($operation:ident),* $(,)?) => {$(
        mod $operation {
            use super::{Extent, check};

            #[tokio::test(start_paused = true)]
            async fn is_whole_wherever_it_stops() {
                check(super::$operation(), Extent::Sample).await;
            }

            #[tokio::test(start_paused = true)]
            #[ignore = "takes long; `make soak` runs it"]
            async fn every_fault() {
                check(super::$operation(), Extent::All).await;
            }
        }
    )*};
}

checked!(
    create,
    create_over,
    create_from_draft,
    append,
    append_with_key,
    add_column,
    commit_staged,
    replace_partitions,
    replace_rows,
    delete_partitions,
    delete_rows,
    upsert,
    optimize,
    build_index,
    drop_index,
    restore,
    annotate,
    rename_column,
    drop_column,
    reorder_columns,
    comment,
    expire,
    collect_garbage,
    drop_table,
    copy,
    copy_rows,
);
