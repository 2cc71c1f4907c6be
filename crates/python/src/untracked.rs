//! Objects that the garbage collector of Python need not look at. One of three files of the
//! extension with `unsafe`, beside `arrow_ffi` and `array_memory`.

#![expect(unsafe_code, reason = "the collector is told by a function of C")]

use pyo3::prelude::*;
use pyo3::{PyClass, ffi};

/// Takes an object from the garbage collector, which is not needed for one that refers to no other
/// object, and would look at thousands of them again and again. It is freed as any other.
pub(crate) fn untracked<T: PyClass>(object: Bound<'_, T>) -> Bound<'_, T> {
    // SAFETY: the object is alive, the interpreter is held, and only an object that the collector
    // knows is taken from it.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 1 {
            ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
        }
    }
    object
}
