//! Reading records, and creating them.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::{Swap, backoff};
use partita_core::{Error, ErrorKind, Result, Store, commit_point, commit_settled};

use super::head::Head;
use super::paths::{LOG, record_key};
use super::record::Record;

/// Records read at once.
const AT_ONCE: usize = 16;
/// How often it is tried to learn whether a record that was created counts.
const CHECKS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The record of a number, if there is one. One request.
pub(super) async fn read(store: &Store, sequence: u64) -> Result<Option<Record>> {
    let key = record_key(sequence);
    let Some(bytes) = store.get_opt(&key).await? else { return Ok(None) };
    let record = Record::decode(&bytes).map_err(|error| error.with("key", &key))?;
    if record.sequence != sequence {
        return Err(Error::corrupt("a commit record has the number of another").with("key", key));
    }
    Ok(Some(record))
}

/// The records after `sequence`, in order. One request more than there are.
pub(super) async fn read_after(store: &Store, sequence: u64) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    let mut next = sequence.saturating_add(1);
    while let Some(record) = read(store, next).await? {
        records.push(record);
        next = next.saturating_add(1);
    }
    Ok(records)
}

/// Every record that is kept, the oldest first.
pub(crate) async fn records(store: &Store) -> Result<Vec<Record>> {
    let mut numbers: Vec<u64> = numbers(store).await?.into_iter().map(|(n, _)| n).collect();
    numbers.sort_unstable();
    let read = stream::iter(numbers).map(|number| read(store, number)).buffered(AT_ONCE);
    // One that was removed since it was listed is not missed.
    read.try_filter_map(async |record| Ok(record)).try_collect().await
}

/// The numbers of the records that are kept, with what the store says of their objects.
pub(crate) async fn numbers(store: &Store) -> Result<Vec<(u64, partita_core::store::ObjectInfo)>> {
    let number = |info: partita_core::store::ObjectInfo| {
        let text = info.key.strip_prefix(LOG)?.strip_suffix(".json")?;
        Some((text.parse::<u64>().ok()?, info))
    };
    store.list(LOG).try_filter_map(async |info| Ok(number(info))).try_collect().await
}

/// How the creation of a record ended.
pub(super) enum Created {
    /// It is committed.
    Done,
    /// Another record has the number.
    Taken,
}

/// The id of the commit of a number, if it is kept or was published lately.
pub(crate) async fn commit_id(store: &Store, sequence: u64) -> Result<Option<String>> {
    if sequence == 0 {
        return Ok(None);
    }
    if let Some(id) = Head::read(store).await?.id_of(sequence) {
        return Ok(Some(id.to_owned()));
    }
    Ok(read(store, sequence).await?.map(|record| record.id))
}

/// Creates a record, which is the commit. Its number follows that of the last one known.
///
/// A writer may have slept since it looked, while its number was used, published and removed. Then
/// the number is free again and dead, which the mark tells.
///
/// # Errors
/// After any error the record may exist and count: what it names must not be removed.
pub(super) async fn create(store: &Store, record: &Record) -> Result<Created> {
    let key = record_key(record.sequence);
    let create = store.compare_and_swap(&key, None, record.encode()?, &record.id);
    match commit_point(&record.id, create, Swap::is_done).await? {
        Swap::Lost { .. } => return Ok(Created::Taken),
        Swap::Done(_) => {}
    }
    let head = read_head(store).await.map_err(|error| {
        unknown(
            record,
            store,
            "the commit was recorded, but not whether it counts: look at the history",
        )
        .caused_by(error)
    })?;
    if head.published < record.sequence {
        return Ok(Created::Done);
    }
    match head.id_of(record.sequence) {
        Some(id) if id == record.id => Ok(Created::Done),
        Some(_) => {
            // Nobody takes it for a commit, but the history would show it.
            commit_settled(&record.id, false);
            if let Err(error) = store.delete(&key).await {
                tracing::warn!(key, %error, "the record of no commit could not be removed");
            }
            Ok(Created::Taken)
        }
        None => Err(unknown(
            record,
            store,
            "so much was committed meanwhile that it cannot be learned whether this commit counts; \
             look at the history",
        )),
    }
}

/// The head, which must be read now: the record is there.
async fn read_head(store: &Store) -> Result<Head> {
    for attempt in 1..CHECKS {
        match Head::read(store).await {
            Err(error) if error.kind() == ErrorKind::Store => {
                tracing::debug!(%error, "the head is read again");
                backoff(attempt, FIRST_PAUSE).await;
            }
            head => return head,
        }
    }
    Head::read(store).await
}

fn unknown(record: &Record, store: &Store, message: &str) -> Error {
    Error::new(ErrorKind::CommitUnknown, message)
        .with("commit", &record.id)
        .with("store", store.url())
}

/// The time by the clock of the store.
pub(crate) async fn store_time(store: &Store) -> Result<jiff::Timestamp> {
    store.now(&format!(".partita/clock-{}", uuid::Uuid::new_v4().simple())).await
}

/// So many commits are looked through for the name that a writer gave to one.
pub(super) const KEYS_KEPT: u64 = 64;

/// The number of the commit that its writer named `key`, if it was lately.
pub(crate) async fn find_key(store: &Store, latest: u64, key: &str) -> Result<Option<u64>> {
    let numbers = (latest.saturating_sub(KEYS_KEPT).max(1)..=latest).rev();
    let records = stream::iter(numbers).map(|number| read(store, number)).buffered(AT_ONCE);
    let named = records.try_filter_map(async |record| {
        let named = record.filter(|record| record.key.as_deref() == Some(key));
        Ok(named.map(|record| record.sequence))
    });
    std::pin::pin!(named).try_next().await
}
