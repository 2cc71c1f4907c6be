//! What only one process may do at a time.

use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::time::Instant;
use uuid::Uuid;

use super::backoff::Backoff;
use super::lock::KeyLock;
use super::{Store, Swap, Version};
use crate::{Error, ErrorKind, Result};

/// How long a lease holds that is not renewed. Longer than any single request may take.
const TERM: Duration = Duration::from_secs(60);
/// After this part of its term a holder renews.
const RENEW_AFTER: Duration = Duration::from_secs(15);
/// A lease that is so old by the clock of the store need not be watched: its holder is long dead. Far
/// more than the clocks of the machines of one store differ by.
const LONG_DEAD: SignedDuration = SignedDuration::from_secs(180);
/// How long one waits before asking for the age, which takes some requests.
const PATIENCE: Duration = Duration::from_secs(1);

/// The right to do what only one process may do at a time.
///
/// On local files it is a lock, which the operating system releases when the process dies. In other
/// stores it is an object that its holder renews. Whoever waits takes it over if it was not renewed
/// for a whole term by the waiter's own stopwatch, or for far longer by the clock of the store, so
/// that no two clocks are ever compared. A holder that may have overslept its term finds out by
/// [`Lease::renew`].
#[derive(Debug)]
pub struct Lease {
    key: String,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Lock(#[expect(dead_code, reason = "held until dropped")] KeyLock),
    Object { id: String, version: Version, renewed: Instant },
}

impl Store {
    /// Waits for the lease at `key`, as long as it takes.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails, or the lock of a local store is held for
    /// longer than its timeout; [`ReadOnly`](ErrorKind::ReadOnly);
    /// [`CommitUnsupported`](ErrorKind::CommitUnsupported) as [`Store::compare_and_swap`].
    pub async fn lease(&self, key: &str) -> Result<Lease> {
        self.check_writable()?;
        if let Some(files) = &self.local {
            let lock = files.lock(&self.path(key)?).await;
            let lock = lock.map_err(|error| self.request("locked", key).failed(error))?;
            return Ok(Lease { key: key.to_owned(), held: Held::Lock(lock) });
        }
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        let mut seen: Option<(Version, Instant)> = None;
        let mut asked_age = false;
        loop {
            let current = self.get_versioned(key).await?;
            let stale = match (&current, &seen) {
                (None, _) => true,
                // Released: the object stays, since deleting it could hit its next holder.
                (Some((bytes, _)), _) if bytes.starts_with(b"free") => true,
                (Some((_, version)), Some((same, since))) if version == same => {
                    let waited = since.elapsed();
                    let asks = !asked_age && waited > PATIENCE;
                    asked_age |= asks;
                    waited > TERM || (asks && self.age(key).await? > LONG_DEAD)
                }
                (Some((_, version)), _) => {
                    seen = Some((version.clone(), Instant::now()));
                    false
                }
            };
            if stale {
                let id = Uuid::new_v4().simple().to_string();
                let asked = Instant::now();
                let body = Bytes::from(format!("held {id}"));
                let expected = current.as_ref().map(|(_, version)| version);
                if let Swap::Done(version) = self.compare_and_swap(key, expected, body, &id).await?
                {
                    let held = Held::Object { id, version, renewed: asked };
                    return Ok(Lease { key: key.to_owned(), held });
                }
            }
            backoff.wait().await;
        }
    }

    /// How long ago an object was written, by the clock of the store alone; zero where that tells no
    /// times, and for what is not there.
    async fn age(&self, key: &str) -> Result<SignedDuration> {
        let Some(info) = self.head(key).await? else { return Ok(SignedDuration::ZERO) };
        let now = self.now(&format!("{key}-clock-{}", Uuid::new_v4().simple())).await?;
        Ok(now.duration_since(info.last_modified))
    }
}

impl Lease {
    /// Says that the holder is alive; to be called before each step. Costs a request now and then.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict) if the lease was lost: its holder did nothing
    /// for a whole term.
    pub async fn renew(&mut self, store: &Store) -> Result<()> {
        let Held::Object { id, version, renewed } = &mut self.held else { return Ok(()) };
        if renewed.elapsed() < RENEW_AFTER {
            return Ok(());
        }
        let next = Uuid::new_v4().simple().to_string();
        let asked = Instant::now();
        let body = Bytes::from(format!("held {next}"));
        match store.compare_and_swap(&self.key, Some(version), body, &next).await? {
            Swap::Done(new) => {
                (*id, *version, *renewed) = (next, new, asked);
                Ok(())
            }
            Swap::Lost { .. } => Err(Error::new(
                ErrorKind::CommitConflict,
                "this process was paused for so long that another took over its work",
            )
            .with("key", &self.key)),
        }
    }

    /// Gives the lease back. If that fails it ends with its term.
    pub async fn release(self, store: &Store) {
        let Held::Object { id, version, .. } = self.held else { return };
        let body = Bytes::from(format!("free {id}"));
        let freed = store.compare_and_swap(&self.key, Some(&version), body, &id).await;
        if let Err(error) = freed {
            tracing::debug!(key = self.key, %error, "a lease could not be given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use futures::TryStreamExt;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult,
    };

    use super::*;
    use crate::StoreOptions;

    async fn takes_turns(store: Store) {
        let inside = Arc::new(AtomicU32::new(0));
        let tasks = (0..6).map(|_| {
            let (store, inside) = (store.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for _ in 0..3 {
                    let mut lease = store.lease(".partita/publish").await.unwrap();
                    lease.renew(&store).await.unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    lease.release(&store).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_holder_at_a_time() {
        takes_turns(Store::open("memory://leases", &StoreOptions::default()).unwrap()).await;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        takes_turns(Store::open(root, &StoreOptions::default()).unwrap()).await;
    }

    /// A store in which the object `lease` was written so many seconds earlier than the others.
    #[derive(Debug)]
    struct Aged(InMemory, u64);

    impl fmt::Display for Aged {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("aged")
        }
    }

    #[async_trait]
    impl ObjectStore for Aged {
        async fn put_opts(
            &self,
            at: &Path,
            payload: PutPayload,
            options: PutOptions,
        ) -> object_store::Result<PutResult> {
            self.0.put_opts(at, payload, options).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(at, options).await
        }

        async fn get_opts(
            &self,
            at: &Path,
            options: GetOptions,
        ) -> object_store::Result<GetResult> {
            let mut found = self.0.get_opts(at, options).await?;
            if at.as_ref() == "lease" {
                found.meta.last_modified -= Duration::from_secs(self.1);
            }
            Ok(found)
        }

        fn delete_stream(
            &self,
            paths: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.0.delete_stream(paths)
        }

        fn list(&self, at: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.0.list(at)
        }

        async fn list_with_delimiter(&self, at: Option<&Path>) -> object_store::Result<ListResult> {
            self.0.list_with_delimiter(at).await
        }

        async fn copy_opts(
            &self,
            from: &Path,
            to: &Path,
            options: CopyOptions,
        ) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_died_long_ago_is_not_waited_for() {
        for (age, waits) in [(0, true), (120, true), (600, false)] {
            let aged = Arc::new(Aged(InMemory::new(), age));
            let store = Store::from_object_store(aged, "aged://lease", &StoreOptions::default());
            drop(store.lease("lease").await.unwrap());
            let began = Instant::now();
            let mut lease = store.lease("lease").await.unwrap();
            assert_eq!(began.elapsed() > TERM, waits, "{age}");
            lease.renew(&store).await.unwrap();
            let left: Vec<_> = store.list("").try_collect().await.unwrap();
            assert_eq!(left.len(), 1, "what told the time is gone");
        }
    }

    #[tokio::test]
    async fn a_lease_that_was_lost_is_noticed() {
        let store = Store::open("memory://lost-lease", &StoreOptions::default()).unwrap();
        let mut lease = store.lease("lease").await.unwrap();
        let Held::Object { renewed, version, .. } = &mut lease.held else { panic!() };
        *renewed = Instant::now().checked_sub(TERM).unwrap();
        let (version, body) = (version.clone(), Bytes::from("held by another"));
        let swap = store.compare_and_swap("lease", Some(&version), body, "another").await.unwrap();
        assert!(matches!(swap, Swap::Done(_)));
        assert_eq!(lease.renew(&store).await.unwrap_err().kind(), ErrorKind::CommitConflict);
    }
}
