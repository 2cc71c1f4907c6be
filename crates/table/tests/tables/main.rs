//! Tests of the public interface of tables, in one program: each that links the engine takes long
//! to build.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod buckets;
mod crash;
mod damage;
mod digests;
mod drafts;
mod faults;
mod model;
mod once;
mod outcomes;
mod pruning;
mod rewrite;
mod schemas;
mod simulation;
mod table;
mod trips;
mod upkeep;
mod versions;
