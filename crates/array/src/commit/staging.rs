//! Staging the change of one partition: its objects, and the manifest that lists them.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, Result, Store};

use super::contents::{Contents, Held};
use super::manifest::{DEPTH, Manifest};
use super::note::{self, Note};
use super::paths::{manifest_key, staged_directory};
use super::record::{Action, Change};
use super::snapshot::Snapshot;
use crate::digest::ObjectEntry;
use crate::layout::GroupPlan;
use crate::options::Work;
use crate::statistics::PartitionStatistics;

/// Objects of a partition copied at once.
const COPIES_AT_ONCE: usize = 16;

/// Facts about a partition as the change leaves it.
#[derive(Debug, Default)]
pub(crate) struct PartitionFacts {
    /// How many rows it has.
    pub rows: Option<usize>,
    /// Statistics of the values that are staged.
    pub statistics: PartitionStatistics,
    /// There is no such partition yet.
    pub is_new: bool,
}

/// The manifest that a patch is made upon.
struct Base {
    stage: String,
    depth: u32,
}

impl Snapshot {
    /// Stages a group that takes the place of everything at `path`, under the directory `stage`.
    pub(crate) async fn stage_replacement(
        &self,
        stage: String,
        path: &str,
        plan: GroupPlan,
        known: PartitionFacts,
        work: &Work,
    ) -> Result<Change> {
        let action = Action::Replace { stage: stage.clone(), fresh: false };
        self.stage(stage, Change::new(path, action), None, plan, known, work).await
    }

    /// Stages objects that take the place of those that `replaced` names: keys of objects, or of
    /// directories with all that is in them, below `path`.
    pub(crate) async fn stage_patch(
        &self,
        stage: String,
        path: &str,
        plan: GroupPlan,
        replaced: Vec<String>,
        known: PartitionFacts,
        work: &Work,
    ) -> Result<Change> {
        let base = match self.state() {
            Some(_) => None,
            None => self.base_of(path).await?,
        };
        let action = Action::Patch { stage: stage.clone(), replaced };
        self.stage(stage, Change::new(path, action), base, plan, known, work).await
    }

    async fn stage(
        &self,
        stage: String,
        mut change: Change,
        base: Option<Base>,
        plan: GroupPlan,
        known: PartitionFacts,
        work: &Work,
    ) -> Result<Change> {
        let store = self.base();
        change.rows = known.rows.map(|rows| rows as u64);
        change.statistics = known.statistics;
        change.is_new = known.is_new;
        if self.state().is_some() {
            change.bytes = plan.write(store, &stage, work).await?;
            return Ok(change);
        }
        let mut manifest = Manifest::whole(Vec::new(), change.rows, change.statistics.clone());
        if let Action::Patch { replaced, .. } = &change.action {
            manifest.build_upon(store, base, &change.path, replaced).await?;
        }
        let prefix = format!("{}/", change.path);
        let (key, listed) = (manifest_key(&stage, &change.path), &mut manifest);
        let describe = Box::new(move |written: Vec<ObjectEntry>| {
            let below = |entry: ObjectEntry| {
                let name = entry.name.strip_prefix(&prefix).map(str::to_owned);
                ObjectEntry { name: name.unwrap_or(entry.name), ..entry }
            };
            listed.objects = written.into_iter().map(below).collect();
            listed.objects.sort_by(|a, b| a.name.cmp(&b.name));
            Ok((key, listed.encode()?))
        });
        change.bytes = plan.write_beside(store, &stage, work, Some(describe)).await?;
        change.has_manifest = true;
        change.manifest = Some(Arc::new(manifest));
        Ok(change)
    }

    /// Stages the partition of an earlier state again, object by object; none if it was not there.
    pub(crate) async fn stage_again(&self, path: &str, stage: String) -> Result<Option<Change>> {
        match self.past_contents(path) {
            Some(contents) => self.stage_contents(path, stage, contents).await.map(Some),
            None => Ok(None),
        }
    }

    /// Stages what a partition consists of by its manifests, from retained or published objects,
    /// whichever have the right content.
    pub(super) async fn stage_contents(
        &self,
        path: &str,
        stage: String,
        contents: &Contents,
    ) -> Result<Change> {
        let store = self.base();
        let directory = staged_directory(&stage, path);
        let copy = async |(name, held): (&String, &Held)| {
            let bytes = held.read(store, path, name).await?;
            store.put_deferred(&format!("{directory}/{name}"), bytes).await?;
            Ok::<_, Error>(ObjectEntry { name: name.clone(), size: held.size, digest: held.digest })
        };
        let copies: Vec<_> = contents.objects.iter().map(copy).collect();
        let mut objects: Vec<ObjectEntry> =
            stream::iter(copies).buffer_unordered(COPIES_AT_ONCE).try_collect().await?;
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        let bytes = objects.iter().map(|entry| entry.size).sum();
        let manifest = Manifest::whole(objects, None, PartitionStatistics::new());
        store.put_deferred(&manifest_key(&stage, path), manifest.encode()?).await?;
        let change = Change::new(path, Action::Replace { stage, fresh: false });
        let manifest = Some(Arc::new(manifest));
        Ok(Change { bytes, has_manifest: true, manifest, ..change })
    }

    /// The manifest of the state of a partition, if it has one that tells what is there. No request
    /// for a partition that is not published or was published within the grace period, else two.
    async fn base_of(&self, path: &str) -> Result<Option<Base>> {
        let pending = self.pending.iter().rev().flat_map(|record| &record.changes);
        if let Some(change) = pending.into_iter().find(|change| change.path == path) {
            let manifest = change.read_manifest(self.base()).await?;
            let base = |manifest: Arc<Manifest>| {
                let stage = change.stage()?.to_owned();
                Some(Base { stage, depth: manifest.depth })
            };
            return Ok(manifest.and_then(base));
        }
        if let Some(young) = self.head.young.get(path) {
            let base = |stage: &String| Base { stage: stage.clone(), depth: young.depth };
            return Ok(young.stage.as_ref().map(base));
        }
        let store = self.base();
        let Some(name) = note::newest(store, path, self.head.published).await? else {
            return Ok(None);
        };
        let Some(note) = Note::read(store, path, &name).await?.filter(|note| !note.foreign) else {
            return Ok(None);
        };
        Ok(note.stage.map(|stage| Base { stage, depth: note.depth }))
    }
}

impl Manifest {
    /// Makes it the manifest of a patch.
    async fn build_upon(
        &mut self,
        store: &Store,
        base: Option<Base>,
        path: &str,
        replaced: &[String],
    ) -> Result<()> {
        self.replaced = Some(replaced.to_vec());
        let Some(base) = base else { return Ok(()) };
        self.depth = base.depth.saturating_add(1);
        if self.depth > DEPTH {
            let contents = Contents::of(store, &base.stage, path).await?;
            if contents.complete {
                (self.kept, self.depth) = (Some(contents.kept(replaced)), 0);
            }
        }
        self.base = Some(base.stage);
        Ok(())
    }
}
