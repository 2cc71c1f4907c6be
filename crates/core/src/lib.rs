//! Code shared by tables and collections: stores of objects ([`store`]), the atomic switch of state
//! ([`store::Store::compare_and_swap`]), the mapping of rows to partitions ([`partition`]),
//! predicates on rows ([`predicate`]), and exact conversions between types ([`convert`]).
//!
//! This crate knows neither Parquet nor Zarr.

mod at;
mod commit_watch;
pub mod convert;
mod cores;
mod digest;
mod error;
mod guard;
mod idempotency;
pub mod partition;
pub mod predicate;
mod progress;
mod secret;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod type_name;
pub mod upkeep;

pub use at::At;
pub use commit_watch::{CommitWatch, commit_point, commit_settled};
pub use cores::cores;
pub use digest::Digest;
pub use error::{Error, ErrorKind, Result};
pub use guard::{guarded, guarded_async, panic_words, silence_guarded_panics};
pub use idempotency::{KeyUse, idempotency_id};
pub use predicate::{Predicate, col};
pub use progress::{Cancel, NoProgress, Progress};
pub use secret::masked;
pub use store::{Store, StoreOptions};
pub use type_name::type_name;
