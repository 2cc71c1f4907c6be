//! Making statistics from the data.

use std::collections::{BTreeMap, HashSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{ErrorKind, Result};

use super::documents::Statistics;
use super::{PartitionStatistics, summarise};
use crate::collection::{Collection, Partition};
use crate::commit::Snapshot;
use crate::options::{ReadOptions, Work};
use crate::read::{Wanted, read};

/// Partitions read concurrently.
const PARTITIONS_IN_FLIGHT: usize = 16;

/// Makes missing and outdated statistics, and again those of the partitions in `wrong`; removes
/// those of partitions that do not exist any more.
pub(crate) fn rebuild<'a>(
    collection: &'a Collection,
    wrong: &'a HashSet<String>,
    work: &'a Work,
) -> BoxFuture<'a, Result<()>> {
    async move {
        let snapshot = collection.settled().await?;
        let partitions = snapshot.partitions(None).await?;
        let made = make_missing(&snapshot, &partitions, wrong, work).await?;
        let paths: HashSet<&str> = partitions.iter().map(|found| found.path.as_str()).collect();
        collection.backend().note_statistics(made, &snapshot, &paths).await
    }
    .boxed()
}

async fn make_missing(
    snapshot: &Snapshot,
    partitions: &[Partition],
    wrong: &HashSet<String>,
    work: &Work,
) -> Result<Statistics> {
    let names = snapshot.config.summarised();
    let paths: HashSet<&str> = partitions.iter().map(|found| found.path.as_str()).collect();
    let valid = snapshot.valid_statistics(&paths, &names).await?;
    let is_known = |partition: &&Partition| {
        let known = valid.get(&partition.path).map_or(0, BTreeMap::len);
        known == names.len() && !wrong.contains(&partition.path)
    };
    let missing: Vec<&Partition> = partitions.iter().filter(|found| !is_known(found)).collect();
    let progress = work.progress.as_ref();
    progress.start("statistics", Some(missing.len() as u64));
    let one = async |partition: &Partition| {
        work.cancel.check()?;
        let made = make(snapshot, partition, &names, work).await?;
        progress.advance(1);
        Ok::<_, partita_core::Error>((partition.path.clone(), made))
    };
    let made: Vec<_> = missing.into_iter().map(one).collect();
    let made: Result<Statistics> =
        stream::iter(made).buffered(PARTITIONS_IN_FLIGHT).try_collect().await;
    progress.finish();
    made
}

/// Makes the statistics of a partition; none if it cannot be read.
async fn make(
    snapshot: &Snapshot,
    partition: &Partition,
    names: &[String],
    work: &Work,
) -> Result<PartitionStatistics> {
    let directories: Vec<String> =
        names.iter().map(|name| format!("{}/{name}", partition.path)).collect();
    // Before they are read: if one is written meanwhile, what is noted is not believed.
    let objects = snapshot.fingerprints(&directories).await?;
    let options = ReadOptions {
        variables: Some(names.to_vec()),
        work: work.quiet(),
        ..ReadOptions::default()
    };
    let wanted = [Wanted::whole(partition)];
    let data = read(&snapshot.store, &snapshot.config, &wanted, &options).await;
    let mut made = match data.and_then(|data| summarise(&snapshot.config, &data)) {
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(BTreeMap::new()),
        made => made?,
    };
    let Some(objects) = objects else { return Ok(made) };
    for (name, objects) in names.iter().zip(objects) {
        if let Some(own) = made.get_mut(name) {
            own.objects = objects;
        }
    }
    made.retain(|_, own| own.objects.is_some());
    Ok(made)
}
