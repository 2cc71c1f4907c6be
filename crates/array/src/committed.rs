//! What became of a commit.

use futures::future::BoxFuture;
use partita_core::Result;

use crate::collection::Collection;
use crate::commit::Record;

impl Collection {
    /// The commit with this id, or with this name that its writer gave it as its key, if it was made
    /// and is still in the history. Of several with the same key the newest.
    ///
    /// After [`CommitUnknown`](partita_core::ErrorKind::CommitUnknown), whose context has the id as
    /// `commit`, this tells whether the commit was made. A request for each commit that is kept, in a
    /// plain store.
    ///
    /// # Errors
    /// [`Store`](partita_core::ErrorKind::Store), [`Corrupt`](partita_core::ErrorKind::Corrupt).
    pub fn committed<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        self.backend().committed(name)
    }
}
