//! The state of an index, and the partitions of its collection that it does not reflect.

use std::collections::BTreeMap;

use partita_core::Result;
use partita_core::store::{LARGEST, Version, is_under};

use super::entries::Entries;
use super::file::{self, About, CommitName};
use super::place::IndexPlace;
use crate::collection::{Collection, Partition};
use crate::commit::{Action, Change, Snapshot};

/// The state of an index, as stored in its file or refreshed in memory.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub entries: Entries,
    pub about: About,
    /// Metadata entries of other programs.
    pub others: Vec<(String, Option<String>)>,
    /// The version of the file that the state was read from or written to.
    pub version: Option<Version>,
    /// True if the commit is known to be one of this collection.
    pub verified: bool,
}

/// The partitions of a snapshot that an index does not reflect.
#[derive(Debug)]
pub(super) enum IndexLag {
    /// The index reflects the newest commit.
    None,
    /// `touched` were changed after the indexed commit; `gone` do not exist any more.
    Partitions { touched: Vec<Partition>, gone: Vec<String> },
    /// It is unknown which commit the index reflects.
    Unknown,
}

impl State {
    /// Reads the stored state; none if there is no file.
    pub async fn load(collection: &Collection, place: &IndexPlace) -> Result<Option<Self>> {
        let found = place.store.get_versioned_within(&place.key, LARGEST).await?;
        let Some((bytes, version)) = found else {
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

    /// Compares the index with a snapshot of the collection. It costs one request if the index
    /// reflects the snapshot and is verified.
    pub async fn lag(&self, snapshot: &Snapshot) -> Result<IndexLag> {
        let Some(commit) = &self.about.commit else { return Ok(IndexLag::Unknown) };
        if commit.number > snapshot.latest || !self.is_of(snapshot, commit).await? {
            return Ok(IndexLag::Unknown);
        }
        if commit.number == snapshot.latest {
            return Ok(IndexLag::None);
        }
        let since = snapshot.since(commit.number).await?;
        if since.unknown {
            return Ok(IndexLag::Unknown);
        }
        let predicate = self.about.predicate()?;
        // The last change of each partition counts; true means that it is gone.
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
            return Ok(IndexLag::None);
        }
        Ok(IndexLag::Partitions { touched, gone })
    }

    /// True if the commit is one of this collection, and not of one that was stored at the same
    /// place before.
    async fn is_of(&self, snapshot: &Snapshot, commit: &CommitName) -> Result<bool> {
        if self.verified || commit.number == 0 {
            return Ok(true);
        }
        let id = snapshot.commit_id(commit.number).await?;
        Ok(id.is_some() && id == commit.id)
    }
}

impl About {
    /// The predicate on the partitions that are indexed.
    pub fn predicate(&self) -> Result<Option<partita_core::Predicate>> {
        self.predicate.as_deref().map(partita_core::Predicate::parse).transpose()
    }

    /// True if a change can alter entries of the index.
    fn depends_on(&self, change: &Change) -> bool {
        let Some(inputs) = self.variables.as_ref().or(self.inputs.as_ref()) else { return true };
        let Action::Patch { replaced, .. } = &change.action else { return true };
        // Commits of repositories do not say which objects they replaced.
        if replaced.is_empty() {
            return true;
        }
        replaced.iter().any(|key| is_under(key, inputs))
            || inputs.iter().any(|input| is_under(input, replaced))
    }
}
