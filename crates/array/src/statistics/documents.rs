//! Where statistics are kept.
//!
//! A document for each commit, named by its number, and every sixteenth commit one in place of all
//! before it: so a commit writes what it knows, however many partitions there are, and a reader
//! fetches few documents. What a later document says of a variable takes the place of what earlier
//! ones say.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, Result, Store};
use serde::{Deserialize, Serialize};

use super::PartitionStatistics;
use crate::commit::Snapshot;

const DIRECTORY: &str = ".partita/statistics/";

/// The form of documents that this version writes and reads.
const FORMAT: u32 = 1;

/// After so many commits documents are joined.
const JOINED: u64 = 16;

/// Documents read at once.
const AT_ONCE: usize = 16;

/// What is known of partitions, by their paths.
pub(crate) type Statistics = BTreeMap<String, PartitionStatistics>;

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    partitions: Statistics,
}

impl Snapshot {
    /// What is known of all partitions, to be compared with the objects that are there. One request,
    /// and one for each document; none in an Icechunk repository, whose commits say it.
    pub(super) async fn known_statistics(&self) -> Result<Statistics> {
        match self.state() {
            Some(state) => Ok(state.statistics()),
            None => Ok(read_documents(self.base()).await?.1),
        }
    }

    /// Takes out what is of other objects than those that are there. A request for each variable of
    /// a partition; none where commits say what is known, which is of what they left.
    pub(super) async fn retain_valid(&self, statistics: &mut Statistics) -> Result<()> {
        if self.state().is_some() {
            return Ok(());
        }
        let found = self.base().fingerprints(&directories(statistics)).await?;
        let mut found = found.into_iter();
        for own in statistics.values_mut() {
            own.retain(|_, own| {
                let objects = found.next().flatten();
                objects.is_some() && own.objects == objects
            });
        }
        Ok(())
    }

    /// What is known of these variables of these partitions, and of the objects that are there.
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

/// Writes down the statistics of the partitions that the published commit `sequence` changed, which
/// say of which objects they are. Only for the holder of the lease under which commits are published.
pub(crate) async fn note(store: &Store, sequence: u64, partitions: Statistics) -> Result<()> {
    if !partitions.is_empty() {
        write(store, sequence, partitions).await?;
    }
    if sequence.is_multiple_of(JOINED) {
        join(store, sequence, |_| {}).await?;
    }
    Ok(())
}

/// Changes what is known, and has one document in place of all. Only for the holder of the lease
/// under which commits are published, the last of which is `sequence`.
pub(super) async fn join(
    store: &Store,
    sequence: u64,
    edit: impl FnOnce(&mut Statistics),
) -> Result<()> {
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
        .map_err(|error| Error::invalid("statistics cannot be written").caused_by(error))?;
    store.put(&key_of(sequence), text.into()).await
}

/// The keys of the documents, and what they say.
async fn read_documents(store: &Store) -> Result<(Vec<String>, Statistics)> {
    let keys = store.list(DIRECTORY).map_ok(|info| info.key);
    let mut keys: Vec<String> = keys.try_collect().await?;
    keys.sort();
    let read = async |key: &String| {
        let bytes = store.get_opt(key).await?;
        // It may have been joined to a later one meanwhile.
        let Some(bytes) = bytes else { return Ok(None) };
        let document = serde_json::from_slice(&bytes).ok();
        let document = document.filter(|document: &Document| document.format == FORMAT);
        if document.is_none() {
            tracing::warn!(store = store.url(), key, "statistics cannot be read");
        }
        Ok::<_, Error>(document)
    };
    let reads: Vec<_> = keys.iter().map(read).collect();
    let documents: Vec<Option<Document>> =
        stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    let mut known = Statistics::new();
    for (path, own) in documents.into_iter().flatten().flat_map(|document| document.partitions) {
        known.entry(path).or_default().extend(own);
    }
    Ok((keys, known))
}
