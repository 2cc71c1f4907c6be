//! The outcome of a commit whose answers are lost, late or wrong: it is done, it is proven not to
//! be done, or it is unknown. Files of a commit that happened are never deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::trips::{Trip, rows, source, trip};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatchIterator;
use futures::FutureExt;
use partita_core::testing::{Asked, Phase, Rule, ScriptedStore, Verb};
use partita_core::{ErrorKind, Result, Store, StoreOptions, col};
use partita_table::{CreateOptions, Keep, OptimizeOptions, Table, WriteOptions};

fn write() -> WriteOptions {
    WriteOptions::default()
}

/// The error of a client that has sent a request several times.
fn late(text: &str) -> object_store::Error {
    let repeated = format!(
        "Error performing PUT in 1s, after 1 retries, max_retries: 10, retry_timeout: 180s  - {text}"
    );
    match text {
        "403" => {
            object_store::Error::PermissionDenied { path: "h".into(), source: repeated.into() }
        }
        "412" => object_store::Error::Precondition { path: "h".into(), source: repeated.into() },
        _ => object_store::Error::Generic { store: "S3", source: repeated.into() },
    }
}

fn denied() -> object_store::Error {
    object_store::Error::PermissionDenied { path: "h".into(), source: "403 Forbidden".into() }
}

fn is_header(asked: &Asked) -> bool {
    asked.key.ends_with("metadata.json")
}

/// A table of one trip, and the same table through a store with a scripted rule.
async fn scripted(name: &str) -> (Store, Table, ScriptedStore) {
    let store = Store::open(&format!("memory://outcomes-{name}"), &StoreOptions::new()).unwrap();
    let first = source(&[trip("Oslo", 0, 0.0)]);
    Table::create_in(store.clone(), "trips", first, &CreateOptions::default()).await.unwrap();
    let mut script = None;
    let wrapped = store.wrap(|inner| {
        let scripted = ScriptedStore::new(inner);
        script = Some(scripted.clone());
        Arc::new(scripted)
    });
    let table = Table::open_in(wrapped, "trips").await.unwrap();
    (store, table, script.unwrap())
}

async fn riders(store: &Store) -> Vec<i64> {
    let table = Table::open_in(store.clone(), "trips").await.unwrap();
    let mut riders: Vec<i64> =
        rows(table.scan()).await.iter().filter_map(|trip: &Trip| trip.rider).collect();
    riders.sort_unstable();
    riders
}

/// An error before or after the write of the header, once; then the rule `others` for the same
/// store.
fn once(
    at: Phase,
    answer: impl Fn() -> object_store::Error + Send + Sync + 'static,
    others: impl Fn(u32) -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Rule {
    let seen = Arc::new(AtomicU32::new(0));
    let (answer, others) = (Arc::new(answer), Arc::new(others));
    Arc::new(move |asked: Asked| {
        let (seen, answer, others) = (Arc::clone(&seen), Arc::clone(&answer), Arc::clone(&others));
        async move {
            if asked.verb != Verb::Swap || !is_header(&asked) || asked.phase != at {
                return None;
            }
            let number = seen.fetch_add(1, Ordering::SeqCst);
            if number > 0 {
                return None;
            }
            others(number).await;
            Some(answer())
        }
        .boxed()
    })
}

fn nobody(_: u32) -> futures::future::BoxFuture<'static, ()> {
    async {}.boxed()
}

type Operation = fn(Table) -> futures::future::BoxFuture<'static, Result<()>>;

const OPERATIONS: [(&str, Operation, bool); 5] = [
    ("append", |table| async move { append(&table, 1).await }.boxed(), true),
    (
        "replace",
        |table| {
            async move {
                let data = source(&[trip("Oslo", 0, 9.0), trip("Oslo", 1, 1.0)]);
                table.replace(&col("rider").eq(0), data, &write()).await.map(drop)
            }
            .boxed()
        },
        true,
    ),
    (
        "upsert",
        |table| {
            async move {
                let data = source(&[trip("Oslo", 0, 9.0), trip("Oslo", 1, 1.0)]);
                table.upsert(data, &["rider".to_owned()], &write()).await.map(drop)
            }
            .boxed()
        },
        true,
    ),
    (
        "optimize",
        |table| {
            async move {
                let sorted =
                    OptimizeOptions { sort_by: vec!["rider".into()], ..Default::default() };
                table.optimize(&sorted, &write()).await.map(drop)
            }
            .boxed()
        },
        false,
    ),
    (
        "annotate",
        |table| {
            async move {
                let mut options = write();
                options.metadata.insert("n".into(), 1.into());
                table.set_metadata(&options).await.map(drop)
            }
            .boxed()
        },
        false,
    ),
];

async fn append(table: &Table, rider: i64) -> Result<()> {
    table.append(source(&[trip("Oslo", rider, 1.0)]), &write()).await.map(drop)
}

/// Every answer that an operation may get to its swap, carried out or not, combined with a lost or
/// successful answer to the read after it.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_answer_the_outcome_is_the_truth() {
    let mut cases = Vec::new();
    for operation in OPERATIONS {
        for phase in [Phase::Before, Phase::After] {
            for text in ["403", "412", "500"] {
                for blind in [false, true] {
                    cases.push(check_the_truth(operation, phase, text, blind));
                }
            }
        }
    }
    futures::future::join_all(cases).await;
}

async fn check_the_truth(
    (name, operation, adds): (&str, Operation, bool),
    phase: Phase,
    text: &'static str,
    blind: bool,
) {
    let case = format!("truth-{name}-{phase:?}-{text}-{blind}");
    let (store, table, script) = scripted(&case).await;
    let version = table.version().unwrap();
    let swap = once(phase, move || late(text), nobody);
    let answered = Arc::new(AtomicU32::new(0));
    script.set(Arc::new(move |asked: Asked| {
        let (swap, answered) = (Arc::clone(&swap), Arc::clone(&answered));
        async move {
            let hidden = blind && answered.load(Ordering::SeqCst) > 0 && is_header(&asked);
            if hidden && matches!(asked.verb, Verb::Get | Verb::Swap) {
                return Some(denied());
            }
            let error = swap(asked).await;
            answered.fetch_add(u32::from(error.is_some()), Ordering::SeqCst);
            error
        }
        .boxed()
    }));
    let outcome = operation(table).await;
    script.clear();
    let fresh = Table::open_in(store.clone(), "trips").await.unwrap();
    let happened = fresh.version().unwrap() > version;
    match &outcome {
        Ok(()) => assert!(happened, "{case}"),
        Err(error) if error.kind() == ErrorKind::CommitUnknown => {
            let id = error.context().iter().find(|(name, _)| *name == "commit");
            let made = fresh.committed(&id.unwrap().1).await.unwrap();
            assert_eq!(made.is_some(), happened, "{case}");
        }
        Err(error) => assert!(!happened, "{case}: {error}"),
    }
    let expected: &[i64] = if adds && happened { &[0, 1] } else { &[0] };
    assert_eq!(riders(&store).await, expected, "{case}");
    append(&fresh, 2).await.unwrap();
    assert_eq!(riders(&store).await, [expected, &[2]].concat(), "{case}");
}

/// The answer is lost, and so many others commit that the header no longer lists the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_found_beneath_any_number_of_others() {
    for others in [1, 63, 64, 65, 70] {
        let (store, table, script) = scripted(&format!("beneath-{others}")).await;
        let other = Table::open_in(store.clone(), "trips").await.unwrap();
        let others_commit = move |_| {
            let other = other.clone();
            async move {
                for n in 0..others {
                    let mut options = write();
                    options.metadata.insert("n".into(), n.into());
                    other.set_metadata(&options).await.unwrap();
                }
            }
            .boxed()
        };
        script.set(once(Phase::After, || late("reset"), others_commit));
        let data = source(&[trip("Oslo", 1, 1.0)]);
        let made = table.append(data, &write()).await.unwrap();
        script.clear();
        assert_eq!((made.version, made.attempts), (2, 1), "{others}");
        assert_eq!(riders(&store).await, [0, 1]);
        let fresh = Table::open_in(store.clone(), "trips").await.unwrap();
        assert_eq!(fresh.history().await.unwrap().len(), 2 + others as usize);
        assert_eq!(fresh.committed(&made.id).await.unwrap().unwrap().version, 2);
        // After the history was truncated, the outcome cannot be determined any more.
        let last = Table::open_in(store.clone(), "trips").await.unwrap();
        last.expire(Keep::Last(1)).await.unwrap();
        assert_eq!(riders(&store).await, [0, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_proven_is_unknown() {
    let (store, table, script) = scripted("unproven").await;
    let other = Table::open_in(store.clone(), "trips").await.unwrap();
    let others_commit = move |_| {
        let other = other.clone();
        async move {
            for n in 0..70 {
                let mut options = write();
                options.metadata.insert("n".into(), n.into());
                other.set_metadata(&options).await.unwrap();
            }
            other.expire(Keep::Last(1)).await.unwrap();
        }
        .boxed()
    };
    script.set(once(Phase::After, || late("reset"), others_commit));
    let error = append(&table, 1).await.unwrap_err();
    script.clear();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert_eq!(riders(&store).await, [0, 1], "and it had happened");
}

/// After the swap, the schema file is checked. A failure of that check is not a failure of the
/// commit.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_the_commit_is_none_of_the_commit() {
    let (store, table, script) = scripted("after").await;
    let swapped = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&swapped);
    script.set(Arc::new(move |asked: Asked| {
        let done = asked.verb == Verb::Swap && is_header(&asked) && asked.phase == Phase::After;
        counted.fetch_add(u32::from(done), Ordering::SeqCst);
        let denies = counted.load(Ordering::SeqCst) > 0 && asked.key.ends_with("_common_metadata");
        async move { denies.then(denied) }.boxed()
    }));
    let wider = Schema::new(vec![Field::new("note", DataType::Utf8, true)]);
    let version = table.add_columns(wider, &write()).await.unwrap().version;
    assert_eq!(version, 2);
    swapped.store(0, Ordering::SeqCst);
    let options = CreateOptions::default();
    let made = Table::create_in(
        table.store().clone(),
        "more",
        Box::new(RecordBatchIterator::new(
            [Ok(crate::trips::batch(&[trip("Rome", 5, 5.0)]))],
            crate::trips::schema(),
        )),
        &options,
    );
    assert_eq!(rows(made.await.unwrap().scan()).await, [trip("Rome", 5, 5.0)]);
    script.clear();
    assert_eq!(riders(&store).await, [0]);
}

/// A rejection that is the first answer to its request is a proof: all files are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_certain_leaves_nothing() {
    use futures::TryStreamExt;
    let (store, table, script) = scripted("refused").await;
    let before = store.list("trips/").try_collect::<Vec<_>>().await.unwrap().len();
    script.set(once(Phase::Before, denied, nobody));
    let error = append(&table, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    assert_eq!(store.list("trips/").try_collect::<Vec<_>>().await.unwrap().len(), before);
    assert_eq!(riders(&store).await, [0]);
}
