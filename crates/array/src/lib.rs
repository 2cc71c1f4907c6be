//! Collections: labelled arrays partitioned by date or sequence, in the two Zarr layouts of
//! ZCollection.
//!
//! A collection is one document at its root, which holds its schema and partitioning, and a Zarr
//! group per partition, in a directory named by the partition's key: `year=2022/month=01`.
//!
//! - [`dataset`]: labelled arrays in memory. An array is contiguous bytes with a type and a shape;
//!   slicing and concatenating them only need the size of an item.
//! - [`json`]: attributes and metadata documents.
//! - [`partitioning`]: maps rows to partitions, and partitions to paths and back.
//! - [`layout`]: the stored form, and the only place that distinguishes the two layouts. The rest
//!   of the crate sees a [`layout::Config`] and arrays with a prefix, a shape and a pipeline of
//!   codecs. The prefix is free: a partition can be written under a staging prefix and published
//!   later.
//! - [`merge`]: which old and new rows make up a partition. It makes plans and moves no data.
//! - `indexer`: which rows have which values, stored in a file of its own. [`Selection`] holds the
//!   rows that a query of an index finds.
//! - `codec`: decodes stored chunks into items and encodes them, with the filters of numcodecs that
//!   the `zarrs` crate lacks.
//! - `repository`: collections inside an Icechunk repository, whose commits are Icechunk's.
//! - [`Collection`] is the entry point: create, open, list partitions, read. A [`View`] is a
//!   collection of variables over another collection.
//!
//! # How a read goes
//!
//! The partitions are listed (or taken from a catalog) and pruned by the predicate on their keys,
//! and their array metadata are read: one request per partition in Zarr v2, whose metadata are
//! consolidated. All sizes are then known, and the memory of each variable is allocated once. It is
//! split into disjoint bands, one per row of chunks, which jobs fill in parallel; joining the bands
//! copies nothing. Variables with items of variable length, and those whose partitioned dimension
//! is not the first, are read per partition and joined by copying.

mod activity;
mod alter;
mod backend;
mod buffer_pool;
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
mod encoded_time;
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
mod moments;
mod options;
mod pages;
pub mod partitioning;
mod patch;
#[doc(hidden)]
pub mod protocol;
mod read;
mod references;
mod repository;
mod rows;
mod select;
mod selection;
mod sizes;
mod staged;
mod statistics;
mod transact;
mod undo;
mod verify;
mod view;

pub use activity::{Activity, HeldLease, LeasedTask, StagedWork};
pub use alter::{AlterOptions, DropOptions};
pub use collection::{Collection, Partition};
pub use commit::{Action, Change, Record, Retention, Source, Staged};
pub use copy::CopyOptions;
pub use cores::Cores;
pub use dataset::{Array, DType, Dataset, Schema, Variable, VariableSchema};
pub use history::{Expiry, Retained};
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
pub use partita_core::At;
pub use partita_core::upkeep::{Garbage, GarbageOptions, Problem, ProblemKind};
pub use partitioning::Partitioning;
pub use read::PartitionSize;
pub use repository::holds_repository;
pub use rows::{Known, LazyRead, PartitionRows, PlannedRows, ReadPlan};
pub use selection::Selection;
pub use staged::Committed;
pub use statistics::{PartitionStatistics, VariableStatistics};
pub use verify::VerifyOptions;
pub use view::{View, ViewOptions};
