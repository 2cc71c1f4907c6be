//! Removing what no commit names any more.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use partita_core::{Cancel, Error, Result};

use crate::collection::Collection;

/// Options of garbage collection.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// Staged objects of writers that changed something more recently than this, by the clock of the
    /// store, are kept: the writer may be about to commit them.
    pub grace: SignedDuration,
    /// Report what would be removed, without removing it.
    pub dry_run: bool,
    /// Stops the work between requests.
    pub cancel: Cancel,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self { grace: SignedDuration::from_hours(24), dry_run: false, cancel: Cancel::default() }
    }
}

/// The objects that garbage collection removed, or would have removed in a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The keys, in order.
    pub keys: Vec<String>,
    /// The size of the objects together.
    pub bytes: u64,
}

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
        .boxed()
    }
}
