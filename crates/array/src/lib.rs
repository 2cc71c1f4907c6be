//! Collections: labelled arrays partitioned by date or sequence, in the two Zarr layouts of
//! ZCollection.
//!
//! - [`dataset`]: labelled arrays in memory.
//! - [`json`]: attributes and metadata documents.

mod codec;
pub mod dataset;
pub mod json;
pub mod partitioning;

pub use partitioning::Partitioning;
pub use dataset::{Array, DType, Dataset, Schema, Variable, VariableSchema};
