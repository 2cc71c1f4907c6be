//! What tests of stores need: clients that fail, count and delay, and the suite of checks that
//! every store must pass.
//!
//! Each wrapper is an `ObjectStore` over another; lay them over a [`Store`](crate::Store) with
//! [`Store::wrap`](crate::Store::wrap).

mod conformance;
mod counting;
mod fault;
mod latency;
mod race;
mod script;

pub use conformance::conformance;
pub use counting::{CountingStore, Counts};
pub use fault::{Fault, FaultStore};
pub use latency::LatencyStore;
pub use race::{Race, race_increments};
pub use script::{Asked, Phase, Rule, ScriptedStore, Verb};
