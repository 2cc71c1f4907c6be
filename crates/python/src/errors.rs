//! Conversion of engine errors to the exceptions of `partita.errors`.

use partita::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

/// The exception for an engine error. Its class is named after the kind's code; the only exception
/// is `StoreError`, since `Store` is the name of the store class.
pub(crate) fn to_python(error: Error) -> PyErr {
    // An exception raised by a function of the caller is raised again unchanged.
    if let Some(raised) = error.cause().and_then(|cause| cause.downcast_ref::<PyErr>()) {
        return Python::attach(|py| raised.clone_ref(py));
    }
    let class = match error.kind() {
        ErrorKind::Store => "StoreError",
        kind => kind.code(),
    };
    Python::attach(|py| {
        build(py, class, error.kind().code(), &error.to_string(), error.context())
            .unwrap_or_else(|failure| failure)
    })
}

/// The exception for an internal error: the engine panicked and the panic was caught.
pub(crate) fn internal(message: &str) -> PyErr {
    let text = format!("the engine failed unexpectedly; please report this: {message}");
    Python::attach(|py| {
        build(py, "PartitaError", "Internal", &text, &[]).unwrap_or_else(|failure| failure)
    })
}

fn build(
    py: Python<'_>,
    class: &str,
    kind: &str,
    message: &str,
    context: &[(&'static str, String)],
) -> PyResult<PyErr> {
    let classes = py.import("partita.errors")?;
    // A kind that this version of the Python package does not know becomes the base class.
    let class = classes.getattr(class).or_else(|_| classes.getattr("PartitaError"))?;
    let class = class.cast_into::<PyType>().map_err(|_| {
        PyRuntimeError::new_err(format!("partita.errors is damaged, the error was: {message}"))
    })?;
    let pairs = PyDict::new(py);
    for (name, value) in context {
        // The innermost context was added first and is the most specific.
        if !pairs.contains(name)? {
            pairs.set_item(name, value)?;
        }
    }
    let named = PyDict::new(py);
    named.set_item("kind", kind)?;
    named.set_item("context", pairs)?;
    Ok(PyErr::from_value(class.call((message,), Some(&named))?))
}
