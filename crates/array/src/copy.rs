//! Copying a collection, as it is or into another layout.

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::Swap;
use partita_core::{Error, ErrorKind, Predicate, Result, Store};
use uuid::Uuid;

use crate::collection::{Collection, Partition};
use crate::commit::{Snapshot, publish};
use crate::layout::{
    Config, GroupPlan, Layout, encode_config, immutable_group, parent_groups, rebuild_catalog,
};
use crate::options::{ReadOptions, Work};
use crate::partitioning::Key;
use crate::read::{Wanted, read};

/// Objects, and partitions, under way at once.
const OBJECTS_AT_ONCE: usize = 16;
const PARTITIONS_AT_ONCE: usize = 4;

/// What of a collection is copied.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Which partitions; all if there is none. The columns are the fields of the keys.
    pub predicate: Option<Predicate>,
    /// The layout of the copy; the same if nothing is said. Another one means that everything is
    /// decoded and encoded again.
    pub layout: Option<Layout>,
    /// Told about partitions.
    pub work: Work,
}

impl Collection {
    /// Copies the collection to a store that has none, and returns the copy. It exists from the
    /// moment when all of it is there. A partition at a time; of the history nothing is copied.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists); [`InvalidArgument`](ErrorKind::InvalidArgument)
    /// if the other layout cannot hold it; what reading and writing fail with.
    pub async fn copy(&self, target: Store, options: &CopyOptions) -> Result<Self> {
        target.check_writable()?;
        if self.store().check_writable().is_ok() {
            publish(self.store()).await?;
        }
        let snapshot = self.snapshot().await?;
        let layout = options.layout.unwrap_or(snapshot.config.layout);
        let mut config = snapshot.config.as_ref().clone().with_layout(layout);
        let commit = Uuid::new_v4().simple().to_string();
        config.commit = Some(commit.clone());
        config.check()?;
        let exists = || {
            Error::new(ErrorKind::AlreadyExists, "there is a collection here already")
                .with("store", target.url())
        };
        match crate::layout::read_config(&target).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(exists()),
        }
        let partitions = snapshot.partitions(options.predicate.as_ref()).await?;
        let copying = Copying { snapshot: &snapshot, target: &target, config: &config, options };
        copying.all(&partitions).await?;
        let (key, bytes) = encode_config(&config)?;
        match target.compare_and_swap(key, None, bytes, &commit).await? {
            Swap::Done(_) => Self::open_in(target).await,
            Swap::Lost { .. } => Err(exists()),
        }
    }
}

impl Config {
    /// The same collection in another layout, or in the same.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        if layout != self.layout {
            self.axis = match layout {
                Layout::ZarrV2 => self.axis_variable().unwrap_or(self.axis),
                Layout::ZarrV3 => self.dimension.clone(),
            };
            self.layout = layout;
            self.catalog = false;
            self.extras = None;
        }
        self.version = None;
        self
    }
}

struct Copying<'a> {
    snapshot: &'a Snapshot,
    target: &'a Store,
    config: &'a Config,
    options: &'a CopyOptions,
}

impl Copying<'_> {
    async fn all(&self, partitions: &[Partition]) -> Result<()> {
        let work = &self.options.work;
        work.progress.start("copy", Some(partitions.len() as u64));
        // Bytes are as good where nothing about them changes.
        let same = self.config.layout == self.snapshot.config.layout;
        let whole = same && self.snapshot.pending.is_empty();
        let one = async |partition: Partition| {
            work.cancel.check()?;
            let copied = match whole {
                true => self.bytes(&partition.path).await,
                false => self.anew(&partition).await,
            };
            copied.map_err(|error| error.with("partition", &partition.path))?;
            work.progress.advance(1);
            Ok::<_, Error>(())
        };
        let copies =
            stream::iter(partitions.to_vec()).map(one).buffer_unordered(PARTITIONS_AT_ONCE);
        let copied = copies.try_for_each(|()| async { Ok(()) }).await;
        work.progress.finish();
        copied?;
        if whole {
            self.bytes(immutable_group(self.config.layout)).await?;
        } else {
            self.immutable().await?;
        }
        let mut parents = std::collections::BTreeSet::new();
        for partition in partitions {
            parents.extend(parent_groups(self.config.layout, &self.path(&partition.key)));
        }
        for (key, text) in parents {
            self.target.put_deferred(&key, text.into()).await?;
        }
        rebuild_catalog(self.target, self.config, true).await?;
        self.target.sync().await
    }

    fn path(&self, key: &Key) -> String {
        self.config.partitioning.path(key, self.config.layout.digits())
    }

    /// Copies the objects of a group.
    async fn bytes(&self, path: &str) -> Result<()> {
        let source = self.snapshot.base();
        let copy = async |info: partita_core::store::ObjectInfo| {
            let bytes = source.get(&info.key).await?;
            self.target.put_deferred(&info.key, bytes).await
        };
        let objects = source.list(&format!("{path}/")).map_ok(copy);
        let copies = objects.try_buffer_unordered(OBJECTS_AT_ONCE);
        copies.try_for_each(|()| async { Ok(()) }).await
    }

    /// Decodes a partition and encodes it again.
    async fn anew(&self, partition: &Partition) -> Result<()> {
        let options = self.quietly(self.snapshot.config.partitioned().names());
        let wanted = [Wanted::whole(partition)];
        let data = read(&self.snapshot.store, &self.snapshot.config, &wanted, &options).await?;
        let (path, key) = (self.path(&partition.key), Some(&partition.key));
        self.write(GroupPlan::group(self.config, &path, key, &data, 0)?).await
    }

    async fn immutable(&self) -> Result<()> {
        let schema = self.snapshot.config.immutable();
        let path = immutable_group(self.snapshot.config.layout);
        let (store, layout) = (&self.snapshot.store, self.snapshot.config.layout);
        let opened = crate::layout::open_group(store, layout, path, &schema).await?;
        let stored = opened.into_iter().flatten().filter(|(_, array)| array.is_some());
        let stored: Vec<String> = stored.map(|(path, _)| path).collect();
        if stored.is_empty() {
            return Ok(());
        }
        let data = read(store, &self.snapshot.config, &[], &self.quietly(stored)).await?;
        let path = immutable_group(self.config.layout);
        self.write(GroupPlan::group(self.config, path, None, &data, 0)?).await
    }

    fn quietly(&self, variables: Vec<String>) -> ReadOptions {
        let work = self.options.work.quiet();
        ReadOptions { variables: Some(variables), work, ..ReadOptions::default() }
    }

    /// Writes where the group is to be: there is no collection yet that shows it.
    async fn write(&self, plan: GroupPlan) -> Result<()> {
        let work = self.options.work.quiet();
        plan.write(self.target, "", work.progress.as_ref(), &work.cancel).await.map(drop)
    }
}
