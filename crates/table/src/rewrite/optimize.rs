//! Compaction: merging many small files of a partition into few files of the target size.

use arrow::array::UInt64Array;
use futures::FutureExt;
use futures::future::BoxFuture;
use indexmap::IndexMap;
use partita_core::partition::PartitionKey;
use partita_core::{Error, Predicate, Result, Store};

use super::{Rewrite, Rule};
use crate::Table;
use crate::commit::Commit;
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::prune::{Plan, plan};
use crate::stage::no_such_column;
use crate::state::State;

/// Options of a compaction.
#[derive(Debug, Clone)]
pub struct OptimizeOptions {
    /// The size in bytes up to which files are merged. Files larger than half of it are not
    /// touched, unless rows are to be sorted.
    pub target_file_bytes: u64,
    /// The columns to sort the rows of each new file by.
    pub sort_by: Vec<String>,
    /// The partitions to compact; it may name partition columns alone.
    pub scope: Option<Predicate>,
}

impl Default for OptimizeOptions {
    fn default() -> Self {
        Self { target_file_bytes: 128 << 20, sort_by: Vec::new(), scope: None }
    }
}

/// The files that a compaction would merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallFiles {
    /// Their number.
    pub files: u64,
    /// The number of files that would hold their rows.
    pub into: u64,
}

impl Table {
    /// Counts the files that [`Table::optimize`] would merge. No request.
    ///
    /// # Errors
    /// [`InvalidPredicate`](partita_core::ErrorKind::InvalidPredicate) if the scope does not fit
    /// the table.
    pub fn small_files<'a>(
        &'a self,
        optimize: &'a OptimizeOptions,
    ) -> BoxFuture<'a, Result<SmallFiles>> {
        async move {
            let units = units(self.store(), &self.state(), optimize).await?;
            let files = units.iter().map(|unit| unit.manifest.len() as u64).sum();
            Ok(SmallFiles { files, into: units.len() as u64 })
        }
        .boxed()
    }

    /// Merges small files, partition by partition, in one commit. No row is added or lost:
    /// concurrent appends are kept in their own files. Readers of older versions can read their
    /// files until garbage is collected.
    ///
    /// Memory: the rows of as many files as there are cores; if rows are sorted, of as many target
    /// files.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a target of zero or a
    /// scope that names other columns than the partition columns;
    /// [`NotFound`](partita_core::ErrorKind::NotFound) for a sort column that does not exist;
    /// otherwise those of [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn optimize(
        &self,
        optimize: &OptimizeOptions,
        options: &WriteOptions,
    ) -> Result<Commit> {
        if optimize.target_file_bytes == 0 {
            return Err(Error::invalid("target_file_bytes must be positive"));
        }
        let schema = self.schema();
        for column in &optimize.sort_by {
            schema.field_with_name(column).map_err(|_| no_such_column(column))?;
        }
        if let Some(scope) = &optimize.scope {
            crate::change::in_scope(&self.state(), scope)?;
        }
        let rule = Rule::Compact(optimize.clone());
        let operation = Operation::Optimize;
        let rewrite = Rewrite::new(self.store(), self.name(), operation, rule, Vec::new(), options);
        self.rewrite(rewrite).await
    }
}

/// Groups files of one partition that together make one file of the target size.
pub(super) async fn units(
    store: &Store,
    state: &State,
    options: &OptimizeOptions,
) -> Result<Vec<Plan>> {
    let scope = options.scope.as_ref().map(|scope| state.bind(scope)).transpose()?;
    let plan = plan(store, state, scope.as_ref()).await?;
    let target = options.target_file_bytes;
    let sorts = !options.sort_by.is_empty();
    let mut open: IndexMap<PartitionKey, (u64, Vec<u64>)> = IndexMap::new();
    let mut units = Vec::new();
    let sizes = plan.manifest.bytes();
    for ((row, key), bytes) in (0..).zip(plan.partition_keys()?).zip(sizes) {
        let bytes = bytes.unwrap_or(0);
        if bytes > target / 2 && !sorts {
            continue;
        }
        let (size, rows) = open.entry(key).or_default();
        if *size + bytes > target && !rows.is_empty() {
            units.push(std::mem::take(rows));
            *size = 0;
        }
        rows.push(row);
        *size += bytes;
    }
    units.extend(open.into_values().map(|(_, rows)| rows));
    units
        .into_iter()
        .filter(|rows| rows.len() > 1 || (sorts && !rows.is_empty()))
        .map(|rows| plan.rows(&UInt64Array::from(rows)))
        .collect()
}
