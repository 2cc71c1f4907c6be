//! What tables and collections have in common: where objects live ([`store`]), how state is
//! switched atomically ([`store::Store::compare_and_swap`]), how rows map to partitions
//! ([`partition`]), which rows are wanted ([`predicate`]), and when a
//! value of one type is one of another ([`convert`]).
//!
//! This crate knows neither Parquet nor Zarr.

mod commit_watch;
pub mod convert;
mod cores;
mod error;
mod guard;
pub mod partition;
pub mod predicate;
mod progress;
mod secret;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use commit_watch::{CommitWatch, commit_point, commit_settled};
pub use cores::cores;
pub use error::{Error, ErrorKind, Result};
pub use guard::{guarded, guarded_async, panic_words, silence_guarded_panics};
pub use predicate::{Predicate, col};
pub use progress::{Cancel, NoProgress, Progress};
pub use secret::masked;
pub use store::{Store, StoreOptions};
