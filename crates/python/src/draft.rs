//! Tables that do not exist yet.

use partita::{DatasetKind, Draft, StoreOptions, check_vacant};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{CreateArguments, StoreArguments, WriteArguments, store_options};
use crate::arrow_ffi::import_stream;
use crate::errors::to_python;
use crate::runtime::{Watch, wait};
use crate::staged::PyStaged;
use crate::table::{PyTable, commit_fields};

/// A table that does not exist yet: staged by many processes, created in one commit.
#[pyclass(frozen, name = "Draft", module = "partita._native")]
pub(crate) struct PyDraft {
    url: String,
    store: StoreOptions,
    draft: Draft,
}

#[pymethods]
impl PyDraft {
    #[new]
    fn new(
        url: String,
        create: CreateArguments,
        write: WriteArguments,
        storage_options: StoreArguments,
        single_writer: bool,
    ) -> PyResult<Self> {
        let create = create.options(write.options(&Watch::default())?)?;
        let store = store_options(storage_options, false, single_writer);
        let draft = Draft::new(&url, create, &store).map_err(to_python)?;
        Ok(Self { url, store, draft })
    }

    /// Fails if the table exists and may not be replaced.
    fn check_absent(&self, py: Python<'_>) -> PyResult<()> {
        let (draft, url, store) = (self.draft.clone(), self.url.clone(), self.store.clone());
        wait(py, &Watch::default(), async move {
            check_vacant(&url, &store, DatasetKind::Table).await?;
            draft.check_absent().await
        })
    }

    /// Writes rows to files that do not belong to a table yet.
    fn stage(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        write: WriteArguments,
    ) -> PyResult<PyStaged> {
        let watch = Watch::default();
        let options = write.options(&watch)?;
        let draft = self.draft.clone();
        let data = import_stream(data)?;
        wait(py, &watch, async move { draft.stage(data, &options).await }).map(PyStaged)
    }

    /// Creates the table from staged files.
    fn create<'py>(
        &self,
        py: Python<'py>,
        staged: Vec<PyRef<'py, PyStaged>>,
    ) -> PyResult<(PyTable, Bound<'py, PyDict>)> {
        let staged = staged.iter().map(|staged| staged.0.clone()).collect();
        let draft = self.draft.clone();
        let (table, commit) =
            wait(py, &Watch::default(), async move { draft.create(staged).await })?;
        let fields = commit_fields(py, &commit)?;
        Ok((PyTable::new(self.url.clone(), self.store.clone(), table), fields))
    }

    /// Deletes staged files.
    fn discard(&self, py: Python<'_>, staged: Vec<PyRef<'_, PyStaged>>) -> PyResult<()> {
        let staged: Vec<_> = staged.iter().map(|staged| staged.0.clone()).collect();
        let draft = self.draft.clone();
        wait(py, &Watch::default(), async move { draft.discard(&staged).await })
    }
}
