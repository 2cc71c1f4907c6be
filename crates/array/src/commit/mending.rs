//! Published objects that do not have the content that was committed, and putting them right.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::Result;

use super::contents::{Contents, Held};
use super::note::{self, Note};
use super::paths::{NOTES, path_of_notes};
use super::record::Change;
use super::snapshot::Snapshot;
use super::standing::{Managed, Standing};

/// Objects of a partition read at once.
const READ_AT_ONCE: usize = 8;

impl Snapshot {
    /// The names of the published objects of a partition that do not have the content that was
    /// committed, or are missing; none where another program wrote the partition. Reads every
    /// object.
    pub(crate) async fn spoilt(&self, path: &str) -> Result<Vec<String>> {
        let Some(Managed { contents, elsewhere, removed }) = self.managed(path).await? else {
            return Ok(Vec::new());
        };
        let store = self.base();
        let check = async |(name, held): (&String, &Held)| {
            if elsewhere.contains_key(name) {
                return Ok(Some(name.clone()));
            }
            let found = held.read_at(store, &format!("{path}/{name}")).await?;
            Ok::<_, partita_core::Error>(found.is_none().then(|| name.clone()))
        };
        let checks: Vec<_> = contents.objects.iter().map(check).collect();
        let found: Vec<Option<String>> =
            stream::iter(checks).buffer_unordered(READ_AT_ONCE).try_collect().await?;
        let mut names: Vec<String> = found.into_iter().flatten().chain(removed).collect();
        names.sort();
        Ok(names)
    }

    /// The paths of partitions that were committed, are not among those that are `listed`, and were
    /// not dropped by a commit. A listing, and two requests for each path that is not listed.
    pub(crate) async fn vanished(&self, listed: &HashSet<&str>) -> Result<Vec<String>> {
        if self.state().is_some() {
            return Ok(Vec::new());
        }
        let names = self.base().list_directories(NOTES).await?;
        let paths = names.iter().map(|name| path_of_notes(name));
        let missing = paths.filter(|path| !listed.contains(path.as_str()));
        let check = async |path: String| {
            let Some(name) = self.newest_note(&path).await? else { return Ok(None) };
            let note = Note::read(self.base(), &path, &name).await?;
            let is_there = note.is_some_and(|note| note.stage.is_some());
            Ok::<_, partita_core::Error>(is_there.then_some(path))
        };
        let checks: Vec<_> = missing.map(check).collect();
        let found = stream::iter(checks).buffered(READ_AT_ONCE);
        found.try_filter_map(async |path| Ok(path)).try_collect().await
    }

    /// Stages a partition as it was committed, from whatever copies of its objects are right; none
    /// if no manifests tell what it was. It is not asked whether another program has written it.
    pub(crate) async fn stage_mended(&self, path: &str, stage: String) -> Result<Option<Change>> {
        let Some(name) = self.newest_note(path).await? else { return Ok(None) };
        let store = self.base();
        let note = Note::read(store, path, &name).await?;
        let Some(note) = note.filter(|note| !note.foreign) else { return Ok(None) };
        let contents = note.contents(store, path).await?;
        match is_whole(&contents) {
            true => self.stage_contents(path, stage, &contents).await.map(Some),
            false => Ok(None),
        }
    }

    /// The objects of a published partition as its manifests list them; none if another program wrote
    /// the partition, or no manifest tells all of it.
    async fn managed(&self, path: &str) -> Result<Option<Managed>> {
        let Some(name) = self.newest_note(path).await? else { return Ok(None) };
        match Standing::find(self.base(), path, &name).await? {
            Standing::Managed(managed) if is_whole(&managed.contents) => Ok(Some(managed)),
            _ => Ok(None),
        }
    }

    /// The name of the note of a partition; none if it has none, or was changed since.
    async fn newest_note(&self, path: &str) -> Result<Option<String>> {
        if self.state().is_some() || self.pending.iter().any(|record| record.touches(path)) {
            return Ok(None);
        }
        match self.head.young.get(path) {
            Some(young) => Ok(Some(young.note.clone())),
            None => note::newest(self.base(), path, self.head.published).await,
        }
    }
}

/// Whether the manifests tell every object.
fn is_whole(contents: &Contents) -> bool {
    contents.complete && !contents.objects.is_empty()
}
