//! Staged changes that another process sent: whether they may be committed, or removed.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result};

use super::draft::{Draft, Staged};
use super::log::store_time;
use super::record::{Change, Record};
use super::snapshot::Snapshot;

/// Directories of staged objects listed at once.
const LISTED_AT_ONCE: usize = 32;

impl Draft {
    /// Takes back the changes that a commit names already. Returns the number of the last one that
    /// does. No request where nothing was committed since the changes were staged, else one for
    /// each commit since.
    pub async fn take_back_committed(&mut self, snapshot: &Snapshot) -> Result<Option<u64>> {
        let since = self.since_staged(snapshot).await?;
        let stages: Vec<(String, Option<String>)> = self
            .changes()
            .map(|change| (change.path.clone(), change.stage().map(str::to_owned)))
            .collect();
        let mut last = None;
        for (path, stage) in stages {
            let named =
                |record: &&Record| stage.is_some() && names(record, &path, stage.as_deref());
            if let Some(record) = since.iter().rev().find(named) {
                last = last.max(Some(record.sequence));
                self.remove_committed(&path);
            }
        }
        Ok(last)
    }
}

impl Snapshot {
    /// Refuses changes of which not every object is there, or that were staged so long ago that
    /// garbage collection may take them before the commit is made. One request for each change, and
    /// three to learn the store's time. In a repository the commit checks by itself.
    pub(crate) async fn check_received(&self, staged: impl Iterator<Item = &Staged>) -> Result<()> {
        if self.state().is_some() {
            return Ok(());
        }
        let staged: Vec<&Change> = staged.map(|staged| &staged.change).collect();
        let check = async |change: &&Change| self.check_staged(change).await;
        let checks: Vec<_> = staged.iter().map(check).collect();
        let oldest: Vec<Option<jiff::Timestamp>> =
            stream::iter(checks).buffer_unordered(LISTED_AT_ONCE).try_collect().await?;
        let Some(oldest) = oldest.into_iter().flatten().min() else { return Ok(()) };
        let age = store_time(self.base()).await?.duration_since(oldest).as_secs();
        self.check_staged_age(u64::try_from(age).unwrap_or(0))
    }

    /// When the oldest object of a change was staged; none if nothing was.
    async fn check_staged(&self, change: &Change) -> Result<Option<jiff::Timestamp>> {
        let Some(directory) = change.staged_directory() else { return Ok(None) };
        let gone = |name: &str| {
            Error::new(
                ErrorKind::StagedExpired,
                "an object that was staged is gone: it was discarded, or garbage collection has \
                 taken it; stage the change again",
            )
            .with("key", format!("{directory}/{name}"))
            .with("partition", &change.path)
            .with("store", self.base().url())
        };
        let manifest = match change.read_manifest(self.base()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return Err(gone(".manifest").caused_by(error));
            }
            manifest => manifest?,
        };
        let found = self.base().versions(&directory).await?;
        let sizes: HashMap<&str, u64> =
            found.iter().map(|object| (object.name.as_str(), object.size)).collect();
        if manifest.is_some() && !sizes.contains_key(".manifest") {
            return Err(gone(".manifest"));
        }
        for entry in manifest.iter().flat_map(|manifest| &manifest.objects) {
            if sizes.get(entry.name.as_str()) != Some(&entry.size) {
                return Err(gone(&entry.name));
            }
        }
        Ok(found.iter().map(|object| object.last_modified).min())
    }

    /// Whether a commit names a staged change, or one may that is not known any more. A request for
    /// each commit since the change was staged.
    pub(crate) async fn may_name(&self, staged: &Staged) -> Result<bool> {
        let change = &staged.change;
        let since = self.since(staged.base).await?;
        let mut records = self.pending.iter().chain(&since.records);
        Ok(since.unknown || records.any(|record| names(record, &change.path, change.stage())))
    }
}

fn names(record: &Record, path: &str, stage: Option<&str>) -> bool {
    record.changes.iter().any(|change| change.path == path && change.stage() == stage)
}
