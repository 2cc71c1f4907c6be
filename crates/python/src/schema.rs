//! Schemas of array datasets as dictionaries.
//!
//! - of a group: `dimensions`, `variables`, `attributes`, `groups` (by name), `chunk_bytes`;
//! - of a dimension: `name`, `size`, `chunks` (a number, `"whole"`, `"auto"` or nothing), `shards`;
//! - of a variable: `name`, `dtype` (numpy's name, or `str` and `bytes` for items of any length),
//!   `dimensions`, `fill` (the bytes of one item), `attributes`, `codecs`, `role`;
//! - of codecs: nothing for the layout's own, or `zarr` (2 or 3) and the pipeline of that format.

use partita::Error;
use partita::array::dataset::{
    ByteOrder, Chunks, Codecs, DType, Dimension, FillValue, Filter, Role, Schema, VariableSchema,
};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::attributes::{attributes, json_of, read_attributes, to_dict, to_value};
use crate::errors::to_python;

/// The variables, dimensions and attributes of an array dataset, without data.
#[pyclass(frozen, name = "Schema", module = "partita._native")]
pub(crate) struct PySchema(pub(crate) Schema);

#[pymethods]
impl PySchema {
    /// Converts the result of `to_dict` back.
    #[staticmethod]
    fn from_dict(description: GroupArguments<'_>) -> PyResult<Self> {
        let schema = description.schema()?;
        schema.check().map_err(to_python)?;
        Ok(Self(schema))
    }

    /// The schema as nested dictionaries.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        schema_dict(py, &self.0)
    }

    /// The paths of all variables.
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// A group of a schema.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GroupArguments<'py> {
    dimensions: Vec<DimensionArguments<'py>>,
    variables: Vec<VariableArguments<'py>>,
    attributes: Bound<'py, PyDict>,
    groups: Bound<'py, PyDict>,
    chunk_bytes: Option<u64>,
}

impl GroupArguments<'_> {
    fn schema(self) -> PyResult<Schema> {
        let mut schema = Schema {
            attributes: attributes(&self.attributes)?,
            chunk_bytes: self.chunk_bytes,
            ..Schema::default()
        };
        for dimension in self.dimensions {
            schema.dimensions.push(dimension.dimension()?);
        }
        for variable in self.variables {
            let variable = variable.schema()?;
            if let Some(twice) = schema.variables.insert(variable.name.clone(), variable) {
                let error = Error::invalid("two variables have the same name");
                return Err(to_python(error.with("variable", twice.name)));
            }
        }
        for (name, group) in self.groups.iter() {
            schema.groups.insert(name.extract()?, group.extract::<GroupArguments<'_>>()?.schema()?);
        }
        Ok(schema)
    }
}

/// A dimension with its chunking.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct DimensionArguments<'py> {
    name: String,
    size: Option<usize>,
    chunks: Option<Bound<'py, PyAny>>,
    shards: Option<usize>,
}

impl DimensionArguments<'_> {
    fn dimension(self) -> PyResult<Dimension> {
        let chunks = self.chunks.map(|chunks| chunks_of(&chunks)).transpose()?;
        Ok(Dimension { name: self.name, size: self.size, chunks, shards: self.shards })
    }
}

/// The chunking of a dimension: a number, `"whole"` or `"auto"`.
pub(crate) fn chunks_of(chunks: &Bound<'_, PyAny>) -> PyResult<Chunks> {
    if let Ok(size) = chunks.extract::<usize>() {
        return Ok(Chunks::Size(size));
    }
    match chunks.extract::<String>().as_deref() {
        Ok("whole") => Ok(Chunks::Whole),
        Ok("auto") => Ok(Chunks::Auto),
        _ => {
            let error = Error::invalid("chunks are a number of items, 'whole' or 'auto'");
            Err(to_python(error.with("chunks", chunks)))
        }
    }
}

/// A variable without its data.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct VariableArguments<'py> {
    name: String,
    dtype: String,
    dimensions: Vec<String>,
    fill: Option<PyBackedBytes>,
    attributes: Bound<'py, PyDict>,
    codecs: Option<Bound<'py, PyDict>>,
    role: String,
}

impl VariableArguments<'_> {
    /// The engine's variable schema.
    pub(crate) fn schema(&self) -> PyResult<VariableSchema> {
        let invalid = |error: Error| to_python(error.with("variable", &self.name));
        let dtype = dtype_of(&self.dtype).map_err(invalid)?;
        let mut schema = VariableSchema::new(&self.name, dtype, &self.dimensions);
        if let Some(item) = &self.fill {
            let fits = match dtype.item_size() {
                Some(size) => item.len() == size,
                None => dtype == DType::Bytes || std::str::from_utf8(item).is_ok(),
            };
            if !fits {
                let error = Error::invalid("the fill value is not a value of the variable's type");
                return Err(invalid(error.with("dtype", dtype)));
            }
            schema.fill = Some(FillValue::from_bytes(item.to_vec()));
        }
        schema.attributes = read_attributes(&self.attributes).map_err(invalid)?;
        if let Some(codecs) = &self.codecs {
            schema.codecs = codecs_of(codecs)?;
        }
        schema.role = match self.role.as_str() {
            "user" => Role::User,
            "filler" => Role::Filler,
            "aux" => Role::Aux,
            other => {
                let error = Error::invalid("a variable's role is user, filler or aux");
                return Err(invalid(error.with("role", other)));
            }
        };
        Ok(schema)
    }
}

/// The type with a numpy name; `str` and `bytes` for items of any length.
pub(crate) fn dtype_of(name: &str) -> partita::Result<DType> {
    match name {
        "str" => Ok(DType::Text),
        "bytes" => Ok(DType::Bytes),
        _ => DType::parse(name).map(|(dtype, _)| dtype),
    }
}

fn codecs_of(map: &Bound<'_, PyDict>) -> PyResult<Codecs> {
    let one = |key: &str| -> PyResult<Option<Filter>> {
        let value = map.get_item(key)?.filter(|value| !value.is_none());
        value.map(|value| json_of(&value)).transpose()
    };
    let many = |key: &str| -> PyResult<Vec<Filter>> {
        let values = map.get_item(key)?.filter(|value| !value.is_none());
        let values = values.map(|values| values.extract::<Vec<Bound<'_, PyAny>>>()).transpose()?;
        values.unwrap_or_default().iter().map(json_of).collect()
    };
    let format: Option<u8> = map.get_item("zarr")?.map(|format| format.extract()).transpose()?;
    match format {
        Some(2) => Ok(Codecs::V2 {
            compressor: one("compressor")?,
            filters: many("filters")?,
            order: match one("order")?.as_ref().and_then(|order| order.as_text()) {
                Some(">") => ByteOrder::Big,
                _ => ByteOrder::Little,
            },
        }),
        Some(3) => Ok(Codecs::V3 {
            array_to_array: many("array_to_array")?,
            array_to_bytes: one("array_to_bytes")?.ok_or_else(|| {
                to_python(Error::invalid("the codecs of Zarr 3 lack an array-to-bytes codec"))
            })?,
            bytes_to_bytes: many("bytes_to_bytes")?,
            shard_bytes: map.get_item("shard_bytes")?.map_or(Ok(None), |size| size.extract())?,
        }),
        _ => Err(to_python(Error::invalid("codecs are those of Zarr 2 or 3"))),
    }
}

fn schema_dict<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("dimensions", dimensions_list(py, &schema.dimensions)?)?;
    let variables = schema.variables.values().map(|variable| variable_dict(py, variable));
    dict.set_item("variables", variables.collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item("attributes", to_dict(py, &schema.attributes)?)?;
    let groups = PyDict::new(py);
    for (name, group) in &schema.groups {
        groups.set_item(name, schema_dict(py, group)?)?;
    }
    dict.set_item("groups", groups)?;
    dict.set_item("chunk_bytes", schema.chunk_bytes)?;
    Ok(dict)
}

/// Dimensions as dictionaries.
pub(crate) fn dimensions_list<'py>(
    py: Python<'py>,
    dimensions: &[Dimension],
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for dimension in dimensions {
        let dict = PyDict::new(py);
        dict.set_item("name", &dimension.name)?;
        dict.set_item("size", dimension.size)?;
        match dimension.chunks {
            None => dict.set_item("chunks", py.None())?,
            Some(Chunks::Size(size)) => dict.set_item("chunks", size)?,
            Some(Chunks::Whole) => dict.set_item("chunks", "whole")?,
            Some(Chunks::Auto) => dict.set_item("chunks", "auto")?,
        }
        dict.set_item("shards", dimension.shards)?;
        list.append(dict)?;
    }
    Ok(list)
}

/// A variable as a dictionary.
pub(crate) fn variable_dict<'py>(
    py: Python<'py>,
    variable: &VariableSchema,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &variable.name)?;
    dict.set_item("dtype", variable.dtype.to_string())?;
    dict.set_item("dimensions", PyTuple::new(py, &variable.dimensions)?)?;
    dict.set_item("fill", variable.fill.as_ref().map(|fill| PyBytes::new(py, &fill.item())))?;
    dict.set_item("attributes", to_dict(py, &variable.attributes)?)?;
    dict.set_item("codecs", codecs_dict(py, &variable.codecs)?)?;
    let role = match variable.role {
        Role::User => "user",
        Role::Filler => "filler",
        Role::Aux => "aux",
    };
    dict.set_item("role", role)?;
    Ok(dict)
}

fn codecs_dict<'py>(py: Python<'py>, codecs: &Codecs) -> PyResult<Option<Bound<'py, PyDict>>> {
    let dict = PyDict::new(py);
    let values = |filters: &[Filter]| {
        let values = filters.iter().map(|filter| to_value(py, filter));
        values.collect::<PyResult<Vec<_>>>()
    };
    match codecs {
        Codecs::Default => return Ok(None),
        Codecs::V2 { compressor, filters, order } => {
            dict.set_item("zarr", 2)?;
            let compressor = compressor.as_ref().map(|filter| to_value(py, filter)).transpose()?;
            dict.set_item("compressor", compressor)?;
            dict.set_item("filters", values(filters)?)?;
            dict.set_item("order", if *order == ByteOrder::Big { ">" } else { "<" })?;
        }
        Codecs::V3 { array_to_array, array_to_bytes, bytes_to_bytes, shard_bytes } => {
            dict.set_item("zarr", 3)?;
            dict.set_item("array_to_array", values(array_to_array)?)?;
            dict.set_item("array_to_bytes", to_value(py, array_to_bytes)?)?;
            dict.set_item("bytes_to_bytes", values(bytes_to_bytes)?)?;
            dict.set_item("shard_bytes", shard_bytes)?;
        }
    }
    Ok(Some(dict))
}
