//! Partitioned tables and arrays in object stores: the one crate to depend on.
//!
//! A *dataset* is a named set of partitions with one schema, in a store that a URL names: a local
//! directory, `memory://`, `s3://`, `gs://`, `az://`, or (for reading) `http(s)://`. Every change
//! is one atomic commit; readers and writers on other machines see it as a whole or not at all.
//!
//! ```
//! # async fn run() -> partita::Result<()> {
//! use std::sync::Arc;
//! use arrow::array::{Int64Array, RecordBatch, RecordBatchIterator, StringArray};
//! use partita::{CreateOptions, StoreOptions, Table, col};
//!
//! let trips = RecordBatch::try_from_iter([
//!     ("city", Arc::new(StringArray::from(vec!["Oslo", "Rome"])) as _),
//!     ("fare", Arc::new(Int64Array::from(vec![12, 9])) as _),
//! ])?;
//! let schema = trips.schema();
//! let data = Box::new(RecordBatchIterator::new([Ok(trips)], schema));
//! let options = CreateOptions { partition_by: vec!["city".into()], ..Default::default() };
//!
//! let store = StoreOptions::new();
//! let table = Table::create_from("memory://docs/trips", data, &options, &store).await?;
//! let oslo = table.scan().filter(col("city").eq("Oslo")).count().await?;
//! assert_eq!(oslo, 1);
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # Features
//!
//! `tables` and `arrays` are on by default. A program that needs one of them leaves the other out, with
//! `default-features = false`, and compiles less: without `arrays` neither the codecs of Zarr nor
//! Icechunk. What deals with datasets of any kind (`open`, `ls`, `check_vacant`) needs both.
//!
//! Partita is neither a query engine (results are Arrow record batches, which a query engine can
//! join and aggregate) nor a server (the store is the only shared component).

// The examples name this crate as a user does.
#[cfg(test)]
extern crate self as partita;

#[cfg(all(feature = "tables", feature = "arrays"))]
mod dataset;
#[cfg(all(test, feature = "tables", feature = "arrays"))]
mod examples;
#[cfg(all(feature = "tables", feature = "arrays"))]
mod listing;
#[cfg(all(feature = "tables", feature = "arrays"))]
mod vacancy;

#[cfg(all(feature = "tables", feature = "arrays"))]
pub use dataset::{Dataset, open};
#[cfg(all(feature = "tables", feature = "arrays"))]
pub use listing::{DatasetInfo, DatasetKind, ls};
#[cfg(all(feature = "tables", feature = "arrays"))]
pub use vacancy::check_vacant;

// The libraries whose types are part of the public interface, in the matching versions.
pub use arrow;
pub use object_store;
#[cfg(feature = "arrays")]
pub use partita_array as array;
pub use partita_core::convert;
pub use partita_core::partition;
pub use partita_core::predicate;
pub use partita_core::store;
pub use partita_core::{
    At, Cancel, CommitWatch, Error, ErrorKind, NoProgress, Predicate, Progress, Result, Store,
    StoreOptions, col, cores, guarded, masked, panic_words, silence_guarded_panics, type_name,
};
#[cfg(feature = "tables")]
pub use partita_table as table;
#[cfg(feature = "tables")]
pub use partita_table::{
    Annotate, BatchSource, BucketPartition, ColumnStatistics, Commit, Compression, CopyOptions,
    CreateOptions, DatePartition, Draft, Encoding, Explain, Garbage, GarbageOptions, Keep,
    Operation, OptimizeOptions, Partition, Problem, ProblemKind, Reading, Resolution, Scan,
    ScanFile, SchemaMode, SchemaVersion, SmallFiles, SnapshotInfo, Staged, Statistics, Table,
    VerifyOptions, WriteOptions,
};
