//! Exchange of array items through numpy's array interface, without a copy.
//!
//! On import, the numpy array is kept alive and its memory is read in place; on export, numpy keeps
//! the [`PyItems`] alive. One of three files of the extension with `unsafe`, beside `arrow_ffi` and
//! `untracked`.

#![expect(unsafe_code, reason = "numpy says where its items are as an address and a length")]

use bytes::{Bytes, BytesMut};
use partita::Error;
use partita::array::dataset::{Array, Buffer, ByteOrder, DType};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::errors::to_python;

/// The memory of a numpy array, which this keeps alive.
struct Held {
    // The reference must not outlive this struct.
    items: &'static [u8],
    _array: Py<PyAny>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.items
    }
}

/// Shares the memory of a C-contiguous, little-endian `numpy.ndarray` of fixed-size items. The
/// caller must ensure that nobody writes to it while the engine reads.
pub(crate) fn import_array(variable: &str, array: &Bound<'_, PyAny>) -> PyResult<Array> {
    let invalid = |error: Error| to_python(error.with("variable", variable));
    let ndarray = array.py().import("numpy")?.getattr("ndarray")?;
    // Read through the base class: a subclass could return an invalid address.
    let ask = |name| ndarray.getattr(name)?.call_method1("__get__", (array,));
    let interface = ask("__array_interface__")?;
    let name: String = interface.get_item("typestr")?.extract()?;
    let (dtype, order) = DType::parse(&name).map_err(invalid)?;
    let is_straight = interface.get_item("strides")?.is_none();
    if !is_straight || order == ByteOrder::Big || dtype.item_size().is_none() {
        let error = Error::invalid("the array is not contiguous items of a fixed size");
        return Err(invalid(error.with("dtype", name)));
    }
    let shape: Vec<usize> = interface.get_item("shape")?.extract()?;
    let length: usize = ask("nbytes")?.extract()?;
    let (address, _): (usize, bool) = interface.get_item("data")?.extract()?;
    let bytes = match length {
        0 => Bytes::new(),
        _ => {
            let start = std::ptr::with_exposed_provenance(address);
            // SAFETY: a C-contiguous ndarray has `nbytes` initialised bytes at its address for as
            // long as it lives, and `Held` keeps it alive. numpy does not move the memory of an
            // array that is referred to from elsewhere. The caller ensures that nobody writes to it
            // meanwhile.
            let items = unsafe { std::slice::from_raw_parts(start, length) };
            Bytes::from_owner(Held { items, _array: array.clone().unbind() })
        }
    };
    Array::from_bytes(dtype, shape, bytes).map_err(invalid)
}

/// An array of the texts or byte strings of a list, each of any length.
pub(crate) fn import_list(
    variable: &str,
    list: &Bound<'_, PyList>,
    dtype: DType,
    shape: Vec<usize>,
) -> PyResult<Array> {
    let invalid = |error: Error| to_python(error.with("variable", variable));
    let buffer = match dtype {
        DType::Text => {
            let texts: Vec<Bound<'_, PyString>> = list.extract()?;
            let texts: Vec<&str> =
                texts.iter().map(|text| text.to_str()).collect::<PyResult<_>>().map_err(|_| {
                    invalid(Error::invalid(
                        "a text contains an unpaired surrogate: it is not valid Unicode",
                    ))
                })?;
            Buffer::of_items(texts)
        }
        _ => {
            let items: Vec<Bound<'_, PyBytes>> = list.extract()?;
            Buffer::of_items(items.iter().map(|item| item.as_bytes()))
        }
    };
    let array = buffer.and_then(|buffer| Array::new(dtype, shape, buffer));
    array.map_err(invalid)
}

/// Fixed-size items in memory, exported to numpy.
#[pyclass(frozen, name = "Items", module = "partita._native")]
pub(crate) struct PyItems {
    dtype: DType,
    shape: Vec<usize>,
    address: usize,
    writable: bool,
    // Not accessed here any more: Python may write to memory that it owns alone.
    _owner: Owner,
}

/// The owner of the memory, which this keeps alive.
#[expect(dead_code, reason = "held, not read")]
enum Owner {
    Shared(Bytes),
    Alone(BytesMut),
}

#[pymethods]
impl PyItems {
    /// The array interface of numpy, version 3.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", self.dtype.name())?;
        interface.set_item("shape", PyTuple::new(py, &self.shape)?)?;
        interface.set_item("data", (self.address, !self.writable))?;
        Ok(interface)
    }
}

/// Exports the items of an array: [`PyItems`], or a flat list of texts or byte strings. Python may
/// write to memory without another owner.
pub(crate) fn export_array(py: Python<'_>, array: Array) -> PyResult<Bound<'_, PyAny>> {
    let array = with_width(array).map_err(to_python)?;
    let (dtype, shape) = (array.dtype(), array.shape().to_vec());
    let Some(bytes) = array.bytes().cloned() else { return export_list(py, &array) };
    drop(array);
    let (address, owner) = match bytes.try_into_mut() {
        Ok(mut alone) => (alone.as_mut_ptr().expose_provenance(), Owner::Alone(alone)),
        Err(shared) => (shared.as_ptr().expose_provenance(), Owner::Shared(shared)),
    };
    let writable = matches!(owner, Owner::Alone(_));
    let items = PyItems { dtype, shape, address, writable, _owner: owner };
    Ok(Bound::new(py, items)?.into_any())
}

/// Pads items without bytes: numpy treats them as items of one byte, which would read beyond the
/// memory.
fn with_width(array: Array) -> partita::Result<Array> {
    let dtype = match array.dtype() {
        DType::FixedBytes(0) => DType::FixedBytes(1),
        DType::FixedText(0) => DType::FixedText(1),
        _ => return Ok(array),
    };
    Array::full(dtype, array.shape().to_vec(), None)
}

fn export_list<'py>(py: Python<'py>, array: &Array) -> PyResult<Bound<'py, PyAny>> {
    let list = PyList::empty(py);
    for index in 0..array.len() {
        let item = array.item(index).unwrap_or_default();
        match array.dtype() {
            DType::Text => {
                let text = std::str::from_utf8(item).map_err(|error| {
                    to_python(Error::corrupt("a text is not UTF-8").caused_by(error))
                })?;
                list.append(PyString::new(py, text))?;
            }
            _ => list.append(PyBytes::new(py, item))?,
        }
    }
    Ok(list.into_any())
}
