//! From records to the published layout.
//!
//! One process publishes at a time, under a lease. Staged objects are copied, or linked where files
//! are local, and stay. Before an object of the published layout is overwritten or removed, its
//! content stands under the key that its manifest names.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::store::{Lease, Version};
use partita_core::{Result, Store, masked};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::clean::{Limits, clean};
use super::head::{Head, Young};
use super::log;
use super::paths::LEASE;
use super::place::Publisher;
use super::record::{Action, Record};
use crate::layout::{Config, document_key, edit_catalog, parent_groups, read_either};
use crate::statistics::{Statistics, note};

/// Partitions of local files published at once.
const LOCAL_AT_ONCE: usize = 16;
/// Partitions of other stores published at once. Requests are bounded by [`Publisher`].
const REMOTE_AT_ONCE: usize = 48;
/// Groups above partitions that are made at once.
const PARENTS_AT_ONCE: usize = 16;

/// Publishes every record that is not. Idempotent: what a process left half done, the next one does
/// again. Returns the mark.
pub(crate) fn publish(store: &Store) -> BoxFuture<'_, Result<u64>> {
    async move {
        let head = Head::read(store).await?;
        match log::read(store, head.published.saturating_add(1)).await? {
            Some(record) => publish_from(store, record).await,
            None => Ok(head.published),
        }
    }
    .boxed()
}

async fn publish_from(store: &Store, known: Record) -> Result<u64> {
    under_lease(store, async |lease| publish_all(store, lease, known).await).await
}

/// As [`publish`], where a record is known that is committed and may not be published, by the
/// holder of the lease.
pub(super) async fn publish_with(store: &Store, known: Record, lease: Lease) -> Result<u64> {
    with_lease(store, lease, async |lease| publish_all(store, lease, known).await).await
}

/// The lease of publishers, which is taken as soon as there is a record to publish; what it is like
/// is looked at before. None if no record was made.
pub(super) async fn lease_after(
    store: &Store,
    recorded: oneshot::Receiver<()>,
) -> Option<Result<Lease>> {
    let seen = store.look_at_lease(LEASE).await;
    recorded.await.ok()?;
    Some(store.lease_seen(LEASE, seen).await)
}

/// Does work that only one process at a time may do: publishing, and changing what is published with
/// commits.
pub(crate) async fn under_lease<T>(
    store: &Store,
    work: impl AsyncFnOnce(&Lease) -> Result<T>,
) -> Result<T> {
    with_lease(store, store.lease(LEASE).await?, work).await
}

async fn with_lease<T>(
    store: &Store,
    lease: Lease,
    work: impl AsyncFnOnce(&Lease) -> Result<T>,
) -> Result<T> {
    let done = lease.hold(work(&lease)).await;
    lease.release(store).await;
    done
}

/// Publishes in order.
async fn publish_all(store: &Store, lease: &Lease, known: Record) -> Result<u64> {
    let ((mut head, mut version), mut config) =
        futures::try_join!(Head::read_versioned(store), read_either(store))?;
    let nonce = Uuid::new_v4().simple().to_string().split_off(24);
    let first = head.published.saturating_add(1);
    let mut next = match known.sequence == first {
        true => Some(known),
        false => log::read(store, first).await?,
    };
    while let Some(record) = next {
        let publisher = Publisher::new(store, lease, &head, &record, &nonce);
        let (published, statistics) = apply(&publisher, &config).await?;
        if record.config.is_some() {
            config = read_either(store).await?;
        }
        // Without them reads take longer, and that is all.
        let noted = async {
            if let Err(error) = note(store, record.sequence, statistics).await {
                tracing::warn!(store = %masked(store.url()), %error, "statistics are not written");
            }
        };
        let retained = publisher.retained();
        head.retain(retained);
        let advanced = advance(store, lease, head, version.as_ref(), &record, published);
        // Whoever commits after it was looked for publishes that.
        let after = log::read(store, record.sequence.saturating_add(1));
        let ((), advanced, after) = futures::join!(noted, advanced, after);
        let at;
        (head, at) = advanced?;
        (version, next) = (Some(at), after?);
    }
    if let Some(version) = version {
        let mark = head.published;
        let limits = Limits::of_publisher(&head);
        if let Err(error) = clean(store, lease, head, &version, limits).await {
            let store = masked(store.url());
            tracing::warn!(%store, %error, "replaced objects are removed later");
        }
        return Ok(mark);
    }
    Ok(head.published)
}

async fn advance(
    store: &Store,
    lease: &Lease,
    head: Head,
    version: Option<&Version>,
    record: &Record,
    published: Vec<(String, Option<Young>)>,
) -> Result<(Head, Version)> {
    // The mark must not be on disk before what it stands for.
    store.sync().await?;
    lease.check()?;
    head.advance(store, version, record.sequence, &record.id, published).await
}

/// Brings the published layout up to a record.
async fn apply(
    publisher: &Publisher<'_>,
    config: &Config,
) -> Result<(Vec<(String, Option<Young>)>, Statistics)> {
    let Publisher { store, lease, record, .. } = *publisher;
    let at_once = if store.is_local() { LOCAL_AT_ONCE } else { REMOTE_AT_ONCE };
    let changes: Vec<_> = record.changes.iter().map(|change| publisher.publish(change)).collect();
    let changes = stream::iter(changes).buffer_unordered(at_once).try_collect();
    let (done, ()): (Vec<_>, ()) =
        futures::try_join!(changes, make_parents(store, config, record))?;
    let mut published = Vec::with_capacity(done.len());
    let mut statistics = Statistics::new();
    for one in done {
        if !one.statistics.is_empty() {
            statistics.insert(one.path.clone(), one.statistics);
        }
        published.push((one.path, one.young));
    }
    lease.check()?;
    if let Some(text) = &record.config {
        store.put(document_key(config), text.clone().into()).await?;
    }
    edit_catalog(store, config, &record.changes).await?;
    Ok((published, statistics))
}

/// Makes the groups in which new partitions lie.
async fn make_parents(store: &Store, config: &Config, record: &Record) -> Result<()> {
    let mut parents = BTreeSet::new();
    for change in record.changes.iter().filter(|change| change.action != Action::Drop) {
        parents.extend(parent_groups(config.layout, &change.path));
    }
    let parent = async |(key, text): (String, String)| match store.head(&key).await? {
        // A power cut may have left the document of an earlier publisher without content.
        Some(found) if found.size > 0 => Ok(()),
        _ => store.put_whole_deferred(&key, text.into()).await,
    };
    let parents = stream::iter(parents).map(parent).buffer_unordered(PARENTS_AT_ONCE);
    parents.try_for_each(|()| async { Ok(()) }).await
}
