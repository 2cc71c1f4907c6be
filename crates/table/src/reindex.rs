//! Building and dropping secondary indices of an existing table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use hashbrown::HashSet;
use partita_core::{Error, ErrorKind, Result, Store};

use serde_json::Value;

use crate::Table;
use crate::change::{Change, load_index};
use crate::commit::{Commit, Propose};
use crate::format::index::{Index, value_type};
use crate::format::schema::cast_column;
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::prune::plan;
use crate::scan::distinct_values;
use crate::stage::check_layout;
use crate::state::State;

impl Table {
    /// Builds or rebuilds indices on `columns` from the stored rows, in one commit. From then on
    /// every commit keeps them up to date.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a column that does not exist;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for one that cannot be indexed; otherwise
    /// those of [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn build_index(&self, columns: &[String], options: &WriteOptions) -> Result<Commit> {
        let state = self.state();
        check_layout(&state.stored, &state.partition_by, columns)?;
        let build = Build {
            store: self.store().clone(),
            columns: columns.to_vec(),
            options: options.clone(),
            done: BTreeMap::new(),
        };
        self.commit_proposed(build, &options.cancel).await
    }

    /// Drops the indices on `columns` in one commit. Their files become garbage.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a column without an index; otherwise those of
    /// [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn drop_index(&self, columns: &[String], options: &WriteOptions) -> Result<Commit> {
        let mut change = Change::new(Operation::Index);
        for column in columns {
            self.indexed(column)?;
            change.unindexed.insert(column.clone());
        }
        change = change.with(options);
        self.commit_proposed(&change, &options.cancel).await
    }

    /// The distinct values of an indexed column, in the order of the index. One or two requests.
    /// Nulls are not indexed; values of files that another writer added without updating the index
    /// are missing.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the column has no index.
    pub async fn index_values(&self, column: &str) -> Result<ArrayRef> {
        let state = self.state();
        let stored = self.indexed(column)?;
        let field = state.schema.field_with_name(column)?;
        let data_type = value_type(field.data_type());
        let recorded = state.index_lengths.get(column);
        let index = load_index(self.store(), &stored, column, &data_type, recorded).await?;
        cast_column(column, index.values(), field.data_type())
    }

    fn indexed(&self, column: &str) -> Result<Value> {
        let state = self.state();
        state.header.indices.get(column).cloned().ok_or_else(|| {
            let known = state.header.indices.keys().cloned().collect::<Vec<_>>().join(", ");
            Error::new(ErrorKind::NotFound, "there is no index on this column")
                .with("column", column)
                .with("indexed", known)
        })
    }
}

/// Indices being built; values that were read for an attempt that lost its race are kept.
struct Build {
    store: Store,
    columns: Vec<String>,
    options: WriteOptions,
    /// The distinct values of each column, by label.
    done: BTreeMap<String, Vec<ArrayRef>>,
}

impl Propose for Build {
    async fn propose(&mut self, base: Option<&Arc<State>>) -> Result<Option<Change>> {
        let base = base.ok_or_else(|| Error::corrupt("there is no table to index"))?;
        let labels: HashSet<&str> = base.manifest.labels().collect();
        self.done.retain(|label, _| labels.contains(label.as_str()));
        let plan = plan(&self.store, base, None).await?;
        let new: Vec<u64> = (0..)
            .zip(plan.manifest.labels())
            .filter(|(_, label)| !self.done.contains_key(*label))
            .map(|(row, _)| row)
            .collect();
        let plan = plan.rows(&UInt64Array::from(new))?;
        let WriteOptions { progress, cancel, .. } = &self.options;
        let read =
            distinct_values(&self.store, &base.schema, plan, &self.columns, progress, cancel);
        let read = read.await?;
        self.done.extend(read);
        let mut change = Change::new(Operation::Index);
        change = change.with(&self.options);
        for (position, column) in self.columns.iter().enumerate() {
            let data_type = value_type(base.schema.field_with_name(column)?.data_type());
            let done = self.done.iter();
            let files = done.filter_map(|(label, own)| Some((label, own.get(position)?)));
            change.indexed.insert(column.clone(), Index::of_files(&data_type, files)?);
        }
        Ok(Some(change))
    }

    fn idempotency_key(&self) -> Option<&str> {
        self.options.idempotency_key.as_deref()
    }

    fn purpose(&self) -> String {
        format!("build indices of {}", self.columns.join(", "))
    }
}
