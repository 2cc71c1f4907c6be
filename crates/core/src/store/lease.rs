//! What only one process may do at a time.

use std::time::Duration;

use bytes::Bytes;
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

/// The right to do what only one process may do at a time.
///
/// On local files it is a lock, which the operating system releases when the process dies. In other
/// stores it is an object that its holder renews. Whoever waits takes it over if it was not renewed
/// for a whole term by the waiter's own stopwatch, so that no two clocks are ever compared. A holder
/// that may have overslept its term finds out by [`Lease::renew`].
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
        loop {
            let current = self.get_versioned(key).await?;
            let stale = match (&current, &seen) {
                (None, _) => true,
                // Released: the object stays, since deleting it could hit its next holder.
                (Some((bytes, _)), _) if bytes.starts_with(b"free") => true,
                (Some((_, version)), Some((same, since))) if version == same => {
                    since.elapsed() > TERM
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

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
