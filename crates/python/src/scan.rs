//! Scans of tables.

use partita::Scan;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::aio::answer;
use crate::arrow_ffi::{export_schema, export_stream};
use crate::batches::{BatchIterator, Batches, ScanReader, pump};
use crate::errors::to_python;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, runtime, wait};

/// A scan of one version; it can be run any number of times.
#[pyclass(frozen, name = "Scan", module = "partita._native")]
pub(crate) struct PyScan(Scan);

impl PyScan {
    /// Wraps a scan whose columns and predicate have been validated.
    pub(crate) fn new(scan: Scan) -> Self {
        Self(scan)
    }

    fn scan(&self, watch: &Watch) -> Scan {
        let scan = self.0.clone().cancel(watch.cancel.clone());
        match &watch.meter {
            Some(meter) => scan.progress(meter.sink()),
            None => scan,
        }
    }
}

#[pymethods]
impl PyScan {
    /// Reads all rows.
    #[pyo3(signature = (progress=None, ended=None))]
    fn collect<'py>(
        &self,
        py: Python<'py>,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::new(progress);
        let scan = self.scan(&watch);
        let schema = scan.schema().map_err(to_python)?;
        answer(py, watch, ended, async move { scan.collect().await }, |py, batches| {
            Batches::new(schema, batches?).into_py_any(py)
        })
    }

    /// Splits the scan by partition or by file, as (pairs, scan).
    #[expect(clippy::type_complexity, reason = "one row of what Python unpacks")]
    fn pieces(
        &self,
        py: Python<'_>,
        by_file: bool,
    ) -> PyResult<Vec<(Vec<(String, String)>, Self)>> {
        let watch = Watch::default();
        let scan = self.scan(&watch);
        let pieces = wait(py, &watch, async move {
            if by_file { scan.by_file().await } else { scan.by_partition().await }
        })?;
        Ok(pieces.into_iter().map(|(key, scan)| (key.pairs().to_vec(), Self(scan))).collect())
    }

    /// The keys of the files left after planning, in the order of `pieces(True)`.
    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let watch = Watch::default();
        let scan = self.scan(&watch);
        wait(py, &watch, async move { scan.keys().await })
    }

    /// The files to read, as (key, pairs, rows, bytes).
    #[expect(clippy::type_complexity, reason = "one row of what Python unpacks")]
    fn files(
        &self,
        py: Python<'_>,
    ) -> PyResult<Vec<(String, Vec<(String, String)>, Option<u64>, Option<u64>)>> {
        let watch = Watch::default();
        let scan = self.scan(&watch);
        let files = wait(py, &watch, async move { scan.files().await })?;
        Ok(files
            .into_iter()
            .map(|file| (file.key, file.partition.pairs().to_vec(), file.rows, file.bytes))
            .collect())
    }

    /// The same scan restricted to some files.
    fn only(&self, keys: Vec<String>) -> PyResult<Self> {
        self.0.only(keys).map(Self).map_err(to_python)
    }

    /// The same scan with other columns.
    fn selecting(&self, columns: Vec<String>) -> PyResult<Self> {
        let scan = self.0.clone().columns(columns);
        scan.schema().map_err(to_python)?;
        Ok(Self(scan))
    }

    /// The same scan with a further condition.
    fn narrowed(&self, filter: PyRef<'_, PyPredicate>) -> Self {
        Self(self.0.clone().filter(filter.predicate()))
    }

    /// The same scan with the types that plateau makes of those that were given.
    fn normalised(&self) -> Self {
        Self(self.0.clone().normalised())
    }

    /// Starts a read by batch.
    fn batches(&self, py: Python<'_>) -> PyResult<BatchIterator> {
        let watch = Watch::default();
        let scan = self.scan(&watch);
        scan.schema().map_err(to_python)?;
        Ok(BatchIterator::new(pump(runtime(py)?, scan), watch.cancel))
    }

    /// The number of rows.
    #[pyo3(signature = (ended=None))]
    fn count<'py>(&self, py: Python<'py>, ended: Option<Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::default();
        let scan = self.scan(&watch);
        let counting = async move { scan.count().await };
        answer(py, watch, ended, counting, |py, rows| rows?.into_py_any(py))
    }

    /// The plan of the scan, as text and as JSON.
    #[pyo3(signature = (ended=None))]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::default();
        let scan = self.scan(&watch);
        let planning = async move {
            let plan = scan.explain().await?;
            let json = serde_json::to_string(&plan).map_err(|error| {
                partita::Error::invalid("the plan cannot be written as JSON").caused_by(error)
            })?;
            Ok::<_, partita::Error>((plan.to_string(), json))
        };
        answer(py, watch, ended, planning, |py, plan| plan?.into_py_any(py))
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows a producer to ignore the requested schema; the consumer then casts.
        drop(requested_schema);
        let scan = self.scan(&Watch::default());
        let schema = scan.schema().map_err(to_python)?;
        let runtime = runtime(py)?;
        export_stream(py, Box::new(ScanReader::new(runtime, schema, pump(runtime, scan))))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = self.scan(&Watch::default()).schema().map_err(to_python)?;
        export_schema(py, &schema)
    }
}
