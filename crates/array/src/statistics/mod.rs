//! Statistics of the values in each partition, by which a condition on a coordinate skips
//! partitions that cannot have matching rows.
//!
//! They are stored beside the data, under `.partita/statistics/`, where ZCollection does not look.
//! Each names the objects that it was made of: if one of these was written since, by any program,
//! the statistics are ignored. Missing or outdated statistics therefore cost time, and never change
//! the result. In an Icechunk repository each commit contains the statistics of the state that it
//! leaves.
//!
//! - `bounds`: minimum and maximum of columns, and their form in documents.
//! - `documents`: storage. A commit carries the statistics of the partitions that it changes, and
//!   its publisher writes them to a document.
//! - `prune`: excludes partitions by their statistics. `rebuild`: makes statistics from the data.

mod bounds;
mod documents;
mod prune;
mod rebuild;

use std::collections::BTreeMap;

use arrow::array::Array as _;
pub(crate) use documents::{Statistics, note, replace_documents};
use partita_core::Result;
use partita_core::store::{ObjectVersion, fingerprint_of};
pub(crate) use rebuild::rebuild;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::columns::{column_of, column_type};
use crate::dataset::Dataset;
use crate::layout::Config;

/// Statistics of one variable in one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableStatistics {
    /// The number of rows of the partition.
    pub rows: u64,
    /// The number of values that are "not a time".
    pub nulls: u64,
    /// A lower bound of the values. Times and durations are numbers in their own unit,
    /// floating-point numbers are texts; NaN is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// An upper bound of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// The fingerprint of the published objects of the variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<String>,
}

/// The statistics of a partition, by the paths of variables.
pub type PartitionStatistics = BTreeMap<String, VariableStatistics>;

impl Config {
    /// The variables that have statistics: the axis, and those chosen for the collection.
    pub(crate) fn summarised(&self) -> Vec<String> {
        let own = self.axis_variable().into_iter().chain(self.statistics.iter().cloned());
        let mut names: Vec<String> = own.filter(|name| self.can_summarise(name)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// True if the variable has the partitioned dimension alone, and values that can be compared.
    pub(crate) fn can_summarise(&self, path: &str) -> bool {
        self.schema.variable(path).is_some_and(|variable| {
            variable.dimensions == [self.dimension.as_str()]
                && column_type(variable.dtype).is_some()
        })
    }
}

/// Computes the statistics of a partition that consists of these rows, for the variables in `rows`.
pub(crate) fn summarise(config: &Config, rows: &Dataset) -> Result<PartitionStatistics> {
    let mut found = PartitionStatistics::new();
    for path in config.summarised() {
        let Some(variable) = rows.variable(&path) else { continue };
        // Values that do not fit in a column cannot be compared by a predicate either.
        let Ok(column) = column_of(variable.data()) else { continue };
        let (min, max) = bounds::bounds_of(&column)?;
        let (rows, nulls) = (column.len() as u64, column.null_count() as u64);
        found.insert(path, VariableStatistics { rows, nulls, min, max, objects: None });
    }
    Ok(found)
}

/// Marks the statistics with the published objects of the partition that they were made of.
pub(crate) fn mark(statistics: &mut PartitionStatistics, objects: &[ObjectVersion]) {
    for (variable, own) in statistics {
        own.objects = fingerprint_of(objects, variable);
    }
}

impl VariableStatistics {
    /// True if both are equal, apart from the objects that they were made of.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        (self.rows, self.nulls, &self.min, &self.max)
            == (other.rows, other.nulls, &other.min, &other.max)
    }
}
