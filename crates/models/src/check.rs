//! Running the checker.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// A model with more states than this is too large for every run of the tests.
const LARGEST: usize = 5_000_000;

/// Visits every state of a model. What must always hold does, and what must be possible is.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checked = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checked.unique_state_count(), checked.max_depth());
    checked.assert_properties();
    assert!(checked.unique_state_count() < LARGEST, "{name} has too many states");
}

/// Finds a counterexample to one property of a model with a wrong decision.
pub fn fails<M>(model: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    assert_ne!(model.property(property).expectation, Expectation::Sometimes);
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checked = model.checker().finish_when(wanted).spawn_bfs().join();
    assert!(checked.discovery(property).is_some(), "no counterexample: {property}");
}
