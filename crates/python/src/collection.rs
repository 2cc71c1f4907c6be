//! Collections.
//!
//! - `changes`: inserts, functions, staged changes. `keeping`: copies, checks, garbage collection.
//! - `references`: commits, branches, tags. `views`: operations of views.

mod changes;
mod keeping;
mod references;
mod views;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use partita::array::layout::Layout;
use partita::array::{
    Collection, CreateOptions, Known, PartitionSize, Partitioning, PlannedRows, ReadOptions,
    ReadPlan,
};
use partita::store::repository_url;
use partita::{DatasetKind, StoreOptions, check_vacant};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::aio::answer;
use crate::arguments::{StoreArguments, store_options};
use crate::collection_arguments::{PartitioningArguments, chosen, layout, predicate, work};
use crate::dataset::PyDataset;
use crate::errors::to_python;
use crate::index::PySelection;
use crate::opening::Opening;
use crate::partition::{PartitionRuns, PyPartitions, runs_of};
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::schema::PySchema;

/// An open collection.
#[pyclass(frozen, name = "Collection", module = "partita._native")]
pub(crate) struct PyCollection {
    url: String,
    options: StoreOptions,
    opening: Opening,
    // With the id of the process that opened it: connections do not survive a fork.
    open: Mutex<(u32, Collection)>,
}

/// The number of the last known commit of a collection, and that of the base of a view.
type Commit = (u64, Option<u64>);

/// The plan of a read: the last known commit, and for each partition its row runs and the number of
/// rows per chunk.
type Plan = (Commit, Vec<(PartitionRuns, usize)>);

fn plan_of(plan: &ReadPlan) -> Plan {
    let partition = |found: &PlannedRows| (runs_of(&found.rows), found.chunk);
    ((plan.commit.own, plan.commit.base), plan.partitions.iter().map(partition).collect())
}

impl PyCollection {
    pub(crate) fn new(url: String, options: StoreOptions, collection: Collection) -> Self {
        let opening = match collection.base() {
            None => Opening::Collection,
            Some(_) => Opening::View,
        };
        Self::opened(url, options, opening, collection)
    }

    /// Opens another version of this collection, with the same options and base.
    fn elsewhere<'py>(
        &self,
        py: Python<'py>,
        ended: Option<Py<PyAny>>,
        opening: impl Future<Output = partita::Result<Collection>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (options, base) = (self.options.clone(), self.opening.clone());
        answer(py, Watch::default(), ended, opening, |py, it| {
            let it = it?;
            Self::opened(it.url().to_owned(), options, base, it).into_py_any(py)
        })
    }

    fn opened(url: String, options: StoreOptions, opening: Opening, it: Collection) -> Self {
        Self { url, options, opening, open: Mutex::new((std::process::id(), it)) }
    }

    /// The collection, reopened if this process is a fork of the one that opened it.
    pub(crate) fn collection(&self, py: Python<'_>) -> PyResult<Collection> {
        let process = std::process::id();
        let (owner, collection) = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            (open.0, open.1.clone())
        };
        let place = repository_url(&self.url).unwrap_or(&self.url);
        if owner == process || place.starts_with("memory:") {
            return Ok(collection);
        }
        let (url, options) = (self.url.clone(), self.options.clone());
        let opening = self.opening.clone();
        let fresh = wait(py, &Watch::default(), async move { opening.open(&url, &options).await })?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = std::mem::replace(&mut *open, (process, fresh.clone()));
        // Dropping it could wait for threads that do not exist in this process.
        std::mem::forget((stale, collection));
        Ok(fresh)
    }

    fn known<T>(&self, ask: impl FnOnce(&Collection) -> T) -> T {
        ask(&self.open.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
}

#[pymethods]
impl PyCollection {
    /// Creates an empty collection.
    #[staticmethod]
    #[expect(clippy::too_many_arguments, reason = "called by the Python package alone")]
    fn create(
        py: Python<'_>,
        url: String,
        schema: PyRef<'_, PySchema>,
        axis: String,
        partitioning: PartitioningArguments,
        zarr_format: Option<u8>,
        catalog: bool,
        statistics: Vec<String>,
        storage_options: StoreArguments,
        single_writer: bool,
    ) -> PyResult<Self> {
        let usual = if repository_url(&url).is_some() { 3 } else { 2 };
        let layout = layout(zarr_format.unwrap_or(usual))?;
        let options = CreateOptions { layout, catalog, statistics };
        let (schema, partitioning) = (schema.0.clone(), partitioning.partitioning()?);
        let store = store_options(storage_options, false, single_writer);
        let (target, opened) = (url.clone(), store.clone());
        let made = wait(py, &Watch::default(), async move {
            check_vacant(&target, &opened, DatasetKind::Collection).await?;
            Collection::create(&target, schema, &axis, partitioning, &options, &opened).await
        })?;
        Ok(Self::new(url, store, made))
    }

    /// Opens a collection.
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
        let store = store_options(storage_options, read_only, single_writer);
        let (target, opened) = (url.clone(), store.clone());
        let opening = async move { Collection::open(&target, &opened).await };
        answer(py, Watch::default(), ended, opening, |py, found| {
            Self::new(url, store, found?).into_py_any(py)
        })
    }

    #[getter]
    fn url(&self) -> String {
        self.known(|collection| collection.url().to_owned())
    }

    /// The configuration of the collection, without its schema.
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let config = self.known(Collection::config);
        let dict = PyDict::new(py);
        dict.set_item("zarr_format", if config.layout == Layout::ZarrV2 { 2 } else { 3 })?;
        dict.set_item("axis", &config.axis)?;
        dict.set_item("dimension", &config.dimension)?;
        dict.set_item("catalog", config.catalog)?;
        dict.set_item("statistics", &config.statistics)?;
        dict.set_item("version", &config.version)?;
        dict.set_item("variables", config.partitioning.variables())?;
        dict.set_item("fields", config.partitioning.fields())?;
        let (kind, resolution, size, start) = match &config.partitioning {
            Partitioning::Date { resolution, .. } => {
                ("date", Some(resolution.to_string()), None, None)
            }
            Partitioning::GroupedSequence { size, start, .. } => {
                ("grouped", None, Some(*size), Some(*start))
            }
            _ => ("sequence", None, None, None),
        };
        dict.set_item("kind", kind)?;
        dict.set_item("resolution", resolution)?;
        dict.set_item("size", size)?;
        dict.set_item("start", start)?;
        Ok(dict)
    }

    fn schema(&self) -> PySchema {
        PySchema(self.known(|collection| collection.config().schema.clone()))
    }

    /// Loads the newest state.
    #[pyo3(signature = (ended=None))]
    fn refresh<'py>(
        &self,
        py: Python<'py>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let collection = self.collection(py)?;
        let loading = async move { collection.refresh().await };
        answer(py, Watch::default(), ended, loading, |py, done| done.map(|()| py.None()))
    }

    fn partitions(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
    ) -> PyResult<PyPartitions> {
        let (collection, filter) = (self.collection(py)?, predicate(filter));
        let found =
            wait(
                py,
                &Watch::default(),
                async move { collection.partitions(filter.as_ref()).await },
            )?;
        Ok(PyPartitions(found))
    }

    /// Partitions with their rows, objects and bytes.
    fn sizes(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
    ) -> PyResult<PyPartitions<PartitionSize>> {
        let (collection, filter) = (self.collection(py)?, predicate(filter));
        let found =
            wait(py, &Watch::default(), async move { collection.sizes(filter.as_ref()).await })?;
        Ok(PyPartitions(found))
    }

    #[pyo3(signature = (filter, variables, progress=None, rows=None, ended=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        filter: Option<PyRef<'py, PyPredicate>>,
        variables: Option<Vec<String>>,
        progress: Option<Py<PyAny>>,
        rows: Option<PyRef<'py, PySelection>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::new(progress);
        let (predicate, rows) = (predicate(filter), chosen(rows));
        let options = ReadOptions { predicate, rows, variables, work: work(&watch) };
        let collection = self.collection(py)?;
        let reading = async move { collection.read(&options).await };
        answer(py, watch, ended, reading, |py, data| PyDataset::new(data?).into_py_any(py))
    }

    /// The plan of a read: the last commit, and partitions with their rows and chunks.
    #[pyo3(signature = (filter, variables, rows=None))]
    fn plan(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        variables: Option<Vec<String>>,
        rows: Option<PyRef<'_, PySelection>>,
    ) -> PyResult<Plan> {
        let watch = Watch::default();
        let (predicate, rows) = (predicate(filter), chosen(rows));
        let options = ReadOptions { predicate, rows, variables, work: work(&watch) };
        let collection = self.collection(py)?;
        let plan = wait(py, &watch, async move { collection.plan(&options).await })?;
        Ok(plan_of(&plan))
    }

    /// The plan of a read, its variables without rows, and its axes.
    #[pyo3(signature = (filter, variables, rows=None))]
    fn read_lazily(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        variables: Option<Vec<String>>,
        rows: Option<PyRef<'_, PySelection>>,
    ) -> PyResult<(Plan, PyDataset, Option<PyDataset>)> {
        let watch = Watch::default();
        let (predicate, rows) = (predicate(filter), chosen(rows));
        let options = ReadOptions { predicate, rows, variables, work: work(&watch) };
        let collection = self.collection(py)?;
        let found = wait(py, &watch, async move { collection.read_lazily(&options).await })?;
        let axis = found.axis.map(PyDataset::new);
        Ok((plan_of(&found.plan), PyDataset::new(found.template), axis))
    }

    /// Reads rows of partitions, given by path, if they have not changed since a commit.
    fn read_rows(
        &self,
        py: Python<'_>,
        rows: Vec<(String, Vec<(usize, usize)>)>,
        commit: Commit,
        variables: Option<Vec<String>>,
    ) -> PyResult<PyDataset> {
        let watch = Watch::default();
        let options = ReadOptions { variables, work: work(&watch), ..ReadOptions::default() };
        let runs = |runs: Vec<(usize, usize)>| runs.into_iter().map(|(start, end)| start..end);
        let rows: Vec<(String, Vec<Range<usize>>)> =
            rows.into_iter().map(|(path, found)| (path, runs(found).collect())).collect();
        let collection = self.collection(py)?;
        let commit = Known { own: commit.0, base: commit.1 };
        let data =
            wait(py, &watch, async move { collection.read_rows(&rows, commit, &options).await })?;
        Ok(PyDataset::new(data))
    }

    /// Assigns the rows of a dataset to partitions.
    fn places(&self, data: PyRef<'_, PyDataset>) -> PyResult<Vec<PartitionRuns>> {
        let data = data.dataset()?;
        let places = self.known(|collection| collection.places(&data)).map_err(to_python)?;
        Ok(places.iter().map(runs_of).collect())
    }

    /// The names of the indexes kept with the collection.
    fn indexes(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.indexes().await })
    }

    /// The number of the last commit.
    fn last_commit(&self, py: Python<'_>) -> PyResult<Commit> {
        let collection = self.collection(py)?;
        let last = wait(py, &Watch::default(), async move { collection.last_commit().await })?;
        Ok((last.own, last.base))
    }
}
