//! Staged files with columns of ids that others have taken since.
//!
//! Two writers that add columns at once give them the same ids, since neither knows of the other. The
//! files of the one that commits later are written again, with the next ids that are free.

use std::sync::Arc;

use partita_core::{NoProgress, Result, Store};

use super::unit_schema;
use crate::change::{Change, Layout};
use crate::commit::Propose;
use crate::explain::Explain;
use crate::feed::feed;
use crate::format::schema::table_schema;
use crate::options::{SchemaMode, WriteOptions};
use crate::prune::Plan;
use crate::scan::{BATCH_ROWS, Read};
use crate::stage::{Staged, Target, discard, stage};
use crate::state::{State, partition_values};

/// Brings staged files to ids that are free in `state`, and adds the keys of those that it wrote to
/// `written`. The files that they replace are deleted, unless they were staged `apart` and so belong
/// to somebody else.
pub(super) async fn renumber(
    (store, name): (&Store, &str),
    state: &State,
    (staged, apart): (&mut [Staged], bool),
    options: &WriteOptions,
    written: &mut Vec<String>,
) -> Result<()> {
    // The staged descriptors are committed in this order.
    let mut layout = Layout::of(state);
    for one in staged {
        if layout.ids_are_taken(one) {
            let target = Target::laid_out(store, name, layout.clone(), state.own.version);
            let again = written_again(&target, one, options).await?;
            let before = one.keys();
            let own = before.into_iter().filter(|key| !apart || written.contains(key)).collect();
            discard(store, own).await;
            written.extend(again.keys());
            *one = again;
        }
        layout.foresee(one);
    }
    Ok(())
}

async fn written_again(target: &Target, staged: &Staged, options: &WriteOptions) -> Result<Staged> {
    let store = &target.store;
    let table = table_schema(&staged.schema, &staged.columns, &staged.extensions);
    let plan = Plan {
        manifest: staged.manifest.clone(),
        partitions: partition_values(&staged.manifest, &staged.partition_by, &table)?,
        bucket: None,
        explain: Explain::default(),
    };
    let schema = unit_schema(store, &table, &staged.extensions, &plan).await?;
    let read = Read {
        store: store.clone(),
        table,
        schema: Arc::clone(&schema),
        test: None,
        batch_rows: BATCH_ROWS,
        account: Arc::default(),
        progress: Arc::new(NoProgress),
        cancel: options.cancel.clone(),
    };
    let options = WriteOptions {
        schema_mode: SchemaMode::Merge,
        progress: Arc::new(NoProgress),
        ..options.clone()
    };
    let again = stage(target, feed(schema, read.run(&plan)), &options).await?;
    // They are the same rows still, which count once.
    Ok(Staged { ids: staged.ids.clone(), version: staged.version, ..again })
}

/// A change whose staged files bring new columns.
pub(crate) struct Growing<'a> {
    store: &'a Store,
    name: &'a str,
    change: Change,
    options: &'a WriteOptions,
    /// Files that it wrote itself.
    written: Vec<String>,
}

impl<'a> Growing<'a> {
    pub fn new(store: &'a Store, name: &'a str, change: Change, options: &'a WriteOptions) -> Self {
        Self { store, name, change, options, written: Vec::new() }
    }

    /// Deletes what it wrote itself and the change does not name.
    pub async fn clean(&mut self, committed: bool) {
        let named: Vec<String> = match committed {
            true => self.change.staged.iter().flat_map(Staged::keys).collect(),
            false => Vec::new(),
        };
        let written = std::mem::take(&mut self.written);
        let stale = written.into_iter().filter(|key| !named.contains(key)).collect();
        discard(self.store, stale).await;
    }
}

impl Propose for &mut Growing<'_> {
    async fn propose(&mut self, base: Option<&Arc<State>>) -> Result<Option<Change>> {
        if let Some(base) = base {
            let Change { staged, staged_apart, .. } = &mut self.change;
            let (table, staged) = ((self.store, self.name), (staged.as_mut_slice(), *staged_apart));
            renumber(table, base, staged, self.options, &mut self.written).await?;
        }
        (&self.change).propose(base).await
    }

    fn idempotency_key(&self) -> Option<&str> {
        self.options.idempotency_key.as_deref()
    }

    fn purpose(&self) -> String {
        (&self.change).purpose()
    }
}
