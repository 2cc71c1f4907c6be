//! Tests of collections through the public interface, in one program, since linking the engine
//! takes long.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod changes;
mod copies;
mod crash;
mod golden;
mod icechunk;
mod indexer;
mod protocol;
mod requests;
mod rows;
mod simulation;
mod statistics;
mod undo;
mod views;
