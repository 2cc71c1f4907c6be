//! Delays between attempts: exponential, with jitter. The only code of the store that sleeps.

use std::time::Duration;

/// Delays that double up to a limit, each shortened by a random share so that writers that lost
/// the same race do not meet again.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Begins with `first` and never waits longer than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// For requests that a store failed to answer.
    pub fn for_requests() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_secs(2))
    }

    /// For a lock that another process holds for the duration of one small write.
    pub fn for_locks() -> Self {
        Self::new(Duration::from_micros(500), Duration::from_millis(20))
    }

    /// Waits, then doubles the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.advance()).await;
    }

    fn advance(&mut self) -> Duration {
        let delay = self.next.mul_f64(0.25 + 0.75 * jitter());
        self.next = (self.next * 2).min(self.longest);
        delay
    }
}

/// A random number from 0 to 1. In a simulation its seed determines it.
fn jitter() -> f64 {
    #[cfg(any(test, feature = "testing"))]
    if let Some(jitter) = crate::testing::simulated_jitter() {
        return jitter;
    }
    rand::random()
}

/// Waits before attempt number `attempt` (counted from one) is repeated: `first`, doubled with each
/// attempt up to two seconds, shortened at random.
pub async fn backoff(attempt: u32, first: Duration) {
    let longest = Duration::from_secs(2);
    let doubled = first.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
    Backoff::new(doubled.min(longest), longest).wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
        for limit in [10, 20, 40, 40, 40] {
            let delay = backoff.advance();
            assert!(delay <= Duration::from_millis(limit), "{delay:?}");
            assert!(delay >= Duration::from_millis(limit) / 4 - Duration::from_micros(1));
        }
    }
}
