//! Support for tests: clients that fail, count and delay, the conformance suite of stores,
//! operations that are stopped at every request, simulated processes, and damaged bytes for
//! decoders.
//!
//! Each wrapper is an `ObjectStore` over another; lay them over a [`Store`](crate::Store) with
//! [`Store::wrap`](crate::Store::wrap).

mod clock;
mod conformance;
mod counting;
mod crash;
mod damage;
mod fault;
mod latency;
mod race;
mod script;
mod simulation;

pub use clock::ClockStore;
pub use conformance::conformance;
pub use counting::{CountingStore, Counts};
pub use crash::{Extent, OnStore, Operation, Tally, on_store};
pub use damage::damaged;
pub use fault::{Fault, FaultStore};
pub use latency::{LatencyStore, Rounds};
pub use race::{Race, race_increments};
pub use script::{Asked, Phase, Rule, ScriptedStore, Verb};
pub(crate) use simulation::simulated_jitter;
pub use simulation::{Known, Process, Random, simulate, simulated_store};
