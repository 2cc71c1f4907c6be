//! Removing what no commit names any more.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use partita_core::store::{ObjectInfo, removed};
use partita_core::{Cancel, Error, Result, Store};

use crate::collection::Collection;
use crate::commit::{
    Home, Limits, SCRATCH, Snapshot, clean_replaced, numbers, publish, store_time, uncommitted,
};
use crate::copy::JOURNAL;

/// Records are kept at least so long: a writer may have slept meanwhile, and readers ask what
/// happened since they looked.
const RECORDS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Keys deleted in a request, and between two looks at whether to stop.
const AT_ONCE: usize = 1000;

/// What garbage collection removes.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// What a writer changed more recently than this is left alone, by the clock of the store: it
    /// may be about to commit it.
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
            let grace = u64::try_from(options.grace.as_secs()).unwrap_or(0);
            let limits = Limits { grace, objects: usize::MAX, dry_run: options.dry_run };
            let mut objects = clean_replaced(store, limits).await?;
            let now = store_time(store).await?;
            let before = |age: SignedDuration| -> Result<Timestamp> {
                now.checked_sub(age)
                    .map_err(|error| Error::invalid("that is no age").caused_by(error))
            };
            let (old, very_old) =
                (before(options.grace)?, before(options.grace.max(RECORDS_KEPT))?);
            let snapshot = self.snapshot().await?;
            let staged = uncommitted(store, &snapshot, old).await?;
            let directories = stale(store, old).await?;
            let records = dead_records(store, &snapshot, very_old).await?;
            let single: Vec<ObjectInfo> = staged.into_iter().chain(records).collect();
            objects.extend(single.iter().map(|object| (object.key.clone(), object.size)));
            for directory in &directories {
                let listed = store.list_removable(directory).await?;
                objects
                    .extend(listed.into_iter().map(|found| (found.object.key, found.object.size)));
            }
            if !options.dry_run {
                for directory in directories {
                    options.cancel.check()?;
                    store.delete_directory(&directory, SCRATCH).await?;
                }
                for objects in single.chunks(AT_ONCE) {
                    options.cancel.check()?;
                    let keys = objects.iter().map(|object| object.key.clone()).collect();
                    store.delete_many(keys).await?;
                }
            }
            let bytes = objects.iter().map(|(_, size)| size).sum();
            let mut keys: Vec<String> = objects.into_iter().map(|(key, _)| key).collect();
            keys.sort();
            Ok(Garbage { keys, bytes })
        }
        .boxed()
    }
}

/// The objects of published records that were written before `very_old`, and of which nothing is
/// retained.
async fn dead_records(
    store: &Store,
    snapshot: &Snapshot,
    very_old: Timestamp,
) -> Result<Vec<ObjectInfo>> {
    let cleaned = snapshot.cleaned();
    let records = numbers(store).await?.into_iter();
    let dead = records.filter(|(number, info)| *number <= cleaned && info.last_modified < very_old);
    Ok(dead.map(|(_, info)| info).collect())
}

/// Directories of writers and programs, in which nothing has changed since `old`. One that is put
/// together from links has files as old as what they are linked to, so its own age counts.
async fn stale(store: &Store, old: Timestamp) -> Result<Vec<String>> {
    let mut found = vec![JOURNAL.to_owned()];
    let names = store.list_directories(SCRATCH).await?;
    found.extend(names.into_iter().map(|name| format!("{SCRATCH}/{name}")));
    found.extend(store.list_directories("").await?.into_iter().filter(|name| is_temporary(name)));
    let mut stale = Vec::new();
    for directory in found {
        if store.changed_at(&directory).await?.is_some_and(|changed| changed < old) {
            stale.push(directory);
        }
    }
    Ok(stale)
}

/// The name that ZCollection gives a group while it writes it: a SHA-256 in hexadecimal digits.
fn is_temporary(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
