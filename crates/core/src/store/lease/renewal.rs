//! The object of a lease, and the task that renews it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::Result;
use crate::store::{Store, Swap, Version};

/// The interval between renewals.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The timeout of one renewal request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The delay before a failed renewal is retried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A lease that is renewed until this is dropped.
#[derive(Debug)]
pub(super) struct Renewed {
    lease: Arc<Object>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Object {
    key: String,
    known: Mutex<Known>,
    /// Held while a request changes the object.
    changing: tokio::sync::Mutex<()>,
}

/// The last known state of the object.
#[derive(Debug)]
struct Known {
    version: Version,
    /// When the last successful renewal was sent.
    asked: Asked,
    taken: bool,
    /// Renewals whose answers were lost: each may have been carried out, or may still be.
    unanswered: Vec<(String, Asked)>,
}

/// A moment, by the monotonic clock of this process.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    /// The same moment by a clock that also runs while the machine is suspended.
    awake_or_not: Option<Duration>,
}

impl Asked {
    fn now() -> Self {
        Self { at: Instant::now(), awake_or_not: since_boot() }
    }

    fn age(self) -> Duration {
        let slept = since_boot().zip(self.awake_or_not);
        let slept = slept.map(|(now, then)| now.saturating_sub(then)).unwrap_or_default();
        self.at.elapsed().max(slept)
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::Boottime)).ok()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Option<Duration> {
    None
}

impl Renewed {
    /// Takes the lease if the object still has the version `expected`.
    pub async fn take(
        store: &Store,
        key: &str,
        expected: Option<&Version>,
    ) -> Result<Option<Self>> {
        let (id, body) = held();
        let asked = Asked::now();
        let Swap::Done(version) = store.compare_and_swap(key, expected, body, &id).await? else {
            return Ok(None);
        };
        let known = Known { version, asked, taken: false, unanswered: Vec::new() };
        let lease = Object { key: key.to_owned(), known: known.into(), changing: ().into() };
        let lease = Arc::new(lease);
        let task = tokio::spawn(renew(Arc::clone(&lease), store.clone())).abort_handle();
        Ok(Some(Self { lease, task }))
    }

    /// True if another process is known to hold the lease.
    pub fn is_taken(&self) -> bool {
        self.lease.known().taken
    }

    /// The time since the last renewal.
    pub fn age(&self) -> Duration {
        self.lease.known().asked.age()
    }

    /// Releases the lease.
    pub async fn give_back(&self, store: &Store) -> Result<()> {
        // A renewal in flight must finish first: it must not overwrite the release.
        let _changing = self.lease.changing.lock().await;
        self.task.abort();
        let id = Uuid::new_v4().simple().to_string();
        let mut tries = 1 + self.lease.known().unanswered.len();
        loop {
            let version = self.lease.known().version.clone();
            let body = Bytes::from(format!("free {id}"));
            let freed = store.compare_and_swap(&self.lease.key, Some(&version), body, &id).await?;
            let Swap::Lost { current } = freed else { return Ok(()) };
            tries -= 1;
            if tries == 0 || !self.lease.recognise(current) {
                return Ok(());
            }
        }
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Object {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease once.
    async fn renew(&self, store: &Store) -> Result<()> {
        let _changing = self.changing.lock().await;
        let (id, body) = held();
        let asked = Asked::now();
        let version = {
            let mut known = self.known();
            known.unanswered.push((id.clone(), asked));
            known.version.clone()
        };
        match store.compare_and_swap(&self.key, Some(&version), body, &id).await? {
            Swap::Done(version) => self.known().renewed(version, asked),
            Swap::Lost { current } => {
                self.recognise(current);
            }
        }
        Ok(())
    }

    /// Compares the stored object with this lease. True if it is ours, by a renewal whose answer
    /// was lost.
    fn recognise(&self, current: Option<(Bytes, Version)>) -> bool {
        let mut known = self.known();
        let own = current.and_then(|(bytes, version)| {
            let is_there = |(id, _): &&(String, Asked)| bytes == body_of(id);
            Some((version, known.unanswered.iter().find(is_there)?.1))
        });
        match own {
            Some((version, asked)) => known.renewed(version, asked),
            None => known.taken = true,
        }
        !known.taken
    }
}

impl Known {
    /// Records a renewal. Earlier requests can no longer succeed: the object has another version.
    fn renewed(&mut self, version: Version, asked: Asked) {
        (self.version, self.asked) = (version, asked);
        self.unanswered.clear();
    }
}

fn held() -> (String, Bytes) {
    let id = Uuid::new_v4().simple().to_string();
    let body = body_of(&id);
    (id, body)
}

fn body_of(id: &str) -> Bytes {
    Bytes::from(format!("held {id}"))
}

async fn renew(lease: Arc<Object>, store: Store) {
    let mut next = lease.known().asked.at + RENEW_EVERY;
    while !lease.known().taken {
        sleep_until(next).await;
        let before = lease.known().asked.at;
        match timeout(PATIENCE, lease.renew(&store)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(key = lease.key, %error, "a lease is not renewed yet")
            }
            Err(_) => tracing::debug!(key = lease.key, "a renewal of a lease takes long"),
        }
        let asked = lease.known().asked.at;
        next = if asked == before { Instant::now() + RETRY_AFTER } else { asked + RENEW_EVERY };
    }
}
