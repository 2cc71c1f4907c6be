//! Tests of the public interface of stores, in one program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod commit;
mod conformance;
mod local;
mod rgw;
