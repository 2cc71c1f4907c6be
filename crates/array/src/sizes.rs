//! The sizes of the dimensions that are not partitioned, which all partitions have in common.

use std::collections::HashMap;

use partita_core::Result;

use crate::collection::Partition;
use crate::commit::Snapshot;
use crate::dataset::{Schema, VariableSchema};
use crate::layout::{OpenGroup, immutable_group, open_group};

/// All partitions, and the sizes as [`stored_sizes`]. Where a partition was written lately, it is
/// looked at while partitions are listed.
pub(crate) async fn partitions_and_sizes(
    snapshot: &Snapshot,
) -> Result<(Vec<Partition>, HashMap<String, usize>)> {
    let early = async {
        match snapshot.recent_partition() {
            Some(path) => sizes_in(snapshot, Some(path)).await,
            None => Ok(None),
        }
    };
    let (partitions, early) = futures::join!(snapshot.partitions(None), early);
    let partitions = partitions?;
    // Another program may have removed it, or be about to write it.
    let sizes = match early {
        Ok(Some(sizes)) => sizes,
        _ => stored_sizes(snapshot, &partitions).await?,
    };
    Ok((partitions, sizes))
}

/// The sizes, from the schema and from a stored partition.
pub(crate) async fn stored_sizes(
    snapshot: &Snapshot,
    partitions: &[Partition],
) -> Result<HashMap<String, usize>> {
    let first = partitions.first().map(|partition| partition.path.as_str());
    match sizes_in(snapshot, first).await? {
        Some(sizes) => Ok(sizes),
        None => Ok(sizes_in(snapshot, None).await?.unwrap_or_default()),
    }
}

/// The sizes, from the schema and from this partition; none if it is not there.
async fn sizes_in(
    snapshot: &Snapshot,
    partition: Option<&str>,
) -> Result<Option<HashMap<String, usize>>> {
    let config = &snapshot.config;
    let (partitioned, immutable) = (config.partitioned(), config.immutable());
    // Where rows have no other dimension, a partition has nothing to tell.
    let has_others = |(_, own): &(String, &VariableSchema)| {
        own.dimensions.iter().any(|dimension| *dimension != config.dimension)
    };
    let partition = partition.filter(|_| partitioned.paths().iter().any(has_others));
    let (own, shared) = futures::try_join!(
        arrays(snapshot, partition, &partitioned),
        arrays(snapshot, Some(immutable_group(config.layout)), &immutable),
    )?;
    let Some(own) = own else { return Ok(None) };
    let mut sizes = config.schema.sizes();
    let all = own.into_iter().chain(shared.unwrap_or_default());
    for array in all.filter_map(|(_, array)| array) {
        let shape = array.shape.iter().copied();
        sizes.extend(array.schema.dimensions.iter().cloned().zip(shape));
    }
    sizes.remove(&config.dimension);
    Ok(Some(sizes))
}

/// The arrays of the group at a path, if one is given; none if there is no such group.
async fn arrays(
    snapshot: &Snapshot,
    path: Option<&str>,
    schema: &Schema,
) -> Result<Option<OpenGroup>> {
    let (Some(path), false) = (path, schema.paths().is_empty()) else {
        return Ok(Some(OpenGroup::new()));
    };
    open_group(&snapshot.store, &snapshot.config, path, schema).await
}
