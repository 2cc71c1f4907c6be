//! Taking back the creation of a collection whose first rows could not be stored.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{Error, ErrorKind, Result, Store};
use uuid::Uuid;

use crate::collection::Collection;
use crate::commit::{Home, Record, numbers};
use crate::layout::{Config, encode_config, parent_groups};
use crate::repository::WriteDocuments;

/// The directory of everything that Partita keeps beside a collection.
const OWN: &str = ".partita";

impl Collection {
    /// Removes the collection, which this handle created, and in which nothing was committed since. A
    /// repository that was made for it goes too.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict) if there was a commit; nothing is removed then.
    /// [`Store`](ErrorKind::Store).
    pub fn undo_creation(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            let (key, _) = encode_config(&self.config())?;
            let used = || {
                Error::new(ErrorKind::CommitConflict, "the collection has commits already")
                    .with("store", self.store().url())
            };
            match self.home() {
                Home::Plain(store) => {
                    let pending = numbers(store).await?;
                    if !pending.is_empty() || self.snapshot().await?.latest > 0 {
                        return Err(used());
                    }
                    store.delete(key).await?;
                    store.delete_removable(OWN).await
                }
                Home::Past(_) => Err(used()),
                Home::Repository(repository) => {
                    // The creation is the first commit of it.
                    let created = self.snapshot().await?.latest;
                    if repository.is_new() {
                        return match created <= 1 {
                            true => repository.remove().await,
                            false => Err(used()),
                        };
                    }
                    let id = Uuid::new_v4().simple().to_string();
                    let record = Record::new("undo", id, None, Vec::new());
                    repository.write_documents(record, &Removal(&self.config())).await
                }
            }
        }
        .boxed()
    }
}

/// The documents of a collection, removed from a repository.
struct Removal<'c>(&'c Config);

impl WriteDocuments for Removal<'_> {
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>> {
        async move {
            let (key, _) = encode_config(self.0)?;
            target.delete(key).await?;
            for (key, _) in parent_groups(self.0.layout, "") {
                target.delete(&key).await?;
            }
            Ok(true)
        }
        .boxed()
    }
}
