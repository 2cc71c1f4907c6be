//! Models of the protocols of commits, checked in every state that they can reach.
//!
//! A model consists of processes whose requests interleave in every order, and of a store that loses
//! answers, carries requests out late, or stops a process anywhere. Each has at most two mechanisms
//! that interact, so that all of its states can be visited. What the processes decide is decided by
//! the functions that the engine runs: `partita_core::store::protocol`, `partita_table::protocol` and
//! `partita_array::protocol`. The order of requests is that of the engine, written down again.
//!
//! - `swap`: writers of a table, of which answers are lost.
//! - `garbage`: garbage collection of a table beside a writer, a reader, an expiry and a restore.
//! - `dropping`: the drop of a table beside creations at its place.
//! - `publish`: publishers of a collection that overlap, and requests that are carried out late.
//! - `records`: numbers of records that become free again, and staged objects that are discarded.
//! - `renames`: a partition in local files, and crashes between any two steps.
//!
//! Each model also takes wrong decisions in place of the right ones: the test then expects a
//! counterexample, so that a model that can no longer fail is noticed. Tests with larger parameters
//! are ignored here; `make soak` runs them.

#[cfg(test)]
mod check;
#[cfg(test)]
mod dropping;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod records;
#[cfg(test)]
mod renames;
#[cfg(test)]
mod swap;
