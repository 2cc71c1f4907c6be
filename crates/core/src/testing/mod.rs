//! Support for tests: clients that fail, count and delay, the conformance suite of stores, and damaged
//! bytes for decoders.
//!
//! Each wrapper is an `ObjectStore` over another; lay them over a [`Store`](crate::Store) with
//! [`Store::wrap`](crate::Store::wrap).

mod conformance;
mod counting;
mod damage;
mod fault;
mod latency;
mod race;
mod script;

pub use conformance::conformance;
pub use counting::{CountingStore, Counts};
pub use damage::damaged;
pub use fault::{Fault, FaultStore};
pub use latency::LatencyStore;
pub use race::{Race, race_increments};
pub use script::{Asked, Phase, Rule, ScriptedStore, Verb};
