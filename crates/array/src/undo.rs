//! Taking back the creation of a collection whose first rows could not be stored.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::Result;

use crate::collection::Collection;

impl Collection {
    /// Removes the collection, which this handle created, and in which nothing was committed since. A
    /// repository that was made for it goes too. In a plain store the number of the first commit is
    /// taken before, so that a writer who has opened the collection meanwhile gets an error, and loses
    /// nothing that it believes to be stored.
    ///
    /// # Errors
    /// [`CommitConflict`](partita_core::ErrorKind::CommitConflict) if there was a commit; nothing is removed then.
    /// [`Store`](partita_core::ErrorKind::Store).
    pub fn undo_creation(&self) -> BoxFuture<'_, Result<()>> {
        async move { self.backend().undo_creation(&self.config()).await }.boxed()
    }
}
