//! Removing what was replaced, once it is past the grace period and the history that is kept.
//!
//! Records are looked at in their order, from the oldest one of which replaced objects are retained.
//! Once a record is past both, nobody reads the state before it any more: what it replaced is
//! removed, and so are the staged copies of what is still published. Before a publisher overwrites
//! an object of which no staged copy is left, it makes one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use partita_core::store::{Lease, Version};
use partita_core::{Result, Store};

use super::contents::Contents;
use super::head::Head;
use super::log::{self, store_time};
use super::manifest::Manifest;
use super::note::{self, Note};
use super::paths::{manifest_key, record_key};
use super::record::Record;

/// Objects removed by one publisher; later publishers remove the rest.
const OBJECTS_PER_RUN: usize = 1000;
/// Partitions cleaned at once.
const PARTITIONS_AT_ONCE: usize = 16;

/// Limits of a clean-up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For how many seconds replaced and staged objects stay.
    pub grace: u64,
    /// After so many objects the rest is left to the next run.
    pub objects: usize,
    /// Tell what would be removed, and remove nothing.
    pub dry_run: bool,
}

impl Limits {
    /// The limits of a publisher.
    pub fn of_publisher(head: &Head) -> Self {
        Self { grace: head.grace, objects: OBJECTS_PER_RUN, dry_run: false }
    }
}

/// Removes replaced objects that nobody needs any more, and returns their keys with the number of
/// bytes as far as manifests say it. Only for the holder of the lease. No request unless something
/// may be due.
pub(crate) async fn clean(
    store: &Store,
    lease: &Lease,
    mut head: Head,
    version: &Version,
    limits: Limits,
) -> Result<Vec<(String, u64)>> {
    let waits = head.clean_after.is_some_and(|due| Timestamp::now().as_second() < due);
    if head.cleaned >= head.published || (waits && limits.grace >= head.grace) {
        return Ok(Vec::new());
    }
    let before = (head.cleaned, head.clean_change);
    let mut removed = Vec::new();
    let now = store_time(store).await?;
    while head.cleaned < head.published && removed.len() < limits.objects {
        lease.check()?;
        let number = head.cleaned + 1;
        let Some(record) = log::read(store, number).await? else {
            (head.cleaned, head.clean_change) = (number, 0);
            continue;
        };
        let written = store.head(&record_key(number)).await?;
        let time = written.map_or(record.time, |info| info.last_modified);
        let due = due(&head, number, time, &limits);
        if due > now {
            head.clean_after = Some(due.as_second());
            break;
        }
        let mut freed = 0;
        let cleaner = Cleaner { store, head: &head, record: &record, dry_run: limits.dry_run };
        let mut done = head.clean_change;
        for changes in record.changes.get(done..).unwrap_or_default().chunks(PARTITIONS_AT_ONCE) {
            let cleaned: Vec<_> = changes.iter().map(|own| cleaner.clean(&own.path)).collect();
            let cleaned = stream::iter(cleaned).buffer_unordered(PARTITIONS_AT_ONCE);
            let cleaned: Vec<Vec<(String, u64)>> = cleaned.try_collect().await?;
            let cleaned = cleaned.into_iter().flatten();
            removed.extend(cleaned.inspect(|(_, bytes)| freed += bytes));
            done += changes.len();
            if removed.len() >= limits.objects {
                break;
            }
        }
        head.retained = head.retained.saturating_sub(freed);
        match done >= record.changes.len() {
            true => (head.cleaned, head.clean_change) = (number, 0),
            false => head.clean_change = done,
        }
    }
    if before != (head.cleaned, head.clean_change) && !limits.dry_run {
        lease.check()?;
        head.replace(store, Some(version)).await?;
    }
    Ok(removed)
}

/// When the state before a commit may be removed.
fn due(head: &Head, number: u64, time: Timestamp, limits: &Limits) -> Timestamp {
    let is_among_last =
        head.retention.keep_last.is_some_and(|last| head.published.saturating_sub(number) < last);
    let within = match head.retention.keep_within {
        _ if number <= head.expired || head.is_over_limit() => 0,
        _ if is_among_last => u64::MAX,
        within => within.unwrap_or(0),
    };
    let within = i64::try_from(within.max(limits.grace)).unwrap_or(i64::MAX);
    Timestamp::from_second(time.as_second().saturating_add(within)).unwrap_or(Timestamp::MAX)
}

/// Cleans up after one record.
struct Cleaner<'a> {
    store: &'a Store,
    head: &'a Head,
    record: &'a Record,
    dry_run: bool,
}

impl Cleaner<'_> {
    /// Removes what nobody needs any more of a partition, once the state before the record is not
    /// kept.
    async fn clean(&self, path: &str) -> Result<Vec<(String, u64)>> {
        let store = self.store;
        let names = note::names(store, path).await?;
        let number = self.record.sequence;
        let is_own = |name: &&String| note::sequence_of(name) == Some(number);
        // A change that a version before manifests has staged has none.
        let Some(own_name) = names.iter().find(is_own) else { return Ok(Vec::new()) };
        let own = note::require(store, path, own_name).await?;
        let contents = own.contents(store, path).await?;
        let needed: HashSet<&str> = contents.objects.values().map(|h| h.key.as_str()).collect();
        let mut gone: BTreeMap<String, u64> = BTreeMap::new();
        if let Some(previous) = &own.previous
            && let Some(previous) = Note::read(store, path, previous).await?
        {
            let replaced = previous.contents(store, path).await?;
            let unused =
                replaced.objects.into_values().filter(|held| !needed.contains(held.key.as_str()));
            gone.extend(unused.map(|held| (held.key, held.size)));
        }
        gone.extend(self.published_copies(path, &names, &own, &contents).await?);
        let (notes, manifests) = self.old_documents(path, &names, &own).await?;
        if !self.dry_run {
            // Objects go before what lists them, so that after an interruption the next clean-up
            // finds them, and notes before the manifests that they name.
            store.delete_many(gone.keys().cloned().collect()).await?;
            store.delete_many(notes.iter().cloned().collect()).await?;
            store.delete_many(manifests.iter().cloned().collect()).await?;
        }
        gone.extend(notes.into_iter().chain(manifests).map(|key| (key, 0)));
        Ok(gone.into_iter().collect())
    }

    /// Staged copies of objects that are published in the noted version.
    async fn published_copies(
        &self,
        path: &str,
        names: &[String],
        own: &Note,
        contents: &Contents,
    ) -> Result<Vec<(String, u64)>> {
        let store = self.store;
        let Some(newest) = note::newest_of(names, self.head.published) else {
            return Ok(Vec::new());
        };
        let newest = note::require(store, path, newest).await?;
        if newest.foreign {
            return Ok(Vec::new());
        }
        let current = match newest.sequence == own.sequence {
            true => contents.clone(),
            false => newest.contents(store, path).await?,
        };
        let live = store.versions(path).await?;
        let live: HashSet<(&str, Option<&str>)> =
            live.iter().map(|own| (own.name.as_str(), own.version.as_deref())).collect();
        let noted = newest
            .versions
            .iter()
            .filter(|(name, _, version)| live.contains(&(name.as_str(), version.as_deref())));
        let as_noted: HashSet<&str> = noted.map(|(name, _, _)| name.as_str()).collect();
        let copies = current.objects.iter().filter(|(name, held)| {
            as_noted.contains(name.as_str()) && contents.objects.get(*name) == Some(held)
        });
        Ok(copies.map(|(_, held)| (held.key.clone(), held.size)).collect())
    }

    /// The keys of notes and manifests of states before the record, but for manifests that its state
    /// is made of.
    async fn old_documents(
        &self,
        path: &str,
        names: &[String],
        own: &Note,
    ) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let mut chain = HashSet::new();
        let mut next = own.stage.clone();
        while let Some(stage) = next {
            let manifest = Manifest::read(self.store, &stage, path).await?;
            let is_last = manifest.replaced.is_none() || manifest.kept.is_some();
            let is_new = chain.insert(stage);
            next = manifest.base.filter(|_| !is_last && is_new);
        }
        let (mut notes, mut manifests) = (BTreeSet::new(), BTreeSet::new());
        let is_last = names.iter().filter_map(|name| note::sequence_of(name)).max();
        let is_dropped = own.stage.is_none() && is_last == Some(own.sequence);
        for name in names {
            let Some(number) = note::sequence_of(name) else { continue };
            if number > own.sequence || (number == own.sequence && !is_dropped) {
                continue;
            }
            let Some(other) = Note::read(self.store, path, name).await? else { continue };
            match &other.stage {
                Some(stage) if chain.contains(stage) => continue,
                Some(stage) => manifests.insert(manifest_key(stage, path)),
                None => false,
            };
            notes.insert(note::key_of(path, name));
        }
        Ok((notes, manifests))
    }
}
