//! Building and dropping secondary indices of an existing table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashSet;
use partita_core::{Error, ErrorKind, NoProgress, Progress, Result, Store, cores};

use serde_json::Value;

use crate::Table;
use crate::change::{Change, load_index};
use crate::commit::{Commit, Propose};
use crate::format::index::{Index, distinct, value_type};
use crate::format::schema::cast_column;
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::prune::{Plan, plan};
use crate::scan::{BATCH_ROWS, Read};
use crate::stage::{check_layout, texts};
use crate::state::State;

impl Table {
    /// Builds or rebuilds indices on `columns` from the stored rows, in one commit. From then on
    /// every commit keeps them up to date.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a column that does not exist;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for one that cannot be indexed; otherwise
    /// those of [`Table::append`].
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
        let labels: HashSet<&str> = texts(&base.manifest, "label").collect();
        self.done.retain(|label, _| labels.contains(label.as_str()));
        let plan = plan(&self.store, base, None).await?;
        let new: Vec<u64> = (0..)
            .zip(texts(&plan.manifest, "label"))
            .filter(|(_, label)| !self.done.contains_key(*label))
            .map(|(row, _)| row)
            .collect();
        let plan = plan.rows(&UInt64Array::from(new))?;
        let read = read_values(&self.store, base, plan, &self.columns, &self.options).await?;
        self.done.extend(read);
        let mut change = Change::new(Operation::Index);
        change = change.with(&self.options);
        for (position, column) in self.columns.iter().enumerate() {
            let data_type = value_type(base.schema.field_with_name(column)?.data_type());
            let mut parts = vec![Index::empty(&data_type)];
            for (label, values) in &self.done {
                let values = values.get(position).into_iter();
                parts.extend(values.map(|values| Index::of_file(Arc::clone(values), label)));
            }
            change.indexed.insert(column.clone(), Index::merge(&parts)?);
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

/// The distinct values of `columns` in each file of a plan, by label. Several files are read
/// concurrently, each as a stream.
pub(crate) async fn read_values(
    store: &Store,
    state: &State,
    plan: Plan,
    columns: &[String],
    options: &WriteOptions,
) -> Result<Vec<(String, Vec<ArrayRef>)>> {
    let fields: Result<Vec<Field>, _> =
        columns.iter().map(|name| state.schema.field_with_name(name).cloned()).collect();
    let schema = Arc::new(Schema::new(fields?));
    let types: Vec<DataType> =
        schema.fields().iter().map(|field| value_type(field.data_type())).collect();
    let labels: Vec<String> = texts(&plan.manifest, "label").map(str::to_owned).collect();
    options.progress.start("files indexed", Some(labels.len() as u64));
    let files: Vec<(String, Plan)> = labels.into_iter().zip(plan.each_file()?).collect();
    let cores = cores();
    let values = stream::iter(files)
        .map(|(label, file)| {
            let read = Read {
                store: store.clone(),
                table: Arc::clone(&state.schema),
                schema: Arc::clone(&schema),
                test: None,
                batch_rows: BATCH_ROWS,
                account: Arc::default(),
                progress: Arc::new(NoProgress) as Arc<dyn Progress>,
                cancel: options.cancel.clone(),
            };
            let types = types.clone();
            let progress = Arc::clone(&options.progress);
            async move {
                let mut batches = read.run(&file);
                let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); types.len()];
                while let Some(batch) = batches.try_next().await? {
                    gather(&batch, &types, &mut parts)?;
                }
                progress.advance(1);
                let values: Result<Vec<ArrayRef>> =
                    parts.iter().zip(&types).map(|(parts, of)| merged(parts, of)).collect();
                Ok::<_, Error>((label, values?))
            }
        })
        .buffered(cores * 2)
        .try_collect()
        .await;
    options.progress.finish();
    values
}

fn gather(batch: &RecordBatch, types: &[DataType], parts: &mut [Vec<ArrayRef>]) -> Result<()> {
    let fields = batch.schema_ref().fields().iter();
    for (((field, column), data_type), parts) in
        fields.zip(batch.columns()).zip(types).zip(parts.iter_mut())
    {
        parts.push(distinct(&cast_column(field.name(), column, data_type)?)?);
    }
    Ok(())
}

fn merged(parts: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
    match parts.as_slice() {
        [] => Ok(arrow::array::new_empty_array(data_type)),
        parts => distinct(&concat(parts)?),
    }
}
