//! Indexes of collections, and selections of rows.

use std::ops::Range;
use std::sync::Arc;

use partita::Error;
use partita::array::{
    BuildOptions, Index, IndexPlace, IndexSource, IndexTarget, MigratedIndex, PartitionRows,
    RefreshOptions, Selection, Stale, Work,
};
use pyo3::prelude::*;

use crate::arguments::{StoreArguments, store_options};
use crate::batches::Batches;
use crate::collection::PyCollection;
use crate::collection_arguments::{predicate, work};
use crate::errors::to_python;
use crate::function::Function;
use crate::partition::{PartitionRuns, PyPartition, runs_of};
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};

/// A partition with runs of its rows, as passed by Python.
type GivenRuns<'py> = (PyRef<'py, PyPartition>, Vec<(usize, usize)>);

/// The parts of a selection: the commit, and row runs per partition.
type Parts = (u64, Vec<PartitionRuns>);

/// Rows of partitions at a commit.
#[pyclass(frozen, name = "Selection", module = "partita._native")]
pub(crate) struct PySelection(pub(crate) Selection);

#[pymethods]
impl PySelection {
    /// Creates a selection from the commit, and partitions with runs of their rows.
    #[staticmethod]
    fn from_parts(commit: u64, parts: Vec<GivenRuns<'_>>) -> Self {
        let part = |(partition, runs): GivenRuns<'_>| {
            let rows = runs.into_iter().map(|(start, stop)| Range { start, end: stop.max(start) });
            PartitionRows { partition: partition.partition.clone(), rows: rows.collect() }
        };
        Self(Selection::new(commit, parts.into_iter().map(part)))
    }

    /// The arguments for `from_parts`.
    fn parts(&self) -> Parts {
        (self.0.commit(), self.0.partitions().iter().map(runs_of).collect())
    }

    fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Combines two selections: `and`, `or`, `and_not` or `xor`.
    fn combine(&self, other: PyRef<'_, Self>, operation: &str) -> PyResult<Self> {
        let (mine, theirs) = (&self.0, &other.0);
        Ok(Self(match operation {
            "and" => mine.and(theirs),
            "or" => mine.or(theirs),
            "and_not" => mine.and_not(theirs),
            "xor" => mine.xor(theirs),
            other => {
                let error = Error::invalid("selections are joined by and, or, and_not or xor");
                return Err(to_python(error.with("operation", other)));
            }
        }))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Parts)> {
        Ok((slf.get_type().getattr("from_parts")?, slf.get().parts()))
    }
}

/// The location of an index file: a name beside the collection, or a URL with the options of its
/// store.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct PlaceArguments {
    name: Option<String>,
    url: String,
    storage_options: StoreArguments,
    read_only: bool,
    single_writer: bool,
}

impl PlaceArguments {
    fn target(self) -> PyResult<IndexTarget> {
        match self.name {
            Some(name) => Ok(IndexTarget::Beside(name)),
            None => {
                let store = store_options(self.storage_options, self.read_only, self.single_writer);
                IndexPlace::at(&self.url, &store).map(IndexTarget::At).map_err(to_python)
            }
        }
    }

    fn place(self, collection: &partita::array::Collection) -> PyResult<IndexPlace> {
        Ok(self.target()?.of(collection))
    }
}

/// An open index of a collection.
#[pyclass(frozen, name = "Index", module = "partita._native")]
pub(crate) struct PyIndex {
    index: Index,
    function: Option<Function>,
}

impl PyIndex {
    /// The index with the location to migrate it to.
    pub(crate) fn migrated(&self, place: PlaceArguments) -> PyResult<MigratedIndex> {
        Ok(MigratedIndex { index: self.index.clone(), target: place.target()? })
    }

    /// Runs an operation of the engine; exceptions of the index function are raised again.
    fn run<T: Send + 'static>(
        &self,
        py: Python<'_>,
        watch: &Watch,
        work: impl Future<Output = partita::Result<T>> + Send + 'static,
    ) -> PyResult<T> {
        let done = wait(py, watch, work);
        match &self.function {
            Some(function) => function.finish(py, done),
            None => done,
        }
    }
}

#[pymethods]
impl PyIndex {
    /// Creates an index on variables, or on the results of a function, which then receives
    /// `variables`.
    #[staticmethod]
    #[pyo3(signature = (
        collection, place, variables, function, filter, overwrite, at_once, progress=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "called by the Python package alone")]
    fn build(
        py: Python<'_>,
        collection: PyRef<'_, PyCollection>,
        place: PlaceArguments,
        variables: Option<Vec<String>>,
        function: Option<Py<PyAny>>,
        filter: Option<PyRef<'_, PyPredicate>>,
        overwrite: bool,
        at_once: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let collection = collection.collection(py)?;
        let place = place.place(&collection)?;
        let function = function.map(Function::new);
        let source = match &function {
            Some(function) => IndexSource::Function { function: function.table(), variables },
            None => IndexSource::Variables(variables.unwrap_or_default()),
        };
        let watch = Watch::new(progress);
        let options =
            BuildOptions { predicate: predicate(filter), overwrite, at_once, work: work(&watch) };
        let built =
            wait(
                py,
                &watch,
                async move { Index::build(&collection, place, source, &options).await },
            );
        let index = match &function {
            Some(function) => function.finish(py, built)?,
            None => built?,
        };
        Ok(Self { index, function })
    }

    /// Opens an index.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        collection: PyRef<'_, PyCollection>,
        place: PlaceArguments,
        function: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let collection = collection.collection(py)?;
        let place = place.place(&collection)?;
        let function = function.map(Function::new);
        let called = function.as_ref().map(Function::table);
        let index =
            wait(
                py,
                &Watch::default(),
                async move { Index::open(&collection, place, called).await },
            )?;
        Ok(Self { index, function })
    }

    #[getter]
    fn url(&self) -> String {
        self.index.url()
    }

    #[getter]
    fn variables(&self) -> Option<Vec<String>> {
        self.index.variables()
    }

    #[getter]
    fn commit(&self) -> Option<u64> {
        self.index.commit()
    }

    /// Updates the index; returns the number of partitions examined.
    #[pyo3(signature = (all, at_once, progress=None))]
    fn refresh(
        &self,
        py: Python<'_>,
        all: bool,
        at_once: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<usize> {
        let watch = Watch::new(progress);
        let options = RefreshOptions { all, at_once, work: work(&watch) };
        let index = self.index.clone();
        self.run(py, &watch, async move { index.refresh(&options).await })
    }

    /// The rows that the index finds: with `stale` in its stored state, otherwise after an update.
    fn query(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        stale: bool,
    ) -> PyResult<PySelection> {
        let watch = Watch::default();
        let (index, filter, work): (_, _, Work) =
            (self.index.clone(), predicate(filter), work(&watch));
        let stale = if stale { Stale::Allow } else { Stale::Refresh };
        let found =
            self.run(py, &watch, async move { index.query(filter.as_ref(), stale, &work).await })?;
        Ok(PySelection(found))
    }

    /// Stores the index for a copy of its collection; with `stale` without an update.
    fn copy(
        &self,
        py: Python<'_>,
        place: PlaceArguments,
        collection: PyRef<'_, PyCollection>,
        stale: bool,
    ) -> PyResult<()> {
        let watch = Watch::default();
        let (index, copy, work) = (self.index.clone(), collection.collection(py)?, work(&watch));
        let place = place.place(&copy)?;
        let stale = if stale { Stale::Allow } else { Stale::Refresh };
        self.run(py, &watch, async move { index.copy(place, &copy, stale, &work).await.map(drop) })
    }

    /// The stored table of the index.
    fn table(&self) -> PyResult<Batches> {
        let table = self.index.table().map_err(to_python)?;
        Ok(Batches::new(Arc::clone(&table.schema()), vec![table]))
    }
}
