//! Garbage collection of collections in plain stores.

use jiff::{SignedDuration, Timestamp};
use partita_core::store::{ObjectInfo, removed};
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{Error, Result, Store};

use super::clean::Limits;
use super::head::Head;
use super::keyed::unused_keys;
use super::log::{numbers, stopped_clocks, store_time};
use super::paths::{SCRATCH, STAGE};
use super::publish::{publish, under_lease};
use super::uncommitted::{clean_replaced, uncommitted};
use crate::copy::JOURNAL;
use crate::layout::{list_partitions, read_either};
use crate::protocol::is_dead;
use crate::statistics::{Statistics, replace_documents};

/// Records are kept at least so long: a writer may have slept meanwhile, and readers ask what
/// happened since they looked.
const RECORDS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Keys deleted by one request, after which it is looked whether to stop.
const KEYS_PER_DELETE: usize = 1000;

/// Publishes what is not published, and removes what no commit names and no reader may use.
pub(super) async fn collect_garbage(store: &Store, options: &GarbageOptions) -> Result<Garbage> {
    publish(store).await?;
    removed().await;
    let grace = u64::try_from(options.grace.as_secs()).unwrap_or(0);
    let limits = Limits { grace, objects: usize::MAX, dry_run: options.dry_run };
    let mut objects = clean_replaced(store, limits).await?;
    let now = store_time(store).await?;
    let before = |age: SignedDuration| -> Result<Timestamp> {
        now.checked_sub(age).map_err(|error| Error::invalid("that is no age").caused_by(error))
    };
    let (old, very_old) = (before(options.grace)?, before(options.grace.max(RECORDS_KEPT))?);
    let dead = dead_records(store, very_old).await?;
    let staged = uncommitted(store, old, &dead).await?;
    let mut single: Vec<ObjectInfo> = staged.into_iter().flat_map(|left| left.objects).collect();
    let directories = stale(store, old).await?;
    single.extend(dead);
    single.extend(unused_keys(store, very_old).await?);
    single.extend(stopped_clocks(store, old).await?);
    objects.extend(single.iter().map(|object| (object.key.clone(), object.size)));
    for directory in &directories {
        let listed = store.list_removable(directory).await?;
        objects.extend(listed.into_iter().map(|found| (found.object.key, found.object.size)));
    }
    if !options.dry_run {
        for directory in directories {
            options.cancel.check()?;
            store.delete_directory(&directory, SCRATCH).await?;
        }
        for objects in single.chunks(KEYS_PER_DELETE) {
            options.cancel.check()?;
            let keys = objects.iter().map(|object| object.key.clone()).collect();
            store.delete_many(keys).await?;
        }
        store.remove_empty_directories(STAGE, old).await?;
        condense_statistics(store).await?;
    }
    let bytes = objects.iter().map(|(_, size)| size).sum();
    let mut keys: Vec<String> = objects.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    Ok(Garbage { keys, bytes, missing: Vec::new() })
}

/// Joins the statistics in one document, without those of partitions that are gone and of values that
/// were replaced: they would outlive the rows that garbage collection removes.
async fn condense_statistics(store: &Store) -> Result<()> {
    under_lease(store, async |_| {
        let published = Head::read(store).await?.published;
        if published == 0 {
            return Ok(());
        }
        let listed = list_partitions(store, &read_either(store).await?).await?;
        let paths = listed.iter().map(|partition| partition.path.as_str()).collect();
        replace_documents(store, published, Statistics::new(), &paths).await
    })
    .await
}

/// The objects of published records that were written before `very_old`, and of which nothing is
/// retained.
async fn dead_records(store: &Store, very_old: Timestamp) -> Result<Vec<ObjectInfo>> {
    let cleaned = Head::read(store).await?.cleaned;
    let records = numbers(store).await?.into_iter();
    let dead =
        records.filter(|(number, info)| is_dead(*number, cleaned, info.last_modified < very_old));
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
