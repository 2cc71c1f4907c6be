//! What is known of the values in each partition, so that a condition on a coordinate need not open
//! partitions that cannot hold such rows.
//!
//! They are kept beside the data, under `.partita/statistics/`, where ZCollection does not look.
//! Each says of which objects it was made: if one of these was written since, by whomever, it is not
//! believed. So they may be missing or outdated, which costs time and never rows. In an Icechunk
//! repository the commits themselves say them, of what they leave.
//!
//! - `bounds`: smallest and largest values, to and from documents.
//! - `documents`: where statistics are kept. A commit carries those of the partitions that it
//!   changes, and whoever publishes it writes them down.
//! - `prune`: which partitions a condition excludes by them. `rebuild`: making them from the data.

mod bounds;
mod documents;
mod prune;
mod rebuild;

use std::collections::BTreeMap;

use arrow::array::Array as _;
pub(crate) use documents::{Statistics, note};
use partita_core::Result;
use partita_core::store::{ObjectVersion, fingerprint_of};
pub(crate) use rebuild::rebuild;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::columns::{column_of, column_type};
use crate::dataset::Dataset;
use crate::layout::Config;

/// What is known of the values of one variable in one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableStatistics {
    /// The rows of the partition.
    pub rows: u64,
    /// Of these, how many are "not a time".
    pub nulls: u64,
    /// No value is smaller. Times and durations are numbers of their own unit, floating-point
    /// numbers are text; NaN does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// No value is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// What the objects of the variable were, once they were in their places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<String>,
}

/// What is known of a partition, by the paths of variables.
pub type PartitionStatistics = BTreeMap<String, VariableStatistics>;

impl Config {
    /// The variables of which statistics are kept: the axis, and those that the collection was told
    /// to have statistics of.
    pub(crate) fn summarised(&self) -> Vec<String> {
        let own = self.axis_variable().into_iter().chain(self.statistics.iter().cloned());
        let mut names: Vec<String> = own.filter(|name| self.can_summarise(name)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The variable has the partitioned dimension alone, and values that can be compared.
    pub(crate) fn can_summarise(&self, path: &str) -> bool {
        self.schema.variable(path).is_some_and(|variable| {
            variable.dimensions == [self.dimension.as_str()]
                && column_type(variable.dtype).is_some()
        })
    }
}

/// The statistics of a partition that consists of these rows, as far as its variables are given.
pub(crate) fn summarise(config: &Config, rows: &Dataset) -> Result<PartitionStatistics> {
    let mut found = PartitionStatistics::new();
    for path in config.summarised() {
        let Some(variable) = rows.variable(&path) else { continue };
        // What cannot be said as a column is not compared either.
        let Ok(column) = column_of(variable.data()) else { continue };
        let (min, max) = bounds::bounds_of(&column)?;
        let (rows, nulls) = (column.len() as u64, column.null_count() as u64);
        found.insert(path, VariableStatistics { rows, nulls, min, max, objects: None });
    }
    Ok(found)
}

/// Notes of which published objects of a partition the statistics are.
pub(crate) fn mark(statistics: &mut PartitionStatistics, objects: &[ObjectVersion]) {
    for (variable, own) in statistics {
        own.objects = fingerprint_of(objects, variable);
    }
}

impl VariableStatistics {
    /// True if both say the same of the values, whatever objects they are of.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        (self.rows, self.nulls, &self.min, &self.max)
            == (other.rows, other.nulls, &other.min, &other.max)
    }
}
