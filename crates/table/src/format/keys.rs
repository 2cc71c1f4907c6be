//! The keys of a table's objects, relative to the store that holds the table.

use partita_core::partition::PartitionKey;
use partita_core::{Error, Result};

use super::header::Attempt;

/// The default folder name of a table's data files.
pub const DEFAULT_TABLE_NAME: &str = "table";

const JSON_SUFFIX: &str = ".by-dataset-metadata.json";
const MSGPACK_SUFFIX: &str = ".by-dataset-metadata.msgpack.zstd";
const INDEX_SUFFIX: &str = ".by-dataset-index.parquet";

/// Refuses names that plateau could not open: letters, digits, `+`, `-` and `_` only.
///
/// # Errors
/// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument).
pub fn check_name(name: &str) -> Result<()> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_');
    if name.is_empty() || !name.chars().all(valid) {
        return Err(Error::invalid(
            "a dataset name may hold only letters, digits, '+', '-' and '_'",
        )
        .with("dataset", name));
    }
    Ok(())
}

/// The header in its JSON form.
#[must_use]
pub fn json_header(name: &str) -> String {
    format!("{name}{JSON_SUFFIX}")
}

/// The header in its msgpack form.
#[must_use]
pub fn msgpack_header(name: &str) -> String {
    format!("{name}{MSGPACK_SUFFIX}")
}

/// The dataset name if `key` is a header directly under the store's root.
#[must_use]
pub fn name_of_header(key: &str) -> Option<&str> {
    let name = key.strip_suffix(JSON_SUFFIX).or_else(|| key.strip_suffix(MSGPACK_SUFFIX))?;
    check_name(name).is_ok().then_some(name)
}

/// The schema file of a table.
#[must_use]
pub fn common_metadata(name: &str, table: &str) -> String {
    format!("{name}/{table}/_common_metadata")
}

/// The label of a data file: its path below the table without the suffix.
#[must_use]
pub fn label(partition: &PartitionKey, id: &str) -> String {
    format!("{}{id}", partition.to_path())
}

/// The key of the data file with `label`.
#[must_use]
pub fn data_file(name: &str, table: &str, label: &str) -> String {
    format!("{name}/{table}/{label}.parquet")
}

/// A key for a new index file of `column`. Time alone, as in plateau, is not unique: two writers
/// may create one in the same microsecond.
#[must_use]
pub fn index_file(name: &str, column: &str, time: &str, made: &Attempt) -> String {
    let column = PartitionKey::encode_component(column);
    let time = PartitionKey::encode_component(time);
    format!("{name}/indices/{column}/{time}-{}{INDEX_SUFFIX}", made.token())
}

/// The key of a temporary object that is written to determine the store's time.
#[must_use]
pub fn clock(name: &str, id: &str) -> String {
    format!("{name}/_partita/clock-{id}")
}

/// The folder of Partita's snapshots; plateau neither reads nor collects them.
#[must_use]
pub fn snapshots(name: &str) -> String {
    format!("{name}/_partita/snapshots/")
}

/// The snapshot that an attempt writes for `version`. The version is zero-padded, so that listings
/// are sorted.
#[must_use]
pub fn snapshot(name: &str, version: u64, made: &Attempt) -> String {
    format!("{}{version:012}-{}.parquet", snapshots(name), made.token())
}

/// The version of a snapshot, parsed from its key.
#[must_use]
pub fn version_of_snapshot(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.split('-').next()?.parse().ok()
}

/// The folder of the marks of expiries.
#[must_use]
pub fn expiries(name: &str) -> String {
    format!("{name}/_partita/expired/")
}

/// The mark of an expiry after which `oldest` is the oldest version.
#[must_use]
pub fn expiry(name: &str, oldest: u64) -> String {
    let id = uuid::Uuid::new_v4().simple();
    format!("{}{oldest:012}-{id}.json", expiries(name))
}

/// The folder of pins: copies of snapshots whose files are about to be named again.
#[must_use]
pub fn pins(name: &str) -> String {
    format!("{name}/_partita/pins/")
}

/// A new pin.
#[must_use]
pub fn pin(name: &str) -> String {
    format!("{}{}.parquet", pins(name), uuid::Uuid::new_v4().simple())
}

/// The folder of the idempotency keys of commits.
#[must_use]
pub fn claims(name: &str) -> String {
    format!("{name}/_partita/keys/")
}

/// The object of the idempotency key whose commit has this id.
#[must_use]
pub fn claim(name: &str, commit: &str) -> String {
    format!("{}{commit}.json", claims(name))
}

/// The object that records the encoding of a new table's header.
#[must_use]
pub fn form(name: &str) -> String {
    format!("{name}/_partita/form.json")
}

/// The table folder and the partition key, parsed from the key of a data file. As in plateau, the
/// first component (the dataset) is ignored.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the key has fewer than three components.
pub fn parse_data_file(key: &str) -> Result<(&str, PartitionKey)> {
    let mut components = key.split('/');
    components.next();
    let table = components.next();
    let mut directories: Vec<&str> = components.collect();
    let file = directories.pop();
    match (table, file) {
        (Some(table), Some(_)) => {
            let partition = PartitionKey::from_directories(directories.into_iter())
                .map_err(|error| error.with("key", key))?;
            Ok((table, partition))
        }
        _ => Err(Error::corrupt("a data file's key has too few components").with("key", key)),
    }
}
