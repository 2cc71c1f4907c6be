//! The stored form of a table: the plateau dataset format and Partita's snapshots beside it.

pub mod categories;
pub mod columns;
#[cfg(test)]
mod damaged;
pub mod digests;
pub mod footer;
pub mod given;
pub mod header;
pub mod index;
pub mod ipc;
mod json;
pub mod keys;
pub mod manifest;
pub mod marks;
pub mod pandas;
pub mod schema;
pub mod snapshot;
pub mod statistics;
pub mod widen;
