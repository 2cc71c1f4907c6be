//! Deletes: of whole files if the scope depends on the partition key alone, otherwise of rows in
//! files.

use std::sync::Arc;

use partita_core::{Predicate, Result};

use super::{Rewrite, Rule};
use crate::Table;
use crate::commit::Commit;
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::stage::Staged;

impl Table {
    /// True if `scope` depends on the partition key alone.
    pub(crate) fn selects_partitions(&self, scope: &Predicate) -> bool {
        let partition_by = self.partition_by();
        scope.columns().iter().all(|column| partition_by.contains(column))
    }

    /// Removes the rows that match `scope`, and adds staged files, in one commit.
    pub(crate) async fn remove_rows(
        &self,
        scope: &Predicate,
        added: Vec<Staged>,
        operation: Operation,
        apart: bool,
        options: &WriteOptions,
    ) -> Result<Commit> {
        let test = Arc::new(self.state().bind(scope)?);
        let rule = Rule::Remove { test, candidates: scope.clone() };
        let rewrite = Rewrite::new(self.store(), self.name(), operation, rule, added, options);
        self.rewrite(rewrite.staged_apart(apart)).await
    }
}
