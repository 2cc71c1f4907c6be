//! Upserts: rows replace those with the same key.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use partita_core::{NoProgress, Result};

use super::keys::{Keys, watched};
use super::{Rewrite, Rule};
use crate::Table;
use crate::commit::Commit;
use crate::explain::Explain;
use crate::format::snapshot::Operation;
use crate::options::{BatchSource, WriteOptions};
use crate::prune::Plan;
use crate::scan::{BATCH_ROWS, Read};
use crate::stage::{Staged, discard};
use crate::state::partition_values;
use crate::table::{undo_if_repeated, undo_on_error};

impl Table {
    /// Adds rows, and removes the stored rows with the same values in the columns `on`, in one
    /// commit. Only files that contain such rows are rewritten; indices and bounds on the key
    /// columns select the files to read. The keys of `data` are held in memory, its rows are not.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a key that is null or
    /// occurs twice in `data`; [`NotFound`](partita_core::ErrorKind::NotFound) for a key column
    /// that does not exist; otherwise those of [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn upsert(
        &self,
        data: BatchSource,
        on: &[String],
        options: &WriteOptions,
    ) -> Result<Commit> {
        let schema = self.schema();
        let (keys, none) = (Keys::new(on, &schema)?, Keys::new(on, &schema)?);
        let keys = Arc::new(Mutex::new(keys));
        let staged = self.stage(watched(data, Arc::clone(&keys)), options).await?;
        let keys =
            std::mem::replace(&mut *keys.lock().unwrap_or_else(PoisonError::into_inner), none);
        let candidates = match keys.candidates() {
            Ok(candidates) => candidates,
            Err(error) => {
                discard(self.store(), staged.keys()).await;
                return Err(error);
            }
        };
        let rule = Rule::Remove { test: Arc::new(keys), candidates };
        let added = vec![staged.clone()];
        let (store, operation) = (self.store(), Operation::Upsert);
        let rewrite = Rewrite::new(store, self.name(), operation, rule, added, options);
        let staged = [staged];
        let made = undo_on_error(store, &staged, self.rewrite(rewrite).await).await?;
        undo_if_repeated(store, &staged, &made).await;
        Ok(made)
    }

    /// Adds staged files to the table, and removes the stored rows with the same values in the
    /// columns `on`, in one commit. The key columns of the staged files are read. If the call
    /// fails, the files stay, to be committed again or discarded.
    ///
    /// # Errors
    /// The errors are those of [`Table::upsert`] and [`Table::commit`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn commit_upsert(
        &self,
        staged: Vec<Staged>,
        on: &[String],
        options: &WriteOptions,
    ) -> Result<Commit> {
        let mut keys = Keys::new(on, &self.schema())?;
        for one in &staged {
            let mut batches = self.staged_rows(one, on, options)?;
            while let Some(batch) = batches.try_next().await? {
                keys.add(&batch)?;
            }
        }
        let candidates = keys.candidates()?;
        let rule = Rule::Remove { test: Arc::new(keys), candidates };
        let (store, operation) = (self.store(), Operation::Upsert);
        let rewrite = Rewrite::new(store, self.name(), operation, rule, staged, options);
        self.rewrite(rewrite.staged_apart(true)).await
    }

    fn staged_rows(
        &self,
        staged: &Staged,
        columns: &[String],
        options: &WriteOptions,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let table = self.schema();
        let fields: Result<Vec<Field>, _> =
            columns.iter().map(|name| table.field_with_name(name).cloned()).collect();
        let plan = Plan {
            manifest: staged.manifest.clone(),
            partitions: partition_values(&staged.manifest, &staged.partition_by, &table)?,
            bucket: None,
            explain: Explain::default(),
        };
        let read = Read {
            store: self.store().clone(),
            schema: Arc::new(Schema::new(fields?)),
            table,
            test: None,
            batch_rows: BATCH_ROWS,
            account: Arc::default(),
            progress: Arc::new(NoProgress),
            cancel: options.cancel.clone(),
        };
        Ok(read.run(&plan))
    }
}
