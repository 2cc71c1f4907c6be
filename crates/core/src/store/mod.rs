//! Where objects live: one [`Store`] over local files, memory, S3, Google Cloud Storage, Azure and
//! (read-only) HTTP, and the one place where visible state is switched:
//! [`Store::compare_and_swap`].
//!
//! - `location`: what a URL means. `backend`: which client serves it. `options`: how.
//! - `handle`, `read`, `ranges`, `write`, `list`: the [`Store`] itself.
//! - `swap`: the commit point; `probe`: whether a store can be trusted with it.
//! - `local`, `lock`: conditional writes on a file system, which has none of its own.

mod backend;
mod backoff;
mod failure;
mod handle;
mod key;
mod list;
mod local;
mod location;
mod lock;
mod options;
mod probe;
mod ranges;
mod read;
mod swap;
mod version;
mod write;

pub use backoff::backoff;
pub use handle::Store;
pub use list::ObjectInfo;
pub use location::split_url;
pub use options::StoreOptions;
pub use probe::{Capability, Condition};
pub use swap::Swap;
pub use version::Version;
