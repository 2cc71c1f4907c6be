//! Copying a collection, unchanged or into another layout, with other chunks and codecs.
//!
//! - `into_repository`: copies into an Icechunk repository, in one commit. `partition`: copies one
//!   partition.
//! - `journal`: the progress of a copy, from which an interrupted copy continues.

mod into_repository;
mod journal;
mod partition;

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use journal::{Copied, Journal};
pub(crate) use journal::{JOURNAL, refuse_unfinished};
use partita_core::store::{Lease, Swap, repository_url};
use partita_core::{Error, ErrorKind, Predicate, Result, Store, StoreOptions, commit_point};
use partition::Copying;
use uuid::Uuid;

use crate::collection::{Collection, Partition};
use crate::commit::{Plain, SCRATCH, Snapshot, check_repository_layout, exists, refuse_existing};
use crate::dataset::Schema;
use crate::layout::{
    Config, Layout, encode_config, immutable_group, list_partitions, parent_groups, rebuild_catalog,
};
use crate::options::Work;
use crate::repository::Repository;
use crate::statistics::rebuild;

/// Partitions copied concurrently, and partitions per entry of the journal.
const PARTITIONS_IN_FLIGHT: usize = 4;
const PARTITIONS_PER_ENTRY: usize = 64;

/// How often the copy is repeated for partitions that writers changed meanwhile.
const ATTEMPTS: u32 = 1000;

/// The lease that a process holds while it copies to a place.
const LEASE: &str = ".partita/copying";

/// Options of a copy.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Selects the partitions to copy; all if there is none. The columns are the fields of the
    /// keys.
    pub predicate: Option<Predicate>,
    /// The layout of the copy; by default the same. For another one all data are decoded and
    /// encoded again.
    pub layout: Option<Layout>,
    /// The same variables with other chunks and codecs; all data are then decoded and encoded
    /// again.
    pub schema: Option<Schema>,
    /// For a view, the base of its copy, which must have the same rows; by default the same base.
    /// The layout of the copy is that of its base.
    pub base: Option<Collection>,
    /// Read the copy back, and compare checksums of the decoded data.
    pub verify: bool,
    /// Receives progress in partitions.
    pub work: Work,
}

impl Collection {
    /// Copies the collection to a store without one, and returns the copy. It becomes visible when
    /// it is complete. The history is not copied.
    ///
    /// The copy is the state that one commit left: partitions that writers change meanwhile are
    /// copied again before the end. If a copy is interrupted, the same call continues it, and skips
    /// partitions that were copied and not changed by a commit since. Only one process at a time
    /// copies to a place: one that was suspended until another process took over fails with
    /// [`CommitConflict`](ErrorKind::CommitConflict), and writes nothing more.
    ///
    /// Indexes that are stored beside the collection are also copied. The copy of a view is a view,
    /// over the same base or over another one with the same rows.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists); [`InvalidArgument`](ErrorKind::InvalidArgument)
    /// if the other layout cannot store the collection, or the schema has other variables;
    /// [`Corrupt`](ErrorKind::Corrupt) if the copy does not decode to the same values; the errors
    /// of reading and writing.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn copy(&self, target: Store, options: &CopyOptions) -> Result<Self> {
        target.check_writable()?;
        // These checks come before the lease is taken, so that a refused copy writes nothing to the
        // target.
        refuse_existing(&target).await?;
        self.target_config(&self.config(), &target, options)?;
        let lease = target.lease(LEASE).await?;
        let copied = lease.hold(self.copy_under(&lease, &target, options)).await;
        options.work.progress.finish();
        lease.release(&target).await;
        copied?;
        let copy = Self::open_backend(Plain::in_store(target), self.base_of_copy(options)).await?;
        // Of other objects, what the source knows says nothing of them.
        rebuild(&copy, &HashSet::new(), &options.work.quiet()).await?;
        self.copy_indexes(&copy, &options.work).await?;
        Ok(copy)
    }

    /// Copies the collection to a URL, which may be that of an Icechunk repository. Such a copy is
    /// one commit, in Zarr v3; an interrupted one is also continued by the same call.
    ///
    /// # Errors
    /// The same as [`Collection::copy`].
    pub async fn copy_to(
        &self,
        url: &str,
        store: &StoreOptions,
        options: &CopyOptions,
    ) -> Result<Self> {
        let Some(place) = repository_url(url) else {
            return self.copy(Store::open(url, store)?, options).await;
        };
        if let Some(layout) = options.layout {
            check_repository_layout(layout, url)?;
        }
        let target = Store::open(place, store)?;
        target.check_writable()?;
        let config = self.target_config(&self.config(), &target, options)?;
        if config.view.is_some() {
            // A view always has the layout of its base.
            check_repository_layout(config.layout, url)?;
        }
        let copied = self.copy_into(Repository::open_or_create(target).await?, options).await;
        options.work.progress.finish();
        let copy = copied?;
        self.copy_indexes(&copy, &options.work).await?;
        Ok(copy)
    }

    fn copy_under<'a>(
        &'a self,
        lease: &'a Lease,
        target: &'a Store,
        options: &'a CopyOptions,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            for _ in 0..ATTEMPTS {
                refuse_existing(target).await?;
                let snapshot = match self.backend().check_writable() {
                    Ok(()) => self.settled().await?,
                    Err(_) => self.snapshot().await?,
                };
                let config = self.target_config(&snapshot.config, target, options)?;
                let (mut journal, other) = Journal::open(target, self.url(), &config).await?;
                if other {
                    remove_partitions(target, &config, |_| false).await?;
                }
                let same = config.layout == snapshot.config.layout
                    && config.schema == snapshot.config.schema;
                let whole = same && snapshot.pending.is_empty();
                let copying =
                    Copying { snapshot: &snapshot, target, config: &config, options, whole };
                let copied = copying.all(lease, &mut journal).await;
                if !is_settled(&copied, &snapshot).await? {
                    continue;
                }
                // The store may have carried out delayed requests of an earlier copier meanwhile.
                if copying.is_untouched(&journal, copied?).await? {
                    return copying.finish(&journal).await;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }

    /// The base of the copy of a view.
    fn base_of_copy(&self, options: &CopyOptions) -> Option<Self> {
        options.base.as_ref().or(self.base()).cloned()
    }

    /// The configuration of the copy.
    fn target_config(
        &self,
        config: &Config,
        target: &Store,
        options: &CopyOptions,
    ) -> Result<Config> {
        let mut made = match (&config.view, self.base()) {
            (Some(view), Some(own)) => {
                let base = options.base.as_ref().unwrap_or(own);
                let under = base.config();
                if options.layout.is_some_and(|layout| layout != under.layout) {
                    return Err(Error::invalid(
                        "a view has the layout of its base; copy the base first, then the view \
                         over the copy",
                    ));
                }
                let other = options.base.as_ref().map(Self::url);
                let view = view.copied(other, target.url(), under.layout, options)?;
                let made = Config { view: Some(view), ..config.clone() };
                made.with_layout(under.layout).over(&under)?
            }
            _ if options.base.is_some() => {
                return Err(Error::invalid("only a view can be copied over another base"));
            }
            _ => config.clone().with_layout(options.layout.unwrap_or(config.layout)),
        };
        if let Some(schema) = &options.schema {
            let is_own = |path: &str| config.view.is_none() || made.schema.variable(path).is_some();
            let schema = schema.filtered(&|path, _| is_own(path));
            check_same(&config.schema, &schema)?;
            made.schema = schema;
        }
        made.check()?;
        Ok(made)
    }
}

/// False if the copy must be repeated because writers went on. Objects that they are replacing may
/// look damaged; any other error is final.
async fn is_settled<T>(copied: &Result<T>, snapshot: &Snapshot) -> Result<bool> {
    match copied {
        Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(true),
        _ => Ok(!snapshot.is_outdated().await?),
    }
}

/// Checks that two schemas differ only in how variables are stored.
fn check_same(own: &Schema, other: &Schema) -> Result<()> {
    let named = |path: &str, why: &str| Err(Error::invalid(why).with("variable", path));
    for (path, _) in other.paths() {
        if own.variable(&path).is_none() {
            return named(
                &path,
                "a copy has the same variables, and the collection has none with this name",
            );
        }
    }
    for (path, variable) in own.paths() {
        let same = other.variable(&path).is_some_and(|other| {
            other.dtype == variable.dtype
                && other.dimensions == variable.dimensions
                && other.fill == variable.fill
        });
        if !same {
            return named(
                &path,
                "a copy has the same variables, with the same types, dimensions and fill values",
            );
        }
    }
    Ok(())
}

impl Config {
    /// The configuration of the same collection in another layout.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        if layout != self.layout {
            self.axis = self.axis_variable().unwrap_or(self.axis);
            self.layout = layout;
            self.catalog = false;
            self.extras = None;
        }
        self.version = None;
        self
    }
}

/// Removes partitions at a target that is not a collection yet.
async fn remove_partitions(
    target: &Store,
    config: &Config,
    stays: impl Fn(&Partition) -> bool,
) -> Result<()> {
    let without = Config { catalog: false, ..config.clone() };
    for found in list_partitions(target, &without).await? {
        if !stays(&found) {
            target.delete_directory(&found.path, SCRATCH).await?;
        }
    }
    Ok(())
}

impl Copying<'_> {
    /// Copies the partitions that are not done according to the journal, and removes others from
    /// the target. Returns the fingerprint of the group of variables that are not partitioned.
    async fn all(&self, lease: &Lease, journal: &mut Journal) -> Result<Option<String>> {
        let partitions = self.snapshot.partitions(self.options.predicate.as_ref()).await?;
        forget_changed(journal, self.snapshot).await?;
        let sources: HashSet<&str> = partitions.iter().map(|one| one.path.as_str()).collect();
        journal.done.retain(|source, _| sources.contains(source.as_str()));
        let work = &self.options.work;
        work.progress.start("copy", Some(partitions.len() as u64));
        let wanted: HashSet<String> =
            partitions.iter().map(|partition| self.path(partition)).collect();
        remove_partitions(self.target, self.config, |found| wanted.contains(&found.path)).await?;
        let without = Config { catalog: false, ..self.config.clone() };
        let there: Vec<String> = list_partitions(self.target, &without)
            .await?
            .into_iter()
            .map(|partition| partition.path)
            .collect();
        let prints = self.target.fingerprints(&there).await?;
        let there: HashMap<String, Option<String>> = there.into_iter().zip(prints).collect();
        let is_done = |partition: &Partition| {
            let path = self.path(partition);
            let noted = journal.done.get(&partition.path).filter(|done| done.path == path);
            noted.is_some_and(|done| done.print.is_some() && there.get(&path) == Some(&done.print))
        };
        let (done, left): (Vec<Partition>, Vec<Partition>) =
            partitions.into_iter().partition(is_done);
        work.progress.advance(done.len() as u64);
        for batch in left.chunks(PARTITIONS_PER_ENTRY) {
            lease.check()?;
            let one = async |partition: Partition| {
                work.cancel.check()?;
                let exists = there.contains_key(&self.path(&partition));
                let copied = self.partition(&partition, exists).await;
                copied.map_err(|error| error.with("partition", &partition.path))?;
                work.progress.advance(1);
                let (path, commit) = (self.path(&partition), self.snapshot.latest);
                Ok::<_, Error>(Copied::new(partition.path, path, commit))
            };
            let copies =
                stream::iter(batch.to_vec()).map(one).buffer_unordered(PARTITIONS_IN_FLIGHT);
            let mut copied: Vec<Copied> = copies.try_collect().await?;
            let paths: Vec<String> = copied.iter().map(|one| one.path.clone()).collect();
            for (one, print) in copied.iter_mut().zip(self.target.fingerprints(&paths).await?) {
                one.print = print;
            }
            // Partitions must be durable before the journal lists them as done.
            self.target.sync().await?;
            journal.add(self.target, copied).await?;
        }
        self.immutable().await?;
        self.print_of_immutable().await
    }

    async fn print_of_immutable(&self) -> Result<Option<String>> {
        let group = [immutable_group(self.config.layout).to_owned()];
        Ok(self.target.fingerprints(&group).await?.pop().flatten())
    }

    /// True if the objects still have the fingerprints that were noted.
    async fn is_untouched(&self, journal: &Journal, immutable: Option<String>) -> Result<bool> {
        let done: Vec<&Copied> = journal.done.values().collect();
        let paths: Vec<String> = done.iter().map(|done| done.path.clone()).collect();
        let prints = self.target.fingerprints(&paths).await?;
        let same = done.iter().zip(&prints).all(|(done, print)| done.print == *print);
        Ok(same && self.print_of_immutable().await? == immutable)
    }

    /// Creates the collection of the copied partitions, by writing its document last.
    async fn finish(&self, journal: &Journal) -> Result<()> {
        let mut parents = BTreeSet::new();
        for copied in journal.done.values() {
            parents.extend(parent_groups(self.config.layout, &copied.path));
        }
        for (key, text) in parents {
            self.target.put_deferred(&key, text.into()).await?;
        }
        rebuild_catalog(self.target, self.config, true).await?;
        self.target.sync().await?;
        let commit = Uuid::new_v4().simple().to_string();
        let config = Config { commit: Some(commit.clone()), ..self.config.clone() };
        let (key, bytes) = encode_config(&config)?;
        let create = self.target.compare_and_swap(key, None, bytes, &commit);
        match commit_point(&commit, create, Swap::is_done).await? {
            Swap::Done(_) => {}
            Swap::Lost { .. } => return Err(exists(self.target)),
        }
        Journal::forget(self.target).await;
        Ok(())
    }
}

/// Removes partitions from the journal that commits changed after they were copied.
async fn forget_changed(journal: &mut Journal, snapshot: &Snapshot) -> Result<()> {
    let Some(oldest) = journal.done.values().map(|done| done.commit).min() else { return Ok(()) };
    let since = snapshot.since(oldest).await?;
    if since.unknown {
        journal.done.clear();
        return Ok(());
    }
    journal.done.retain(|path, done| {
        let newer = since.records.iter().filter(|record| record.sequence > done.commit);
        !newer.into_iter().any(|record| record.touches(path))
    });
    Ok(())
}
