//! The number of requests in flight to a server, adapted to what it bears.
//!
//! The client repeats requests that a server refuses because it is busy. If as many others were
//! sent meanwhile, these would be refused too, until all attempts are spent. So a refusal halves
//! the number of requests that are in flight, and answers raise it again, one by one.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use object_store::client::HttpRequest;
use tokio::sync::Notify;

/// The limit of a server that has refused nothing. Operations have limits of their own, which are
/// lower.
const MOST: usize = 256;
/// No refusal lowers the limit further.
const LEAST: usize = 4;

/// The loads of the servers that this process has asked, by host and port.
static LOADS: LazyLock<Mutex<HashMap<String, Arc<Load>>>> = LazyLock::new(Mutex::default);

/// The load of one server by this process.
#[derive(Debug, Default)]
pub(super) struct Load {
    level: Mutex<Level>,
    /// Notified when a request more may be sent.
    less: Notify,
}

#[derive(Debug)]
struct Level {
    in_flight: usize,
    limit: usize,
    /// Answers since the limit was changed.
    answers: usize,
    /// When the limit was lowered. What was sent before says nothing about the lower limit.
    lowered: Option<Instant>,
}

impl Default for Level {
    fn default() -> Self {
        Self { in_flight: 0, limit: MOST, answers: 0, lowered: None }
    }
}

impl Level {
    /// Counts a request that is sent; false if it has to wait.
    fn admit(&mut self, waits: bool) -> bool {
        let admitted = !waits || self.in_flight < self.limit;
        self.in_flight += usize::from(admitted);
        admitted
    }

    /// Adapts the limit to the answer to a request. True if it was lowered.
    fn answered(&mut self, refused: bool, sent: Instant) -> bool {
        if refused {
            let is_news = self.lowered.is_none_or(|lowered| sent >= lowered);
            if is_news {
                self.limit = (self.in_flight.min(self.limit) / 2).max(LEAST);
                (self.answers, self.lowered) = (0, Some(Instant::now()));
            }
            return is_news;
        }
        self.answers += 1;
        if self.answers >= self.limit {
            self.limit = MOST.min(self.limit + 1);
            self.answers = 0;
        }
        false
    }
}

impl Load {
    /// The load of the server that a request is for.
    pub fn of(request: &HttpRequest) -> Arc<Self> {
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let mut loads = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
        match loads.get(host) {
            Some(load) => Arc::clone(load),
            None => Arc::clone(loads.entry(host.to_owned()).or_default()),
        }
    }

    /// Waits until a request may be sent. One that does not wait, such as a commit or the renewal
    /// of a lease, counts as well.
    pub async fn enter(self: Arc<Self>, waits: bool) -> InFlight {
        loop {
            let mut less = pin!(self.less.notified());
            // A request that ends from here on is noticed.
            less.as_mut().enable();
            if self.level().admit(waits) {
                break;
            }
            less.await;
        }
        InFlight { load: self, sent: Instant::now() }
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was sent, until it is answered or given up.
#[derive(Debug)]
pub(super) struct InFlight {
    load: Arc<Load>,
    sent: Instant,
}

impl InFlight {
    /// Adapts the limit to the status of the answer.
    pub fn answered(self, status: u16) {
        let mut level = self.load.level();
        if level.answered(matches!(status, 429 | 503), self.sent) {
            let limit = level.limit;
            tracing::debug!(limit, "a server is busy; fewer requests are sent at once");
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut level = self.load.level();
        level.in_flight = level.in_flight.saturating_sub(1);
        let room = level.limit.saturating_sub(level.in_flight);
        drop(level);
        // Two may be sent for one that ended if its answer has raised the limit.
        (0..room.min(2)).for_each(|_| self.load.less.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_lower_the_limit_and_answers_raise_it() {
        let mut level = Level::default();
        assert!((0..100).all(|_| level.admit(true)));
        let first = Instant::now();
        let mut limits = Vec::new();
        for _ in 0..8 {
            let sent = Instant::now();
            assert!(level.answered(true, sent));
            // Those that were sent with it are refused as well, which is nothing new.
            assert!(!level.answered(true, first.checked_sub(Duration::from_secs(1)).unwrap()));
            limits.push(level.limit);
        }
        assert_eq!(limits, [50, 25, 12, 6, 4, 4, 4, 4]);
        assert!(!level.admit(true) && level.admit(false), "commits do not wait");
        for _ in 0..4 {
            level.answered(false, first);
        }
        assert_eq!(level.limit, 5);
        for _ in 0..100_000 {
            level.answered(false, first);
        }
        assert_eq!(level.limit, MOST);
    }

    #[tokio::test]
    async fn all_requests_are_sent_and_no_more_at_once_than_the_limit() {
        let load = Arc::new(Load::default());
        load.level().limit = LEAST;
        let request = async |number: u16| {
            let sent = Arc::clone(&load).enter(true).await;
            let at_once = load.level().in_flight;
            assert!(at_once <= load.level().limit, "{at_once}");
            tokio::task::yield_now().await;
            match number % 3 {
                // Given up without an answer.
                0 => drop(sent),
                1 => sent.answered(503),
                _ => sent.answered(200),
            }
        };
        futures::future::join_all((0..200).map(request)).await;
        assert_eq!(load.level().in_flight, 0);
    }
}
