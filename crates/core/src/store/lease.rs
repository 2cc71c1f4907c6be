//! Leases: the right to do what only one process may do at a time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use super::backoff::Backoff;
use super::lock::KeyLock;
use super::{Store, Version};
use crate::{Error, ErrorKind, Result};

use renewal::Renewed;

mod renewal;

/// How long a lease is valid without a renewal; longer than any single request may take.
const TERM: Duration = Duration::from_secs(60);
/// The remaining term below which no further request may start: the client's timeout for an answer.
const MARGIN: Duration = Duration::from_secs(30);
/// How often [`Lease::hold`] checks the lease while its work is pending.
const WATCH: Duration = Duration::from_secs(1);
/// The age by the clock of the store beyond which a lease has expired for certain, so that nobody
/// needs to watch it. Far more than the clocks of the machines of one store differ by.
const LONG_DEAD: SignedDuration = SignedDuration::from_secs(180);
/// How long a waiter waits before it determines the age of the lease, which takes some requests.
const PATIENCE: Duration = Duration::from_secs(1);

/// The exclusive right to an operation that only one process may run at a time.
///
/// On local files it is a lock, which the operating system releases when the process dies. In other
/// stores, and once the lease was taken on a [shared](Store::is_shared_files) file system, it is an
/// object that a task renews every ten seconds until the lease is released or dropped. A waiter
/// takes the lease over if it was not renewed for a term of a minute by the waiter's own monotonic
/// clock, or for far longer by the clock of the store; times of two clocks are never compared.
///
/// A holder that is suspended, or whose renewals fail, does not notice by itself that its term has
/// ended. Each step therefore has to run under [`Lease::hold`], or after [`Lease::check`].
#[derive(Debug)]
pub struct Lease {
    key: String,
    held: Held,
}

/// What a lease was like when it was looked at.
#[derive(Debug, Default)]
pub struct SeenLease {
    looked: bool,
    object: Option<(Bytes, Version)>,
}

#[derive(Debug)]
enum Held {
    Lock(Arc<KeyLock>),
    Object(Renewed),
}

impl Store {
    /// Waits for the lease at `key`: without a limit if it is an object; if it is a lock, as long
    /// as its holder makes [progress](Lease::progress).
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails, or the holder of the lock has not made
    /// progress for the time that the option `lock_timeout` allows;
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`CommitUnsupported`](ErrorKind::CommitUnsupported) as
    /// [`Store::compare_and_swap`].
    pub async fn lease(&self, key: &str) -> Result<Lease> {
        self.lease_seen(key, SeenLease::default()).await
    }

    /// Looks what the lease at `key` is like, so that [`Store::lease_seen`] need not. One request;
    /// none on local files.
    pub async fn look_at_lease(&self, key: &str) -> SeenLease {
        if self.local.is_some() {
            return SeenLease::default();
        }
        match self.get_versioned(key).await {
            Ok(object) => SeenLease { looked: true, object },
            Err(_) => SeenLease::default(),
        }
    }

    /// As [`Store::lease`], of a lease that was looked at before.
    ///
    /// # Errors
    /// As [`Store::lease`].
    pub async fn lease_seen(&self, key: &str, mut looked_at: SeenLease) -> Result<Lease> {
        self.check_writable()?;
        if let Some(files) = &self.local
            && !files.is_shared()
        {
            let lock = files.lock(&self.path(key)?).await;
            let lock = lock.map_err(|error| self.request("locked", key).failed(error))?;
            // A machine that mounts the files over a network does not see the lock and has created
            // an object for the lease. This machine may be the one that serves the files.
            if self.head(key).await?.is_none() {
                return Ok(Lease { key: key.to_owned(), held: Held::Lock(lock) });
            }
        }
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        let mut seen: Option<(Version, Instant)> = None;
        let mut asked_age = false;
        loop {
            let current = match std::mem::take(&mut looked_at) {
                SeenLease { looked: true, object } => object,
                SeenLease { looked: false, .. } => self.get_versioned(key).await?,
            };
            let stale = match (&current, &seen) {
                (None, _) => true,
                // A released lease keeps its object, since deleting it could delete that of the
                // next holder.
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

    /// When the holder of the lease at `key` has renewed it, by the clock of the store; `None` if
    /// nobody holds it. A lease that is a lock of local files is not seen. One request, or two.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store fails.
    pub async fn lease_renewed_at(&self, key: &str) -> Result<Option<Timestamp>> {
        match self.get_versioned(key).await? {
            Some((bytes, _)) if bytes.starts_with(b"held") => {
                Ok(self.head(key).await?.map(|info| info.last_modified))
            }
            _ => Ok(None),
        }
    }

    /// The time since an object was written, by the clock of the store; zero if the store reports
    /// no times or the object does not exist.
    async fn age(&self, key: &str) -> Result<SignedDuration> {
        let Some(info) = self.head(key).await? else { return Ok(SignedDuration::ZERO) };
        let directory = key.rsplit_once('/').map_or("", |(directory, _)| directory);
        let clock = format!("{directory}/clock-{}", Uuid::new_v4().simple());
        let now = self.now(clock.trim_start_matches('/')).await?;
        Ok(now.duration_since(info.last_modified))
    }
}

impl Lease {
    /// Checks that the lease is still held, and for long enough to send one more request. Costs
    /// nothing.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict) if another process has taken the lease over,
    /// or could do so before the request has ended.
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

    /// Runs work while the lease is held. The work is dropped as soon as [`Lease::check`] fails, so
    /// that it sends no further request, including retries of the client.
    ///
    /// Tasks that the work has spawned are not stopped by that.
    ///
    /// # Errors
    /// The errors are those of [`Lease::check`], and those of the work.
    pub async fn hold<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (mut work, mut watch) = (pin!(work), pin!(watch()));
        poll_fn(|context| {
            self.progress();
            // Checked before each poll, since a process that was suspended resumes here.
            if let Err(error) = self.check() {
                return Poll::Ready(Err(error));
            }
            let _ = watch.as_mut().poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Does work that may go on when the lease is lost, and shows those who wait for a lock of
    /// local files that it goes on.
    pub async fn accompany<T>(&self, work: impl Future<Output = T>) -> T {
        let (mut work, mut watch) = (pin!(work), pin!(watch()));
        poll_fn(|context| {
            self.progress();
            let _ = watch.as_mut().poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Shows those who wait for the lock of local files that its holder goes on. Cheap; elsewhere
    /// it does nothing. The operations of the store on directories do it themselves, and so does
    /// [`Lease::hold`] with each step of its work.
    pub fn progress(&self) {
        if let Held::Lock(lock) = &self.held {
            lock.progress();
        }
    }

    /// Releases the lease. If that fails, it expires at the end of its term.
    pub async fn release(self, store: &Store) {
        let Held::Object(lease) = self.held else { return };
        if let Err(error) = lease.give_back(store).await {
            tracing::debug!(key = self.key, %error, "a lease could not be given back");
        }
    }
}

/// Never ends, and has the task that polls it polled again every second.
async fn watch() {
    loop {
        tokio::time::sleep(WATCH).await;
    }
}

#[cfg(test)]
mod tests;
