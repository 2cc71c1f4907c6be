//! Copying one group, object by object or by decoding and encoding it again.

use std::collections::HashMap;

use futures::TryStreamExt;
use partita_core::store::{LARGEST, ObjectInfo};
use partita_core::{Error, Result, Store};

use super::CopyOptions;
use crate::collection::Partition;
use crate::commit::{SCRATCH, Snapshot};
use crate::conform::{conform, merged};
use crate::dataset::{Buffer, Dataset};
use crate::layout::{Config, GroupPlan, immutable_group, open_group};
use crate::options::ReadOptions;
use crate::read::{Wanted, read};

/// Objects copied concurrently.
const OBJECTS_IN_FLIGHT: usize = 16;

/// A copy from a snapshot of a collection to a target that is not a collection yet.
pub(super) struct Copying<'a> {
    pub snapshot: &'a Snapshot,
    pub target: &'a Store,
    pub config: &'a Config,
    pub options: &'a CopyOptions,
    /// True if the objects can be copied unchanged, because layout, chunks and codecs stay the
    /// same.
    pub whole: bool,
}

impl Copying<'_> {
    /// The path of a partition in the copy.
    pub fn path(&self, partition: &Partition) -> String {
        match self.whole {
            true => partition.path.clone(),
            false => self.config.partitioning.path(&partition.key, self.config.layout.digits()),
        }
    }

    /// Copies a partition. Remains of an interrupted copy are removed first.
    pub async fn partition(&self, partition: &Partition, exists: bool) -> Result<()> {
        let path = self.path(partition);
        if exists {
            self.target.delete_directory(&path, SCRATCH).await?;
        }
        if self.whole {
            self.bytes(&partition.path).await?;
        }
        if self.whole && !self.options.verify {
            return Ok(());
        }
        let names = self.config.partitioned().names();
        let data =
            self.read(self.snapshot.config.as_ref(), &self.snapshot.store, partition, &names);
        let data = data.await?;
        if !self.whole {
            self.write(self.group(partition, &path, &data).await?.0).await?;
        }
        if self.options.verify {
            let copy = Partition { key: partition.key.clone(), path };
            let written = self.read(self.config, self.target, &copy, &names).await?;
            same(&data, &written)?;
        }
        Ok(())
    }

    /// The plan of a partition's group in the copy, and its rows; for a view, including the copy of
    /// the axis that it was made for.
    pub async fn group(
        &self,
        partition: &Partition,
        path: &str,
        data: &Dataset,
    ) -> Result<(GroupPlan, Dataset)> {
        let (snapshot, config) = (self.snapshot, self.config);
        if config.view.is_none() {
            let rows = conform(data, config, &HashMap::new(), &HashMap::new())?.filled()?;
            let plan = GroupPlan::group(config, path, Some(&partition.key), &rows)?;
            return Ok((plan, rows));
        }
        let rows = merged(&config.schema, &[data], &|_| false, &|_| None)?;
        let mut plan = GroupPlan::group(config, path, None, &rows)?;
        let axis = match snapshot.copy_of_axis(partition).await? {
            Some(copy) => Some(copy.read(&snapshot.store, &self.options.work).await?),
            None => snapshot.axis_below(partition, &self.options.work).await?,
        };
        if let Some(axis) = axis {
            plan.add_axis(config, path, &snapshot.axis_of_base()?, &axis)?;
        }
        Ok((plan, rows))
    }

    pub(super) async fn read(
        &self,
        config: &Config,
        store: &Store,
        partition: &Partition,
        names: &[String],
    ) -> Result<Dataset> {
        read(store, config, &[Wanted::whole(partition)], &self.quietly(names.to_vec())).await
    }

    /// Copies the variables that are not partitioned.
    pub async fn immutable(&self) -> Result<()> {
        let path = immutable_group(self.config.layout);
        self.target.delete_directory(path, SCRATCH).await?;
        if self.whole {
            return self.bytes(immutable_group(self.snapshot.config.layout)).await;
        }
        let Some(data) = self.immutable_source().await? else { return Ok(()) };
        let path = immutable_group(self.config.layout);
        let given = merged(&self.config.immutable(), &[&data], &|_| false, &|_| None)?;
        self.write(GroupPlan::group(self.config, path, None, &given)?).await?;
        if self.options.verify {
            let names = data.schema().names();
            same(&data, &read(self.target, self.config, &[], &self.quietly(names)).await?)?;
        }
        Ok(())
    }

    /// Reads the variables that are not partitioned, as far as they are stored.
    pub async fn immutable_source(&self) -> Result<Option<Dataset>> {
        let source = &self.snapshot.config;
        let (store, path) = (&self.snapshot.store, immutable_group(source.layout));
        let opened = open_group(store, source, path, &source.immutable()).await?;
        let stored = opened.into_iter().flatten().filter(|(_, array)| array.is_some());
        let stored: Vec<String> = stored.map(|(path, _)| path).collect();
        if stored.is_empty() {
            return Ok(None);
        }
        read(store, source, &[], &self.quietly(stored)).await.map(Some)
    }

    /// Copies the objects of a group unchanged.
    async fn bytes(&self, path: &str) -> Result<()> {
        let source = self.snapshot.base();
        let copy = async |info: ObjectInfo| {
            let bytes = self.snapshot.store.get_within(&info.key, LARGEST).await?;
            let bytes = bytes.ok_or_else(|| self.snapshot.store.missing(&info.key))?;
            self.target.put_deferred(&info.key, bytes).await
        };
        let objects = source.list(&format!("{path}/")).map_ok(copy);
        let copies = objects.try_buffer_unordered(OBJECTS_IN_FLIGHT);
        copies.try_for_each(|()| async { Ok(()) }).await
    }

    pub(super) fn quietly(&self, variables: Vec<String>) -> ReadOptions {
        let work = self.options.work.quiet();
        ReadOptions { variables: Some(variables), work, ..ReadOptions::default() }
    }

    /// Writes the group at its final place, which is not visible yet.
    async fn write(&self, plan: GroupPlan) -> Result<()> {
        let work = self.options.work.quiet();
        plan.write(self.target, "", &work).await.map(drop)
    }
}

/// Compares checksums of the decoded data, variable by variable.
pub(super) fn same(source: &Dataset, copy: &Dataset) -> Result<()> {
    for path in source.schema().names() {
        let sums = [source, copy].map(|data| data.variable(&path).map(|own| checksum(own.data())));
        if let [Some(expected), Some(found)] = &sums
            && expected == found
        {
            continue;
        }
        return Err(Error::corrupt("the copy does not decode to the same values as the source")
            .with("variable", path));
    }
    Ok(())
}

fn checksum(array: &crate::dataset::Array) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{} {:?}", array.dtype(), array.shape()).as_bytes());
    match array.buffer() {
        Buffer::Fixed(bytes) => hash.update(bytes),
        items @ Buffer::Variable { offsets, .. } => {
            for number in 0..offsets.len().saturating_sub(1) {
                let item = items.item(number, 0).unwrap_or_default();
                hash.update(&(item.len() as u64).to_le_bytes());
                hash.update(item);
            }
            &mut hash
        }
    };
    hash.finalize()
}
