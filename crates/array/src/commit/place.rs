//! Publishing one change: objects into their places, and the note of what is there then.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use partita_core::store::{Lease, ObjectVersion, is_under};
use partita_core::{Error, Result, Store};
use tokio::sync::Semaphore;

use super::contents::Held;
use super::head::{Head, Young};
use super::manifest::Manifest;
use super::note::{self, Note, name_of, sequence_of};
use super::paths::{SCRATCH, staged_directory};
use super::record::{Action, Change, Record};
use super::standing::{Managed, Standing, is_late_possible};
use crate::digest::{Digest, ObjectEntry};
use crate::protocol::goes;
use crate::statistics::{PartitionStatistics, mark};

/// Requests in flight that copy objects, over all partitions.
const REQUESTS_IN_FLIGHT: usize = 128;
/// How often objects are copied again that were overwritten by requests that were carried out late.
const COPY_ATTEMPTS: usize = 3;

/// Publishes the changes of one record.
pub(super) struct Publisher<'a> {
    pub store: &'a Store,
    pub lease: &'a Lease,
    pub record: &'a Record,
    head: &'a Head,
    /// A suffix of the names of notes, unique to this publisher.
    nonce: &'a str,
    requests: Semaphore,
    /// Bytes of the copies that [`Publisher::preserve`] made.
    preserved: AtomicU64,
}

/// A change that was published.
pub(super) struct Published {
    pub path: String,
    /// The entry of the partition in the head.
    pub young: Option<Young>,
    pub statistics: PartitionStatistics,
}

/// Objects that are to be put into their places.
struct Placing<'a> {
    path: &'a str,
    stage: &'a str,
    manifest: &'a Manifest,
    /// Of a patch, what is to be done about the objects that it keeps.
    kept: Option<&'a Managed>,
    /// The staged objects were copied already.
    copied: bool,
}

/// The staged objects of a change: their names, and the keys of the immutable objects.
fn own_objects(path: &str, stage: &str, manifest: &Manifest) -> Vec<(String, String)> {
    let directory = staged_directory(stage, path);
    let own = manifest.objects.iter();
    own.map(|entry| (entry.name.clone(), format!("{directory}/{}", entry.name))).collect()
}

/// The state of a partition that was published before.
struct Previous {
    /// The name of its note.
    name: String,
    /// The note, where it is needed.
    note: Option<Note>,
}

impl<'a> Publisher<'a> {
    pub fn new(
        store: &'a Store,
        lease: &'a Lease,
        head: &'a Head,
        record: &'a Record,
        nonce: &'a str,
    ) -> Self {
        let requests = Semaphore::new(REQUESTS_IN_FLIGHT);
        let preserved = AtomicU64::new(0);
        Self { store, lease, record, head, nonce, requests, preserved }
    }

    /// By how many bytes what is retained has grown: what the commit has staged, and what was copied
    /// before it was replaced.
    pub fn retained(&self) -> u64 {
        let staged: u64 = self.record.changes.iter().map(|change| change.bytes).sum();
        staged.saturating_add(self.preserved.load(Ordering::Relaxed))
    }

    /// Publishes the change of one partition.
    pub async fn publish(&self, change: &Change) -> Result<Published> {
        let published = self.publish_change(change).await;
        published.map_err(|error| error.with("partition", &change.path))
    }

    async fn publish_change(&self, change: &Change) -> Result<Published> {
        let (store, path) = (self.store, &change.path);
        self.lease.check()?;
        self.lease.progress();
        let manifest = change.read_manifest(store).await?;
        let Some(manifest) = manifest.as_deref() else {
            return match (&change.action, change.stage()) {
                (Action::Drop, _) | (_, None) => self.publish_drop(path).await,
                (action, Some(stage)) => self.publish_old(change, action, stage).await,
            };
        };
        let stage = change.stage().unwrap_or_default();
        let replaced = manifest.replaced.as_deref();
        let live = store.versions(path);
        let early = async {
            // Where nothing is, nothing is overwritten that has to be looked at before.
            let is_new = change.is_new && !self.head.young.contains_key(path);
            match is_new && !store.is_local() {
                true => self.copy(path, &own_objects(path, stage, manifest)).await.map(|()| true),
                false => Ok(false),
            }
        };
        let previous = self.previous(path, replaced.is_some());
        let (live, previous, copied) = futures::try_join!(live, previous, early)?;
        let kept = self.kept(path, replaced, previous.as_ref(), &live).await?;
        self.preserve(path, replaced, previous.as_ref(), &live).await?;
        // An interrupted publisher may have put objects of this change into place already.
        let is_own = |object: &ObjectVersion| {
            let same = |entry: &ObjectEntry| entry.name == object.name && entry.size == object.size;
            manifest.objects.iter().any(same)
        };
        let created = previous.is_none() && live.iter().all(is_own);
        let placing = Placing { path, stage, manifest, kept: kept.as_ref(), copied };
        let objects = self.place(placing, live).await?;
        let mut note =
            Note::new(self.record.sequence, &self.record.id, Some(stage), manifest.depth);
        note.created = created;
        note.foreign = replaced.is_some() && kept.is_none();
        if is_late_possible(self.store) {
            note.digests = digests_of(manifest, kept.is_some(), previous.as_ref());
        }
        let statistics = manifest.statistics.clone();
        self.note(path, note, previous, objects, statistics).await
    }

    /// Publishes what a version before manifests has staged.
    async fn publish_old(
        &self,
        change: &Change,
        action: &Action,
        stage: &str,
    ) -> Result<Published> {
        let (replaced, fresh) = match action {
            Action::Patch { replaced, .. } => (Some(replaced.as_slice()), false),
            Action::Replace { fresh, .. } => (None, *fresh),
            Action::Drop => (None, false),
        };
        let staged = staged_directory(stage, &change.path);
        self.store.switch_directory(&staged, &change.path, replaced, fresh, SCRATCH).await?;
        let (path, mut statistics) = (change.path.clone(), change.statistics.clone());
        mark(&mut statistics, &self.store.versions(&path).await?);
        Ok(Published { path, young: None, statistics })
    }

    async fn publish_drop(&self, path: &str) -> Result<Published> {
        let store = self.store;
        let live = store.versions(path);
        let (live, previous) = futures::try_join!(live, self.previous(path, false))?;
        self.preserve(path, None, previous.as_ref(), &live).await?;
        match store.is_local() {
            true => store.delete_directory(path, SCRATCH).await?,
            false => self.remove(path, live.into_iter().map(|own| own.name).collect()).await?,
        }
        let note = Note::new(self.record.sequence, &self.record.id, None, 0);
        self.note(path, note, previous, Vec::new(), PartitionStatistics::new()).await
    }

    /// The state of the partition that was published before this record. `needs_note` says that the note has
    /// to be read whatever its age is.
    async fn previous(&self, path: &str, needs_note: bool) -> Result<Option<Previous>> {
        let name = match self.head.young.get(path) {
            Some(young) => Some(young.note.clone()),
            None => {
                let names = note::names(self.store, path).await?;
                let sequence = self.record.sequence;
                note::remove_unreadable(self.store, path, &names, sequence).await?;
                note::newest_of(&names, self.head.published).cloned()
            }
        };
        let Some(name) = name else { return Ok(None) };
        let is_cleaned = sequence_of(&name).is_none_or(|number| number <= self.head.cleaned);
        if !needs_note && !is_cleaned {
            return Ok(Some(Previous { name, note: None }));
        }
        // If the note was lost, nothing is known of what is there.
        let note = Note::read(self.store, path, &name).await?;
        Ok(note.map(|note| Previous { name, note: Some(note) }))
    }

    /// Of a patch: what is to be done about objects that it keeps. None if they are not what
    /// manifests say, since another program has written to the partition.
    async fn kept(
        &self,
        path: &str,
        replaced: Option<&[String]>,
        previous: Option<&Previous>,
        live: &[ObjectVersion],
    ) -> Result<Option<Managed>> {
        let note = previous.and_then(|previous| previous.note.as_ref());
        let (Some(replaced), Some(note)) = (replaced, note) else { return Ok(None) };
        let stays = |name: &str| !is_under(name, replaced);
        let mut kept = note.clone();
        kept.versions.retain(|(name, _, _)| stays(name));
        let live = live.iter().filter(|object| stays(&object.name)).cloned().collect();
        let Standing::Managed(mut managed) = Standing::of(self.store, path, &kept, live).await?
        else {
            return Ok(None);
        };
        managed.elsewhere.retain(|name, _| stays(name));
        Ok(Some(managed))
    }

    /// Has the content of every object that is about to be replaced or removed stand under the key
    /// that its manifest names. Clean-up may have removed that while the published object was
    /// current.
    async fn preserve(
        &self,
        path: &str,
        replaced: Option<&[String]>,
        previous: Option<&Previous>,
        live: &[ObjectVersion],
    ) -> Result<()> {
        let Some(note) = previous.and_then(|previous| previous.note.as_ref()) else {
            return Ok(());
        };
        if note.sequence > self.head.cleaned {
            return Ok(());
        }
        let contents = note.contents(self.store, path).await?;
        let noted: BTreeMap<&str, &Option<String>> =
            note.versions.iter().map(|(name, _, version)| (name.as_str(), version)).collect();
        let as_noted: HashSet<&str> = live
            .iter()
            .filter(|own| noted.get(own.name.as_str()) == Some(&&own.version))
            .map(|own| own.name.as_str())
            .collect();
        let going = contents.objects.iter().filter(|(name, _)| {
            as_noted.contains(name.as_str())
                && replaced.is_none_or(|replaced| is_under(name, replaced))
        });
        let keep = async |(name, held): (&String, &Held)| {
            let live = format!("{path}/{name}");
            let _permit = self.requests.acquire().await.map_err(closed)?;
            self.lease.check()?;
            self.preserved.fetch_add(held.size, Ordering::Relaxed);
            if self.store.is_local() {
                return self.store.link(&live, &held.key).await.map(drop);
            }
            match self.store.head(&held.key).await? {
                Some(_) => Ok(()),
                None => self.store.copy(&live, &held.key).await,
            }
        };
        let all: Vec<_> = going.map(keep).collect();
        stream::iter(all).buffer_unordered(REQUESTS_IN_FLIGHT).try_collect().await
    }

    /// Puts the objects into their places, removes what they replace, and returns what is there
    /// then, which is compared with the manifest.
    async fn place(
        &self,
        placing: Placing<'_>,
        live: Vec<ObjectVersion>,
    ) -> Result<Vec<ObjectVersion>> {
        let Placing { path, stage, manifest, kept, mut copied } = placing;
        let own = own_objects(path, stage, manifest).into_iter();
        let again = kept.into_iter().flat_map(|managed| &managed.elsewhere);
        let again = again.map(|(name, held)| (name.clone(), held.key.clone()));
        let mut objects: Vec<(String, String)> = own.chain(again).collect();
        let replaced = manifest.replaced.as_deref();
        if self.store.is_local() {
            self.store.place_directory(path, &objects, replaced, SCRATCH).await?;
            return self.compared(path, manifest).await.map(|(found, _)| found);
        }
        let new: HashSet<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
        let is_gone = |own: &ObjectVersion| {
            let late = kept.is_some_and(|managed| managed.removed.contains(&own.name));
            let is_replaced = replaced.is_none_or(|replaced| is_under(&own.name, replaced));
            goes(new.contains(own.name.as_str()), is_replaced, late)
        };
        let gone: Vec<String> =
            live.iter().filter(|o| is_gone(o)).map(|o| o.name.clone()).collect();
        for _ in 0..COPY_ATTEMPTS {
            let copy = async {
                match std::mem::take(&mut copied) {
                    true => Ok(()),
                    false => self.copy(path, &objects).await,
                }
            };
            futures::try_join!(copy, self.remove(path, gone.clone()))?;
            let (found, different) = self.compared(path, manifest).await?;
            if different.is_empty() {
                return Ok(found);
            }
            objects.retain(|(name, _)| different.contains(name));
        }
        Err(Error::corrupt("published objects are not what was staged").with("partition", path))
    }

    async fn copy(&self, path: &str, objects: &[(String, String)]) -> Result<()> {
        let copy = async |(name, from): &(String, String)| {
            let _permit = self.requests.acquire().await.map_err(closed)?;
            self.lease.check()?;
            self.store.copy(from, &format!("{path}/{name}")).await
        };
        let copies: Vec<_> = objects.iter().map(copy).collect();
        stream::iter(copies).buffer_unordered(REQUESTS_IN_FLIGHT).try_collect().await
    }

    async fn remove(&self, path: &str, names: Vec<String>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.lease.check()?;
        let keys = names.into_iter().map(|name| format!("{path}/{name}")).collect();
        self.store.delete_many(keys).await
    }

    /// The published objects, and the names of those that have another size than was staged, or are
    /// missing.
    async fn compared(
        &self,
        path: &str,
        manifest: &Manifest,
    ) -> Result<(Vec<ObjectVersion>, HashSet<String>)> {
        let found = self.store.versions(path).await?;
        let sizes: BTreeMap<&str, u64> =
            found.iter().map(|own| (own.name.as_str(), own.size)).collect();
        let differs = |name: &str, size: u64| sizes.get(name) != Some(&size);
        let different = manifest.objects.iter().filter(|entry| differs(&entry.name, entry.size));
        let different = different.map(|entry| entry.name.clone()).collect();
        Ok((found, different))
    }

    /// Writes the note of what is published.
    async fn note(
        &self,
        path: &str,
        mut note: Note,
        previous: Option<Previous>,
        objects: Vec<ObjectVersion>,
        mut statistics: PartitionStatistics,
    ) -> Result<Published> {
        mark(&mut statistics, &objects);
        let written = objects.iter().map(|own| own.last_modified).max();
        let time = written.unwrap_or_else(Timestamp::now).as_second();
        note.previous = previous.map(|previous| previous.name);
        note.versions = objects.into_iter().map(|own| (own.name, own.size, own.version)).collect();
        note.versions.sort();
        let name = name_of(self.record.sequence, self.nonce);
        note.write(self.store, path, &name).await?;
        let is_young = is_late_possible(self.store) && !note.foreign;
        let young = is_young.then(|| Young {
            note: name,
            stage: note.stage.clone(),
            depth: note.depth,
            time,
        });
        Ok(Published { path: path.to_owned(), young, statistics })
    }
}

/// The digests of what a change published, and of what it keeps of the state before, if that is what
/// manifests say.
fn digests_of(
    manifest: &Manifest,
    keeps: bool,
    previous: Option<&Previous>,
) -> BTreeMap<String, Digest> {
    let note = previous.filter(|_| keeps).and_then(|previous| previous.note.as_ref());
    let replaced = manifest.replaced.as_deref().unwrap_or_default();
    let kept = note.into_iter().flat_map(|note| &note.digests);
    let kept = kept.filter(|(name, _)| !is_under(name, replaced));
    let own = manifest.objects.iter().map(|entry| (entry.name.clone(), entry.digest));
    kept.map(|(name, digest)| (name.clone(), *digest)).chain(own).collect()
}

fn closed(error: tokio::sync::AcquireError) -> Error {
    Error::new(partita_core::ErrorKind::Interrupted, "publishing has ended").caused_by(error)
}
