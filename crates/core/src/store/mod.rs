//! Object stores: one [`Store`] over local files, memory, S3, Google Cloud Storage, Azure and
//! (read-only) HTTP, and the single operation that switches visible state:
//! [`Store::compare_and_swap`].
//!
//! - `location`: parsing of URLs. `backend`: the client of a location. `options`, `profile`,
//!   `exported_keys`: its configuration. `answers`: validation of responses of web servers.
//! - `handle`, `read`, `ranges`, `write`, `list`: the [`Store`] itself. `leftovers`: temporary
//!   files that listings hide.
//! - `swap`: the commit point; `protocol`: what answers to it prove; `probe`: a test whether a
//!   store's conditional writes work.
//! - `local`, `lock`: conditional writes on a file system, which has none of its own. `durability`:
//!   syncing to disk. `local_list`: listing of directories. `links`: symbolic links,
//!   which are never followed by deletes.
//! - `directory`, `local_directory`: writing many objects beside their directory and placing them
//!   into it. `local_place`: the same for files; `calls`: the system calls for it that not every
//!   file system has; `work`: cancellation. `removal`: removal of the replaced files.
//! - `file_system`: detection of the file system, and of whether several machines share it.
//! - `fingerprint`: the objects of a directory with their versions.
//! - `meter`: counting of the reads through a handle. `requests`: spans and totals of the requests to
//!   servers. `connections`: the HTTP clients that the stores of a process share. `load`: the number
//!   of requests in flight to a server.
//! - `lease`: mutual exclusion between processes.

mod answers;
mod backend;
mod backoff;
mod calls;
mod connections;
mod directory;
mod durability;
mod exported_keys;
mod failure;
mod file_system;
mod fingerprint;
mod handle;
mod key;
mod lease;
mod leftovers;
mod links;
mod list;
mod load;
mod local;
mod local_directory;
mod local_list;
mod local_place;
mod location;
mod lock;
mod meter;
mod open_files;
mod options;
mod probe;
mod profile;
#[doc(hidden)]
pub mod protocol;
mod ranges;
mod read;
mod removal;
mod requests;
mod swap;
mod version;
mod work;
mod write;

pub use backoff::backoff;
pub use directory::is_under;
pub use fingerprint::{ObjectVersion, fingerprint_of};
pub use handle::{Fallback, Store};
pub use lease::{Lease, SeenLease};
pub use links::Removable;
pub use list::{Meaning, ObjectInfo};
pub use location::{repository_url, split_url, url_of_repository};
pub use meter::Meter;
pub use options::StoreOptions;
pub use probe::{Capability, Condition};
pub use ranges::coalesced;
pub use read::{DOCUMENT, LARGEST, Opened, content};
pub use removal::{is_removing, removed};
pub use requests::{Totals, totals_of_requests};
pub use swap::Swap;
pub use version::Version;
