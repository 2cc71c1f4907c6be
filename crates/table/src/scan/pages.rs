//! The page index: selecting rows of a row group whose pages may match.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::page_index::offset_index::PageLocation;
use partita_core::predicate::{Bounds, Facts};
use partita_core::{Error, Result};

use super::groups::repeated;
use super::rows::RowTest;
use crate::explain::Reading;
use crate::format::statistics::has_bounds;

/// A row group to read, as a whole or in part.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its number in the file.
    pub row_group: usize,
    /// The rows of the pages to read; `None` for all.
    pub rows: Option<RowSelection>,
}

/// A file whose page index is loaded.
pub(super) struct PagedFile<'a> {
    pub metadata: &'a ArrowReaderMetadata,
    pub table: &'a SchemaRef,
    pub partition: &'a RecordBatch,
    pub bytes: u64,
}

impl PagedFile<'_> {
    /// The part of a row group that may contain rows that pass `test`; `None` if no page does.
    fn part(&self, row_group: usize, test: &dyn RowTest) -> Result<Option<Part>> {
        let whole = Part { row_group, rows: None };
        let Some(index) = self.metadata.metadata().page_index() else { return Ok(Some(whole)) };
        let columns: Vec<PagedColumn> = test
            .columns()
            .into_iter()
            .filter_map(|name| self.column(name, row_group, index.as_ref()))
            .collect();
        let starts: BTreeSet<u64> =
            columns.iter().flat_map(|column| column.starts.iter().copied()).collect();
        let starts: Vec<u64> = starts.into_iter().collect();
        if starts.len() < 2 {
            // A single page has the same bounds as the row group.
            return Ok(Some(whole));
        }
        let facts = IntervalFacts { file: self, columns: &columns, starts: &starts };
        let Some(keep) = test.may_match(&facts)? else { return Ok(Some(whole)) };
        let kept = keep.true_count();
        if kept == starts.len() {
            return Ok(Some(whole));
        }
        if kept == 0 {
            return Ok(None);
        }
        let rows = self.rows(row_group);
        let ends = starts.iter().skip(1).copied().chain([rows]);
        let chosen = starts.iter().zip(ends).zip(keep.iter());
        let ranges = chosen
            .filter(|(_, keep)| *keep == Some(true))
            .map(|((start, end), _)| index_of(*start)..index_of(end));
        let rows = RowSelection::from_consecutive_ranges(ranges, index_of(rows));
        Ok(Some(Part { row_group, rows: Some(rows) }))
    }

    fn rows(&self, row_group: usize) -> u64 {
        let groups = self.metadata.metadata().row_groups();
        groups.get(row_group).map_or(0, |group| u64::try_from(group.num_rows()).unwrap_or(0))
    }

    /// The page bounds of a column; `None` if the page index lacks them.
    fn column(
        &self,
        name: String,
        row_group: usize,
        index: &dyn PageIndexProvider,
    ) -> Option<PagedColumn> {
        let target = self.table.field_with_name(&name).ok()?.data_type();
        if !has_bounds(target) {
            return None;
        }
        let converter = StatisticsConverter::try_new(
            &name,
            self.metadata.schema(),
            self.metadata.parquet_schema(),
        )
        .ok()?;
        let leaf = converter.parquet_column_index()?;
        let locations = index.page_locations(row_group, leaf)?;
        let pages = index.column_index(row_group, leaf)?.num_pages();
        if pages != locations.len() as u64 {
            return None;
        }
        let groups = [row_group];
        let values = |values: ArrayRef| cast(&values, target).ok();
        let min = values(converter.data_page_mins(index, &groups).ok()?)?;
        let max = values(converter.data_page_maxes(index, &groups).ok()?)?;
        let nulls = converter.data_page_null_counts(index, &groups).ok()?;
        let starts: Vec<u64> = locations.iter().map(first_row).collect();
        let ends = starts.iter().skip(1).copied().chain([self.rows(row_group)]);
        let rows = starts.iter().zip(ends).map(|(start, end)| end.checked_sub(*start)).collect();
        let same = min.len() == starts.len() && max.len() == starts.len();
        (same && nulls.len() == starts.len()).then_some(PagedColumn {
            name,
            starts,
            min,
            max,
            nulls,
            rows,
        })
    }

    /// The parts of `row_groups` to read, given the columns in `mask`.
    pub fn parts(
        &self,
        row_groups: &[usize],
        test: &dyn RowTest,
        mask: &ProjectionMask,
        reading: &mut Reading,
    ) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(row_groups.len());
        for row_group in row_groups {
            let Some(part) = self.part(*row_group, test)? else {
                reading.row_groups_pruned_by_page_index += 1;
                continue;
            };
            let (pages, pruned) = self.count(&part, mask);
            reading.pages += pages;
            reading.pages_pruned += pruned;
            parts.push(part);
        }
        Ok(parts)
    }

    /// Rejects an offset index that points outside of the file or is out of order.
    pub fn check(&self, row_groups: &[usize], leaves: &[usize]) -> Result<()> {
        let Some(index) = self.metadata.metadata().page_index() else { return Ok(()) };
        for group in row_groups {
            for leaf in leaves {
                if let Some(locations) = index.page_locations(*group, *leaf)
                    && !self.makes_sense(locations, self.rows(*group))
                {
                    return Err(Error::corrupt("the page index of a data file makes no sense")
                        .with("row group", group));
                }
            }
        }
        Ok(())
    }

    fn makes_sense(&self, locations: &[PageLocation], rows: u64) -> bool {
        let mut next = 0;
        for (page, location) in locations.iter().enumerate() {
            let row = u64::try_from(location.first_row_index).ok();
            let end = location.offset.checked_add(i64::from(location.compressed_page_size));
            let inside = location.offset >= 0
                && location.compressed_page_size > 0
                && end.is_some_and(|end| u64::try_from(end).is_ok_and(|end| end <= self.bytes));
            match row {
                Some(row) if inside && row < rows && (row >= next) && (page > 0 || row == 0) => {
                    next = row + 1;
                }
                _ => return false,
            }
        }
        !locations.is_empty() || rows == 0
    }

    /// The number of pages of the chosen columns in a part, and how many of them it skips.
    fn count(&self, part: &Part, columns: &ProjectionMask) -> (u64, u64) {
        let Some(index) = self.metadata.metadata().page_index() else { return (0, 0) };
        let rows = self.rows(part.row_group);
        let selected = part.rows.as_ref().map(selected_ranges);
        let (mut pages, mut pruned) = (0, 0);
        for leaf in 0..self.metadata.parquet_schema().num_columns() {
            let Some(locations) =
                index.page_locations(part.row_group, leaf).filter(|_| columns.leaf_included(leaf))
            else {
                continue;
            };
            pages += locations.len() as u64;
            let Some(selected) = &selected else { continue };
            let ends = locations.iter().skip(1).map(first_row).chain([rows]);
            let mut ranges = selected.iter().peekable();
            for (start, end) in locations.iter().map(first_row).zip(ends) {
                while ranges.peek().is_some_and(|range| range.end <= start) {
                    ranges.next();
                }
                pruned += u64::from(ranges.peek().is_none_or(|range| range.start >= end));
            }
        }
        (pages, pruned)
    }
}

fn selected_ranges(rows: &RowSelection) -> Vec<std::ops::Range<u64>> {
    let mut ranges = Vec::new();
    let mut row = 0;
    for selector in rows.iter() {
        let end = row + selector.row_count as u64;
        if !selector.skip {
            ranges.push(row..end);
        }
        row = end;
    }
    ranges
}

fn first_row(location: &PageLocation) -> u64 {
    u64::try_from(location.first_row_index).unwrap_or(0)
}

fn index_of(row: u64) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}

/// The page index of a column of a row group, one entry per page.
struct PagedColumn {
    name: String,
    /// The first row of each page.
    starts: Vec<u64>,
    min: ArrayRef,
    max: ArrayRef,
    nulls: UInt64Array,
    rows: UInt64Array,
}

/// Bounds for the row intervals between adjacent page boundaries of any column. An interval has the
/// bounds of the page that contains it.
struct IntervalFacts<'a> {
    file: &'a PagedFile<'a>,
    columns: &'a [PagedColumn],
    starts: &'a [u64],
}

impl Facts for IntervalFacts<'_> {
    fn len(&self) -> usize {
        self.starts.len()
    }

    fn exact(&self, column: &str) -> Option<ArrayRef> {
        repeated(self.file.partition, column, self.len())
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        let column = self.columns.iter().find(|known| known.name == column)?;
        let pages: UInt64Array = self
            .starts
            .iter()
            .map(|start| column.starts.partition_point(|first| first <= start).checked_sub(1))
            .map(|page| page.map(|page| page as u64))
            .collect();
        let counts = |counts: &UInt64Array| -> Option<UInt64Array> {
            Some(UInt64Array::from(take(counts, &pages, None).ok()?.to_data()))
        };
        Some(Bounds {
            min: take(&column.min, &pages, None).ok()?,
            max: take(&column.max, &pages, None).ok()?,
            null_count: counts(&column.nulls),
            rows: counts(&column.rows),
        })
    }
}
