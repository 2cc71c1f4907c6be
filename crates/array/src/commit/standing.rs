//! How the published objects of a partition compare with what its manifests say.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::{LARGEST, ObjectVersion};
use partita_core::{Result, Store};

use super::contents::{Contents, Held, Past};
use super::note::{self, Note};
use crate::digest::Digest;
use crate::protocol::{Judged, judge};

/// Objects whose content is compared at once.
const COMPARED_AT_ONCE: usize = 16;
/// Earlier states compared to recognise content that was written late. A request is
/// carried out late within the grace period only, for which notes are retained.
const EARLIER_STATES: usize = 1000;

/// How the published objects of a partition relate to its manifests.
#[derive(Debug)]
pub(super) enum Standing {
    /// No manifest tells what the partition consists of, or another program has written to it: the
    /// published objects count.
    AsItLies,
    /// The manifests count.
    Managed(Managed),
}

/// Where objects are that are not in place.
#[derive(Debug, Default)]
pub(super) struct Managed {
    pub contents: Contents,
    /// Objects that are missing, or were overwritten by a request that was carried out late.
    pub elsewhere: HashMap<String, Held>,
    /// Objects that were brought back by such a request.
    pub removed: HashSet<String>,
}

impl Standing {
    /// Compares the published objects with the note of this name, and where they differ from it
    /// with what manifests say of their content. One request for the note, each manifest, each page
    /// of the listing, and each object that is not as noted.
    pub async fn find(store: &Store, path: &str, name: &str) -> Result<Self> {
        let Some(note) = Note::read(store, path, name).await? else { return Ok(Self::AsItLies) };
        let live = store.versions(path).await?;
        Self::of(store, path, &note, live).await
    }

    /// As [`Standing::find`], where the note and the published objects are known.
    pub async fn of(
        store: &Store,
        path: &str,
        note: &Note,
        live: Vec<ObjectVersion>,
    ) -> Result<Self> {
        if note.foreign {
            return Ok(Self::AsItLies);
        }
        let contents = note.contents(store, path).await?;
        let noted: HashMap<&str, Option<&str>> =
            note.versions.iter().map(|(name, _, own)| (name.as_str(), own.as_deref())).collect();
        let is_noted = |object: &&ObjectVersion| {
            noted.get(object.name.as_str()).is_some_and(|own| *own == object.version.as_deref())
        };
        let there: HashSet<&str> = live.iter().map(|object| object.name.as_str()).collect();
        // No program writes below an object. A directory that has taken the place of one is damage.
        let is_lost = |name: &&str| !there.contains(*name) && contents.objects.contains_key(*name);
        let displaced: HashSet<&str> =
            live.iter().flat_map(|own| directories_of(&own.name)).filter(is_lost).collect();
        let is_stray = |own: &ObjectVersion| {
            directories_of(&own.name).any(|directory| displaced.contains(directory))
        };
        let changed = live.iter().filter(|own| !is_noted(own) && !is_stray(own));
        let changed: Vec<ObjectVersion> = changed.cloned().collect();
        let is_sized = |own: &ObjectVersion| {
            contents.objects.get(&own.name).is_some_and(|held| held.size == own.size)
        };
        let mut past = None;
        if !changed.iter().all(is_sized) {
            let known = past.insert(earlier(store, path, note).await?);
            // Its content need not be read.
            if changed.iter().any(|own| !is_sized(own) && !known.knows_size(&own.name, own.size)) {
                return Ok(Self::AsItLies);
            }
        }
        let digests = digests(store, path, &changed).await?;
        let mut managed = Managed { contents, ..Managed::default() };
        let mut rewritten = false;
        for (own, digest) in digests {
            let Some(digest) = digest else { continue };
            let ObjectVersion { name, size, .. } = own;
            let held = managed.contents.objects.get(&name);
            let is_current = held.is_some_and(|held| held.digest == digest);
            if past.is_none() && !is_current {
                past = Some(earlier(store, path, note).await?);
            }
            let was_committed = past.as_ref().is_some_and(|past| past.knows(&name, size, digest));
            match (judge(is_current, was_committed), held) {
                (Judged::Current, _) => rewritten = true,
                (Judged::Foreign, _) => return Ok(Self::AsItLies),
                (Judged::Late, Some(held)) => drop(managed.elsewhere.insert(name, held.clone())),
                (Judged::Late, None) => drop(managed.removed.insert(name)),
            }
        }
        let missing = managed.contents.objects.iter();
        let missing = missing.filter(|(name, _)| !there.contains(name.as_str()));
        let missing: BTreeMap<String, Held> =
            missing.map(|(name, held)| (name.clone(), held.clone())).collect();
        // Requests to files are not carried out late. Where another program has rewritten an
        // object, even with the same content, it may have removed others too.
        let is_gone = |name: &String| !displaced.contains(name.as_str());
        if rewritten && missing.keys().any(is_gone) && !is_late_possible(store) {
            return Ok(Self::AsItLies);
        }
        managed.elsewhere.extend(missing);
        Ok(Self::Managed(managed))
    }
}

impl Note {
    /// The objects of the published state as its manifests list them; none after a drop.
    pub async fn contents(&self, store: &Store, path: &str) -> Result<Contents> {
        match &self.stage {
            Some(stage) => Contents::of(store, stage, path).await,
            None => Ok(Contents { complete: true, ..Contents::default() }),
        }
    }
}

/// The directories in which an object lies.
fn directories_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(move |(end, _)| name.get(..end))
}

/// Whether a request to the store may be carried out after its sender has given up, or has lost its
/// lease.
pub(super) fn is_late_possible(store: &Store) -> bool {
    !store.is_local() || store.is_shared_files()
}

/// The digests of published objects; none of one that is gone meanwhile.
async fn digests(
    store: &Store,
    path: &str,
    objects: &[ObjectVersion],
) -> Result<Vec<(ObjectVersion, Option<Digest>)>> {
    let digest = async |object: &ObjectVersion| {
        let bytes = store.get_within(&format!("{path}/{}", object.name), LARGEST).await?;
        Ok((object.clone(), bytes.map(|bytes| Digest::of(&bytes))))
    };
    let all: Vec<_> = objects.iter().map(digest).collect();
    stream::iter(all).buffer_unordered(COMPARED_AT_ONCE).try_collect().await
}

/// The digests that the objects of a partition had before the commit of a note.
async fn earlier(store: &Store, path: &str, note: &Note) -> Result<Past> {
    let mut past = Past::default();
    let mut next = note.previous.clone();
    for _ in 0..EARLIER_STATES {
        let Some(name) = next else { break };
        let Some(note) = Note::read(store, path, &name).await? else { break };
        // An object that is no longer retained is past the grace period.
        match note.contents(store, path).await {
            Ok(contents) => past.add(&contents),
            Err(error) if error.kind() == partita_core::ErrorKind::Corrupt => break,
            Err(error) => return Err(error),
        }
        next = note.previous;
    }
    // A publisher that was overtaken may have begun with a commit that another one noted.
    for name in note::names(store, path).await? {
        if note::sequence_of(&name).is_none_or(|number| number > note.sequence) {
            continue;
        }
        let Some(other) = Note::read(store, path, &name).await? else { continue };
        if let Ok(contents) = other.contents(store, path).await {
            past.add(&contents);
        }
    }
    Ok(past)
}
