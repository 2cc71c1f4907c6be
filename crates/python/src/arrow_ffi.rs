//! Exchange of Arrow data through the PyCapsule interface, without a copy.
//!
//! One of three files of the extension with `unsafe`, beside `array_memory` and `untracked`:
//! importing a stream or a schema from a capsule reads a C structure through a pointer of another
//! library.

#![expect(unsafe_code, reason = "the capsules hold pointers to C structures of other libraries")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, StructArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use partita::convert::check_texts;
use partita::{BatchSource, Error, panic_words};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::errors::to_python;

/// Imports the batches of any object with `__arrow_c_stream__`. If the object has `more_streams`,
/// the stream is the first of several, and that attribute gives the others, whose types may differ.
pub(crate) fn import_stream(source: &Bound<'_, PyAny>) -> PyResult<BatchSource> {
    let first = import_one(source)?;
    match source.getattr_opt("more_streams")? {
        Some(more) => {
            let schema = first.schema();
            Ok(Box::new(Streams { schema, current: first, more: more.unbind() }))
        }
        None => Ok(first),
    }
}

/// A concatenation of streams from a Python iterator.
struct Streams {
    schema: SchemaRef,
    current: BatchSource,
    more: Py<PyAny>,
}

impl Iterator for Streams {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.current.next() {
                return Some(batch);
            }
            let next = Python::attach(|py| -> PyResult<Option<BatchSource>> {
                let next = self.more.bind(py).try_iter()?.next().transpose()?;
                next.map(|stream| import_one(&stream)).transpose()
            });
            match next {
                Ok(Some(stream)) => self.current = stream,
                Ok(None) => return None,
                Err(error) => return Some(Err(ArrowError::ExternalError(Box::new(error)))),
            }
        }
    }
}

impl RecordBatchReader for Streams {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Batches of another library, whose texts are checked to be UTF-8.
struct Checked(BatchSource);

impl Iterator for Checked {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.and_then(|batch| {
            for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
                check_texts(field.name(), column)
                    .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            }
            Ok(batch)
        }))
    }
}

impl RecordBatchReader for Checked {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
}

fn import_one(source: &Bound<'_, PyAny>) -> PyResult<BatchSource> {
    let answer = source.call_method0("__arrow_c_stream__")?;
    let capsule = answer.cast::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(c"arrow_array_stream"))?;
    // SAFETY: a capsule of this name holds a valid ArrowArrayStream (Arrow PyCapsule interface).
    // Moving it out leaves it marked as released, so the capsule's destructor does nothing.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr().cast()) };
    let reader = RecordBatchStreamReader::try_new(stream).map_err(|error| {
        to_python(Error::invalid("the data is not a stream of record batches").caused_by(error))
    })?;
    Ok(Box::new(Checked(Box::new(reader))))
}

/// Reads the schema of any object with `__arrow_c_schema__`.
pub(crate) fn import_schema(source: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let answer = source.call_method0("__arrow_c_schema__")?;
    let capsule = answer.cast::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(c"arrow_schema"))?;
    // SAFETY: a capsule of this name holds a valid ArrowSchema (Arrow PyCapsule interface). It is
    // only borrowed: the capsule stays alive, and stays its owner, until after the conversion.
    let schema = unsafe { pointer.cast::<FFI_ArrowSchema>().as_ref() };
    Schema::try_from(schema).map(SchemaRef::new).map_err(|error| {
        to_python(Error::invalid("the schema is not one of record batches").caused_by(error))
    })
}

/// A capsule with a stream that the consumer reads batch by batch.
pub(crate) fn export_stream<'py>(
    py: Python<'py>,
    batches: BatchSource,
) -> PyResult<Bound<'py, PyCapsule>> {
    let stream = FFI_ArrowArrayStream::new(Box::new(Tame(batches)));
    PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
}

/// A capsule with a schema.
pub(crate) fn export_schema<'py>(
    py: Python<'py>,
    schema: &Schema,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(|error| to_python(error.into()))?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// The two capsules of `__arrow_c_array__` for one batch.
pub(crate) fn export_batch<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let schema = export_schema(py, batch.schema_ref())?;
    let array = FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data());
    Ok((schema, PyCapsule::new_with_value(py, array, c"arrow_array")?))
}

/// A source that is safe to call from C: a panic would abort the process there, and so would an
/// error message that contains a null byte. Both are converted to ordinary errors.
struct Tame(BatchSource);

impl Iterator for Tame {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match catch_unwind(AssertUnwindSafe(|| self.0.next())) {
            Ok(Some(Err(error))) => {
                Some(Err(ArrowError::ExternalError(error.to_string().replace('\0', " ").into())))
            }
            Ok(other) => other,
            Err(panic) => Some(Err(ArrowError::ExternalError(
                format!("the engine failed unexpectedly: {}", panic_words(panic.as_ref()))
                    .replace('\0', " ")
                    .into(),
            ))),
        }
    }
}

impl RecordBatchReader for Tame {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
}
