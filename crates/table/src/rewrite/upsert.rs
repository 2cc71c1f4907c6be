//! Upserts: rows take the place of those with the same key.

use std::sync::{Arc, Mutex, PoisonError};

use partita_core::Result;

use super::keys::{Keys, watched};
use super::{Rewrite, Rule};
use crate::Table;
use crate::commit::Commit;
use crate::format::snapshot::Operation;
use crate::options::{BatchSource, WriteOptions};
use crate::stage::discard;
use crate::table::undo_on_error;

impl Table {
    /// Adds rows, and removes the stored rows that have the same values in the columns `on`, in
    /// one commit. Only files that hold such rows are written again; indices and bounds on the key
    /// columns say which to look into. The keys of `data` are held in memory, its rows are not.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a key that is null or
    /// occurs twice in `data`; [`NotFound`](partita_core::ErrorKind::NotFound) for a key column
    /// that the table has not; else as [`Table::append`].
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
        undo_on_error(store, &[staged], self.rewrite(rewrite).await).await
    }
}
