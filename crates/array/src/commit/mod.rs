//! How a change of a collection becomes visible: all of it at one instant, or nothing.
//!
//! Chunks have fixed names, so a partition cannot be switched by a pointer. New objects are staged
//! under `.partita/stage/<id>/`. The commit is the creation of the record
//! `.partita/log/<sequence>.json`, which says what is staged for which partition. Then the record is
//! published: objects go to their places, and the mark in `.partita/head.json` moves to the record's
//! number. Until then readers find the objects where they are staged; libraries that know no records
//! see what is published.
//!
//! - `record`: what a commit says. `head`: how far records are published. `log`: reading both, and
//!   creating records.
//! - `snapshot`: the collection as one commit left it. `overlay`: a store in which staged objects
//!   are in their places.
//! - `draft`: changes being staged, and committed.
//! - `creation`: the first commit, which makes a collection or a view.
//! - `home`: where the collection is; in an Icechunk repository, commits are those of `repository`.
//! - `publish`: from a record to objects in their places.
//!
//! Why this is safe: a number at or below the mark is dead, so a writer that slept through the
//! removal of old records cannot take one for its own; and a reader that finds, after it read, a
//! record that touches what it read, reads again.

mod creation;
mod draft;
mod head;
mod home;
mod log;
mod overlay;
mod publish;
mod record;
mod snapshot;

pub(crate) use creation::{check_repository_layout, exists, refuse_existing};
pub use draft::Staged;
pub(crate) use draft::{Draft, Outcome};
pub(crate) use home::Home;
pub(crate) use log::{SCRATCH, STAGE, numbers, store_time};
pub(crate) use publish::{publish, publish_lease};
pub use record::{Action, Change, Record};
pub(crate) use snapshot::{Since, Snapshot};
