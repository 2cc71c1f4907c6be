//! Stores as their users see them, in one program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod commit;
mod conformance;
mod local;
mod rgw;
