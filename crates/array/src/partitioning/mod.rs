//! The mapping of rows to partitions: by date, by the values of integer variables, or by ranges of
//! these values.
//!
//! Rows are grouped by key in any order of the input, and keep their order within a group; rows
//! with the same key need not be consecutive. Partitions are ordered by the values of their keys,
//! never by the text of their paths.

mod group;
mod key;
mod path;

use partita_core::partition::Resolution;
use partita_core::{Error, Result};

pub use group::Group;
pub use key::Key;
pub use path::Digits;
pub(crate) use path::{parse_as, parse_component};

use crate::dataset::{DType, Schema};
use crate::encoded_time::EncodedTime;

/// The mapping of rows to partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Partitioning {
    /// By the date in a variable of times.
    Date {
        /// The name of the variable.
        variable: String,
        /// The last field of the key.
        resolution: Resolution,
    },
    /// By the values of integer variables.
    Sequence {
        /// The names of the variables.
        variables: Vec<String>,
    },
    /// By the values of integer variables, where this many consecutive values of the last one form
    /// a group.
    GroupedSequence {
        /// The names of the variables.
        variables: Vec<String>,
        /// The number of values per group.
        size: u64,
        /// The first value of a group, from which the others are counted.
        start: i64,
    },
}

impl Partitioning {
    /// By the date in `variable`.
    #[must_use]
    pub fn date(variable: &str, resolution: Resolution) -> Self {
        Self::Date { variable: variable.to_owned(), resolution }
    }

    /// By the values of integer variables.
    #[must_use]
    pub fn sequence<V: AsRef<str>>(variables: &[V]) -> Self {
        Self::Sequence { variables: variables.iter().map(|v| v.as_ref().to_owned()).collect() }
    }

    /// By the values of integer variables, where `size` consecutive values of the last one form a
    /// group, counted from `start`.
    #[must_use]
    pub fn grouped_sequence<V: AsRef<str>>(variables: &[V], size: u64, start: i64) -> Self {
        let variables = variables.iter().map(|v| v.as_ref().to_owned()).collect();
        Self::GroupedSequence { variables, size, start }
    }

    /// The variables whose values determine the keys.
    #[must_use]
    pub fn variables(&self) -> Vec<&str> {
        match self {
            Self::Date { variable, .. } => vec![variable],
            Self::Sequence { variables } | Self::GroupedSequence { variables, .. } => {
                variables.iter().map(String::as_str).collect()
            }
        }
    }

    /// The fields of a key: `year`, `month`, … or the names of the variables.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Date { resolution, .. } => resolution.fields().to_vec(),
            Self::Sequence { .. } | Self::GroupedSequence { .. } => self.variables(),
        }
    }

    /// Checks that the variables exist, have `dimension` alone, and have a type that can be used
    /// for partitioning.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) or
    /// [`NotFound`](partita_core::ErrorKind::NotFound), with the variable's name.
    pub fn check(&self, schema: &Schema, dimension: &str) -> Result<()> {
        if self.variables().is_empty() {
            return Err(Error::invalid("a partitioning needs at least one variable"));
        }
        if let Self::GroupedSequence { size: 0 | 1, .. } = self {
            return Err(Error::invalid(
                "the size of a group of values must be at least two; use a sequence instead",
            ));
        }
        let mut seen = Vec::new();
        for name in self.variables() {
            let named = |error: Error| error.with("variable", name);
            if seen.contains(&name) {
                return Err(named(Error::invalid(
                    "the same variable is given twice for the partitioning",
                )));
            }
            seen.push(name);
            let variable = schema.variables.get(name).ok_or_else(|| {
                let kind = partita_core::ErrorKind::NotFound;
                named(Error::new(kind, "the variable that partitions does not exist"))
            })?;
            if variable.dimensions != [dimension] {
                return Err(named(Error::invalid(
                    "the variable that partitions must have one dimension, that of the axis",
                ))
                .with("dimension", dimension)
                .with("found", variable.dimensions.join(", ")));
            }
            self.check_type(variable.dtype, EncodedTime::of(variable)).map_err(named)?;
        }
        Ok(())
    }

    fn check_type(&self, dtype: DType, counted: Option<EncodedTime>) -> Result<()> {
        let (fits, wanted) = match self {
            Self::Date { .. } => {
                let is_time = matches!(dtype, DType::DateTime(..)) || counted.is_some();
                (is_time, "datetime64, or numbers with units of time and a calendar")
            }
            _ => (dtype.is_integer(), "an integer type"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::invalid("a variable of this type cannot be used for partitioning")
            .with("expected", wanted)
            .with("found", dtype))
    }
}
