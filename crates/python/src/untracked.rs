//! Objects exempt from Python's garbage collector. One of three files of the extension with
//! `unsafe`, beside `arrow_ffi` and `array_memory`.

#![expect(unsafe_code, reason = "the collector is told by a function of C")]

use pyo3::prelude::*;
use pyo3::{PyClass, ffi};

/// Removes an object from the garbage collector, which is useless for objects without references to
/// others, and would traverse thousands of them repeatedly. It is freed as usual.
pub(crate) fn untracked<T: PyClass>(object: Bound<'_, T>) -> Bound<'_, T> {
    // SAFETY: the object is alive, the interpreter is held, and the object is only removed from the
    // collector if it is tracked.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 1 {
            ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
        }
    }
    object
}
