//! A store in which the objects of a snapshot are in their places.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use partita_core::store::{LARGEST, content, is_under};
use partita_core::{Error, Store};
use tokio::sync::OnceCell;

use super::contents::Held;
use super::head::{Head, Young};
use super::manifest::Manifest;
use super::note::Note;
use super::past::{PastState, PastStates};
use super::record::{Action, Change, Record};
use super::standing::Standing;
use crate::digest::Digest;
use crate::protocol::{Noted, Source, compare, source};

/// What a snapshot makes of objects, read through the client of the store: those of commits that are
/// not published are read where they are staged, and those of young partitions under the versions
/// that were noted.
///
/// Only reading single objects is redirected; everything else is the client's.
#[derive(Debug)]
pub(super) struct Overlay {
    inner: Arc<dyn ObjectStore>,
    /// The store as it is.
    base: Store,
    directories: HashMap<String, Directory>,
}

/// The origin of the objects of one partition.
#[derive(Debug, Default)]
struct Directory {
    /// The changes that are not published, the newest last.
    pending: Vec<Pending>,
    /// The contents of the partition in an earlier state.
    past: Option<Arc<PastStates>>,
    /// The noted versions of the published objects, if late requests may still overwrite them.
    young: Option<Young>,
    note: OnceCell<Option<Note>>,
    standing: OnceCell<Standing>,
}

#[derive(Debug)]
struct Pending {
    change: Change,
    manifest: OnceCell<Option<Arc<Manifest>>>,
    /// The digests in the manifest, by name.
    digests: OnceLock<HashMap<String, Digest>>,
}

/// Where an object of a commit that is not published is.
enum Place<'a> {
    /// The first of these keys that there is.
    Staged {
        pending: &'a Pending,
        keys: Vec<String>,
    },
    Removed,
    /// In the published layout.
    Below,
}

impl Overlay {
    /// `pending` are the records that are not published, in the order of their numbers. None if
    /// every object is in its place.
    pub fn new(base: &Store, head: &Head, pending: &[Record]) -> Option<Self> {
        let now = Timestamp::now();
        let mut directories: HashMap<String, Directory> = HashMap::new();
        for path in head.young.keys() {
            if let Some(young) = head.young(path, now) {
                let directory = Directory { young: Some(young.clone()), ..Directory::default() };
                directories.insert(path.clone(), directory);
            }
        }
        for change in pending.iter().flat_map(|record| &record.changes) {
            let pending = Pending {
                change: change.clone(),
                manifest: OnceCell::new(),
                digests: OnceLock::new(),
            };
            directories.entry(change.path.clone()).or_default().pending.push(pending);
        }
        let inner = base.object_store();
        (!directories.is_empty()).then(|| Self { inner, base: base.clone(), directories })
    }

    /// The partitions that are not what they were, as they were.
    pub fn past(base: &Store, head: &Head, states: &Arc<PastStates>) -> Self {
        let now = Timestamp::now();
        let mut directories: HashMap<String, Directory> = HashMap::new();
        for path in head.young.keys() {
            let young = head.young(path, now).cloned();
            directories.entry(path.clone()).or_default().young = young;
        }
        for path in states.keys() {
            directories.entry(path.clone()).or_default().past = Some(Arc::clone(states));
        }
        Self { inner: base.object_store(), base: base.clone(), directories }
    }

    /// The directory that an object is in, with its path, and the name of the object below it.
    fn locate<'k>(&self, key: &'k str) -> Option<(&'k str, &Directory, &'k str)> {
        key.match_indices('/').find_map(|(end, _)| {
            let (path, name) = (key.get(..end)?, key.get(end + 1..)?);
            Some((path, self.directories.get(path)?, name))
        })
    }

    async fn get(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let key = at.as_ref();
        let Some((path, directory, name)) = self.locate(key) else {
            return self.inner.get_opts(at, how).await;
        };
        if let Some(past) = directory.past.as_ref().and_then(|states| states.get(path)) {
            return self.get_past(at, past, name, how).await;
        }
        match directory.place(&self.base, key, name).await.map_err(failed)? {
            Place::Removed => Err(missing(at)),
            Place::Below => self.get_published(at, path, directory, name, how).await,
            Place::Staged { pending, keys } => {
                let digest = pending.digest(name);
                for key in keys {
                    match self.inner.get_opts(&Path::parse(&key)?, how.clone()).await {
                        Err(object_store::Error::NotFound { .. }) => {}
                        answer => return self.checked(at, &how, answer?, digest).await,
                    }
                }
                let manifest = pending.read_manifest(&self.base).await.map_err(failed)?;
                let listed = manifest.as_ref().map(|manifest| manifest.objects.iter());
                match listed.is_some_and(|mut listed| listed.any(|entry| entry.name == name)) {
                    true => Err(self.lost(at)),
                    false => Err(missing(at)),
                }
            }
        }
    }

    /// The object of an earlier state.
    async fn get_past(
        &self,
        at: &Path,
        past: &PastState,
        name: &str,
        how: GetOptions,
    ) -> Result<GetResult> {
        let PastState::Present(contents) = past else { return Err(missing(at)) };
        let Some(held) = contents.objects.get(name) else { return Err(missing(at)) };
        self.get_held(at, held, how).await
    }

    /// The immutable object with the content of this one.
    async fn get_held(&self, at: &Path, held: &Held, how: GetOptions) -> Result<GetResult> {
        match self.inner.get_opts(&Path::parse(&held.key)?, how.clone()).await {
            Err(object_store::Error::NotFound { .. }) => {}
            answer => return self.checked(at, &how, answer?, Some(held.digest)).await,
        }
        // Of what is still published no other copy is kept after a while.
        let bytes = match self.inner.get_opts(at, GetOptions::default()).await {
            Err(object_store::Error::NotFound { .. }) => return Err(self.lost(at)),
            found => found?.bytes().await?,
        };
        match Digest::of(&bytes) == held.digest {
            true => self.inner.get_opts(at, how).await,
            false => Err(self.lost(at)),
        }
    }

    async fn get_published(
        &self,
        at: &Path,
        path: &str,
        directory: &Directory,
        name: &str,
        how: GetOptions,
    ) -> Result<GetResult> {
        let Some(young) = &directory.young else { return self.inner.get_opts(at, how).await };
        if directory.standing.get().is_none() {
            let read = || Note::read(&self.base, path, &young.note);
            let read = directory.note.get_or_try_init(read);
            let version_of = |note: &Note| {
                let noted = note.versions.iter().find(|(noted, _, _)| noted == name);
                noted.map(|(_, _, version)| version.clone())
            };
            // The first object is asked for together with the note, and its version is compared
            // here; later ones have it as their condition.
            let known = directory.note.get().and_then(|note| note.as_ref().and_then(version_of));
            let conditional = GetOptions { if_match: known.flatten(), ..how.clone() };
            let (note, found) = futures::join!(read, self.inner.get_opts(at, conditional));
            let Some(note) = note.map_err(failed)?.as_ref().filter(|note| !note.foreign) else {
                return self.inner.get_opts(at, how).await;
            };
            let noted = version_of(note);
            let seen = match &found {
                // Some servers ignore the condition, but tell the version of what they send.
                Ok(found) => Some(found.meta.e_tag.as_ref()),
                Err(object_store::Error::NotFound { .. }) => None,
                // An object of another version.
                Err(object_store::Error::Precondition { .. }) => Some(None),
                Err(_) => return found,
            };
            let committed = note.digests.get(name).copied();
            let as_noted = compare(noted.as_ref().map(Option::as_ref), seen, committed.is_some());
            if as_noted == Noted::AsNoted {
                // Without a version it may as well be what another program has written.
                let digest = noted.flatten().and(committed);
                return self.checked(at, &how, found?, digest).await;
            }
        }
        let find = || self.standing(path, directory, &young.note);
        let standing = directory.standing.get_or_try_init(find).await.map_err(failed)?;
        let Standing::Managed(managed) = standing else {
            return self.inner.get_opts(at, how).await;
        };
        let held = managed.contents.objects.get(name);
        let is_removed = managed.removed.contains(name);
        match (source(held.is_some(), managed.contents.complete, is_removed), held) {
            (Source::Immutable, Some(held)) => self.get_held(at, held, how).await,
            (Source::Nowhere, _) => Err(missing(at)),
            _ => self.inner.get_opts(at, how).await,
        }
    }

    /// How the published objects compare with the note of this name, but for those that commits that
    /// are not published replace: some of these may have been put into place already.
    async fn standing(
        &self,
        path: &str,
        directory: &Directory,
        name: &str,
    ) -> partita_core::Result<Standing> {
        let Some(note) = Note::read(&self.base, path, name).await? else {
            return Ok(Standing::AsItLies);
        };
        let replaced = directory.replaced(&self.base).await?;
        let mut live = self.base.versions(path).await?;
        live.retain(|object| !is_under(&object.name, &replaced));
        Standing::of(&self.base, path, &note, live).await
    }

    /// An answer that holds a whole object, once its content was compared with what was committed.
    async fn checked(
        &self,
        at: &Path,
        how: &GetOptions,
        mut answer: GetResult,
        digest: Option<Digest>,
    ) -> Result<GetResult> {
        let is_whole = how.range.is_none() && !how.head;
        let Some(digest) = digest.filter(|_| is_whole && self.base.compares_digests()) else {
            return Ok(answer);
        };
        let empty = GetResultPayload::Stream(stream::empty().boxed());
        let payload = std::mem::replace(&mut answer.payload, empty);
        let (meta, range) = (answer.meta.clone(), answer.range.clone());
        let (attributes, extensions) = Default::default();
        let found = GetResult { payload, meta, range, attributes, extensions };
        let bytes = content(found, LARGEST).await?;
        if Digest::of(&bytes) != digest {
            let error = Error::corrupt("an object is not what was committed");
            return Err(failed(error.with("key", at.as_ref()).with("store", self.base.url())));
        }
        answer.payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(answer)
    }

    fn lost(&self, at: &Path) -> object_store::Error {
        let error = Error::corrupt("an object that a commit names is missing");
        failed(error.with("key", at.as_ref()).with("store", self.base.url()))
    }
}

impl Pending {
    /// The digest of the staged object of this name, if the manifest was read.
    fn digest(&self, name: &str) -> Option<Digest> {
        let manifest = self.manifest.get()?.as_ref()?;
        let digests = self.digests.get_or_init(|| {
            let entries = manifest.objects.iter();
            entries.map(|entry| (entry.name.clone(), entry.digest)).collect()
        });
        digests.get(name).copied()
    }

    async fn read_manifest(&self, base: &Store) -> partita_core::Result<&Option<Arc<Manifest>>> {
        self.manifest.get_or_try_init(|| self.change.read_manifest(base)).await
    }
}

impl Directory {
    /// The names of what patches that are not published replace.
    async fn replaced(&self, base: &Store) -> partita_core::Result<Vec<String>> {
        let mut all = Vec::new();
        for pending in &self.pending {
            let Action::Patch { replaced, .. } = &pending.change.action else { continue };
            let manifest = pending.read_manifest(base).await?;
            let exact = manifest.as_ref().and_then(|manifest| manifest.replaced.as_ref());
            all.extend(exact.unwrap_or(replaced).iter().cloned());
        }
        Ok(all)
    }

    /// Where the commits that are not published have the object.
    async fn place(&self, base: &Store, key: &str, name: &str) -> partita_core::Result<Place<'_>> {
        for pending in self.pending.iter().rev() {
            match &pending.change.action {
                Action::Drop => return Ok(Place::Removed),
                Action::Replace { stage, fresh } => {
                    let moved = fresh.then(|| key.to_owned());
                    let staged = std::iter::once(format!("{stage}/{key}"));
                    let keys = staged.chain(moved).collect();
                    return Ok(Place::Staged { pending, keys });
                }
                Action::Patch { stage, replaced } => {
                    let manifest = pending.read_manifest(base).await?;
                    let exact = manifest.as_ref().and_then(|manifest| manifest.replaced.as_ref());
                    if is_under(name, exact.unwrap_or(replaced)) {
                        let keys = vec![format!("{stage}/{key}")];
                        return Ok(Place::Staged { pending, keys });
                    }
                }
            }
        }
        Ok(Place::Below)
    }
}

fn missing(at: &Path) -> object_store::Error {
    object_store::Error::NotFound { path: at.to_string(), source: "it was removed".into() }
}

fn failed(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "snapshot", source: Box::new(error) }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.get(at, how).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.locate(at.as_ref()).is_none() {
            return self.inner.get_ranges(at, ranges).await;
        }
        let one = async |range: &Range<u64>| {
            let how = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
            self.get(at, how).await?.bytes().await
        };
        futures::future::try_join_all(ranges.iter().map(one)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}
