//! From a record to objects in their places.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::Lease;
use partita_core::{Result, Store};

use super::head::Head;
use super::log::{self, SCRATCH};
use super::record::{Action, Change, Record};
use crate::layout::{Config, document_key, edit_catalog, parent_groups, read_either};
use crate::statistics::note;

/// What only one process publishes under at a time.
const LEASE: &str = ".partita/publish";
/// Directories switched at once, between two looks at the lease.
const AT_ONCE: usize = 16;

/// Publishes every record that is not. Idempotent: what a process left half done, the next one does
/// again. Returns the mark.
pub(crate) async fn publish(store: &Store) -> Result<u64> {
    let head = Head::read(store).await?;
    match log::read(store, head.published.saturating_add(1)).await? {
        Some(record) => publish_with(store, record).await,
        None => Ok(head.published),
    }
}

/// As [`publish`], where a record is known that is committed and may not be published.
pub(crate) async fn publish_with(store: &Store, known: Record) -> Result<u64> {
    let lease = publish_lease(store).await?;
    let mut stages = BTreeSet::new();
    let published = lease.hold(publish_all(store, &lease, known, &mut stages)).await;
    futures::join!(lease.release(store), clean(store, &stages));
    published
}

/// The right to publish, and to change what is published with commits.
pub(crate) async fn publish_lease(store: &Store) -> Result<Lease> {
    store.lease(LEASE).await
}

/// Publishes in order. `stages` gets what the writers of published records staged.
async fn publish_all(
    store: &Store,
    lease: &Lease,
    known: Record,
    stages: &mut BTreeSet<String>,
) -> Result<u64> {
    let ((mut head, mut version), mut config) =
        futures::try_join!(Head::read_versioned(store), read_either(store))?;
    let first = head.published.saturating_add(1);
    let mut next = match known.sequence == first {
        true => Some(known),
        false => log::read(store, first).await?,
    };
    while let Some(record) = next {
        apply(store, lease, &config, &record).await?;
        if record.config.is_some() {
            config = read_either(store).await?;
        }
        // Without them reads take longer, and that is all.
        let noted = async {
            if let Err(error) = note(store, record.sequence, &record.changes).await {
                tracing::warn!(store = store.url(), %error, "statistics are not written");
            }
        };
        let advanced = async {
            // The mark must not be on disk before what it stands for.
            store.sync().await?;
            head.advance(store, version.as_ref(), record.sequence, &record.id).await
        };
        // Whoever commits after it was looked for publishes that.
        let after = log::read(store, record.sequence.saturating_add(1));
        let ((), advanced, after) = futures::join!(noted, advanced, after);
        let at;
        (head, at) = advanced?;
        (version, next) = (Some(at), after?);
        // Of a writer, all that it staged: attempts that were given up too.
        stages.extend(record.changes.iter().filter_map(Change::writer_stage));
    }
    Ok(head.published)
}

async fn apply(store: &Store, lease: &Lease, config: &Config, record: &Record) -> Result<()> {
    let mut parents = BTreeSet::new();
    for change in record.changes.iter().filter(|change| change.action != Action::Drop) {
        parents.extend(parent_groups(config.layout, &change.path));
    }
    let parent = async |(key, text): (String, String)| match store.head(&key).await? {
        Some(_) => Ok(()),
        None => store.put_deferred(&key, text.into()).await,
    };
    let parents = stream::iter(parents).map(parent).buffer_unordered(AT_ONCE);
    parents.try_for_each(|()| async { Ok(()) }).await?;
    for changes in record.changes.chunks(AT_ONCE) {
        lease.check()?;
        let switches: Vec<_> = changes.iter().map(|change| switch(store, change)).collect();
        let done = stream::iter(switches);
        done.buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
    }
    lease.check()?;
    if let Some(text) = &record.config {
        store.put(document_key(config), text.clone().into()).await?;
    }
    edit_catalog(store, config, &record.changes).await
}

async fn switch(store: &Store, change: &Change) -> Result<()> {
    let path = &change.path;
    let switched = match &change.action {
        Action::Drop => store.delete_directory(path, SCRATCH).await,
        Action::Replace { stage, fresh } => {
            let staged = format!("{stage}/{path}");
            store.switch_directory(&staged, path, None, *fresh, SCRATCH).await
        }
        Action::Patch { stage, replaced } => {
            let staged = format!("{stage}/{path}");
            store.switch_directory(&staged, path, Some(replaced), false, SCRATCH).await
        }
    };
    switched.map_err(|error| error.with("partition", path))
}

/// Removes what published records staged. If that fails it is garbage, and collected as such.
async fn clean(store: &Store, stages: &BTreeSet<String>) {
    for stage in stages {
        if let Err(error) = store.discard_directory(stage, SCRATCH).await {
            tracing::debug!(stage, %error, "staged objects could not be removed");
        }
    }
}
