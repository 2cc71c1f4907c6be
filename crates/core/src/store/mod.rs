//! Where objects live: one [`Store`] over local files, memory, S3, Google Cloud Storage, Azure and
//! (read-only) HTTP, and the one place where visible state is switched:
//! [`Store::compare_and_swap`].
//!
//! - `location`: what a URL means. `backend`: which client serves it. `options`: how, `profile` included.
//!   `answers`: what web servers say, looked at first.
//! - `handle`, `read`, `ranges`, `write`, `list`: the [`Store`] itself.
//!   `leftovers`: what listings do not show.
//! - `swap`: the commit point; `probe`: whether a store can be trusted with it.
//! - `local`, `lock`: conditional writes on a file system, which has none of its own.
//!   `durability`: when it is on the disk.
//!   `local_list`: its directories, read by several threads. `links`: symbolic links, which nothing
//!   is removed through.
//! - `directory`, `local_directory`: many objects written beside their place and put into it.
//!   `local_place`: how that is done to files; `calls`: the calls for it that not every file system
//!   has; `work`: who waits for it. `removal`: of what was there before.
//! - `file_system`: which one it is, and whether several machines share it.
//! - `fingerprint`: which objects are in a directory, in which versions.
//! - `meter`: what reads cost.
//! - `lease`: what only one process may do at a time.

mod answers;
mod backend;
mod backoff;
mod calls;
mod directory;
mod durability;
mod failure;
mod file_system;
mod fingerprint;
mod handle;
mod key;
mod lease;
mod leftovers;
mod links;
mod list;
mod local;
mod local_directory;
mod local_list;
mod local_place;
mod location;
mod lock;
mod meter;
mod options;
mod probe;
mod profile;
mod ranges;
mod read;
mod removal;
mod swap;
mod version;
mod work;
mod write;

pub use backoff::backoff;
pub use directory::is_under;
pub use fingerprint::{ObjectVersion, fingerprint_of};
pub use handle::{Fallback, Store};
pub use lease::Lease;
pub use links::Removable;
pub use list::{Meaning, ObjectInfo};
pub use location::{repository_url, split_url, url_of_repository};
pub use meter::Meter;
pub use options::StoreOptions;
pub use probe::{Capability, Condition};
pub use ranges::coalesced;
pub use read::{LARGEST, Opened};
pub use removal::{is_removing, removed};
pub use swap::Swap;
pub use version::Version;
