//! Creating and opening views.

use partita::array::{View, ViewOptions};
use partita::{DatasetKind, Error, StoreOptions, check_vacant};
use pyo3::prelude::*;

use super::PyCollection;
use crate::arguments::{StoreArguments, store_options};
use crate::collection_arguments::{predicate, work};
use crate::errors::to_python;
use crate::opening::Opening;
use crate::partition::PyPartitions;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::schema::PySchema;

#[pymethods]
impl PyCollection {
    /// Creates a view over a collection, with the variables of a schema.
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
        let (predicate, work) = (predicate(filter), work(&watch));
        let options = ViewOptions { predicate, key: None, work };
        let store = store_options(storage_options, false, single_writer);
        let opening = Opening::Over(base.url(), base.options.clone());
        let (base, schema) = (base.collection(py)?, schema.0.clone());
        let (target, opened) = (url.clone(), store.clone());
        let made = wait(py, &watch, async move {
            check_vacant(&target, &opened, DatasetKind::View).await?;
            View::create(&target, &base, &schema, &options, &opened).await
        })?;
        Ok(Self::opened(url, store, opening, made.into_collection()))
    }

    /// Opens a view, over its recorded base or over the given one.
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

    /// The URL of a view's base; `None` if this is not a view.
    #[getter]
    fn base(&self) -> Option<String> {
        self.known(|collection| collection.base().map(|base| base.url().to_owned()))
    }

    /// The base of a view, opened for reading.
    fn base_collection(&self) -> PyResult<Self> {
        let base = self.known(|collection| collection.base().cloned());
        let base = base.ok_or_else(|| to_python(Error::invalid("the dataset is not a view")))?;
        let options = match self.shares_store() {
            true => self.options.clone(),
            false => StoreOptions::new(),
        };
        Ok(Self::new(base.url().to_owned(), options.read_only(true), base))
    }

    /// Whether a view's base is accessed with the options of the view.
    fn shares_store(&self) -> bool {
        let base = self.known(|collection| collection.base().map(|base| base.url().to_owned()));
        base.is_some_and(|base| View::shares_options(&self.url, &base))
    }

    /// The predicate that selects the partitions of a view; `None` if it covers all.
    fn covered(&self) -> Option<String> {
        self.known(|collection| collection.config().view.as_ref()?.filter.clone())
    }

    /// The paths of the variables that a view stores itself.
    fn own_variables(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.own_variables().await })
    }

    /// Whether a view has the same rows as its base.
    fn is_synced(&self, py: Python<'_>) -> PyResult<bool> {
        let view = View::of(self.collection(py)?).map_err(to_python)?;
        wait(py, &Watch::default(), async move { view.is_synced().await })
    }

    /// Updates a view to the rows of its base.
    #[pyo3(signature = (filter, progress=None, key=None))]
    fn sync(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        progress: Option<Py<PyAny>>,
        key: Option<String>,
    ) -> PyResult<PyPartitions> {
        let watch = Watch::new(progress);
        let options = ViewOptions { predicate: predicate(filter), key, work: work(&watch) };
        let view = View::of(self.collection(py)?).map_err(to_python)?;
        let written = wait(py, &watch, async move { view.sync(&options).await })?;
        Ok(PyPartitions(written))
    }
}
