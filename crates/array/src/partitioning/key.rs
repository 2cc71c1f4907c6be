//! The key of a partition.

use std::fmt;
use std::sync::Arc;

/// The key of a partition: ordered fields, each with a number. Keys are ordered by these values.
///
/// The numbers can hold signed and unsigned integers of 64 bits and every year.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    // The values come first, since the derived ordering compares fields in this order.
    values: Vec<i128>,
    fields: Arc<[String]>,
}

impl Key {
    /// The key of `fields` with their values; fields without a value are left out.
    #[must_use]
    pub fn new(fields: Arc<[String]>, values: Vec<i128>) -> Self {
        Self { values, fields }
    }

    /// The fields with their values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, i128)> {
        self.fields.iter().map(String::as_str).zip(self.values.iter().copied())
    }

    /// The value of `field`.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<i128> {
        self.pairs().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// The values, in the order of the fields.
    #[must_use]
    pub fn values(&self) -> &[i128] {
        &self.values
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (field, value)) in self.pairs().enumerate() {
            write!(f, "{}{field}={value}", if i == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}
