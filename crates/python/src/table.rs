//! Tables.

use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::record_batch::RecordBatchIterator;
use jiff::{SignedDuration, Timestamp};
use partita::{
    At, Commit, CopyOptions, Error, GarbageOptions, Keep, OptimizeOptions, StoreOptions, Table,
    VerifyOptions, WriteOptions,
};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use crate::arguments::{CreateArguments, StoreArguments, WriteArguments, store_options};
use crate::arrow_ffi::{export_schema, export_stream, import_schema, import_stream};
use crate::errors::to_python;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::scan::PyScan;
use crate::staged::PyStaged;

/// An open table.
#[pyclass(frozen, name = "Table", module = "partita._native")]
pub(crate) struct PyTable {
    url: String,
    options: StoreOptions,
    // With the process that opened it: connections do not survive a fork.
    open: Mutex<(u32, Table)>,
}

impl PyTable {
    pub(crate) fn new(url: String, options: StoreOptions, table: Table) -> Self {
        Self { url, options, open: Mutex::new((std::process::id(), table)) }
    }

    /// The table, opened again if this process is a fork of the one that opened it. What lives in
    /// memory was copied by the fork and has no connections: it stays as it is.
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
        // Dropping it could wait for threads that this process does not have.
        std::mem::forget((stale, table));
        Ok(fresh)
    }

    /// Runs what makes a commit, and tells what it did.
    fn committed<'py, F>(
        &self,
        py: Python<'py>,
        write: &WriteArguments,
        progress: Option<Py<PyAny>>,
        work: impl FnOnce(Table, WriteOptions) -> F,
    ) -> PyResult<Bound<'py, PyDict>>
    where
        F: Future<Output = partita::Result<Commit>> + Send + 'static,
    {
        let watch = Watch::new(progress);
        let options = write.options(&watch)?;
        let table = self.table(py)?;
        let commit = wait(py, &watch, work(table, options))?;
        commit_fields(py, &commit)
    }

    /// What can be asked without a request, from whichever process.
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
        let table =
            wait(py, &watch, async move { Table::create(&target, schema, &create, &store).await })?;
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
        let table =
            wait(
                py,
                &watch,
                async move { Table::create_from(&target, data, &create, &store).await },
            )?;
        Ok(Self::new(url, options, table))
    }

    /// Opens a table.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        url: String,
        storage_options: StoreArguments,
        read_only: bool,
        single_writer: bool,
    ) -> PyResult<Self> {
        let options = store_options(storage_options, read_only, single_writer);
        let (target, store) = (url.clone(), options.clone());
        let table = wait(py, &Watch::default(), async move { Table::open(&target, &store).await })?;
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

    /// The version read, or None if it was not written by partita.
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

    /// The columns of which data files get bloom filters.
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

    /// Moves to the newest version.
    fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { table.refresh().await })
    }

    /// Adds rows.
    #[pyo3(signature = (data, write, progress=None))]
    fn append<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let data = import_stream(data)?;
        self.committed(py, &write, progress, |table, options| async move {
            table.append(data, &options).await
        })
    }

    /// Swaps the rows that match for new ones.
    #[pyo3(signature = (scope, data, write, progress=None))]
    fn replace<'py>(
        &self,
        py: Python<'py>,
        scope: PyRef<'py, PyPredicate>,
        data: &Bound<'py, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (scope, data) = (scope.predicate.clone(), import_stream(data)?);
        self.committed(py, &write, progress, |table, options| async move {
            table.replace(&scope, data, &options).await
        })
    }

    /// Removes the rows that match.
    #[pyo3(signature = (scope, write, progress=None))]
    fn delete<'py>(
        &self,
        py: Python<'py>,
        scope: PyRef<'py, PyPredicate>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = scope.predicate.clone();
        self.committed(py, &write, progress, |table, options| async move {
            table.delete(&scope, &options).await
        })
    }

    /// Writes rows to files that are not yet part of the table.
    #[pyo3(signature = (data, write, progress=None))]
    fn stage(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<PyStaged> {
        let watch = Watch::new(progress);
        let options = write.options(&watch)?;
        let table = self.table(py)?;
        let data = import_stream(data)?;
        wait(py, &watch, async move { table.stage(data, &options).await }).map(PyStaged)
    }

    /// Makes staged files part of the table, and removes the rows that match.
    #[pyo3(signature = (staged, scope, write, progress=None))]
    fn commit<'py>(
        &self,
        py: Python<'py>,
        staged: Vec<PyRef<'py, PyStaged>>,
        scope: Option<PyRef<'py, PyPredicate>>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let staged = staged.iter().map(|staged| staged.0.clone()).collect();
        let scope = scope.map(|scope| scope.predicate.clone());
        self.committed(py, &write, progress, |table, options| async move {
            table.commit(staged, scope.as_ref(), &options).await
        })
    }

    /// Makes staged files part of the table in the place of rows with the same key.
    #[pyo3(signature = (staged, on, write, progress=None))]
    fn commit_upsert<'py>(
        &self,
        py: Python<'py>,
        staged: Vec<PyRef<'py, PyStaged>>,
        on: Vec<String>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let staged = staged.iter().map(|staged| staged.0.clone()).collect();
        self.committed(py, &write, progress, |table, options| async move {
            table.commit_upsert(staged, &on, &options).await
        })
    }

    /// Deletes staged files.
    fn discard(&self, py: Python<'_>, staged: Vec<PyRef<'_, PyStaged>>) -> PyResult<()> {
        let staged = staged.iter().map(|staged| staged.0.clone()).collect();
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move {
            table.discard(staged).await;
            Ok(())
        })
    }

    /// Sets annotations; those that are null are removed.
    fn set_metadata<'py>(
        &self,
        py: Python<'py>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = write.options(&Watch::default())?;
        let table = self.table(py)?;
        let commit = wait(py, &Watch::default(), async move {
            match options.annotate {
                Some(annotate) => table.annotate(annotate).await,
                None => table.set_metadata(options.metadata).await,
            }
        })?;
        commit_fields(py, &commit)
    }

    /// Adds rows in the place of those with the same key.
    #[pyo3(signature = (data, on, write, progress=None))]
    fn upsert<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        on: Vec<String>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let data = import_stream(data)?;
        self.committed(py, &write, progress, |table, options| async move {
            table.upsert(data, &on, &options).await
        })
    }

    /// Puts small files together.
    #[pyo3(signature = (target_file_bytes, sort_by, scope, write, progress=None))]
    fn optimize<'py>(
        &self,
        py: Python<'py>,
        target_file_bytes: Option<u64>,
        sort_by: Vec<String>,
        scope: Option<PyRef<'py, PyPredicate>>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = scope.map(|scope| scope.predicate.clone());
        let mut optimize = OptimizeOptions { sort_by, scope, ..Default::default() };
        if let Some(bytes) = target_file_bytes {
            optimize.target_file_bytes = bytes;
        }
        self.committed(py, &write, progress, |table, options| async move {
            table.optimize(&optimize, &options).await
        })
    }

    /// Builds indices out of the stored rows.
    #[pyo3(signature = (columns, write, progress=None))]
    fn build_index<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.committed(py, &write, progress, |table, options| async move {
            table.build_index(&columns, &options).await
        })
    }

    /// Drops indices.
    fn drop_index<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.committed(py, &write, None, |table, options| async move {
            table.drop_index(&columns, &options).await
        })
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

    /// Adds the columns of any object with `__arrow_c_schema__`.
    fn add_columns<'py>(
        &self,
        py: Python<'py>,
        schema: &Bound<'py, PyAny>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyDict>> {
        let columns = import_schema(schema)?.as_ref().clone();
        self.committed(py, &write, None, |table, options| async move {
            table.add_columns(columns, &options).await
        })
    }

    /// Gives the one column of any object with `__arrow_c_schema__` its wider type.
    fn widen_column<'py>(
        &self,
        py: Python<'py>,
        schema: &Bound<'py, PyAny>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyDict>> {
        let schema = import_schema(schema)?;
        let Some(field) = schema.fields().first().cloned() else {
            return Err(to_python(Error::invalid("a column and its type are needed")));
        };
        self.committed(py, &write, None, |table, options| async move {
            table.widen_column(field.name(), field.data_type(), &options).await
        })
    }

    /// The table as it was at a version, or at a time in microseconds.
    fn at(&self, py: Python<'_>, version: Option<u64>, micros: Option<i64>) -> PyResult<Self> {
        let at = moment(version, micros)?;
        let table = self.table(py)?;
        let old = wait(py, &Watch::default(), async move { table.at(at).await })?;
        Ok(Self::new(self.url.clone(), self.options.clone(), old))
    }

    /// Makes an older version the newest.
    fn restore<'py>(
        &self,
        py: Python<'py>,
        version: Option<u64>,
        micros: Option<i64>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyDict>> {
        let at = moment(version, micros)?;
        self.committed(py, &write, None, |table, options| async move {
            table.restore(at, &options).await
        })
    }

    /// Lets go of old versions.
    fn expire(
        &self,
        py: Python<'_>,
        keep_last: Option<usize>,
        keep_within: Option<i64>,
    ) -> PyResult<u64> {
        let keep = match (keep_last, keep_within) {
            (Some(count), _) => Keep::Last(count),
            (None, Some(micros)) => Keep::Within(SignedDuration::from_micros(micros)),
            (None, None) => return Err(to_python(Error::invalid("say what to keep"))),
        };
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { table.expire(keep).await })
    }

    /// Removes what no version names; the keys and their size.
    fn collect_garbage(
        &self,
        py: Python<'_>,
        grace: i64,
        dry_run: bool,
    ) -> PyResult<(Vec<String>, u64)> {
        let watch = Watch::default();
        let options = GarbageOptions {
            grace: SignedDuration::from_micros(grace),
            dry_run,
            cancel: watch.cancel.clone(),
        };
        let table = self.table(py)?;
        let garbage = wait(py, &watch, async move { table.collect_garbage(&options).await })?;
        Ok((garbage.keys, garbage.bytes))
    }

    /// Copies the version that reads see to another place.
    #[pyo3(signature = (url, scope, overwrite, storage_options, single_writer, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "called by the Python package alone")]
    fn copy(
        &self,
        py: Python<'_>,
        url: String,
        scope: Option<PyRef<'_, PyPredicate>>,
        overwrite: bool,
        storage_options: StoreArguments,
        single_writer: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let watch = Watch::new(progress);
        let mut copy =
            CopyOptions { overwrite, cancel: watch.cancel.clone(), ..CopyOptions::default() };
        copy.scope = scope.map(|scope| scope.predicate.clone());
        if let Some(meter) = &watch.meter {
            copy.progress = meter.sink();
        }
        let options = store_options(storage_options, false, single_writer);
        let table = self.table(py)?;
        let (target, store) = (url.clone(), options.clone());
        let made = wait(py, &watch, async move { table.copy(&target, &store, &copy).await })?;
        Ok(Self::new(url, options, made))
    }

    /// Checks the newest version; problems as (kind, key, message, repaired).
    #[pyo3(signature = (data, repair, progress=None))]
    fn verify(
        &self,
        py: Python<'_>,
        data: bool,
        repair: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<(&'static str, String, String, bool)>> {
        let watch = Watch::new(progress);
        let mut options = VerifyOptions { data, repair, ..VerifyOptions::default() };
        options.cancel = watch.cancel.clone();
        if let Some(meter) = &watch.meter {
            options.progress = meter.sink();
        }
        let table = self.table(py)?;
        let problems = wait(py, &watch, async move { table.verify(&options).await })?;
        Ok(problems.into_iter().map(|p| (p.kind.name(), p.key, p.message, p.repaired)).collect())
    }

    /// The recorded versions, newest first.
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let table = self.table(py)?;
        let snapshots = wait(py, &Watch::default(), async move { table.history().await })?;
        snapshots
            .into_iter()
            .map(|snapshot| {
                let fields = PyDict::new(py);
                fields.set_item("version", snapshot.version)?;
                fields.set_item("commit", snapshot.commit)?;
                fields.set_item("time", snapshot.time.as_microsecond())?;
                fields.set_item("operation", snapshot.operation.name())?;
                fields.set_item("files", snapshot.files)?;
                fields.set_item("rows", snapshot.rows)?;
                fields.set_item("bytes", snapshot.bytes)?;
                fields.set_item("files_added", snapshot.files_added)?;
                fields.set_item("files_removed", snapshot.files_removed)?;
                fields.set_item("rows_added", snapshot.rows_added)?;
                fields.set_item("rows_removed", snapshot.rows_removed)?;
                Ok(fields)
            })
            .collect()
    }

    /// Describes a read of the version that the table is at now.
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
            // Said now, where it is written, and not when the scan is run.
            filter.predicate.bind(&table.schema()).map_err(to_python)?;
            scan = scan.filter(filter.predicate.clone());
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

    /// Deletes every object of the table.
    fn drop(&self, py: Python<'_>) -> PyResult<u64> {
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { table.drop_table().await })
    }
}

fn moment(version: Option<u64>, micros: Option<i64>) -> PyResult<At> {
    match (version, micros) {
        (Some(version), _) => Ok(At::Version(version)),
        (None, Some(micros)) => {
            Timestamp::from_microsecond(micros).map(At::Time).map_err(|error| {
                to_python(Error::invalid("the time is out of range").caused_by(error))
            })
        }
        (None, None) => Err(to_python(Error::invalid("a version or a time is needed"))),
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
