//! Removing what no commit names any more.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{Error, Result};
use tracing::Instrument;

use crate::collection::Collection;

impl Collection {
    /// Removes what writers that died have staged, and the temporary groups that ZCollection leaves
    /// when it is killed, once they are older than the grace period; and records of published
    /// commits, and objects of idempotency keys without a record, that are older than it and than seven
    /// days. Publishes first what is not published.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative grace period;
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a record cannot be read: nothing is removed
    /// then; [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
    pub fn collect_garbage<'a>(
        &'a self,
        options: &'a GarbageOptions,
    ) -> BoxFuture<'a, Result<Garbage>> {
        async move {
            self.check_writable()?;
            if options.grace.is_negative() {
                return Err(Error::invalid("the grace period must not be negative"));
            }
            self.backend().collect_garbage(options).await
        }
        .instrument(tracing::debug_span!("collect_garbage", dataset = %self.place()))
        .boxed()
    }
}
