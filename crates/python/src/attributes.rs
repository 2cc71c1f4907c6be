//! Conversion between attributes or other JSON values and Python values.

use partita::Error;
use partita::array::json::{Attributes, Json};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::to_python;

/// The maximum nesting of values, as in JSON parsers.
const DEEPEST: usize = 100;

/// Converts a dictionary to attributes.
pub(crate) fn attributes(map: &Bound<'_, PyDict>) -> PyResult<Attributes> {
    read_attributes(map).map_err(to_python)
}

/// Like [`attributes`], for callers that add context to the error.
///
/// # Errors
/// [`InvalidArgument`](partita::ErrorKind::InvalidArgument) naming the attribute, if its value
/// cannot be represented in JSON.
pub(crate) fn read_attributes(map: &Bound<'_, PyDict>) -> partita::Result<Attributes> {
    let pairs = map.iter().map(|(name, value)| {
        let name = text(&name, "the name of an attribute")?;
        let value = json(&value, DEEPEST).map_err(|error| error.with("attribute", &name))?;
        Ok((name, value))
    });
    pairs.collect()
}

/// Converts a JSON-like Python value.
pub(crate) fn json_of(value: &Bound<'_, PyAny>) -> PyResult<Json> {
    json(value, DEEPEST).map_err(to_python)
}

fn text(value: &Bound<'_, PyAny>, what: &str) -> partita::Result<String> {
    let text = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok());
    text.map(str::to_owned).ok_or_else(|| Error::invalid(format!("{what} is no Unicode text")))
}

fn json(value: &Bound<'_, PyAny>, depth: usize) -> partita::Result<Json> {
    let items = |values: Vec<Bound<'_, PyAny>>| {
        let below = depth
            .checked_sub(1)
            .ok_or_else(|| Error::invalid("the value is nested too deeply to be stored"))?;
        values.iter().map(|value| json(value, below)).collect::<partita::Result<Vec<Json>>>()
    };
    if value.is_none() {
        Ok(Json::Null)
    } else if let Ok(value) = value.cast::<PyBool>() {
        Ok(Json::Bool(value.is_true()))
    } else if value.is_instance_of::<PyInt>() {
        integer(value)
    } else if let Ok(value) = value.cast::<PyFloat>() {
        Ok(Json::Float(value.value()))
    } else if value.is_instance_of::<PyString>() {
        text(value, "the value").map(Json::Text)
    } else if let Ok(list) = value.cast::<PyList>() {
        items(list.iter().collect()).map(Json::List)
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        items(tuple.iter().collect()).map(Json::List)
    } else if let Ok(map) = value.cast::<PyDict>() {
        let (keys, values): (Vec<_>, Vec<_>) = map.iter().unzip();
        let keys = keys.iter().map(|key| text(key, "a key"));
        let keys = keys.collect::<partita::Result<Vec<String>>>()?;
        Ok(Json::Map(keys.into_iter().zip(items(values)?).collect()))
    } else {
        let kind = value.get_type().to_string();
        Err(Error::invalid("the value cannot be represented in JSON").with("type", kind))
    }
}

/// A 64-bit integer, signed or unsigned: larger ones would be read back as floats.
fn integer(value: &Bound<'_, PyAny>) -> partita::Result<Json> {
    let signed = value.extract::<i64>().map(i128::from);
    let number = signed.or_else(|_| value.extract::<u64>().map(i128::from));
    number.map(Json::Int).map_err(|_| Error::invalid("the integer does not fit 64 bits"))
}

/// Converts attributes to a dictionary.
pub(crate) fn to_dict<'py>(
    py: Python<'py>,
    attributes: &Attributes,
) -> PyResult<Bound<'py, PyDict>> {
    let map = PyDict::new(py);
    for (name, value) in attributes {
        map.set_item(name, to_value(py, value)?)?;
    }
    Ok(map)
}

/// Converts a value to a Python object.
pub(crate) fn to_value<'py>(py: Python<'py>, value: &Json) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Json::Null => Ok(py.None().into_bound(py)),
        Json::Bool(value) => value.into_bound_py_any(py),
        Json::Int(value) => value.into_bound_py_any(py),
        Json::Float(value) => value.into_bound_py_any(py),
        Json::Text(value) => value.into_bound_py_any(py),
        Json::List(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(to_value(py, value)?)?;
            }
            Ok(list.into_any())
        }
        Json::Map(map) => Ok(to_dict(py, map)?.into_any()),
    }
}
