//! Python functions that the engine calls with partitions.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::concat_batches;
use partita::array::dataset::Variable;
use partita::array::partitioning::Key;
use partita::array::{
    Dataset, IndexFunction, MapFunction, MergeFunction, PartitionData, UpdateFunction,
};
use partita::{Error, Result};
use pyo3::prelude::*;

use crate::arrow_ffi::import_stream;
use crate::dataset::PyDataset;
use crate::errors::to_python;

/// A Python function, called from threads of the engine. An exception that it raises is stored, and
/// raised again by the call of the engine.
#[derive(Clone)]
pub(crate) struct Function {
    callable: Arc<Py<PyAny>>,
    raised: Arc<Mutex<Option<PyErr>>>,
}

impl Function {
    pub(crate) fn new(callable: Py<PyAny>) -> Self {
        Self { callable: Arc::new(callable), raised: Arc::default() }
    }

    /// The result of the operation that called the function, or the exception that the function
    /// raised, with a note that names the partition.
    pub(crate) fn finish<T>(&self, py: Python<'_>, done: PyResult<T>) -> PyResult<T> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (done, raised) {
            (Err(error), Some(raised)) => {
                let place =
                    error.value(py).getattr("context").and_then(|c| c.get_item("partition"));
                if let Ok(place) = place {
                    let note = format!("in partition {place}");
                    // Older Python versions have no notes.
                    let _ = raised.value(py).call_method1("add_note", (note,));
                }
                Err(raised)
            }
            (done, _) => done,
        }
    }

    fn call<T>(
        &self,
        work: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        Python::attach(|py| work(py, self.callable.bind(py))).map_err(|raised| {
            let text = raised.to_string();
            let mut first = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(raised);
            Error::invalid(format!("the function failed: {text}"))
        })
    }

    /// Calls the function with the fields of the key, the rows, and the range of the partition's
    /// own rows.
    fn with_partition<'py>(
        py: Python<'py>,
        callable: &Bound<'py, PyAny>,
        partition: PartitionData,
    ) -> PyResult<Bound<'py, PyAny>> {
        let data = Py::new(py, PyDataset::new(partition.data))?;
        let own = (partition.own.start, partition.own.end);
        callable.call1((pairs(&partition.key), data, own))
    }

    pub(crate) fn map(&self) -> MapFunction<Py<PyAny>> {
        let function = self.clone();
        Arc::new(move |partition| {
            function.call(|py, callable| {
                Self::with_partition(py, callable, partition).map(Bound::unbind)
            })
        })
    }

    /// For updates: the function returns a dataset of computed variables, or `None`.
    pub(crate) fn update(&self) -> UpdateFunction {
        let function = self.clone();
        Arc::new(move |partition| {
            let found: Option<Dataset> = function.call(|py, callable| {
                let found = Self::with_partition(py, callable, partition)?;
                if found.is_none() {
                    return Ok(None);
                }
                found.cast::<PyDataset>()?.get().dataset().map(Some)
            })?;
            found.map_or_else(|| Ok(Vec::new()), variables)
        })
    }

    /// For indexes: the function returns a table as an object with `__arrow_c_stream__`, or `None`.
    pub(crate) fn table(&self) -> IndexFunction {
        let function = self.clone();
        Arc::new(move |partition| {
            function.call(|py, callable| {
                let found = Self::with_partition(py, callable, partition)?;
                if found.is_none() {
                    return Ok(None);
                }
                let source = import_stream(&found)?;
                let schema = source.schema();
                let batches = source.collect::<std::result::Result<Vec<_>, _>>();
                let table = batches.and_then(|batches| concat_batches(&schema, &batches));
                table.map(Some).map_err(|error| to_python(error.into()))
            })
        })
    }

    /// For merges: called with the old and the new rows, the function returns the merged rows.
    pub(crate) fn merge(&self) -> MergeFunction {
        let function = self.clone();
        Arc::new(move |old, new| {
            function.call(|py, callable| {
                let (old, new) =
                    (Py::new(py, PyDataset::new(old))?, Py::new(py, PyDataset::new(new))?);
                callable.call1((old, new))?.cast::<PyDataset>()?.get().dataset()
            })
        })
    }
}

/// The variables of a dataset and its groups, named by their paths.
fn variables(dataset: Dataset) -> Result<Vec<Variable>> {
    let named = dataset.schema().names().into_iter().map(|path| {
        let variable = dataset.require(&path)?;
        let mut schema = variable.schema().clone();
        schema.name = path;
        variable.with_schema(schema)
    });
    named.collect()
}

/// The fields of a key with their values.
pub(crate) fn pairs(key: &Key) -> Vec<(String, i128)> {
    key.pairs().map(|(field, value)| (field.to_owned(), value)).collect()
}
