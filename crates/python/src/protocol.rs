//! Calls of a store implemented in Python: `partita.stores.BatchStore`.
//!
//! Each method takes a list of requests and returns a list of answers of the same length; an answer
//! is a value or the exception of the request.

use bytes::Bytes;
use object_store::PutPayload;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{
    PyBaseException, PyFileExistsError, PyFileNotFoundError, PyIsADirectoryError, PyKeyError,
    PyNotADirectoryError, PyNotImplementedError, PyPermissionError, PyTypeError,
};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

use crate::dispatch::{Reply, Request};

/// The metadata of an object.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// The size in bytes.
    pub(crate) size: u64,
    /// When it was written, in seconds since 1970, if the store reports it.
    pub(crate) modified: Option<f64>,
}

/// The content of a directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The objects.
    pub(crate) objects: Vec<Entry>,
    /// The directories, by their keys.
    pub(crate) directories: Vec<String>,
}

/// The arguments of a request, the key for errors, and the reply channel.
struct Call<A, T> {
    arguments: A,
    key: String,
    reply: Reply<T>,
}

/// Makes one call for each kind of request among the given ones.
pub(crate) fn serve(protocol: &Bound<'_, PyAny>, requests: Vec<Request>) {
    let (mut gets, mut puts, mut heads) = (Vec::new(), Vec::new(), Vec::new());
    let (mut deletes, mut copies, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        match request {
            Request::Get { key, start, end, reply } => {
                gets.push(Call { arguments: (key.clone(), start, end), key, reply });
            }
            Request::Put { key, payload, reply } => {
                puts.push(Call { arguments: (key.clone(), Content(payload)), key, reply });
            }
            Request::Head { key, reply } => {
                heads.push(Call { arguments: key.clone(), key, reply });
            }
            Request::Delete { key, reply } => {
                deletes.push(Call { arguments: key.clone(), key, reply });
            }
            Request::Copy { from, to, reply } => {
                copies.push(Call { arguments: (from.clone(), to), key: from, reply });
            }
            Request::List { directory, recursive, reply } => {
                lists.push(Call {
                    arguments: (directory.clone(), recursive),
                    key: directory,
                    reply,
                });
            }
        }
    }
    let done = |_: &Bound<'_, PyAny>, _: &str| Ok(());
    call(protocol, "get_ranges", gets, |answer, _| bytes(answer));
    call(protocol, "put", puts, done);
    call(protocol, "copy", copies, done);
    call(protocol, "head", heads, |answer, key| {
        let (size, modified) = answer.extract()?;
        Ok(Entry { key: key.to_owned(), size, modified })
    });
    call(protocol, "list", lists, |answer, _| listing(answer));
    call(protocol, "delete", deletes, done);
}

/// Calls one method, and distributes its answers.
fn call<'py, A: IntoPyObject<'py>, T>(
    protocol: &Bound<'py, PyAny>,
    method: &str,
    mut calls: Vec<Call<A, T>>,
    convert: impl Fn(&Bound<'py, PyAny>, &str) -> PyResult<T>,
) {
    // The caller may have been interrupted in the meantime.
    calls.retain(|call| !call.reply.is_closed());
    if calls.is_empty() {
        return;
    }
    let py = protocol.py();
    let (mut arguments, mut waiting) = (Vec::new(), Vec::new());
    for call in calls {
        arguments.push(call.arguments);
        waiting.push((call.key, call.reply));
    }
    match answers(protocol, method, arguments, waiting.len()) {
        Ok(answers) => {
            for ((key, reply), answer) in waiting.into_iter().zip(answers.iter()) {
                let result = match answer.cast::<PyBaseException>() {
                    Ok(exception) => Err(PyErr::from_value(exception.clone().into_any())),
                    Err(_) => convert(&answer, &key),
                };
                let _ = reply.send(result.map_err(|error| failed(py, &error, &key)));
            }
        }
        Err(error) => {
            for (key, reply) in waiting {
                let _ = reply.send(Err(failed(py, &error, &key)));
            }
        }
    }
}

fn answers<'py, A: IntoPyObject<'py>>(
    protocol: &Bound<'py, PyAny>,
    method: &str,
    arguments: Vec<A>,
    asked: usize,
) -> PyResult<Bound<'py, PyList>> {
    let arguments = arguments.into_iter().map(|argument| argument.into_bound_py_any(protocol.py()));
    let arguments = PyList::new(protocol.py(), arguments.collect::<PyResult<Vec<_>>>()?)?;
    let answers = protocol.call_method1(method, (arguments,))?.cast_into::<PyList>()?;
    if answers.len() != asked {
        return Err(PyTypeError::new_err(format!(
            "{method} was asked for {asked} answers and gave {}",
            answers.len()
        )));
    }
    Ok(answers)
}

/// The content to store; copied to Python once, from all of its parts.
struct Content(PutPayload);

impl<'py> IntoPyObject<'py> for Content {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        PyBytes::new_with(py, self.0.content_length(), |buffer| {
            let mut rest = buffer;
            for piece in &self.0 {
                let Some((here, after)) = rest.split_at_mut_checked(piece.len()) else { break };
                here.copy_from_slice(piece);
                rest = after;
            }
            Ok(())
        })
    }
}

/// The content of an object without a copy: Python owns the bytes.
fn bytes(answer: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    Ok(Bytes::from_owner(answer.extract::<PyBackedBytes>()?))
}

fn listing(answer: &Bound<'_, PyAny>) -> PyResult<Listing> {
    type Row = (String, u64, Option<f64>);
    let (rows, directories): (Vec<Row>, Vec<String>) = answer.extract()?;
    let entry = |(key, size, modified)| Entry { key, size, modified };
    Ok(Listing { objects: rows.into_iter().map(entry).collect(), directories })
}

/// Converts an exception to an error of the client, with its text as the cause.
fn failed(py: Python<'_>, error: &PyErr, key: &str) -> object_store::Error {
    use object_store::Error as E;
    let (path, source) = (key.to_owned(), error.to_string().into());
    let missing = error.is_instance_of::<PyFileNotFoundError>(py)
        || error.is_instance_of::<PyKeyError>(py)
        || error.is_instance_of::<PyIsADirectoryError>(py)
        || error.is_instance_of::<PyNotADirectoryError>(py);
    if missing {
        E::NotFound { path, source }
    } else if error.is_instance_of::<PyFileExistsError>(py) {
        E::AlreadyExists { path, source }
    } else if error.is_instance_of::<PyPermissionError>(py) {
        E::PermissionDenied { path, source }
    } else if error.is_instance_of::<PyNotImplementedError>(py) {
        E::NotSupported { source }
    } else {
        E::Generic { store: "python", source }
    }
}
