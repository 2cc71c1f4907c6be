//! Descriptors of staged files, which can be sent to other processes.

use partita::{Error, Staged, guarded};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::errors::to_python;

/// Files that are written but not yet part of a table.
#[pyclass(frozen, name = "Staged", module = "partita._native")]
pub(crate) struct PyStaged(pub(crate) Staged);

#[pymethods]
impl PyStaged {
    /// Parses the result of `to_bytes`.
    #[staticmethod]
    fn from_bytes(bytes: &[u8]) -> PyResult<Self> {
        let read = guarded(|| {
            serde_json::from_slice(bytes).map_err(|error| {
                Error::corrupt("the bytes are not a descriptor of staged files").caused_by(error)
            })
        });
        read.map(Self).map_err(to_python)
    }

    /// Merges several descriptors into as few as possible.
    #[staticmethod]
    fn merge(py: Python<'_>, parts: Vec<PyRef<'_, Self>>) -> PyResult<Vec<Self>> {
        let parts: Vec<Staged> = parts.iter().map(|part| part.0.clone()).collect();
        let merged = py.detach(|| guarded(|| Staged::merge(parts))).map_err(to_python)?;
        Ok(merged.into_iter().map(Self).collect())
    }

    /// Removes some files from the descriptor.
    fn without(&self, keys: Vec<String>) -> PyResult<Self> {
        guarded(|| self.0.without(&keys)).map(Self).map_err(to_python)
    }

    /// The serialised form.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = serde_json::to_vec(&self.0).map_err(|error| {
            to_python(
                Error::invalid("the descriptor of staged files cannot be serialised")
                    .caused_by(error),
            )
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The keys of the files.
    #[getter]
    fn keys(&self) -> Vec<String> {
        self.0.keys()
    }

    /// The number of rows.
    #[getter]
    fn rows(&self) -> u64 {
        self.0.rows()
    }

    /// The size of the files in bytes.
    #[getter]
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let from_bytes = py.get_type::<Self>().getattr("from_bytes")?;
        Ok((from_bytes, PyTuple::new(py, [self.to_bytes(py)?])?))
    }
}
