//! Faults that the server injects.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Faults of a server; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every `busy_every`-th request is answered 503 and not carried out. Zero: never.
    pub busy_every: u64,
    /// Every `lose_every`-th conditional put is carried out and answered 500. Zero: never.
    pub lose_every: u64,
    /// Conditions of puts are ignored: every writer wins.
    pub ignore_conditions: bool,
    /// Conditions are checked, but not atomically with the write.
    pub unlocked: bool,
    /// Milliseconds by which each request is delayed before it is carried out.
    pub delay_ms: u64,
}

impl Faults {
    /// Adds the faults of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            busy_every: self.busy_every.max(other.busy_every),
            lose_every: self.lose_every.max(other.lose_every),
            ignore_conditions: self.ignore_conditions || other.ignore_conditions,
            unlocked: self.unlocked || other.unlocked,
            delay_ms: self.delay_ms.max(other.delay_ms),
        }
    }
}

/// Parses `busy:N`, `lost:N`, `slow:MILLISECONDS`, `unconditional` or `unlocked`.
impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = Self::default();
        let (name, every) = text.split_once(':').unwrap_or((text, ""));
        let every = || match every.parse::<u64>() {
            Ok(every) if every > 0 => Ok(every),
            _ => Err(format!("`{name}` needs a number: {name}:10 is every tenth request")),
        };
        match name {
            "busy" => Ok(Self { busy_every: every()?, ..none }),
            "lost" => Ok(Self { lose_every: every()?, ..none }),
            "slow" => Ok(Self { delay_ms: every()?, ..none }),
            "unconditional" => Ok(Self { ignore_conditions: true, ..none }),
            "unlocked" => Ok(Self { unlocked: true, ..none }),
            _ => Err(
                "known faults are busy:N, lost:N, slow:MILLISECONDS, unconditional and unlocked"
                    .to_owned(),
            ),
        }
    }
}

/// Counts events, and selects every `every`-th.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts an event; true if its number is a multiple of `every`.
    pub fn hits(&self, every: u64) -> bool {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        every > 0 && number.is_multiple_of(every)
    }

    /// The number of events so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let faults = ["busy:3", "lost:5", "slow:30", "unlocked"]
            .map(|text| text.parse::<Faults>().unwrap())
            .into_iter()
            .fold(Faults::default(), Faults::and);
        let expected = Faults {
            busy_every: 3,
            lose_every: 5,
            ignore_conditions: false,
            unlocked: true,
            delay_ms: 30,
        };
        assert_eq!(faults, expected);
        assert!(["busy", "busy:0", "lost:x", "rain"].iter().all(|t| t.parse::<Faults>().is_err()));
    }

    #[test]
    fn counting() {
        let counter = Counter::default();
        let hits: Vec<bool> = (0..6).map(|_| counter.hits(3)).collect();
        assert_eq!(hits, [false, false, true, false, false, true]);
        assert!(!counter.hits(0));
        assert_eq!(counter.count(), 7);
    }
}
