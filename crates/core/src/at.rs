//! Naming earlier states of datasets.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A state of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// What the commit of this number left; the version of a table.
    Number(u64),
    /// In an Icechunk repository, what a tag, a branch, or the id of a commit names, looked for in
    /// this order. What names none of these, and in all other datasets, is a number, or a time in
    /// ISO 8601, which is UTC where it says nothing else.
    Name(String),
    /// What the last commit at or before this time left, by the clocks of the writers.
    Time(Timestamp),
}

impl At {
    /// The number or the time that a text states.
    #[must_use]
    pub fn number_or_time(text: &str) -> Option<Self> {
        let number = text.parse().ok().map(Self::Number);
        let time = || text.parse().ok().map(Self::Time);
        let in_utc = || {
            let time: DateTime = text.parse().ok()?;
            Some(Self::Time(time.to_zoned(TimeZone::UTC).ok()?.timestamp()))
        };
        number.or_else(time).or_else(in_utc)
    }
}

impl From<u64> for At {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for At {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<Timestamp> for At {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Time(time) => time.fmt(f),
        }
    }
}
