//! Tables.
//!
//! - `changes`: commits. `keeping`: versions, copies, verification, garbage collection.

mod changes;
mod keeping;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::record_batch::RecordBatchIterator;
use partita::{Commit, DatasetKind, StoreOptions, Table, WriteOptions, check_vacant};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use crate::aio::answer;
use crate::arguments::{CreateArguments, StoreArguments, WriteArguments, store_options};
use crate::arrow_ffi::{export_schema, export_stream, import_schema, import_stream};
use crate::errors::to_python;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::scan::PyScan;

/// An open table.
#[pyclass(frozen, name = "Table", module = "partita._native")]
pub(crate) struct PyTable {
    url: String,
    options: StoreOptions,
    // With the id of the process that opened it: connections do not survive a fork.
    open: Mutex<(u32, Table)>,
}

impl PyTable {
    pub(crate) fn new(url: String, options: StoreOptions, table: Table) -> Self {
        Self { url, options, open: Mutex::new((std::process::id(), table)) }
    }

    /// The table, reopened if this process is a fork of the one that opened it. In-memory stores
    /// were copied by the fork and have no connections, so their tables are kept.
    fn table(&self, py: Python<'_>) -> PyResult<Table> {
        let process = std::process::id();
        let (owner, table) = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            (open.0, open.1.clone())
        };
        if owner == process || self.url.starts_with("memory:") {
            return Ok(table);
        }
        let (url, options) = (self.url.clone(), self.options.clone());
        let pinned = table.is_pinned().then(|| table.version()).flatten();
        let fresh = wait(py, &Watch::default(), async move {
            let table = Table::open(&url, &options).await?;
            match pinned {
                Some(version) => table.at(version).await,
                None => Ok(table),
            }
        })?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = std::mem::replace(&mut *open, (process, fresh.clone()));
        // Dropping it could wait for threads that do not exist in this process.
        std::mem::forget((stale, table));
        Ok(fresh)
    }

    /// Runs an operation that commits, and answers with its effect.
    fn committing<'py, F>(
        &self,
        py: Python<'py>,
        write: &WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
        work: impl FnOnce(Table, WriteOptions) -> F,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output = partita::Result<Commit>> + Send + 'static,
    {
        let watch = Watch::new(progress);
        let options = write.options(&watch)?;
        let table = self.table(py)?;
        answer(py, watch, ended, work(table, options), |py, commit| {
            Ok(commit_fields(py, &commit?)?.into_any().unbind())
        })
    }

    /// A property that needs no request, and is valid in any process.
    fn known<T>(&self, ask: impl FnOnce(&Table) -> T) -> T {
        ask(&self.open.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
}

#[pymethods]
impl PyTable {
    /// Creates an empty table with the schema of any object with `__arrow_c_schema__`.
    #[staticmethod]
    fn create(
        py: Python<'_>,
        url: String,
        schema: &Bound<'_, PyAny>,
        create: CreateArguments,
        write: WriteArguments,
        storage_options: StoreArguments,
        single_writer: bool,
    ) -> PyResult<Self> {
        let watch = Watch::default();
        let schema = import_schema(schema)?;
        let create = create.options(write.options(&watch)?)?;
        let options = store_options(storage_options, false, single_writer);
        let (target, store) = (url.clone(), options.clone());
        let table = wait(py, &watch, async move {
            check_vacant(&target, &store, DatasetKind::Table).await?;
            Table::create(&target, schema, &create, &store).await
        })?;
        Ok(Self::new(url, options, table))
    }

    /// Creates a table with the data of any object with `__arrow_c_stream__`.
    #[staticmethod]
    #[pyo3(signature = (url, data, create, write, storage_options, single_writer, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "called by the Python package alone")]
    fn create_from(
        py: Python<'_>,
        url: String,
        data: &Bound<'_, PyAny>,
        create: CreateArguments,
        write: WriteArguments,
        storage_options: StoreArguments,
        single_writer: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let watch = Watch::new(progress);
        let create = create.options(write.options(&watch)?)?;
        let options = store_options(storage_options, false, single_writer);
        let data = import_stream(data)?;
        let (target, store) = (url.clone(), options.clone());
        let table = wait(py, &watch, async move {
            check_vacant(&target, &store, DatasetKind::Table).await?;
            Table::create_from(&target, data, &create, &store).await
        })?;
        Ok(Self::new(url, options, table))
    }

    /// Opens a table.
    #[staticmethod]
    #[pyo3(signature = (url, storage_options, read_only, single_writer, ended=None))]
    fn open<'py>(
        py: Python<'py>,
        url: String,
        storage_options: StoreArguments,
        read_only: bool,
        single_writer: bool,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = store_options(storage_options, read_only, single_writer);
        let (target, store) = (url.clone(), options.clone());
        let opening = async move { Table::open(&target, &store).await };
        answer(py, Watch::default(), ended, opening, |py, table| {
            Self::new(url, options, table?).into_py_any(py)
        })
    }

    /// Rebuilds the header from the stored objects, and opens the table.
    #[staticmethod]
    fn rebuild(
        py: Python<'_>,
        url: String,
        storage_options: StoreArguments,
        single_writer: bool,
    ) -> PyResult<Self> {
        let options = store_options(storage_options, false, single_writer);
        let (target, store) = (url.clone(), options.clone());
        let table =
            wait(py, &Watch::default(), async move { Table::rebuild(&target, &store).await })?;
        Ok(Self::new(url, options, table))
    }

    /// The URL of the table.
    #[getter]
    fn url(&self) -> String {
        self.known(Table::url)
    }

    /// The last component of the URL.
    #[getter]
    fn name(&self) -> String {
        self.known(|table| table.name().to_owned())
    }

    /// The current version, or None if it was not written by partita.
    #[getter]
    fn version(&self) -> Option<u64> {
        self.known(Table::version)
    }

    /// The partition columns.
    #[getter]
    fn partition_by(&self) -> Vec<String> {
        self.known(Table::partition_by)
    }

    /// The indexed columns.
    #[getter]
    fn index(&self) -> Vec<String> {
        self.known(Table::index_columns)
    }

    /// The columns that get bloom filters by default.
    #[getter]
    fn bloom_filters(&self) -> Vec<String> {
        self.known(Table::bloom_filters)
    }

    /// The number of data files.
    #[getter]
    fn num_files(&self) -> usize {
        self.known(Table::num_files)
    }

    /// The user metadata as JSON.
    #[getter(metadata)]
    fn user_metadata(&self) -> String {
        serde_json::Value::Object(self.known(Table::metadata)).to_string()
    }

    /// The id of each column.
    #[getter]
    fn column_ids(&self) -> BTreeMap<String, i32> {
        self.known(Table::column_ids)
    }

    /// The comments on columns.
    #[getter]
    fn comments(&self) -> BTreeMap<String, String> {
        self.known(Table::comments)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.known(Table::schema))
    }

    /// The partitions, as (pairs, files, rows, row groups, bytes).
    #[expect(clippy::type_complexity, reason = "one row of what Python unpacks")]
    fn partitions(
        &self,
        py: Python<'_>,
    ) -> PyResult<Vec<(Vec<(String, String)>, usize, Option<u64>, Option<u64>, Option<u64>)>> {
        let table = self.table(py)?;
        let partitions = wait(py, &Watch::default(), async move { table.partitions().await })?;
        Ok(partitions
            .into_iter()
            .map(|p| (p.key.pairs().to_vec(), p.files, p.rows, p.row_groups, p.bytes))
            .collect())
    }

    /// Loads the newest version.
    #[pyo3(signature = (ended=None))]
    fn refresh<'py>(
        &self,
        py: Python<'py>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let table = self.table(py)?;
        let loading = async move { table.refresh().await };
        answer(py, Watch::default(), ended, loading, |py, done| done.map(|()| py.None()))
    }

    /// The distinct values of an indexed column, as a stream of one column.
    fn index_values<'py>(
        &self,
        py: Python<'py>,
        column: String,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let table = self.table(py)?;
        let batch = wait(py, &Watch::default(), async move {
            let values = table.index_values(&column).await?;
            Ok(RecordBatch::try_from_iter([(column, values)])?)
        })?;
        let schema = batch.schema();
        export_stream(py, Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
    }

    /// The number of rows, (name, nulls, bytes, exact) of each column, and a stream of two rows: the
    /// smallest and the largest values.
    #[expect(clippy::type_complexity, reason = "one row of what Python unpacks")]
    fn statistics<'py>(
        &self,
        py: Python<'py>,
        footers: bool,
    ) -> PyResult<(Option<u64>, Vec<(String, Option<u64>, Option<u64>, bool)>, Bound<'py, PyCapsule>)>
    {
        let watch = Watch::default();
        let (table, cancel) = (self.table(py)?, watch.cancel.clone());
        let found = wait(py, &watch, async move { table.statistics(footers, &cancel).await })?;
        let columns = found.columns.into_iter().map(|c| (c.name, c.nulls, c.bytes, c.exact));
        let schema = found.bounds.schema();
        let bounds = RecordBatchIterator::new([Ok(found.bounds)], schema);
        Ok((found.rows, columns.collect(), export_stream(py, Box::new(bounds))?))
    }

    /// Creates a scan of the current version.
    #[pyo3(signature = (columns=None, filter=None, limit=None, batch_rows=None))]
    fn scan(
        &self,
        py: Python<'_>,
        columns: Option<Vec<String>>,
        filter: Option<PyRef<'_, PyPredicate>>,
        limit: Option<usize>,
        batch_rows: Option<usize>,
    ) -> PyResult<PyScan> {
        let table = self.table(py)?;
        let mut scan = table.scan();
        if let Some(columns) = columns {
            scan = scan.columns(columns);
        }
        if let Some(filter) = filter {
            // Validated here, and not when the scan is run, so that the error appears at its cause.
            filter.predicate().bind(&table.schema()).map_err(to_python)?;
            scan = scan.filter(filter.predicate());
        }
        if let Some(rows) = limit {
            scan = scan.limit(rows);
        }
        if let Some(rows) = batch_rows {
            scan = scan.batch_rows(rows);
        }
        scan.schema().map_err(to_python)?;
        Ok(PyScan::new(scan))
    }
}

pub(crate) fn commit_fields<'py>(py: Python<'py>, commit: &Commit) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("version", commit.version)?;
    fields.set_item("id", &commit.id)?;
    fields.set_item("files_added", commit.files_added)?;
    fields.set_item("files_removed", commit.files_removed)?;
    fields.set_item("rows_added", commit.rows_added)?;
    fields.set_item("rows_removed", commit.rows_removed)?;
    fields.set_item("bytes_added", commit.bytes_added)?;
    fields.set_item("attempts", commit.attempts)?;
    Ok(fields)
}
