//! Taking back the creation of a collection, while another writer uses it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use partita_array::layout::Layout;
use partita_array::{Collection, InsertOptions};
use partita_core::testing::ScriptedStore;
use partita_core::{ErrorKind, Result, Store};

use crate::rows::{Row, create, dataset, days, memory, read};

const LAYOUTS: [Layout; 2] = [Layout::ZarrV2, Layout::ZarrV3];

/// The same collection through a store that counts requests, and does something once, at one of the
/// moments before and after them.
pub async fn watched(
    store: &Store,
    moment: usize,
    action: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
) -> (Collection, Arc<AtomicUsize>) {
    let mut script = None;
    let wrapped = store.wrap(|inner| {
        let scripted = ScriptedStore::new(inner);
        script = Some(scripted.clone());
        Arc::new(scripted)
    });
    let collection = Collection::open_in(wrapped).await.unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let action = Arc::new(Mutex::new(Some(action)));
    script.unwrap().set(Arc::new(move |_| {
        let now = counted.fetch_add(1, Ordering::SeqCst) == moment;
        let action = action.lock().unwrap().take_if(|_| now);
        async move {
            if let Some(action) = action {
                action().await;
            }
            None
        }
        .boxed()
    }));
    (collection, seen)
}

async fn insert(collection: &Collection, rows: &[Row]) -> Result<()> {
    collection.insert(&dataset(rows), &InsertOptions::default()).await.map(drop)
}

/// Either the rows are stored and the collection stays, or the writer got an error and nothing is left.
async fn check(store: &Store, undone: Result<()>, inserted: Result<()>, moment: usize) {
    match (undone, inserted) {
        (Err(error), Ok(())) => {
            assert_eq!(error.kind(), ErrorKind::CommitConflict, "{moment}: {error}");
            let collection = Collection::open_in(store.clone()).await.unwrap();
            assert_eq!(read(&collection).await, days(0..1, 1), "{moment}");
        }
        (Ok(()), Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{moment}: {error}");
            let gone = Collection::open_in(store.clone()).await.unwrap_err();
            assert_eq!(gone.kind(), ErrorKind::NotFound, "{moment}: {gone}");
        }
        (Ok(()), Ok(())) => panic!("{moment}: the rows that were inserted are lost"),
        (Err(undone), Err(inserted)) => panic!("{moment}: {undone}; {inserted}"),
    }
}

#[tokio::test]
async fn an_insert_at_any_moment_of_it_is_stored_or_refused() {
    for layout in LAYOUTS {
        for moment in 0.. {
            let store = memory();
            create(store.clone(), layout).await;
            let other = Collection::open_in(store.clone()).await.unwrap();
            let inserted = Arc::new(Mutex::new(None));
            let outcome = Arc::clone(&inserted);
            let action = move || {
                async move {
                    let done = insert(&other, &days(0..1, 1)).await;
                    *outcome.lock().unwrap() = Some(done);
                }
                .boxed()
            };
            let (collection, _) = watched(&store, moment, action).await;
            let undone = collection.undo_creation().await;
            let Some(inserted) = inserted.lock().unwrap().take() else {
                undone.unwrap();
                let left: Vec<_> = store.list("").try_collect().await.unwrap();
                assert!(left.is_empty(), "{left:?}");
                assert!(moment > 8, "there were more requests");
                break;
            };
            check(&store, undone, inserted, moment).await;
        }
    }
}

#[tokio::test]
async fn at_any_moment_of_an_insert_it_loses_no_rows() {
    for layout in LAYOUTS {
        for moment in 0.. {
            let store = memory();
            let made = create(store.clone(), layout).await;
            let undone = Arc::new(Mutex::new(None));
            let outcome = Arc::clone(&undone);
            let action = move || {
                async move {
                    let done = made.undo_creation().await;
                    *outcome.lock().unwrap() = Some(done);
                }
                .boxed()
            };
            let (collection, seen) = watched(&store, moment, action).await;
            let inserted = insert(&collection, &days(0..1, 1)).await;
            if seen.load(Ordering::SeqCst) <= moment {
                inserted.unwrap();
                break;
            }
            let undone = undone.lock().unwrap().take().unwrap();
            check(&store, undone, inserted, moment).await;
        }
    }
}
