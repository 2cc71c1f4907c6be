//! What only one process may do at a time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;
use uuid::Uuid;

use super::backoff::Backoff;
use super::lock::KeyLock;
use super::{Store, Version};
use crate::{Error, ErrorKind, Result};

use renewal::Renewed;

mod renewal;

/// How long a lease holds that is not renewed. Longer than any single request may take.
const TERM: Duration = Duration::from_secs(60);
/// A lease with less than this left of its term does not allow another request: as long as the client
/// waits for an answer.
const MARGIN: Duration = Duration::from_secs(30);
/// How often [`Lease::hold`] looks at the lease while its work waits for something else.
const WATCH: Duration = Duration::from_secs(1);
/// A lease that is so old by the clock of the store need not be watched: its holder is long dead. Far
/// more than the clocks of the machines of one store differ by.
const LONG_DEAD: SignedDuration = SignedDuration::from_secs(180);
/// How long one waits before asking for the age, which takes some requests.
const PATIENCE: Duration = Duration::from_secs(1);

/// The right to do what only one process may do at a time.
///
/// On local files it is a lock, which the operating system releases when the process dies. In other
/// stores, and once the lease was taken where the file system is [shared](Store::is_shared_files), it is
/// an object that a task renews every ten seconds until the lease is released or dropped. Whoever waits takes it over if it was not
/// renewed for a term of a minute by the waiter's own stopwatch, or for far longer by the clock of
/// the store, so that no two clocks are ever compared.
///
/// A holder may be suspended, or its renewals may not get through, and it does not notice that its
/// term ends. So each step has to be taken under [`Lease::hold`], or after [`Lease::check`].
#[derive(Debug)]
pub struct Lease {
    key: String,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Lock(Arc<KeyLock>),
    Object(Renewed),
}

impl Store {
    /// Waits for the lease at `key`. For an object as long as it takes; for a lock as long as its
    /// holder makes [progress](Lease::progress).
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails, or the holder of the lock has not made progress
    /// for the time that the option `lock_timeout` allows; [`ReadOnly`](ErrorKind::ReadOnly);
    /// [`CommitUnsupported`](ErrorKind::CommitUnsupported) as [`Store::compare_and_swap`].
    pub async fn lease(&self, key: &str) -> Result<Lease> {
        self.check_writable()?;
        if let Some(files) = &self.local
            && !files.is_shared()
        {
            let lock = files.lock(&self.path(key)?).await;
            let lock = lock.map_err(|error| self.request("locked", key).failed(error))?;
            // A machine that has the files over a network knows nothing of the lock, and has made an
            // object of the lease. This may be the machine that serves them.
            if self.head(key).await?.is_none() {
                return Ok(Lease { key: key.to_owned(), held: Held::Lock(lock) });
            }
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
                let expected = current.as_ref().map(|(_, version)| version);
                if let Some(held) = Renewed::take(self, key, expected).await? {
                    return Ok(Lease { key: key.to_owned(), held: Held::Object(held) });
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
    /// Says whether the lease is still held, and for long enough to send one more request. Costs
    /// nothing.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict) if somebody else has taken it over, or could
    /// before the request has ended.
    pub fn check(&self) -> Result<()> {
        let Held::Object(lease) = &self.held else { return Ok(()) };
        let why = if lease.is_taken() {
            "another process has taken over the work of this one"
        } else if lease.age() >= TERM.saturating_sub(MARGIN) {
            "this process was suspended or could not reach the store for so long that another one \
             may take over its work"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::CommitConflict, why).with("key", &self.key))
    }

    /// Does work as long as the lease is held. The work is dropped as soon as [`Lease::check`] fails,
    /// so that it sends no further request, not even by the repetitions of the client.
    ///
    /// What the work has spawned as tasks of their own is not stopped by that.
    ///
    /// # Errors
    /// As [`Lease::check`], and those of the work.
    pub async fn hold<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (mut work, mut watch) = (pin!(work), pin!(watch()));
        poll_fn(|context| {
            self.progress();
            // Before each step: a process that was suspended goes on here.
            if let Err(error) = self.check() {
                return Poll::Ready(Err(error));
            }
            let _ = watch.as_mut().poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Shows those who wait for the lock of local files that its holder goes on. Cheap; elsewhere it does
    /// nothing. The operations of the store on directories do it themselves, and so does
    /// [`Lease::hold`] with each step of its work.
    pub fn progress(&self) {
        if let Held::Lock(lock) = &self.held {
            lock.progress();
        }
    }

    /// Gives the lease back. If that fails it ends with its term.
    pub async fn release(self, store: &Store) {
        let Held::Object(lease) = self.held else { return };
        if let Err(error) = lease.give_back(store).await {
            tracing::debug!(key = self.key, %error, "a lease could not be given back");
        }
    }
}

/// Has whoever polls this polled again, time after time.
async fn watch() {
    loop {
        tokio::time::sleep(WATCH).await;
    }
}

#[cfg(test)]
mod tests;
