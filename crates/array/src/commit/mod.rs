//! How a change of a collection becomes visible: all of it at one instant, or nothing.
//!
//! Chunks have fixed names, so a partition cannot be switched by a pointer. The objects of a change are
//! staged under `.partita/stage/`, with a manifest that lists them. The commit is the creation of the
//! record `.partita/log/<sequence>.json`, which names the manifests. Then a publisher copies the objects
//! into the published layout, and moves the mark of `.partita/head.json` to the record's number.
//! `docs/format.md` describes the documents.
//!
//! - `record`: what a commit says; `wire`: how it is stored. `head`: how far records are published, and
//!   what is kept. `manifest`, `note`: the objects of a change, staged and published. `paths`: keys.
//!   `contents`: what a partition consists of by its manifests.
//! - `log`: reading records and heads, and creating records.
//! - `draft`, `staging`: changes being staged and committed. `received`: those of other processes.
//!   `keyed`: idempotency keys.
//! - `snapshot`: the collection as one commit left it; `past`: as an earlier one did; `recent`:
//!   what is known of it without a listing. `overlay`: a store
//!   in which the objects of a snapshot are in their places. `standing`, `retained`: what is made of
//!   published objects that are not as they were noted, or missing.
//! - `publish`, `place`: from records to the published layout. `clean`, `uncommitted`: removing what
//!   nobody needs any more. `mending`: published objects that lost their content.
//! - `creation`: the first commit, which makes a collection or a view.
//! - `plain`: all of this behind the trait `Backend`. In an Icechunk repository commits are those of
//!   `repository`. `collector`: garbage collection.
//!
//! Why this is safe: no step removes the only copy of what a record names; a number at or below the
//! mark is dead, so a writer that slept through the removal of old records cannot take one for its
//! own; and a reader that finds, after it read, a record that touches what it read, reads again.

mod clean;
mod collector;
mod contents;
mod creation;
#[cfg(test)]
mod damaged;
mod draft;
mod head;
mod keyed;
mod log;
mod manifest;
mod mending;
mod note;
mod overlay;
mod past;
mod paths;
mod place;
mod plain;
mod publish;
mod received;
mod recent;
mod record;
mod retained;
mod snapshot;
mod staging;
mod standing;
mod uncommitted;
mod wire;

pub(crate) use creation::{check_repository_layout, exists, has_commits, refuse_existing};
pub use draft::Staged;
pub(crate) use draft::{Draft, Outcome};
pub use head::Retention;
pub(crate) use log::{stopped_clocks, store_time};
pub(crate) use past::History;
pub(crate) use paths::{SCRATCH, STAGE, TURN};
pub(crate) use plain::Plain;
pub use record::{Action, Change, Record, Source};
pub(crate) use snapshot::{Since, Snapshot};
pub(crate) use staging::PartitionFacts;
