//! The report of a read: what was pruned, by which means, and the cost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use partita_core::store::Meter;
use serde::Serialize;

/// The result of planning: the files that were pruned, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explain {
    /// The predicate, in its text form.
    pub predicate: Option<String>,
    /// Files of the table.
    pub files: usize,
    /// Files left out by their partition key.
    pub pruned_by_partition: usize,
    /// Further files left out by an index.
    pub pruned_by_index: usize,
    /// Further files left out by their column bounds.
    pub pruned_by_statistics: usize,
    /// Files to read.
    pub files_read: usize,
    /// The number of small files among these, which are fetched as a whole before any pruning
    /// within them.
    pub files_fetched_whole: usize,
    /// Rows in the row groups and files to read, as far as known.
    pub rows_at_most: u64,
    /// Bytes of the files to read, as far as known, over all columns.
    pub bytes_at_most: u64,
    /// Indices that were looked up.
    pub indices: Vec<String>,
    /// True if the statistics of all files were available without opening them.
    pub statistics: bool,
    /// The data pruned within files, and the requests and bytes of the read, including planning.
    /// Columns outside of the predicate may be needed for fewer rows than planned.
    #[serde(flatten)]
    pub reading: Reading,
    /// The cost of the last run of the scan so far.
    pub last_run: Option<Reading>,
}

/// The parts of files that are read, and their cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Row groups of the files, as far as known.
    pub row_groups: u64,
    /// Row groups left out by their statistics.
    pub row_groups_pruned_by_statistics: u64,
    /// Further row groups left out by bloom filters.
    pub row_groups_pruned_by_bloom_filter: u64,
    /// Further row groups left out because none of their pages can match.
    pub row_groups_pruned_by_page_index: u64,
    /// Remaining row groups.
    pub row_groups_read: u64,
    /// Pages of the columns to read in the remaining row groups, if there is a page index.
    pub pages: u64,
    /// Of these, the pages that the page index leaves out.
    pub pages_pruned: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Bytes fetched by these requests.
    pub bytes: u64,
}

impl Reading {
    /// Adds another reading.
    pub(crate) fn add(&mut self, other: Self) {
        self.row_groups += other.row_groups;
        self.row_groups_pruned_by_statistics += other.row_groups_pruned_by_statistics;
        self.row_groups_pruned_by_bloom_filter += other.row_groups_pruned_by_bloom_filter;
        self.row_groups_pruned_by_page_index += other.row_groups_pruned_by_page_index;
        self.row_groups_read += other.row_groups_read;
        self.pages += other.pages;
        self.pages_pruned += other.pages_pruned;
        self.requests += other.requests;
        self.bytes += other.bytes;
    }
}

/// The report of one run of a scan.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The counter of its requests.
    pub meter: Arc<Meter>,
    reading: Mutex<Reading>,
}

impl Account {
    /// Adds the pruning results of a file.
    pub fn add(&self, reading: Reading) {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).add(reading);
    }

    /// The cost of the run so far.
    pub fn reading(&self) -> Reading {
        let mut reading = *self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.requests += self.meter.requests();
        reading.bytes += self.meter.bytes();
        reading
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(predicate) = &self.predicate {
            writeln!(f, "where                {predicate}")?;
        }
        let used = match self.indices.as_slice() {
            [] => String::new(),
            indices => format!("  ({})", indices.join(", ")),
        };
        writeln!(f, "files                {}", self.files)?;
        writeln!(f, "  by partition       -{}", self.pruned_by_partition)?;
        writeln!(f, "  by index           -{}{used}", self.pruned_by_index)?;
        writeln!(f, "  by statistics      -{}", self.pruned_by_statistics)?;
        writeln!(f, "files to read        {}", self.files_read)?;
        writeln!(f, "  fetched whole      {}", self.files_fetched_whole)?;
        let reading = &self.reading;
        writeln!(f, "row groups           {}", reading.row_groups)?;
        writeln!(f, "  by statistics      -{}", reading.row_groups_pruned_by_statistics)?;
        writeln!(f, "  by bloom filter    -{}", reading.row_groups_pruned_by_bloom_filter)?;
        writeln!(f, "  by page index      -{}", reading.row_groups_pruned_by_page_index)?;
        if reading.pages > 0 {
            writeln!(f, "pages                {}", reading.pages)?;
            writeln!(f, "  by page index      -{}", reading.pages_pruned)?;
        }
        writeln!(f, "to read              at most {} rows", self.rows_at_most)?;
        write!(f, "cost                 {} requests, {} bytes", reading.requests, reading.bytes)?;
        if let Some(run) = &self.last_run {
            write!(
                f,
                "\nlast run             {} requests, {} bytes; {} of {} row groups",
                run.requests, run.bytes, run.row_groups_read, run.row_groups
            )?;
            if run.pages > 0 {
                write!(f, ", {} of {} pages", run.pages - run.pages_pruned, run.pages)?;
            }
        }
        Ok(())
    }
}
