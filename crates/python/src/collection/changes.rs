//! Changes of collections: inserts, updates by functions, variables.

use jiff::SignedDuration;
use partita::Error;
use partita::array::{AlterOptions, Committed, DropOptions, MapOptions, Source, Staged};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::PyCollection;
use crate::aio::answer;
use crate::attributes::attributes;
use crate::collection_arguments::{MapArguments, MergeArguments, predicate, work};
use crate::dataset::PyDataset;
use crate::errors::to_python;
use crate::function::{Function, pairs};
use crate::partition::PyPartitions;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::schema::VariableArguments;

/// The result of a function for one key.
type Mapped = (Vec<(String, i128)>, Py<PyAny>);

/// A staged change: path, rows, bytes, and serialised form.
type StagedChange = (String, Option<u64>, u64, Py<PyBytes>);

fn staged_changes(py: Python<'_>, staged: &[Staged]) -> PyResult<Vec<StagedChange>> {
    let change = |one: &Staged| {
        let bytes = serde_json::to_vec(one).map_err(|error| {
            to_python(Error::invalid("the staged changes cannot be serialised").caused_by(error))
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
            to_python(Error::corrupt("the bytes are not a staged change").caused_by(error))
        })
    };
    forms.iter().map(staged).collect()
}

/// The result of an operation that may have called a function.
fn finished<T>(py: Python<'_>, function: Option<Function>, done: PyResult<T>) -> PyResult<T> {
    match function {
        Some(function) => function.finish(py, done),
        None => done,
    }
}

#[pymethods]
impl PyCollection {
    /// Stages the changes of an `insert`.
    #[pyo3(signature = (data, merge, shared, ended=None))]
    fn stage_insert<'py>(
        &self,
        py: Python<'py>,
        data: PyRef<'py, PyDataset>,
        merge: MergeArguments,
        shared: bool,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::default();
        let (options, function) = merge.options(None, &watch)?;
        let (collection, data) = (self.collection(py)?, data.dataset()?);
        let staging = async move { collection.stage_insert(&data, &options, shared).await };
        answer(py, watch, ended, staging, |py, done| {
            staged_changes(py, &finished(py, function, done)?)?.into_py_any(py)
        })
    }

    /// Merges rows in order, without storing anything.
    fn merge_rows(
        &self,
        py: Python<'_>,
        data: Vec<PyRef<'_, PyDataset>>,
        merge: MergeArguments,
    ) -> PyResult<PyDataset> {
        let watch = Watch::default();
        let (options, _) = merge.options(None, &watch)?;
        let data = data.iter().map(|one| one.dataset()).collect::<PyResult<Vec<_>>>()?;
        let collection = self.collection(py)?;
        let merged = wait(py, &watch, async move { collection.merge_rows(&data, &options).await })?;
        Ok(PyDataset::new(merged))
    }

    /// Stages the changes of an `update`.
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

    /// Commits staged changes: returns the number of the commit, or the paths that have to be
    /// staged again.
    #[pyo3(signature = (operation, staged, key, sources=Vec::new(), ended=None))]
    fn commit_staged<'py>(
        &self,
        py: Python<'py>,
        operation: String,
        staged: Vec<Vec<u8>>,
        key: Option<String>,
        sources: Vec<(String, String)>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (collection, mut staged) = (self.collection(py)?, staged_of(&staged)?);
        if let Some(first) = staged.first_mut() {
            let source = |(name, digest)| Source { name, digest };
            first.change.sources = sources.into_iter().map(source).collect();
        }
        let committing =
            async move { collection.commit_staged(&operation, staged, key.as_deref()).await };
        answer(py, Watch::default(), ended, committing, |py, committed| match committed? {
            Committed::Done(sequence) => (sequence, Vec::<String>::new()).into_py_any(py),
            Committed::Stale(paths) => (0_u64, paths).into_py_any(py),
        })
    }

    /// Deletes staged changes that are not going to be committed.
    fn discard_staged(&self, py: Python<'_>, staged: Vec<Vec<u8>>) -> PyResult<()> {
        let (collection, staged) = (self.collection(py)?, staged_of(&staged)?);
        wait(py, &Watch::default(), async move { collection.discard(&staged).await })
    }

    #[pyo3(signature = (data, merge, key, progress=None, ended=None))]
    fn insert<'py>(
        &self,
        py: Python<'py>,
        data: PyRef<'py, PyDataset>,
        merge: MergeArguments,
        key: Option<String>,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::new(progress);
        let (options, function) = merge.options(key, &watch)?;
        let (collection, data) = (self.collection(py)?, data.dataset()?);
        let inserting = async move { collection.insert(&data, &options).await };
        answer(py, watch, ended, inserting, |py, done| {
            PyPartitions(finished(py, function, done)?).into_py_any(py)
        })
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

    #[pyo3(signature = (function, map, progress=None, key=None, ended=None))]
    fn update<'py>(
        &self,
        py: Python<'py>,
        function: Py<PyAny>,
        map: MapArguments<'py>,
        progress: Option<Py<PyAny>>,
        key: Option<String>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (watch, function) = (Watch::new(progress), Function::new(function));
        let (options, called) = (MapOptions { key, ..map.options(&watch) }, function.update());
        let collection = self.collection(py)?;
        let updating = async move { collection.update(called, &options).await };
        answer(py, watch, ended, updating, move |py, done| {
            PyPartitions(function.finish(py, done)?).into_py_any(py)
        })
    }

    #[pyo3(signature = (filter, older_than, key=None, ended=None))]
    fn drop_partitions<'py>(
        &self,
        py: Python<'py>,
        filter: Option<PyRef<'py, PyPredicate>>,
        older_than: Option<i64>,
        key: Option<String>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::default();
        let (predicate, work) = (predicate(filter), work(&watch));
        let older_than = older_than.map(SignedDuration::from_micros);
        let options = DropOptions { predicate, older_than, key, work };
        let collection = self.collection(py)?;
        let dropping = async move { collection.drop_partitions(&options).await };
        answer(py, watch, ended, dropping, |py, gone| PyPartitions(gone?).into_py_any(py))
    }

    #[pyo3(signature = (group, variable, progress=None, key=None))]
    fn add_variable(
        &self,
        py: Python<'_>,
        group: String,
        variable: VariableArguments<'_>,
        progress: Option<Py<PyAny>>,
        key: Option<String>,
    ) -> PyResult<()> {
        let watch = Watch::new(progress);
        let (collection, schema) = (self.collection(py)?, variable.schema()?);
        let options = AlterOptions { key, work: work(&watch) };
        wait(py, &watch, async move { collection.add_variable(&group, &schema, &options).await })
    }

    #[pyo3(signature = (path, progress=None, key=None))]
    fn drop_variable(
        &self,
        py: Python<'_>,
        path: String,
        progress: Option<Py<PyAny>>,
        key: Option<String>,
    ) -> PyResult<()> {
        let (watch, collection) = (Watch::new(progress), self.collection(py)?);
        let options = AlterOptions { key, work: work(&watch) };
        wait(py, &watch, async move { collection.drop_variable(&path, &options).await })
    }

    #[pyo3(signature = (variables, progress=None, key=None))]
    fn set_statistics(
        &self,
        py: Python<'_>,
        variables: Vec<String>,
        progress: Option<Py<PyAny>>,
        key: Option<String>,
    ) -> PyResult<()> {
        let (watch, collection) = (Watch::new(progress), self.collection(py)?);
        let options = AlterOptions { key, work: work(&watch) };
        wait(py, &watch, async move { collection.set_statistics(&variables, &options).await })
    }

    #[pyo3(signature = (variable, values, key=None))]
    fn set_attributes(
        &self,
        py: Python<'_>,
        variable: Option<String>,
        values: &Bound<'_, PyDict>,
        key: Option<String>,
    ) -> PyResult<()> {
        let (collection, values) = (self.collection(py)?, attributes(values)?);
        let watch = Watch::default();
        let options = AlterOptions { key, work: work(&watch) };
        wait(py, &watch, async move {
            collection.set_attributes(variable.as_deref(), values, &options).await
        })
    }
}
