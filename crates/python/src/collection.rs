//! Collections.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use partita::array::layout::Layout;
use partita::array::{
    Collection, Committed, CopyOptions, CreateOptions, DropOptions, GarbageOptions, InsertOptions,
    Known, Partitioning, PlannedRows, ReadOptions, Staged, VerifyOptions, View, ViewOptions,
};
use partita::store::repository_url;
use partita::{Error, StoreOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arguments::{StoreArguments, store_options};
use crate::attributes::attributes;
use crate::collection_arguments::{
    MapArguments, MergeArguments, PartitioningArguments, StateArguments, chosen, layout, predicate,
    work,
};
use crate::dataset::PyDataset;
use crate::errors::to_python;
use crate::function::{Function, pairs};
use crate::index::PySelection;
use crate::opening::Opening;
use crate::partition::{PartitionRuns, PyPartition, partitions, runs_of};
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::schema::{PySchema, VariableArguments};

/// An open collection.
#[pyclass(frozen, name = "Collection", module = "partita._native")]
pub(crate) struct PyCollection {
    url: String,
    options: StoreOptions,
    opening: Opening,
    // With the process that opened it: connections do not survive a fork.
    open: Mutex<(u32, Collection)>,
}

/// The last commit of a collection that is known, and that of the base of a view.
type Commit = (u64, Option<u64>);

/// A commit: number, id, time in microseconds, operation, paths, bytes.
type Entry = (u64, String, i64, String, Vec<String>, u64);

/// What a function gave for a key.
type Mapped = (Vec<(String, i128)>, Py<PyAny>);

/// What a read gives: the last commit that it knows, places with runs of rows, and how many rows a
/// chunk holds.
type Plan = (Commit, Vec<(PartitionRuns, usize)>);

/// Something that was staged: the path, rows, bytes, and a form to send elsewhere.
type StagedChange = (String, Option<u64>, u64, Py<PyBytes>);

fn staged_changes(py: Python<'_>, staged: &[Staged]) -> PyResult<Vec<StagedChange>> {
    let change = |one: &Staged| {
        let bytes = serde_json::to_vec(one).map_err(|error| {
            to_python(Error::invalid("what was staged cannot be written").caused_by(error))
        })?;
        let change = &one.change;
        let form = PyBytes::new(py, &bytes).unbind();
        Ok((change.path.clone(), change.rows, change.bytes, form))
    };
    staged.iter().map(change).collect()
}

fn staged_of(forms: &[Vec<u8>]) -> PyResult<Vec<Staged>> {
    let staged = |form: &Vec<u8>| {
        serde_json::from_slice(form).map_err(|error| {
            to_python(Error::corrupt("these bytes are nothing that was staged").caused_by(error))
        })
    };
    forms.iter().map(staged).collect()
}

impl PyCollection {
    pub(crate) fn new(url: String, options: StoreOptions, collection: Collection) -> Self {
        let opening = match collection.base() {
            None => Opening::Collection,
            Some(_) => Opening::View,
        };
        Self::opened(url, options, opening, collection)
    }

    /// Another state of the same, over the same base.
    fn elsewhere(&self, it: Collection) -> Self {
        Self::opened(it.url().to_owned(), self.options.clone(), self.opening.clone(), it)
    }

    fn opened(url: String, options: StoreOptions, opening: Opening, it: Collection) -> Self {
        Self { url, options, opening, open: Mutex::new((std::process::id(), it)) }
    }

    /// The collection, opened again if this process is a fork of the one that opened it.
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
        // Dropping it could wait for threads that this process does not have.
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
            Collection::create(&target, schema, &axis, partitioning, &options, &opened).await
        })?;
        Ok(Self::new(url, store, made))
    }

    /// Opens a collection.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        url: String,
        storage_options: StoreArguments,
        read_only: bool,
        single_writer: bool,
    ) -> PyResult<Self> {
        let store = store_options(storage_options, read_only, single_writer);
        let (target, opened) = (url.clone(), store.clone());
        let found =
            wait(py, &Watch::default(), async move { Collection::open(&target, &opened).await })?;
        Ok(Self::new(url, store, found))
    }

    /// Creates a view over a collection, of the variables of a schema.
    #[staticmethod]
    #[pyo3(signature = (url, base, schema, filter, storage_options, single_writer, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "called by the Python package alone")]
    fn create_view(
        py: Python<'_>,
        url: String,
        base: PyRef<'_, PyCollection>,
        schema: PyRef<'_, PySchema>,
        filter: Option<PyRef<'_, PyPredicate>>,
        storage_options: StoreArguments,
        single_writer: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let watch = Watch::new(progress);
        let options = ViewOptions { predicate: predicate(filter), work: work(&watch) };
        let store = store_options(storage_options, false, single_writer);
        let opening = Opening::Over(base.url(), base.options.clone());
        let (base, schema) = (base.collection(py)?, schema.0.clone());
        let (target, opened) = (url.clone(), store.clone());
        let made = wait(py, &watch, async move {
            View::create(&target, &base, &schema, &options, &opened).await
        })?;
        Ok(Self::opened(url, store, opening, made.into_collection()))
    }

    /// Opens a view, over its base or over this one.
    #[staticmethod]
    fn open_view(
        py: Python<'_>,
        url: String,
        storage_options: StoreArguments,
        read_only: bool,
        single_writer: bool,
        base: Option<PyRef<'_, PyCollection>>,
    ) -> PyResult<Self> {
        let store = store_options(storage_options, read_only, single_writer);
        let opening = match &base {
            None => Opening::View,
            Some(base) => Opening::Over(base.url(), base.options.clone()),
        };
        let base = base.map(|base| base.collection(py)).transpose()?;
        let (target, opened) = (url.clone(), store.clone());
        let found = wait(py, &Watch::default(), async move {
            match base {
                None => View::open(&target, &opened).await,
                Some(base) => View::open_over(&target, &base, &opened).await,
            }
        })?;
        Ok(Self::opened(url, store, opening, found.into_collection()))
    }

    /// Of a view, the URL of its base; none if this is no view.
    #[getter]
    fn base(&self) -> Option<String> {
        self.known(|collection| collection.base().map(|base| base.url().to_owned()))
    }

    /// Of a view, its base, opened for reading.
    fn base_collection(&self) -> PyResult<Self> {
        let base = self.known(|collection| collection.base().cloned());
        let base = base.ok_or_else(|| to_python(Error::invalid("that is no view")))?;
        let options = match self.shares_store() {
            true => self.options.clone(),
            false => StoreOptions::new(),
        };
        Ok(Self::new(base.url().to_owned(), options.read_only(true), base))
    }

    /// Whether the base of a view is reached with the options of the view.
    fn shares_store(&self) -> bool {
        let base = self.known(|collection| collection.base().map(|base| base.url().to_owned()));
        base.is_some_and(|base| View::shares_options(&self.url, &base))
    }

    /// Of a view, the condition that says which partitions it covers; none if it covers all.
    fn covered(&self) -> Option<String> {
        self.known(|collection| collection.config().view.as_ref()?.filter.clone())
    }

    /// The paths of the variables that a view stores itself.
    fn own_variables(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.own_variables().await })
    }

    /// Whether a view has the rows of its base.
    fn is_synced(&self, py: Python<'_>) -> PyResult<bool> {
        let view = View::of(self.collection(py)?).map_err(to_python)?;
        wait(py, &Watch::default(), async move { view.is_synced().await })
    }

    /// Brings a view in line with its base.
    #[pyo3(signature = (filter, progress=None))]
    fn sync(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<PyPartition>> {
        let watch = Watch::new(progress);
        let options = ViewOptions { predicate: predicate(filter), work: work(&watch) };
        let view = View::of(self.collection(py)?).map_err(to_python)?;
        let written = wait(py, &watch, async move { view.sync(&options).await })?;
        Ok(partitions(written))
    }

    #[getter]
    fn url(&self) -> String {
        self.known(|collection| collection.url().to_owned())
    }

    /// What the collection is, without its schema.
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

    /// Looks at the newest state.
    fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.refresh().await })
    }

    fn partitions(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
    ) -> PyResult<Vec<PyPartition>> {
        let (collection, filter) = (self.collection(py)?, predicate(filter));
        let found =
            wait(
                py,
                &Watch::default(),
                async move { collection.partitions(filter.as_ref()).await },
            )?;
        Ok(partitions(found))
    }

    /// Partitions with their rows, objects and bytes.
    fn sizes(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
    ) -> PyResult<Vec<PyPartition>> {
        let (collection, filter) = (self.collection(py)?, predicate(filter));
        let found =
            wait(py, &Watch::default(), async move { collection.sizes(filter.as_ref()).await })?;
        Ok(found.into_iter().map(PyPartition::from).collect())
    }

    #[pyo3(signature = (filter, variables, progress=None, rows=None))]
    fn read(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        variables: Option<Vec<String>>,
        progress: Option<Py<PyAny>>,
        rows: Option<PyRef<'_, PySelection>>,
    ) -> PyResult<PyDataset> {
        let watch = Watch::new(progress);
        let (predicate, rows) = (predicate(filter), chosen(rows));
        let options = ReadOptions { predicate, rows, variables, work: work(&watch) };
        let collection = self.collection(py)?;
        let data = wait(py, &watch, async move { collection.read(&options).await })?;
        Ok(PyDataset::new(data))
    }

    /// What a read would read: the last commit, and partitions with their rows and chunks.
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
        let partition = |found: &PlannedRows| (runs_of(&found.rows), found.chunk);
        Ok(((plan.commit.own, plan.commit.base), plan.partitions.iter().map(partition).collect()))
    }

    /// Rows of partitions, by their paths, if these were not changed since a commit.
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

    /// Which rows of a dataset belong to which partitions.
    fn places(&self, data: PyRef<'_, PyDataset>) -> PyResult<Vec<PartitionRuns>> {
        let data = data.dataset()?;
        let places = self.known(|collection| collection.places(&data)).map_err(to_python)?;
        Ok(places.iter().map(runs_of).collect())
    }

    /// The names of the indexes that are kept with the collection.
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

    /// Stages what `insert` would commit.
    fn stage_insert(
        &self,
        py: Python<'_>,
        data: PyRef<'_, PyDataset>,
        merge: MergeArguments,
        shared: bool,
    ) -> PyResult<Vec<StagedChange>> {
        let watch = Watch::default();
        let (merge, function) = merge.merge()?;
        let options = InsertOptions { merge, key: None, work: work(&watch) };
        let (collection, data) = (self.collection(py)?, data.dataset()?);
        let done =
            wait(py, &watch, async move { collection.stage_insert(&data, &options, shared).await });
        let done = match function {
            Some(function) => function.finish(py, done),
            None => done,
        };
        staged_changes(py, &done?)
    }

    /// Stages what `update` would commit.
    fn stage_update(
        &self,
        py: Python<'_>,
        function: Py<PyAny>,
        map: MapArguments<'_>,
    ) -> PyResult<Vec<StagedChange>> {
        let (watch, function) = (Watch::default(), Function::new(function));
        let (options, called) = (map.options(&watch), function.update());
        let collection = self.collection(py)?;
        let done = wait(py, &watch, async move { collection.stage_update(called, &options).await });
        staged_changes(py, &function.finish(py, done)?)
    }

    /// Commits what was staged: the number of the commit, or the paths that have to be staged again.
    fn commit_staged(
        &self,
        py: Python<'_>,
        operation: String,
        staged: Vec<Vec<u8>>,
        key: Option<String>,
    ) -> PyResult<(u64, Vec<String>)> {
        let (collection, staged) = (self.collection(py)?, staged_of(&staged)?);
        let committed = wait(py, &Watch::default(), async move {
            collection.commit_staged(&operation, staged, key.as_deref()).await
        })?;
        Ok(match committed {
            Committed::Done(sequence) => (sequence, Vec::new()),
            Committed::Stale(paths) => (0, paths),
        })
    }

    /// Removes what was staged and is not to be committed.
    fn discard_staged(&self, py: Python<'_>, staged: Vec<Vec<u8>>) -> PyResult<()> {
        let (collection, staged) = (self.collection(py)?, staged_of(&staged)?);
        wait(py, &Watch::default(), async move { collection.discard_staged(&staged).await })
    }

    #[pyo3(signature = (data, merge, key, progress=None))]
    fn insert(
        &self,
        py: Python<'_>,
        data: PyRef<'_, PyDataset>,
        merge: MergeArguments,
        key: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<PyPartition>> {
        let watch = Watch::new(progress);
        let (merge, function) = merge.merge()?;
        let options = InsertOptions { merge, key, work: work(&watch) };
        let (collection, data) = (self.collection(py)?, data.dataset()?);
        let done = wait(py, &watch, async move { collection.insert(&data, &options).await });
        let done = match function {
            Some(function) => function.finish(py, done),
            None => done,
        };
        Ok(partitions(done?))
    }

    #[pyo3(signature = (function, map, progress=None))]
    fn map(
        &self,
        py: Python<'_>,
        function: Py<PyAny>,
        map: MapArguments<'_>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<Mapped>> {
        let (watch, function) = (Watch::new(progress), Function::new(function));
        let (options, called) = (map.options(&watch), function.map());
        let collection = self.collection(py)?;
        let done = wait(py, &watch, async move { collection.map(called, &options).await });
        let found = function.finish(py, done)?.into_iter();
        Ok(found.map(|(key, value)| (pairs(&key), value)).collect())
    }

    #[pyo3(signature = (function, map, progress=None))]
    fn update(
        &self,
        py: Python<'_>,
        function: Py<PyAny>,
        map: MapArguments<'_>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<PyPartition>> {
        let (watch, function) = (Watch::new(progress), Function::new(function));
        let (options, called) = (map.options(&watch), function.update());
        let collection = self.collection(py)?;
        let done = wait(py, &watch, async move { collection.update(called, &options).await });
        Ok(partitions(function.finish(py, done)?))
    }

    #[pyo3(signature = (filter, older_than))]
    fn drop_partitions(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        older_than: Option<i64>,
    ) -> PyResult<Vec<PyPartition>> {
        let watch = Watch::default();
        let older_than = older_than.map(SignedDuration::from_micros);
        let options = DropOptions { predicate: predicate(filter), older_than, work: work(&watch) };
        let collection = self.collection(py)?;
        let gone = wait(py, &watch, async move { collection.drop_partitions(&options).await })?;
        Ok(partitions(gone))
    }

    #[pyo3(signature = (group, variable, progress=None))]
    fn add_variable(
        &self,
        py: Python<'_>,
        group: String,
        variable: VariableArguments<'_>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let watch = Watch::new(progress);
        let (collection, schema, work) = (self.collection(py)?, variable.schema()?, work(&watch));
        wait(py, &watch, async move { collection.add_variable(&group, &schema, &work).await })
    }

    #[pyo3(signature = (path, progress=None))]
    fn drop_variable(
        &self,
        py: Python<'_>,
        path: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let watch = Watch::new(progress);
        let (collection, work) = (self.collection(py)?, work(&watch));
        wait(py, &watch, async move { collection.drop_variable(&path, &work).await })
    }

    #[pyo3(signature = (variables, progress=None))]
    fn set_statistics(
        &self,
        py: Python<'_>,
        variables: Vec<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let watch = Watch::new(progress);
        let (collection, work) = (self.collection(py)?, work(&watch));
        wait(py, &watch, async move { collection.set_statistics(&variables, &work).await })
    }

    fn set_attributes(
        &self,
        py: Python<'_>,
        variable: Option<String>,
        values: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let (collection, values) = (self.collection(py)?, attributes(values)?);
        wait(py, &Watch::default(), async move {
            collection.set_attributes(variable.as_deref(), values).await
        })
    }

    #[pyo3(signature = (
        target, storage_options, single_writer, filter, zarr_format, schema, base, verify,
        progress=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "called by the Python package alone")]
    fn copy(
        &self,
        py: Python<'_>,
        target: String,
        storage_options: StoreArguments,
        single_writer: bool,
        filter: Option<PyRef<'_, PyPredicate>>,
        zarr_format: Option<u8>,
        schema: Option<PyRef<'_, PySchema>>,
        base: Option<PyRef<'_, Self>>,
        verify: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let watch = Watch::new(progress);
        let over = base.as_ref().map(|base| Opening::Over(base.url(), base.options.clone()));
        let options = CopyOptions {
            predicate: predicate(filter),
            layout: zarr_format.map(layout).transpose()?,
            schema: schema.map(|schema| schema.0.clone()),
            base: base.map(|base| base.collection(py)).transpose()?,
            verify,
            work: work(&watch),
        };
        let store = store_options(storage_options, false, single_writer);
        let collection = self.collection(py)?;
        let (url, opened) = (target.clone(), store.clone());
        let opening = over.unwrap_or_else(|| self.opening.clone());
        let copy =
            wait(py, &watch, async move { collection.copy_to(&url, &opened, &options).await })?;
        Ok(Self::opened(target, store, opening, copy))
    }

    /// Problems as (kind, path, message, repaired).
    #[pyo3(signature = (filter, data, repair, progress=None))]
    fn verify(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        data: bool,
        repair: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<(String, String, String, bool)>> {
        let watch = Watch::new(progress);
        let options =
            VerifyOptions { predicate: predicate(filter), data, repair, work: work(&watch) };
        let collection = self.collection(py)?;
        let found = wait(py, &watch, async move { collection.verify(&options).await })?;
        let found = found.into_iter();
        Ok(found.map(|p| (p.kind.name().to_owned(), p.path, p.message, p.repaired)).collect())
    }

    /// Keys and bytes removed.
    fn collect_garbage(
        &self,
        py: Python<'_>,
        grace: i64,
        dry_run: bool,
    ) -> PyResult<(Vec<String>, u64)> {
        let watch = Watch::default();
        let grace = SignedDuration::from_micros(grace);
        let options = GarbageOptions { grace, dry_run, cancel: watch.cancel.clone() };
        let collection = self.collection(py)?;
        let gone = wait(py, &watch, async move { collection.collect_garbage(&options).await })?;
        Ok((gone.keys, gone.bytes))
    }

    /// The branch that commits go to.
    #[getter]
    fn branch(&self) -> Option<String> {
        self.known(|collection| collection.branch().map(str::to_owned))
    }

    /// The collection on another branch.
    fn on_branch(&self, py: Python<'_>, name: String) -> PyResult<Self> {
        let collection = self.collection(py)?;
        let found = wait(py, &Watch::default(), async move { collection.on_branch(&name).await })?;
        Ok(self.elsewhere(found))
    }

    /// The collection as it was.
    fn at(&self, py: Python<'_>, at: StateArguments) -> PyResult<Self> {
        let (collection, at) = (self.collection(py)?, at.state()?);
        let found = wait(py, &Watch::default(), async move { collection.at(at).await })?;
        Ok(self.elsewhere(found))
    }

    fn branches(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.branches().await })
    }

    fn tags(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.tags().await })
    }

    fn create_branch(
        &self,
        py: Python<'_>,
        name: String,
        at: Option<StateArguments>,
    ) -> PyResult<()> {
        let at = at.map(StateArguments::state).transpose()?;
        let collection = self.collection(py)?;
        wait(
            py,
            &Watch::default(),
            async move { collection.create_branch(&name, at.as_ref()).await },
        )
    }

    fn create_tag(&self, py: Python<'_>, name: String, at: Option<StateArguments>) -> PyResult<()> {
        let at = at.map(StateArguments::state).transpose()?;
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.create_tag(&name, at.as_ref()).await })
    }

    fn delete_branch(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.delete_branch(&name).await })
    }

    fn delete_tag(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.delete_tag(&name).await })
    }

    /// Forgets old commits: how many.
    fn expire(&self, py: Python<'_>, keep_within: i64) -> PyResult<usize> {
        let collection = self.collection(py)?;
        let age = SignedDuration::from_micros(keep_within);
        let gone = wait(py, &Watch::default(), async move { collection.expire(age).await })?;
        Ok(gone.len())
    }

    /// The commits, the newest first.
    fn history(&self, py: Python<'_>) -> PyResult<Vec<Entry>> {
        let collection = self.collection(py)?;
        let records = wait(py, &Watch::default(), async move { collection.history().await })?;
        let commit = |record: partita::array::Record| {
            let bytes = record.changes.iter().map(|change| change.bytes).sum();
            let paths = record.changes.into_iter().map(|change| change.path).collect();
            (
                record.sequence,
                record.id,
                record.time.as_microsecond(),
                record.operation,
                paths,
                bytes,
            )
        };
        Ok(records.into_iter().rev().map(commit).collect())
    }
}
