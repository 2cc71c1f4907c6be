//! Partitions of collections.

use partita::array::partitioning::Key;
use partita::array::{Partition, PartitionRows, PartitionSize};
use partita_cli::units;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::untracked::untracked;

/// One partition of a collection.
// A class in Rust: lists contain thousands of partitions, most of whose keys are never read.
#[pyclass(frozen, eq, hash, name = "CollectionPartition", module = "partita")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PyPartition {
    pub(crate) partition: Partition,
    /// Absent in most listings.
    size: Option<Box<Size>>,
}

/// The size of a partition, as far as requested.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Size {
    rows: Option<u64>,
    objects: Option<u64>,
    bytes: Option<u64>,
}

impl From<Partition> for PyPartition {
    fn from(partition: Partition) -> Self {
        Self { partition, size: None }
    }
}

impl From<PartitionSize> for PyPartition {
    fn from(size: PartitionSize) -> Self {
        let (rows, objects) = (Some(size.rows as u64), Some(size.objects as u64));
        let own = Size { rows, objects, bytes: Some(size.bytes) };
        Self { partition: size.partition, size: Some(Box::new(own)) }
    }
}

/// The constructor arguments of the class.
type Arguments<'py> = (Bound<'py, PyDict>, String, Option<u64>, Option<u64>, Option<u64>);

#[pymethods]
impl PyPartition {
    #[new]
    #[pyo3(signature = (key, path, rows=None, objects=None, bytes=None))]
    fn new(
        key: &Bound<'_, PyDict>,
        path: String,
        rows: Option<u64>,
        objects: Option<u64>,
        bytes: Option<u64>,
    ) -> PyResult<Self> {
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for (field, value) in key.iter() {
            fields.push(field.extract::<String>()?);
            values.push(value.extract::<i128>()?);
        }
        let partition = Partition { key: Key::new(fields.into(), values), path };
        let size = Size { rows, objects, bytes };
        Ok(Self { partition, size: (size != Size::default()).then(|| Box::new(size)) })
    }

    /// The fields of the key with their values.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (field, value) in self.partition.key.pairs() {
            dict.set_item(PyString::intern(py, field), value)?;
        }
        Ok(dict)
    }

    /// The path within the collection: ``year=2022/month=01``.
    #[getter]
    fn path(&self) -> &str {
        &self.partition.path
    }

    /// The number of rows, if requested.
    #[getter]
    fn rows(&self) -> Option<u64> {
        self.size.as_ref()?.rows
    }

    /// The number of stored objects, if requested.
    #[getter]
    fn objects(&self) -> Option<u64> {
        self.size.as_ref()?.objects
    }

    /// The size of these objects in bytes, if requested.
    #[getter]
    fn bytes(&self) -> Option<u64> {
        self.size.as_ref()?.bytes
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Arguments<'py>)> {
        let (class, it) = (slf.get_type().into_any(), slf.get());
        let arguments =
            (it.key(slf.py())?, it.path().to_owned(), it.rows(), it.objects(), it.bytes());
        Ok((class, arguments))
    }

    fn __repr__(&self) -> String {
        let path = self.path();
        let (Some(rows), Some(objects), Some(bytes)) = (self.rows(), self.objects(), self.bytes())
        else {
            return format!("CollectionPartition({path})");
        };
        let (rows, objects) = (units::plural(rows, "row"), units::plural(objects, "object"));
        format!("CollectionPartition({path}: {rows}, {objects}, {})", units::bytes(bytes))
    }
}

/// Partitions that are converted to a Python list.
pub(crate) struct PyPartitions<T = Partition>(pub(crate) Vec<T>);

impl<'py, T: Into<PyPartition>> IntoPyObject<'py> for PyPartitions<T> {
    type Target = PyList;
    type Output = Bound<'py, PyList>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let object = |found: T| Ok(untracked(Bound::new(py, found.into())?));
        let objects: Vec<_> = self.0.into_iter().map(object).collect::<PyResult<_>>()?;
        PyList::new(py, objects)
    }
}

/// A partition with runs of its rows.
pub(crate) type PartitionRuns = (PyPartition, Vec<(usize, usize)>);

pub(crate) fn runs_of(found: &PartitionRows) -> PartitionRuns {
    let runs = found.rows.iter().map(|run| (run.start, run.end));
    (found.partition.clone().into(), runs.collect())
}
