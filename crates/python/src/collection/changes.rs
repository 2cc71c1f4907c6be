//! Changes of collections: inserts, updates by functions, variables.

use jiff::SignedDuration;
use partita::Error;
use partita::array::{AlterOptions, Committed, DropOptions, MapOptions, Source, Staged};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::PyCollection;
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

#[pymethods]
impl PyCollection {
    /// Stages the changes of an `insert`.
    fn stage_insert(
        &self,
        py: Python<'_>,
        data: PyRef<'_, PyDataset>,
        merge: MergeArguments,
        shared: bool,
    ) -> PyResult<Vec<StagedChange>> {
        let watch = Watch::default();
        let (options, function) = merge.options(None, &watch)?;
        let (collection, data) = (self.collection(py)?, data.dataset()?);
        let done =
            wait(py, &watch, async move { collection.stage_insert(&data, &options, shared).await });
        let done = match function {
            Some(function) => function.finish(py, done),
            None => done,
        };
        staged_changes(py, &done?)
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
    #[pyo3(signature = (operation, staged, key, sources=Vec::new()))]
    fn commit_staged(
        &self,
        py: Python<'_>,
        operation: String,
        staged: Vec<Vec<u8>>,
        key: Option<String>,
        sources: Vec<(String, String)>,
    ) -> PyResult<(u64, Vec<String>)> {
        let (collection, mut staged) = (self.collection(py)?, staged_of(&staged)?);
        if let Some(first) = staged.first_mut() {
            let source = |(name, digest)| Source { name, digest };
            first.change.sources = sources.into_iter().map(source).collect();
        }
        let committed = wait(py, &Watch::default(), async move {
            collection.commit_staged(&operation, staged, key.as_deref()).await
        })?;
        Ok(match committed {
            Committed::Done(sequence) => (sequence, Vec::new()),
            Committed::Stale(paths) => (0, paths),
        })
    }

    /// Deletes staged changes that are not going to be committed.
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
    ) -> PyResult<PyPartitions> {
        let watch = Watch::new(progress);
        let (options, function) = merge.options(key, &watch)?;
        let (collection, data) = (self.collection(py)?, data.dataset()?);
        let done = wait(py, &watch, async move { collection.insert(&data, &options).await });
        let done = match function {
            Some(function) => function.finish(py, done),
            None => done,
        };
        Ok(PyPartitions(done?))
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

    #[pyo3(signature = (function, map, progress=None, key=None))]
    fn update(
        &self,
        py: Python<'_>,
        function: Py<PyAny>,
        map: MapArguments<'_>,
        progress: Option<Py<PyAny>>,
        key: Option<String>,
    ) -> PyResult<PyPartitions> {
        let (watch, function) = (Watch::new(progress), Function::new(function));
        let (options, called) = (MapOptions { key, ..map.options(&watch) }, function.update());
        let collection = self.collection(py)?;
        let done = wait(py, &watch, async move { collection.update(called, &options).await });
        Ok(PyPartitions(function.finish(py, done)?))
    }

    #[pyo3(signature = (filter, older_than, key=None))]
    fn drop_partitions(
        &self,
        py: Python<'_>,
        filter: Option<PyRef<'_, PyPredicate>>,
        older_than: Option<i64>,
        key: Option<String>,
    ) -> PyResult<PyPartitions> {
        let watch = Watch::default();
        let (predicate, work) = (predicate(filter), work(&watch));
        let older_than = older_than.map(SignedDuration::from_micros);
        let options = DropOptions { predicate, older_than, key, work };
        let collection = self.collection(py)?;
        let gone = wait(py, &watch, async move { collection.drop_partitions(&options).await })?;
        Ok(PyPartitions(gone))
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
