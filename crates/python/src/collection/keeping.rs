//! Copying, verification and garbage collection of collections.

use jiff::SignedDuration;
use partita::StoreOptions;
use partita::array::{
    CopyOptions, GarbageOptions, MigrateOptions, MigratedView, VerifyOptions, View,
};
use pyo3::prelude::*;

use super::PyCollection;
use crate::arguments::{StoreArguments, store_options};
use crate::collection_arguments::{layout, predicate, work};
use crate::errors::to_python;
use crate::index::{PlaceArguments, PyIndex};
use crate::opening::Opening;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::schema::PySchema;

/// The source, target and options of a copy.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CopyArguments<'py> {
    url: String,
    storage_options: StoreArguments,
    single_writer: bool,
    predicate: Option<PyRef<'py, PyPredicate>>,
    zarr_format: Option<u8>,
    schema: Option<PyRef<'py, PySchema>>,
    verify: bool,
}

/// A view, the URL of its copy, the options of the store there, and the stored schema.
type GivenView<'py> =
    (PyRef<'py, PyCollection>, String, StoreArguments, Option<PyRef<'py, PySchema>>);

impl CopyArguments<'_> {
    /// Splits into the URL, the options of its store, and the copy options.
    fn split(self, watch: &Watch) -> PyResult<(String, StoreOptions, CopyOptions)> {
        let options = CopyOptions {
            predicate: predicate(self.predicate),
            layout: self.zarr_format.map(layout).transpose()?,
            schema: self.schema.map(|schema| schema.0.clone()),
            base: None,
            verify: self.verify,
            work: work(watch),
        };
        let store = store_options(self.storage_options, false, self.single_writer);
        Ok((self.url, store, options))
    }
}

#[pymethods]
impl PyCollection {
    /// Copies the collection; a copied view gets another base.
    #[pyo3(signature = (arguments, base, progress=None))]
    fn copy(
        &self,
        py: Python<'_>,
        arguments: CopyArguments<'_>,
        base: Option<PyRef<'_, Self>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let watch = Watch::new(progress);
        let over = base.as_ref().map(|base| Opening::Over(base.url(), base.options.clone()));
        let opening = over.unwrap_or_else(|| self.opening.clone());
        let (target, store, mut options) = arguments.split(&watch)?;
        options.base = base.map(|base| base.collection(py)).transpose()?;
        let collection = self.collection(py)?;
        let (url, opened) = (target.clone(), store.clone());
        let copy =
            wait(py, &watch, async move { collection.copy_to(&url, &opened, &options).await })?;
        Ok(Self::opened(target, store, opening, copy))
    }

    /// Copies the collection with its views and indexes.
    #[pyo3(signature = (arguments, views, indexes, progress=None))]
    fn migrate(
        &self,
        py: Python<'_>,
        arguments: CopyArguments<'_>,
        views: Vec<GivenView<'_>>,
        indexes: Vec<(PyRef<'_, PyIndex>, PlaceArguments)>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let watch = Watch::new(progress);
        let (target, store, copy) = arguments.split(&watch)?;
        let view = |(view, url, options, schema): GivenView<'_>| {
            let view = View::of(view.collection(py)?).map_err(to_python)?;
            let store = store_options(options, false, store.is_single_writer());
            let schema = schema.map(|schema| schema.0.clone());
            Ok::<_, PyErr>(MigratedView { view, url, store, schema })
        };
        let index = |(index, place): (PyRef<'_, PyIndex>, PlaceArguments)| index.migrated(place);
        let options = MigrateOptions {
            copy,
            views: views.into_iter().map(view).collect::<PyResult<_>>()?,
            indexes: indexes.into_iter().map(index).collect::<PyResult<_>>()?,
        };
        let collection = self.collection(py)?;
        let (url, opened) = (target.clone(), store.clone());
        let copy =
            wait(py, &watch, async move { collection.migrate(&url, &opened, &options).await })?;
        Ok(Self::new(target, store, copy))
    }

    /// Verifies the collection; returns problems as (kind, path, message, repaired).
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
        Ok(found.map(|p| (p.kind.name().to_owned(), p.at, p.message, p.repaired)).collect())
    }

    /// Removes a collection that was created through this object and has no commits.
    fn undo_creation(&self, py: Python<'_>) -> PyResult<()> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.undo_creation().await })
    }

    /// Collects garbage; returns the removed keys and their size in bytes.
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
}
