//! What an index reflects, and what happened since.

use std::collections::BTreeMap;

use partita_core::Result;
use partita_core::store::{Version, is_under};

use super::entries::Entries;
use super::file::{self, About, CommitName};
use super::place::IndexPlace;
use crate::collection::{Collection, Partition};
use crate::commit::{Action, Change, Snapshot};

/// An index as it is known, in its file or beyond it.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub entries: Entries,
    pub about: About,
    /// What others keep in the file.
    pub others: Vec<(String, Option<String>)>,
    /// The file that it was read from or written to.
    pub version: Option<Version>,
    /// The commit that it reflects is one of this collection.
    pub verified: bool,
}

/// What an index does not reflect.
#[derive(Debug)]
pub(super) enum Behind {
    /// It reflects the newest commit.
    Nothing,
    /// It does not reflect what became of these partitions, the gone ones apart.
    Partitions { touched: Vec<Partition>, gone: Vec<String> },
    /// It is not known what it reflects.
    Everything,
}

impl State {
    /// What is stored at a place; none if nothing is.
    pub async fn load(collection: &Collection, place: &IndexPlace) -> Result<Option<Self>> {
        let Some((bytes, version)) = place.store.get_versioned(&place.key).await? else {
            return Ok(None);
        };
        let read = file::decode(bytes, &collection.config());
        let read = read.map_err(|error| error.with("index", place.url()))?;
        Ok(Some(Self {
            entries: read.entries,
            about: read.about.unwrap_or_default(),
            others: read.others,
            version: Some(version),
            verified: false,
        }))
    }

    /// What the index does not reflect of a state of the collection. One request if that is the
    /// state that it was made from, and it is known already.
    pub async fn behind(&self, snapshot: &Snapshot) -> Result<Behind> {
        let Some(commit) = &self.about.commit else { return Ok(Behind::Everything) };
        if commit.number > snapshot.latest || !self.is_of(snapshot, commit).await? {
            return Ok(Behind::Everything);
        }
        if commit.number == snapshot.latest {
            return Ok(Behind::Nothing);
        }
        let since = snapshot.since(commit.number).await?;
        if since.unknown {
            return Ok(Behind::Everything);
        }
        let predicate = self.about.predicate()?;
        // What became of each partition in the end.
        let mut last: BTreeMap<&str, bool> = BTreeMap::new();
        for change in since.records.iter().flat_map(|record| &record.changes) {
            let is_gone = matches!(change.action, Action::Drop);
            if is_gone || self.about.depends_on(change) {
                last.insert(&change.path, is_gone);
            } else if let Some(gone) = last.get_mut(change.path.as_str()) {
                *gone = false;
            }
        }
        let partitioning = &snapshot.config.partitioning;
        let (mut touched, mut gone) = (Vec::new(), Vec::new());
        for (path, is_gone) in last {
            // The group of variables that are not partitioned has no key.
            let Some(key) = partitioning.parse(path) else { continue };
            match is_gone {
                true => gone.push(path.to_owned()),
                false => touched.push(Partition { key, path: path.to_owned() }),
            }
        }
        let touched = crate::select::select(touched, partitioning, predicate.as_ref())?;
        if touched.is_empty() && gone.is_empty() {
            return Ok(Behind::Nothing);
        }
        Ok(Behind::Partitions { touched, gone })
    }

    /// True if the commit is one of this collection, and not of one that was at its place.
    async fn is_of(&self, snapshot: &Snapshot, commit: &CommitName) -> Result<bool> {
        if self.verified || commit.number == 0 {
            return Ok(true);
        }
        let id = snapshot.commit_id(commit.number).await?;
        Ok(id.is_some() && id == commit.id)
    }
}

impl About {
    /// Which partitions the index tells of.
    pub fn predicate(&self) -> Result<Option<partita_core::Predicate>> {
        self.predicate.as_deref().map(partita_core::Predicate::parse).transpose()
    }

    /// True if the index may say something else after a change.
    fn depends_on(&self, change: &Change) -> bool {
        let Some(inputs) = self.variables.as_ref().or(self.inputs.as_ref()) else { return true };
        let Action::Patch { replaced, .. } = &change.action else { return true };
        // Commits of repositories do not say what they replaced.
        if replaced.is_empty() {
            return true;
        }
        replaced.iter().any(|key| is_under(key, inputs))
            || inputs.iter().any(|input| is_under(input, replaced))
    }
}
