//! Copying a collection: as it is, or into another layout, with other chunks and codecs.
//!
//! - `into_repository`: into an Icechunk repository, in one commit. `partition`: one partition.
//! - `journal`: what is done, so that a copy that was killed goes on.

mod into_repository;
mod journal;
mod partition;

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
pub(crate) use journal::JOURNAL;
use journal::{Copied, Journal};
use partita_core::store::{Lease, Swap, repository_url};
use partita_core::{Error, ErrorKind, Predicate, Result, Store, StoreOptions, commit_point};
use partition::Copying;
use uuid::Uuid;

use crate::collection::{Collection, Partition};
use crate::commit::{Home, SCRATCH, Snapshot, check_repository_layout, exists, refuse_existing};
use crate::dataset::Schema;
use crate::layout::{
    Config, Layout, encode_config, immutable_group, list_partitions, parent_groups, rebuild_catalog,
};
use crate::options::Work;
use crate::repository::Repository;
use crate::statistics::rebuild;

/// Partitions under way at once, and noted at once.
const AT_ONCE: usize = 4;
const BATCH: usize = 64;

/// How often the copy catches up with writers.
const ATTEMPTS: u32 = 1000;

/// What only one process copies under at a time.
const LEASE: &str = ".partita/copying";

/// What of a collection is copied, and into what.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Which partitions; all if there is none. The columns are the fields of the keys.
    pub predicate: Option<Predicate>,
    /// The layout of the copy; the same if nothing is said. Another one means that everything is
    /// decoded and encoded again.
    pub layout: Option<Layout>,
    /// The same variables with other chunks and codecs, for which everything is encoded again too.
    pub schema: Option<Schema>,
    /// Of a view, the collection that its copy is laid over, which has the same rows; the same as
    /// here if nothing is said. The layout of the copy is that of its base.
    pub base: Option<Collection>,
    /// Read what was written, and compare checksums of the decoded data.
    pub verify: bool,
    /// Told about partitions.
    pub work: Work,
}

impl Collection {
    /// Copies the collection to a store that has none, and returns the copy. It exists from the
    /// moment when all of it is there. A partition at a time; of the history nothing is copied.
    ///
    /// The copy is of the state that one commit left: what writers change meanwhile is copied again
    /// before the end. A copy that was broken off is continued by the same call, which leaves out
    /// what is done and was not changed by a commit since. Only one process copies to a place: one that
    /// was suspended for so long that another took over ends with
    /// [`CommitConflict`](ErrorKind::CommitConflict), and writes nothing more.
    ///
    /// Indexes that are kept with the collection are kept with the copy too. The copy of a view is a
    /// view, over the same base or over another one with the same rows.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists); [`InvalidArgument`](ErrorKind::InvalidArgument)
    /// if the other layout cannot hold it, or the schema has other variables;
    /// [`Corrupt`](ErrorKind::Corrupt) if what was written does not decode to what was read; what
    /// reading and writing fail with.
    pub async fn copy(&self, target: Store, options: &CopyOptions) -> Result<Self> {
        target.check_writable()?;
        // Who asks in vain leaves nothing.
        refuse_existing(&target).await?;
        self.target_config(&self.config(), &target, options)?;
        let lease = target.lease(LEASE).await?;
        let copied = lease.hold(self.copy_under(&lease, &target, options)).await;
        options.work.progress.finish();
        lease.release(&target).await;
        copied?;
        let copy = Self::open_home(Home::Plain(target), self.base_of_copy(options)).await?;
        // Of other objects, what the source knows says nothing of them.
        rebuild(&copy, &HashSet::new(), &options.work.quiet()).await?;
        self.copy_indexes(&copy, &options.work).await?;
        Ok(copy)
    }

    /// Copies the collection to a URL, which may be that of an Icechunk repository. Such a copy is one
    /// commit, in Zarr v3; one that was broken off is continued by the same call too.
    ///
    /// # Errors
    /// As [`Collection::copy`].
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
            // The layout of a view is that of its base.
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
                let snapshot = match self.home().check_writable() {
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
                // The store may have carried out late requests of an earlier copier in the meantime.
                if copying.is_untouched(&journal, copied?).await? {
                    return copying.finish(&journal).await;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }

    /// The collection that the copy of a view is laid over.
    fn base_of_copy(&self, options: &CopyOptions) -> Option<Self> {
        options.base.as_ref().or(self.base()).cloned()
    }

    /// What the copy is to be.
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
                        "a view has the layout of its base; copy the base first, then the view over \
                         the copy",
                    ));
                }
                let other = options.base.as_ref().map(Self::url);
                let view = view.copied(other, target.url(), under.layout, options)?;
                let made = Config { view: Some(view), ..config.clone() };
                made.with_layout(under.layout).over(&under)?
            }
            _ if options.base.is_some() => {
                return Err(Error::invalid("only a view is laid over a base"));
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

/// False if the copy is to be made again since writers went on. What they are replacing may look
/// damaged; other errors are what they say.
async fn is_settled<T>(copied: &Result<T>, snapshot: &Snapshot) -> Result<bool> {
    match copied {
        Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(true),
        _ => Ok(!snapshot.is_outdated().await?),
    }
}

/// Two schemas may differ in how variables are stored, and in nothing else.
fn check_same(own: &Schema, other: &Schema) -> Result<()> {
    let named = |path: &str, why: &str| Err(Error::invalid(why).with("variable", path));
    for (path, _) in other.paths() {
        if own.variable(&path).is_none() {
            return named(&path, "a copy has the same variables, and there is none of this name");
        }
    }
    for (path, variable) in own.paths() {
        let same = other.variable(&path).is_some_and(|other| {
            other.dtype == variable.dtype
                && other.dimensions == variable.dimensions
                && other.fill == variable.fill
        });
        if !same {
            return named(&path, "a copy has the same variables, of the same types");
        }
    }
    Ok(())
}

impl Config {
    /// The same collection in another layout, or in the same.
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

/// Removes partitions at a place that is no collection yet.
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
    /// Copies what the journal does not know as done, and takes out what is not wanted. Returns what
    /// tells the group of the variables that are not partitioned from another one in its place.
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
        for batch in left.chunks(BATCH) {
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
            let copies = stream::iter(batch.to_vec()).map(one).buffer_unordered(AT_ONCE);
            let mut copied: Vec<Copied> = copies.try_collect().await?;
            let paths: Vec<String> = copied.iter().map(|one| one.path.clone()).collect();
            for (one, print) in copied.iter_mut().zip(self.target.fingerprints(&paths).await?) {
                one.print = print;
            }
            // What is noted as done must be on disk.
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

    /// True if all objects are those that were noted.
    async fn is_untouched(&self, journal: &Journal, immutable: Option<String>) -> Result<bool> {
        let done: Vec<&Copied> = journal.done.values().collect();
        let paths: Vec<String> = done.iter().map(|done| done.path.clone()).collect();
        let prints = self.target.fingerprints(&paths).await?;
        let same = done.iter().zip(&prints).all(|(done, print)| done.print == *print);
        Ok(same && self.print_of_immutable().await? == immutable)
    }

    /// Makes a collection of what is there.
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

/// Takes out of the journal what commits have changed since it was copied.
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
