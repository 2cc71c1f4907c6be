//! Storage of statistics.
//!
//! Each commit has a document, named by its number, and every sixteenth one a document that
//! replaces all before it. So a commit writes only its own statistics, however many partitions
//! there are, and a reader fetches few documents. Statistics of a variable in a later document
//! replace those in earlier ones.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result, Store, masked};
use serde::{Deserialize, Serialize};

use super::PartitionStatistics;
use crate::commit::Snapshot;

const DIRECTORY: &str = ".partita/statistics/";

/// The version of the documents that are written and read.
const FORMAT: u32 = 1;

/// The number of commits after which documents are joined.
const COMMITS_PER_JOIN: u64 = 16;

/// Documents read concurrently.
const DOCUMENTS_IN_FLIGHT: usize = 16;

/// The statistics of partitions, by their paths.
pub(crate) type Statistics = BTreeMap<String, PartitionStatistics>;

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    partitions: Statistics,
}

impl Snapshot {
    /// The stored statistics of all partitions, not yet compared with the published objects. It
    /// costs one request, and one more for each document; none in an Icechunk repository, whose
    /// commits contain them.
    pub(super) async fn known_statistics(&self) -> Result<Statistics> {
        match self.statistics_of_commits() {
            Some(known) => Ok(known),
            None => Ok(read_documents(self.base()).await?.1),
        }
    }

    /// Removes statistics that were made of other objects than the published ones. It costs one
    /// request per variable of a partition; none in a repository, whose statistics belong to its
    /// commits.
    pub(super) async fn retain_valid(&self, statistics: &mut Statistics) -> Result<()> {
        let Some(found) = self.fingerprints(&directories(statistics)).await? else {
            return Ok(());
        };
        let mut found = found.into_iter();
        for own in statistics.values_mut() {
            own.retain(|_, own| {
                let objects = found.next().flatten();
                objects.is_some() && own.objects == objects
            });
        }
        Ok(())
    }

    /// The statistics of these variables of these partitions that belong to the published objects.
    pub(crate) async fn valid_statistics(
        &self,
        paths: &HashSet<&str>,
        names: &[String],
    ) -> Result<Statistics> {
        let mut known = self.known_statistics().await?;
        known.retain(|path, _| paths.contains(path.as_str()));
        known.values_mut().for_each(|own| own.retain(|name, _| names.contains(name)));
        self.retain_valid(&mut known).await?;
        Ok(known)
    }
}

/// Writes the statistics of the partitions that the published commit `sequence` changed, marked
/// with the objects that they were made of. The caller must hold the publishing lease.
pub(crate) async fn note(store: &Store, sequence: u64, partitions: Statistics) -> Result<()> {
    if !partitions.is_empty() {
        write(store, sequence, partitions).await?;
    }
    if sequence.is_multiple_of(COMMITS_PER_JOIN) {
        join(store, sequence, |_| {}).await?;
    }
    Ok(())
}

/// Changes what is known, and has one document in place of all. Only for the holder of the lease
/// under which commits are published, the last of which is `sequence`.
async fn join(store: &Store, sequence: u64, edit: impl FnOnce(&mut Statistics)) -> Result<()> {
    let (keys, mut known) = read_documents(store).await?;
    edit(&mut known);
    let key = key_of(sequence);
    if known.is_empty() && keys.is_empty() {
        return Ok(());
    }
    write(store, sequence, known).await?;
    store.delete_many(keys.into_iter().filter(|other| *other != key).collect()).await?;
    Ok(())
}

/// Puts statistics that were made of the published commit `sequence` beside what is known, and
/// forgets partitions that are not at `paths`. Only for the holder of the lease under which commits
/// are published.
pub(crate) async fn replace_documents(
    store: &Store,
    sequence: u64,
    made: Statistics,
    paths: &HashSet<&str>,
) -> Result<()> {
    join(store, sequence, |known| {
        known.retain(|path, _| paths.contains(path.as_str()));
        for (path, own) in made {
            known.entry(path).or_default().extend(own);
        }
    })
    .await
}

/// The directories of the variables, in their order.
fn directories(statistics: &Statistics) -> Vec<String> {
    let of = |(path, own): (&String, &PartitionStatistics)| {
        own.keys().map(|variable| format!("{path}/{variable}")).collect::<Vec<_>>()
    };
    statistics.iter().flat_map(of).collect()
}

fn key_of(sequence: u64) -> String {
    format!("{DIRECTORY}{sequence:016}.json")
}

async fn write(store: &Store, sequence: u64, partitions: Statistics) -> Result<()> {
    let text = serde_json::to_vec(&Document { format: FORMAT, partitions })
        .map_err(|error| Error::invalid("statistics cannot be encoded").caused_by(error))?;
    store.put(&key_of(sequence), text.into()).await
}

/// The keys of the documents, and their combined statistics.
async fn read_documents(store: &Store) -> Result<(Vec<String>, Statistics)> {
    let keys = store.list(DIRECTORY).map_ok(|info| info.key);
    let mut keys: Vec<String> = keys.try_collect().await?;
    keys.sort();
    let read = async |key: &String| {
        let document = match store.get_opt(key).await {
            // The document may have been joined into a later one meanwhile.
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            Err(error) => return Err(error),
        };
        let document = document.filter(|document: &Document| document.format == FORMAT);
        if document.is_none() {
            tracing::warn!(store = %masked(store.url()), key, "statistics cannot be read");
        }
        Ok::<_, Error>(document)
    };
    let reads: Vec<_> = keys.iter().map(read).collect();
    let documents: Vec<Option<Document>> =
        stream::iter(reads).buffered(DOCUMENTS_IN_FLIGHT).try_collect().await?;
    let mut known = Statistics::new();
    for (path, own) in documents.into_iter().flatten().flat_map(|document| document.partitions) {
        known.entry(path).or_default().extend(own);
    }
    Ok((keys, known))
}
