//! Selection of the row groups of a file that may contain matching rows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;
use partita_core::Result;
use partita_core::predicate::{Bounds, Facts};

use super::bloom::{FilterPlace, Filters, places};
use super::rows::RowTest;
use crate::format::statistics::has_bounds;

/// The row groups of one file.
pub(super) struct Groups<'a> {
    pub metadata: &'a ArrowReaderMetadata,
    pub table: &'a SchemaRef,
    pub partition: &'a RecordBatch,
    pub test: &'a dyn RowTest,
}

impl Groups<'_> {
    /// The row groups that their statistics do not exclude.
    pub fn by_statistics(&self) -> Result<Vec<usize>> {
        let all: Vec<usize> = (0..self.metadata.metadata().num_row_groups()).collect();
        self.kept(&all, Ask::Nothing)
    }

    /// The bloom filters that could exclude some of `groups`.
    pub fn filters(&self, groups: &[usize], file_bytes: u64) -> Result<Vec<FilterPlace>> {
        let with_filters = |group: &usize| {
            let group = self.metadata.metadata().row_groups().get(*group);
            group.is_some_and(|g| g.columns().iter().any(|c| c.bloom_filter_offset().is_some()))
        };
        if !groups.iter().any(with_filters) {
            return Ok(Vec::new());
        }
        let asked = Mutex::default();
        // Evaluation skips parts of the predicate that do not affect the result. Evaluating once
        // with each answer reaches all parts.
        for may in [true, false] {
            self.kept(groups, Ask::Which(&asked, may))?;
        }
        let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(places(self.metadata, file_bytes, groups, asked.into_iter()))
    }

    /// The row groups among `groups` that their filters do not exclude.
    pub fn by_filters(&self, groups: &[usize], filters: &Filters) -> Result<Vec<usize>> {
        self.kept(groups, Ask::These(filters))
    }

    fn kept(&self, groups: &[usize], filters: Ask<'_>) -> Result<Vec<usize>> {
        let facts = GroupFacts { file: self, groups, filters };
        let Some(keep) = self.test.may_match(&facts)? else { return Ok(groups.to_vec()) };
        let kept = groups.iter().zip(keep.iter()).filter(|(_, keep)| *keep != Some(false));
        Ok(kept.map(|(group, _)| *group).collect())
    }
}

/// How to answer a look-up in a filter.
enum Ask<'a> {
    Nothing,
    /// Record the columns whose filters would be useful, and give this answer.
    Which(&'a Mutex<BTreeSet<String>>, bool),
    These(&'a Filters),
}

/// Statistics and filters of some row groups of a file.
struct GroupFacts<'a> {
    file: &'a Groups<'a>,
    groups: &'a [usize],
    filters: Ask<'a>,
}

impl Facts for GroupFacts<'_> {
    fn len(&self) -> usize {
        self.groups.len()
    }

    fn exact(&self, column: &str) -> Option<ArrayRef> {
        repeated(self.file.partition, column, self.len())
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        let target: &DataType = self.file.table.field_with_name(column).ok()?.data_type();
        if !has_bounds(target) {
            return None;
        }
        let metadata = self.file.metadata;
        let all = metadata.metadata().row_groups();
        let groups: Option<Vec<&RowGroupMetaData>> =
            self.groups.iter().map(|group| all.get(*group)).collect();
        let groups = || groups.clone().unwrap_or_default();
        let converter =
            StatisticsConverter::try_new(column, metadata.schema(), metadata.parquet_schema())
                .ok()?
                .with_missing_null_counts_as_zero(false);
        let values = |values: ArrayRef| cast(&values, target).ok();
        Some(Bounds {
            min: values(converter.row_group_mins(groups()).ok()?)?,
            max: values(converter.row_group_maxes(groups()).ok()?)?,
            null_count: converter.row_group_null_counts(groups()).ok(),
            rows: converter.row_group_row_counts(groups()).ok().flatten(),
        })
    }

    fn holding(&self, column: &str, values: &ArrayRef) -> Result<Option<BooleanArray>> {
        match &self.filters {
            Ask::Nothing => Ok(None),
            Ask::Which(asked, may) => {
                asked.lock().unwrap_or_else(PoisonError::into_inner).insert(column.to_owned());
                Ok(Some(BooleanArray::from(vec![*may; self.len()])))
            }
            Ask::These(filters) => filters.holding(column, values),
        }
    }
}

/// The value of `column` in a partition of one row, repeated `times` times.
pub(super) fn repeated(partition: &RecordBatch, column: &str, times: usize) -> Option<ArrayRef> {
    let value = partition.column_by_name(column).filter(|value| !value.is_empty())?;
    take(value, &UInt32Array::from(vec![0; times]), None).ok()
}
