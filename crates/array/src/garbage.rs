//! Removing what no commit names any more.

use std::collections::HashSet;

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use partita_core::store::{ObjectInfo, removed};
use partita_core::{Cancel, Error, Result};

use crate::collection::Collection;
use crate::commit::{Action, Home, SCRATCH, STAGE, numbers, publish, store_time};
use crate::copy::JOURNAL;

/// Records are kept at least so long: a writer may have slept meanwhile, and readers ask what
/// happened since they looked.
const RECORDS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Keys deleted in a request, and between two looks at whether to stop.
const AT_ONCE: usize = 1000;

/// What garbage collection removes.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// Objects younger than this are left alone, by the clock of the store: a writer may be about
    /// to commit them.
    pub grace: SignedDuration,
    /// Tell what would be removed, and remove nothing.
    pub dry_run: bool,
    /// Stops the work between requests.
    pub cancel: Cancel,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self { grace: SignedDuration::from_hours(24), dry_run: false, cancel: Cancel::default() }
    }
}

/// What garbage collection removed, or would have.
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
    /// commits that are older than it and than seven days. Publishes first what is not published.
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
            if let Home::Repository(repository) = self.home() {
                return repository.collect_garbage(options).await;
            }
            let store = self.store();
            publish(store).await?;
            removed().await;
            let now = store_time(store).await?;
            let before = |age: SignedDuration| -> Result<Timestamp> {
                now.checked_sub(age)
                    .map_err(|error| Error::invalid("that is no age").caused_by(error))
            };
            let (old, very_old) =
                (before(options.grace)?, before(options.grace.max(RECORDS_KEPT))?);
            // Objects first, state second: what is committed in between is seen by the state.
            let mut objects: Vec<ObjectInfo> = Vec::new();
            for directory in [STAGE, SCRATCH, JOURNAL] {
                objects.extend(store.list(&format!("{directory}/")).try_collect::<Vec<_>>().await?);
            }
            for directory in
                store.list_directories("").await?.iter().filter(|name| is_temporary(name))
            {
                objects.extend(store.list(&format!("{directory}/")).try_collect::<Vec<_>>().await?);
            }
            objects.retain(|object| object.last_modified < old);
            let snapshot = self.snapshot().await?;
            let staged: HashSet<&str> = snapshot
                .pending
                .iter()
                .flat_map(|record| &record.changes)
                .filter_map(|change| match &change.action {
                    Action::Replace { stage, .. } | Action::Patch { stage, .. } => {
                        Some(stage.as_str())
                    }
                    Action::Drop => None,
                })
                .collect();
            objects.retain(|object| !staged.iter().any(|stage| object.key.starts_with(stage)));
            let published = snapshot.latest - snapshot.pending.len() as u64;
            let records = numbers(store).await?.into_iter();
            let dead = records.filter(|(number, _)| *number <= published).map(|(_, info)| info);
            objects.extend(dead.filter(|info| info.last_modified < very_old));
            let mut garbage = Garbage { bytes: 0, keys: Vec::with_capacity(objects.len()) };
            for object in objects {
                garbage.bytes += object.size;
                garbage.keys.push(object.key);
            }
            garbage.keys.sort();
            if !options.dry_run {
                for keys in garbage.keys.chunks(AT_ONCE) {
                    options.cancel.check()?;
                    store.delete_many(keys.to_vec()).await?;
                }
            }
            Ok(garbage)
        }
        .boxed()
    }
}

/// The name that ZCollection gives a group while it writes it: a SHA-256 in hexadecimal digits.
fn is_temporary(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
