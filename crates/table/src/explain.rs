//! What a read leaves out, by what, and what it costs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use partita_core::store::Meter;
use serde::Serialize;

/// What planning left out, and why.
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
    /// Of these, the small ones, which are fetched whole before anything in them is left out.
    pub files_fetched_whole: usize,
    /// Rows of what is to be read, as far as known.
    pub rows_at_most: u64,
    /// Bytes of the files to read, as far as known, all columns taken together.
    pub bytes_at_most: u64,
    /// Indices that were looked up.
    pub indices: Vec<String>,
    /// True if the statistics of all files were at hand, without opening them.
    pub statistics: bool,
    /// What is left out within files, and the requests and bytes of the read, planning included.
    /// Columns outside of the predicate may turn out to be needed for fewer rows than planned.
    #[serde(flatten)]
    pub reading: Reading,
    /// What the last run of the scan came to, as far as it has come.
    pub last_run: Option<Reading>,
}

/// What is read of files, and what it costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Row groups of the files, as far as known.
    pub row_groups: u64,
    /// Row groups left out by their statistics.
    pub row_groups_pruned_by_statistics: u64,
    /// Further row groups left out by bloom filters.
    pub row_groups_pruned_by_bloom_filter: u64,
    /// Further row groups left out since none of their pages can hold a row.
    pub row_groups_pruned_by_page_index: u64,
    /// Row groups that are left.
    pub row_groups_read: u64,
    /// Pages of the columns to read in the remaining row groups, where a page index tells.
    pub pages: u64,
    /// Of these, the pages that the page index leaves out.
    pub pages_pruned: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Bytes that these fetch.
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

/// The account of one run of a scan.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What counts its requests.
    pub meter: Arc<Meter>,
    reading: Mutex<Reading>,
}

impl Account {
    /// Adds what was left out of a file.
    pub fn add(&self, reading: Reading) {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).add(reading);
    }

    /// What the run came to so far.
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
