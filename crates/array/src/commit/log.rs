//! Reading records, and creating them.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use partita_core::store::{ObjectInfo, Swap, backoff};
use partita_core::{Error, ErrorKind, Result, Store, commit_point, commit_settled};

use super::head::Head;
use super::paths::{CLOCK, LOG, record_key};
use super::record::{Record, WITHDRAWAL};
use crate::protocol::{Counts, counts};

/// The number of the first commit.
const FIRST: u64 = 1;
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
    match record.is_withdrawal() {
        true => Err(withdrawn(store)),
        false => Ok(Some(record)),
    }
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
pub(crate) async fn numbers(store: &Store) -> Result<Vec<(u64, ObjectInfo)>> {
    let number = |info: ObjectInfo| {
        let text = info.key.strip_prefix(LOG)?.strip_suffix(".json")?;
        Some((text.parse::<u64>().ok()?, info))
    };
    store.list(LOG).try_filter_map(async |info| Ok(number(info))).try_collect().await
}

fn withdrawn(store: &Store) -> Error {
    Error::new(
        ErrorKind::NotFound,
        "the collection was removed by the writer that had just made it, since its first rows could \
         not be stored",
    )
    .with("store", store.url())
}

/// Takes the number of the first commit of a collection, so that nobody else can commit to it any
/// more. False if there was a commit.
///
/// # Errors
/// As [`create`].
pub(crate) async fn withdraw(store: &Store) -> Result<bool> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let record = Record { sequence: FIRST, ..Record::new(WITHDRAWAL, id, None, Vec::new()) };
    Ok(matches!(create(store, &record, None, || ()).await?, Created::Done))
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

/// Creates a record, which is the commit. Its number follows that of the last one known. `recorded`
/// is called once the record is there, before it is learned whether it counts.
///
/// A writer may have slept since it looked, while its number was used, published and removed. Then
/// the number is free again and dead, which the mark tells. The first number is free, too, after the
/// creation of the collection was taken back: then its document, of this key, is not there.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if there is no collection any more, and nothing is committed.
/// After any other error the record may exist and count: what it names must not be removed.
pub(super) async fn create(
    store: &Store,
    record: &Record,
    document: Option<&str>,
    recorded: impl FnOnce() + Send,
) -> Result<Created> {
    let key = record_key(record.sequence);
    let create = store.compare_and_swap(&key, None, record.encode()?, &record.id);
    match commit_point(&record.id, create, Swap::is_done).await? {
        Swap::Lost { .. } => return Ok(Created::Taken),
        Swap::Done(_) => recorded(),
    }
    let document = document.filter(|_| record.sequence == FIRST);
    let answers = futures::try_join!(read_head(store), is_there(store, document));
    let (head, is_there) = answers.map_err(|error| {
        unknown(
            record,
            store,
            "the commit was recorded, but not whether it counts: look at the history",
        )
        .caused_by(error)
    })?;
    if !is_there {
        remove(store, record, &key).await;
        return Err(withdrawn(store));
    }
    let is_published = head.id_of(record.sequence).map(|id| id == record.id);
    match counts(record.sequence, head.published, is_published) {
        Counts::Yes => Ok(Created::Done),
        Counts::No => {
            remove(store, record, &key).await;
            Ok(Created::Taken)
        }
        Counts::Unknown => Err(unknown(
            record,
            store,
            "so much was committed meanwhile that it cannot be learned whether this commit counts; \
             look at the history",
        )),
    }
}

/// Removes a record that nobody takes for a commit, but that the history would show.
async fn remove(store: &Store, record: &Record, key: &str) {
    commit_settled(&record.id, false);
    if let Err(error) = store.delete(key).await {
        tracing::warn!(key, %error, "the record of no commit could not be removed");
    }
}

/// True if there is an object of this key, or none is asked for.
async fn is_there(store: &Store, key: Option<&str>) -> Result<bool> {
    match key {
        Some(key) => Ok(store.head(key).await?.is_some()),
        None => Ok(true),
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
pub(crate) async fn store_time(store: &Store) -> Result<Timestamp> {
    store.now(&format!("{CLOCK}{}", uuid::Uuid::new_v4().simple())).await
}

/// The objects of processes that stopped while they looked at the clock of the store, before `old`.
pub(crate) async fn stopped_clocks(store: &Store, old: Timestamp) -> Result<Vec<ObjectInfo>> {
    let stopped = async |info: ObjectInfo| Ok((info.last_modified < old).then_some(info));
    store.list(CLOCK).try_filter_map(stopped).try_collect().await
}

/// The newest record with this key among those after `after` up to `latest`. A listing, and a request
/// a record until it is found; none if there are no such numbers.
pub(super) async fn find_key(
    store: &Store,
    after: u64,
    latest: u64,
    key: &str,
) -> Result<Option<Record>> {
    if after >= latest {
        return Ok(None);
    }
    let listed = numbers(store).await?.into_iter().map(|(number, _)| number);
    let mut numbers: Vec<u64> = listed.filter(|n| *n > after && *n <= latest).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let records = stream::iter(numbers).map(|number| read(store, number)).buffered(AT_ONCE);
    let named = records
        .try_filter_map(async |record| Ok(record.filter(|one| one.key.as_deref() == Some(key))));
    std::pin::pin!(named).try_next().await
}
