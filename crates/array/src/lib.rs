//! Collections: labelled arrays partitioned by date or sequence, in the two Zarr layouts of
//! ZCollection.
//!
//! A collection is one document at its root, which says what it holds, and a Zarr group per
//! partition, in a directory named by the partition's key: `year=2022/month=01`.
//!
//! - [`dataset`]: labelled arrays in memory. An array is contiguous bytes with a type and a shape;
//!   cutting and joining know only the size of an item.
//! - [`json`]: attributes and metadata documents.
//! - [`partitioning`]: from rows to partitions, and from partitions to paths and back.
//! - [`layout`]: the stored form, and the only place that knows there are two of them. Everything
//!   else sees a [`layout::Config`] and arrays with a prefix, a shape and a pipeline of codecs. The
//!   prefix is free: a partition can be written beside its place and published later.
//! - [`merge`]: which rows of old and new make a partition; plans, not data.
//! - `indexer`: which rows have which values, in a file of its own; [`Selection`]: such rows.
//! - `codec`: from stored chunks to items and back; the filters of numcodecs that the `zarrs` crate
//!   lacks.
//! - `repository`: collections inside an Icechunk repository, whose commits are Icechunk's.
//! - [`Collection`] is the face: create, open, partitions, read. A [`View`] is a collection of
//!   variables laid over another one.
//!
//! # How a read goes
//!
//! The partitions are listed (or taken from a catalog), pruned by the predicate on their keys, and
//! their array metadata are read: one request per partition in Zarr v2, whose metadata are
//! consolidated. Then the size of everything is known, and the memory of each variable is allocated
//! once. It is cut into disjoint bands, one per row of chunks, which jobs fill side by side; joining
//! them again copies nothing. Variables with items of any length, and those whose partitioned
//! dimension is not the first, are read per partition and joined by copying.

mod alter;
mod codec;
mod collection;
mod columns;
mod commit;
mod committed;
mod conform;
mod copy;
mod cores;
pub mod dataset;
mod digest;
mod garbage;
mod history;
mod indexer;
mod insert;
pub mod json;
pub mod layout;
mod map;
mod memory;
pub mod merge;
mod migrate;
mod options;
mod pages;
pub mod partitioning;
mod patch;
mod read;
mod references;
mod repository;
mod rows;
mod select;
mod selection;
mod spare;
mod staged;
mod statistics;
mod transact;
mod undo;
mod verify;
mod view;

pub use alter::{AlterOptions, DropOptions};
pub use collection::{Collection, Partition};
pub use commit::{Action, Change, Record, Retention, Source, Staged};
pub use copy::CopyOptions;
pub use cores::Cores;
pub use dataset::{Array, DType, Dataset, Schema, Variable, VariableSchema};
pub use garbage::{Garbage, GarbageOptions};
pub use indexer::{
    BuildOptions, Index, IndexFunction, IndexPlace, IndexSource, RefreshOptions, Stale,
};
pub use map::MapFunction;
pub use merge::Merge;
pub use migrate::{IndexTarget, MigrateOptions, MigratedIndex, MigratedView};
pub use options::{
    CreateOptions, Depth, InsertOptions, MapOptions, MergeFunction, MergeWith, PartitionData,
    ReadOptions, UpdateFunction, Work,
};
pub use partitioning::Partitioning;
pub use read::PartitionSize;
pub use repository::{At, holds_repository};
pub use rows::{Known, PartitionRows, PlannedRows, ReadPlan};
pub use selection::Selection;
pub use staged::Committed;
pub use statistics::{PartitionStatistics, VariableStatistics};
pub use verify::{Problem, ProblemKind, VerifyOptions};
pub use view::{View, ViewOptions};
