//! Checks that a view and its base have the same rows.

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result};

use crate::collection::Partition;
use crate::commit::Snapshot;
use crate::dataset::{Array, VariableSchema};
use crate::layout::{AxisCopy, axis_copy, checksum_of, open_group};
use crate::options::{ReadOptions, Work};
use crate::read::{Wanted, read};

/// Partitions compared concurrently.
const PARTITIONS_IN_FLIGHT: usize = 16;

pub(crate) const OTHER_ROWS: &str = "the base of the view has other rows in the partition than the \
                                     view was made for; call sync() to bring the view in line";
const NO_PARTITION: &str =
    "the base of the view does not have the partition any more; call sync() to drop it";

/// The error of a view that is out of sync with its base.
pub(crate) fn out_of_sync(why: &str, partition: &Partition) -> Error {
    Error::new(ErrorKind::OutOfSync, why).with("partition", &partition.path)
}

impl Snapshot {
    /// Checks that the partitions of a view have the rows of its base. It does nothing for other
    /// collections.
    pub async fn check_synced(&self, partitions: &[Partition], work: &Work) -> Result<()> {
        if self.under.is_none() {
            return Ok(());
        }
        let check = async |partition: &Partition| {
            work.cancel.check()?;
            let Some(axis) = self.axis_below(partition, work).await? else {
                return Err(out_of_sync(NO_PARTITION, partition));
            };
            let copy = self.copy_of_axis(partition).await?;
            match self.agrees(partition, &axis, copy.as_ref()).await? {
                true => Ok(()),
                false => Err(out_of_sync(OTHER_ROWS, partition)),
            }
        };
        let checks = stream::iter(partitions).map(check).buffer_unordered(PARTITIONS_IN_FLIGHT);
        checks.try_for_each(|()| async { Ok(()) }).await
    }

    /// The variable of the base that identifies rows.
    pub fn axis_of_base(&self) -> Result<VariableSchema> {
        let config = self.under.as_ref().map(|under| &under.config);
        let axis =
            config.and_then(|config| config.schema.variable(&config.rows_variable()?).cloned());
        axis.ok_or_else(|| Error::invalid("the base of the view has no axis"))
    }

    /// The axis of a partition of the base; none if the base has no such partition.
    pub async fn axis_below(&self, partition: &Partition, work: &Work) -> Result<Option<Array>> {
        let Some(under) = &self.under else { return Ok(None) };
        let name = self.axis_of_base()?.name;
        let variables = Some(vec![name.clone()]);
        let options = ReadOptions { variables, work: work.quiet(), ..ReadOptions::default() };
        let wanted = [Wanted::whole(partition)];
        match read(&under.store, &under.config, &wanted, &options).await {
            Ok(data) => Ok(Some(data.require(&name)?.data().clone())),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let (config, schema) = (&under.config, under.config.partitioned());
                let opened = open_group(&under.store, config, &partition.path, &schema).await;
                if matches!(opened, Ok(None)) { Ok(None) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// The copy of the axis that a partition of a view was made for, if the partition stores it.
    pub async fn copy_of_axis(&self, partition: &Partition) -> Result<Option<AxisCopy>> {
        let axis = self.axis_of_base()?;
        axis_copy(&self.store, &self.config, &partition.path, &axis).await
    }

    /// True if a partition of a view has the rows of the base, whose axis is given.
    pub async fn agrees(
        &self,
        partition: &Partition,
        axis: &Array,
        copy: Option<&AxisCopy>,
    ) -> Result<bool> {
        if let Some(copy) = copy {
            return Ok(copy.checksum() == Some(checksum_of(axis).as_str()));
        }
        // In Zarr v3, ZCollection stores no axis with views, so that only the numbers of rows are
        // compared.
        let rows = self.own_rows(partition).await?;
        Ok(rows.is_none_or(|rows| rows == axis.len()))
    }

    /// The number of rows of the variables that a view stores in a partition; none if it stores
    /// none.
    pub async fn own_rows(&self, partition: &Partition) -> Result<Option<usize>> {
        let (config, path) = (&self.config, &partition.path);
        let opened = open_group(&self.store, config, path, &config.schema).await?;
        let arrays = opened.into_iter().flatten().filter_map(|(_, array)| array);
        Ok(arrays.filter_map(|array| array.size(&config.dimension)).next())
    }
}
