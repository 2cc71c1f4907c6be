//! Versions, copies, verification and garbage collection of tables.

use arrow::datatypes::SchemaRef;
use jiff::{SignedDuration, Timestamp};
use partita::{
    At, CopyOptions, Error, GarbageOptions, Keep, SchemaVersion, SnapshotInfo, VerifyOptions,
};
use partita_cli::report_of_table;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use super::PyTable;
use crate::aio::answer;
use crate::arguments::{StoreArguments, WriteArguments, store_options};
use crate::arrow_ffi::export_schema;
use crate::errors::to_python;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};

#[pymethods]
impl PyTable {
    /// The table at a version, or at a time in microseconds.
    #[pyo3(signature = (version, micros, ended=None))]
    fn at<'py>(
        &self,
        py: Python<'py>,
        version: Option<u64>,
        micros: Option<i64>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let at = moment(version, micros)?;
        let table = self.table(py)?;
        let (url, options) = (self.url.clone(), self.options.clone());
        answer(py, Watch::default(), ended, async move { table.at(at).await }, |py, old| {
            Self::new(url, options, old?).into_py_any(py)
        })
    }

    /// Makes an older version the newest.
    fn restore<'py>(
        &self,
        py: Python<'py>,
        version: Option<u64>,
        micros: Option<i64>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyAny>> {
        let at = moment(version, micros)?;
        self.committing(py, &write, None, None, |table, options| async move {
            table.restore(at, &options).await
        })
    }

    /// Expires old versions.
    fn expire(
        &self,
        py: Python<'_>,
        keep_last: Option<usize>,
        keep_within: Option<i64>,
    ) -> PyResult<u64> {
        let keep = match (keep_last, keep_within) {
            (Some(count), _) => Keep::Last(count),
            (None, Some(micros)) => Keep::Within(SignedDuration::from_micros(micros)),
            (None, None) => {
                return Err(to_python(Error::invalid("the versions to keep are not given")));
            }
        };
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { table.expire(keep).await })
    }

    /// Collects garbage; returns the removed keys, their size in bytes, and missing keys.
    fn collect_garbage(
        &self,
        py: Python<'_>,
        grace: i64,
        dry_run: bool,
    ) -> PyResult<(Vec<String>, u64, Vec<String>)> {
        let watch = Watch::default();
        let options = GarbageOptions {
            grace: SignedDuration::from_micros(grace),
            dry_run,
            cancel: watch.cancel.clone(),
        };
        let table = self.table(py)?;
        let garbage = wait(py, &watch, async move { table.collect_garbage(&options).await })?;
        Ok((garbage.keys, garbage.bytes, garbage.missing))
    }

    /// Copies the current version to another location.
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
        copy.scope = scope.map(|scope| scope.predicate());
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
        Ok(problems.into_iter().map(|p| (p.kind.name(), p.at, p.message, p.repaired)).collect())
    }

    /// An HTML page that describes the table.
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { report_of_table(&table).await })
    }

    /// The recorded versions, newest first.
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let table = self.table(py)?;
        let snapshots = wait(py, &Watch::default(), async move { table.history().await })?;
        snapshots.into_iter().map(|snapshot| snapshot_fields(py, snapshot)).collect()
    }

    /// The schemas that the table has had, newest first: fields of the commit, and what exports the
    /// schema.
    fn schema_history<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(Bound<'py, PyDict>, PyTableSchema)>> {
        let table = self.table(py)?;
        let schemas = wait(py, &Watch::default(), async move { table.schema_history().await })?;
        let fields = |one: SchemaVersion| {
            let fields = PyDict::new(py);
            fields.set_item("version", one.version)?;
            fields.set_item("commit", one.commit)?;
            fields.set_item("time", one.time.as_microsecond())?;
            fields.set_item("operation", one.operation.name())?;
            fields.set_item("column_ids", one.column_ids)?;
            fields.set_item("comments", one.comments)?;
            Ok((fields, PyTableSchema(one.schema)))
        };
        schemas.into_iter().map(fields).collect()
    }

    /// The commit with an id or an idempotency key, if it was made.
    #[pyo3(signature = (id_or_key, ended=None))]
    fn committed<'py>(
        &self,
        py: Python<'py>,
        id_or_key: String,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let table = self.table(py)?;
        let looking = async move { table.committed(&id_or_key).await };
        answer(py, Watch::default(), ended, looking, |py, found| match found? {
            Some(snapshot) => Ok(snapshot_fields(py, snapshot)?.into_any().unbind()),
            None => Ok(py.None()),
        })
    }

    /// Deletes every object of the table.
    fn drop(&self, py: Python<'_>) -> PyResult<u64> {
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { table.drop_table().await })
    }
}

/// A schema of a table.
#[pyclass(frozen, name = "TableSchema", module = "partita._native")]
pub(crate) struct PyTableSchema(SchemaRef);

#[pymethods]
impl PyTableSchema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.0)
    }
}

fn snapshot_fields(py: Python<'_>, snapshot: SnapshotInfo) -> PyResult<Bound<'_, PyDict>> {
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
}

fn moment(version: Option<u64>, micros: Option<i64>) -> PyResult<At> {
    match (version, micros) {
        (Some(version), _) => Ok(At::Number(version)),
        (None, Some(micros)) => {
            Timestamp::from_microsecond(micros).map(At::Time).map_err(|error| {
                to_python(Error::invalid("the time is out of range").caused_by(error))
            })
        }
        (None, None) => Err(to_python(Error::invalid("a version or a time is needed"))),
    }
}
