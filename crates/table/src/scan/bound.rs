//! The predicate of a scan in the form that is evaluated.

use std::sync::Arc;

use partita_core::predicate::BoundPredicate;
use partita_core::{Predicate, Result};

use super::rows::RowTest;
use crate::state::State;

/// A predicate that was checked against the schema of a table.
#[derive(Debug)]
pub(crate) struct Bound {
    whole: Arc<BoundPredicate>,
    /// The part that must still be tested on rows: conditions on partition columns alone have been
    /// evaluated exactly by planning.
    residual: Option<Arc<BoundPredicate>>,
}

impl Bound {
    pub fn new(predicate: &Predicate, state: &State) -> Result<Self> {
        let whole = Arc::new(state.bind(predicate)?);
        let mut conditions = Vec::new();
        flatten(predicate, &mut conditions);
        let all = conditions.len();
        conditions.retain(|condition| {
            let columns = condition.columns();
            columns.is_empty() || columns.iter().any(|column| !state.partition_by.contains(column))
        });
        let residual = match conditions.len() {
            0 => None,
            left if left == all => Some(Arc::clone(&whole)),
            _ => {
                let left = conditions.into_iter().cloned().collect();
                Some(Arc::new(state.bind(&Predicate::And(left))?))
            }
        };
        Ok(Self { whole, residual })
    }

    /// The whole predicate, for planning.
    pub fn whole(&self) -> &BoundPredicate {
        &self.whole
    }

    /// The test of the rows of the files that planning leaves.
    pub fn row_test(&self) -> Option<Arc<dyn RowTest>> {
        let residual = self.residual.as_ref()?;
        Some(Arc::clone(residual) as Arc<dyn RowTest>)
    }

    /// The text form of the predicate.
    pub fn text(&self) -> String {
        self.whole.predicate().to_string()
    }
}

fn flatten<'a>(predicate: &'a Predicate, into: &mut Vec<&'a Predicate>) {
    match predicate {
        Predicate::And(parts) => parts.iter().for_each(|part| flatten(part, into)),
        other => into.push(other),
    }
}
