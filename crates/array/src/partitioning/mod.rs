//! How the rows of a dataset map to partitions: by date, by the values of integer variables, or by
//! ranges of them.
//!
//! Rows are grouped by key whatever their order, and keep it within a group; a key that comes back
//! after others joins its earlier rows. Partitions are ordered by the values of their keys, never
//! by the text of their paths.

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

/// The rule that maps rows to partitions.
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
    /// By the values of integer variables, so many neighbouring values of the last one together.
    GroupedSequence {
        /// The names of the variables.
        variables: Vec<String>,
        /// How many values are together.
        size: u64,
        /// A value with which a group begins.
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

    /// By the values of integer variables, `size` neighbouring values of the last one together,
    /// from `start` on.
    #[must_use]
    pub fn grouped_sequence<V: AsRef<str>>(variables: &[V], size: u64, start: i64) -> Self {
        let variables = variables.iter().map(|v| v.as_ref().to_owned()).collect();
        Self::GroupedSequence { variables, size, start }
    }

    /// The variables whose values make the keys.
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

    /// Checks that the variables are there, along `dimension` only, and of a type that can
    /// partition.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) or
    /// [`NotFound`](partita_core::ErrorKind::NotFound), with the variable's name.
    pub fn check(&self, schema: &Schema, dimension: &str) -> Result<()> {
        if self.variables().is_empty() {
            return Err(Error::invalid("a partitioning needs a variable"));
        }
        if let Self::GroupedSequence { size: 0 | 1, .. } = self {
            return Err(Error::invalid("a group of values holds at least two; use a sequence"));
        }
        let mut seen = Vec::new();
        for name in self.variables() {
            let named = |error: Error| error.with("variable", name);
            if seen.contains(&name) {
                return Err(named(Error::invalid("a variable partitions twice")));
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
            self.check_type(variable.dtype).map_err(named)?;
        }
        Ok(())
    }

    fn check_type(&self, dtype: DType) -> Result<()> {
        let (fits, wanted) = match self {
            Self::Date { .. } => (matches!(dtype, DType::DateTime(..)), "datetime64"),
            _ => (dtype.is_integer(), "an integer type"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::invalid("a variable of this type cannot partition")
            .with("expected", wanted)
            .with("found", dtype))
    }
}
