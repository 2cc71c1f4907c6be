//! Labelled arrays in memory: a [`Dataset`] of named [`Variable`]s over named dimensions, with
//! attributes and nested groups.
//!
//! An [`Array`] is contiguous bytes with a shape and a [`DType`]. Slicing and concatenating only
//! use the size of an item; keys, comparisons and merges use values.

mod array;
mod buffer;
mod data;
mod dtype;
mod equal;
mod fill;
mod schema;
mod variable;

pub use array::Array;
pub(crate) use array::{count, fill_item, fill_with};
pub use buffer::Buffer;
pub(crate) use buffer::too_large;
pub use data::Dataset;
pub use dtype::{ByteOrder, DType};
pub use fill::FillValue;
pub use schema::{Chunks, Codecs, Dimension, Filter, Role, Schema, VariableSchema};
pub use variable::Variable;
