//! Array datasets: the objects that `partita._xarray` converts from and to xarray.

use std::sync::{Mutex, PoisonError};

use partita::Error;
use partita::array::Dataset;
use partita::array::dataset::{Dimension, Variable};
use partita::array::json::Attributes;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::array_memory::{export_array, import_array, import_list};
use crate::attributes::{attributes as attributes_of, to_dict};
use crate::errors::to_python;
use crate::schema::{PySchema, VariableArguments, chunks_of, dimensions_list, variable_dict};

/// Variables that share dimensions, with attributes and nested groups.
///
/// The dataset reads the memory of the numpy arrays that it was created from: they must not be
/// modified while it is in use.
#[pyclass(frozen, name = "Dataset", module = "partita._native")]
pub(crate) struct PyDataset(Mutex<Option<Dataset>>);

impl PyDataset {
    pub(crate) fn new(dataset: Dataset) -> Self {
        Self(Mutex::new(Some(dataset)))
    }

    /// The engine's dataset, which shares the memory.
    pub(crate) fn dataset(&self) -> PyResult<Dataset> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(released)
    }
}

fn released() -> PyErr {
    to_python(Error::invalid("the data of this dataset has been released"))
}

#[pymethods]
impl PyDataset {
    /// Creates a dataset of variables in their dictionary form (see `Schema`) with their data: a
    /// numpy array of fixed-size items, or a flat list of texts or byte strings with a shape.
    #[new]
    fn py_new(
        variables: Vec<(VariableArguments<'_>, Bound<'_, PyAny>, Vec<usize>)>,
        attributes: &Bound<'_, PyDict>,
        groups: Vec<(String, PyRef<'_, Self>)>,
        chunks: Vec<(String, Bound<'_, PyAny>)>,
    ) -> PyResult<Self> {
        let variables = variables.into_iter().map(|(variable, data, shape)| {
            let schema = variable.schema()?;
            let array = match data.cast::<PyList>() {
                Ok(list) => import_list(&schema.name, list, schema.dtype, shape),
                Err(_) => import_array(&schema.name, &data),
            };
            Variable::new(schema, array?).map_err(to_python)
        });
        let variables = variables.collect::<PyResult<Vec<Variable>>>()?;
        let mut dataset = Dataset::new(variables, attributes_of(attributes)?).map_err(to_python)?;
        for (name, group) in groups {
            dataset.add_group(&name, group.dataset()?).map_err(to_python)?;
        }
        for (dimension, chunks) in chunks {
            dataset.set_chunks(&dimension, chunks_of(&chunks)?);
        }
        dataset.schema().check().map_err(to_python)?;
        Ok(Self::new(dataset))
    }

    /// The dataset without its data.
    fn schema(&self) -> PyResult<PySchema> {
        self.dataset().map(|dataset| PySchema(dataset.schema()))
    }

    /// The paths of all variables.
    fn names(&self) -> PyResult<Vec<String>> {
        self.dataset().map(|dataset| dataset.schema().names())
    }

    /// The size of all data in memory, in bytes.
    #[getter]
    fn nbytes(&self) -> PyResult<usize> {
        self.dataset().map(|dataset| dataset.num_bytes())
    }

    /// The data and shape of the variable at a path: `Items`, which numpy reads in place, or a flat
    /// list of texts or byte strings.
    fn data<'py>(&self, py: Python<'py>, path: &str) -> PyResult<(Bound<'py, PyAny>, Vec<usize>)> {
        let dataset = self.dataset()?;
        let array = dataset.require(path).map_err(to_python)?.data().clone();
        let shape = array.shape().to_vec();
        Ok((export_array(py, array)?, shape))
    }

    /// The whole dataset in nested dictionaries, in the form of `Schema.to_dict`, with `data` and
    /// `shape` added to each variable.
    ///
    /// A released dataset is empty afterwards. Python may then modify memory without another owner
    /// in place.
    fn contents<'py>(&self, py: Python<'py>, release: bool) -> PyResult<Bound<'py, PyDict>> {
        let dataset = match release {
            true => self.0.lock().unwrap_or_else(PoisonError::into_inner).take(),
            false => Some(self.dataset()?),
        };
        Group::of(dataset.ok_or_else(released)?).dict(py)
    }
}

/// A dataset split into its owned parts: only then can memory be given to Python.
struct Group {
    dimensions: Vec<Dimension>,
    variables: Vec<Variable>,
    attributes: Attributes,
    groups: Vec<(String, Self)>,
}

impl Group {
    fn of(dataset: Dataset) -> Self {
        let groups: Vec<(String, Dataset)> =
            dataset.groups().map(|(name, group)| (name.to_owned(), group.clone())).collect();
        Self {
            dimensions: dataset.dimensions().to_vec(),
            variables: dataset.variables().cloned().collect(),
            attributes: dataset.attributes().clone(),
            groups: groups.into_iter().map(|(name, group)| (name, Self::of(group))).collect(),
        }
    }

    fn dict(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("dimensions", dimensions_list(py, &self.dimensions)?)?;
        let variables = PyList::empty(py);
        for variable in self.variables {
            let described = variable_dict(py, variable.schema())?;
            let data = variable.data().clone();
            drop(variable);
            described.set_item("shape", PyTuple::new(py, data.shape())?)?;
            described.set_item("data", export_array(py, data)?)?;
            variables.append(described)?;
        }
        dict.set_item("variables", variables)?;
        dict.set_item("attributes", to_dict(py, &self.attributes)?)?;
        let groups = PyDict::new(py);
        for (name, group) in self.groups {
            groups.set_item(name, group.dict(py)?)?;
        }
        dict.set_item("groups", groups)?;
        Ok(dict)
    }
}
