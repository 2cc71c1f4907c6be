//! Collections as their users see them, in one program: each that links the engine takes long to build.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod changes;
mod copies;
mod golden;
mod icechunk;
mod indexer;
mod protocol;
mod requests;
mod rows;
mod statistics;
mod views;
