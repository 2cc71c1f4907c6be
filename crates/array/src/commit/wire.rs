//! Records as they are stored in plain stores.
//!
//! Format 2 keeps an entry of a partition under 200 bytes: stages and the names that patches touch
//! are listed once and referred to by their position, and whatever is longer stands in manifests.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use partita_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::paths::STAGE;
use super::record::{Action, Change, LAST, Record, Source, WITHDRAWAL, check_requires};
use crate::statistics::Statistics;

/// The form of records that this version writes.
const FORMAT: u32 = 2;
/// The feature that a reader of documents with manifests must know.
const MANIFESTS: &str = "manifests";

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    requires: Vec<String>,
    sequence: u64,
    id: String,
    operation: String,
    time: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    touches: Vec<Vec<String>>,
    changes: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_before: Option<String>,
    #[serde(default, skip_serializing_if = "Statistics::is_empty")]
    statistics: Statistics,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    action: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    touches: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(default)]
    bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Source>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Replace,
    Patch,
    Drop,
}

/// The fields that tell the format of a record.
#[derive(Deserialize)]
struct Form {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
}

impl Record {
    /// Reads a stored record, of this format or the one before.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |error: serde_json::Error| {
            Error::corrupt("a commit record cannot be read").caused_by(error)
        };
        let form: Form = serde_json::from_slice(bytes).map_err(damaged)?;
        check_requires(form.format, FORMAT, &form.requires)?;
        let record: Self = match form.format < FORMAT {
            true => serde_json::from_slice(bytes).map_err(damaged)?,
            false => {
                let document: Document = serde_json::from_slice(bytes).map_err(damaged)?;
                document.into_record()?
            }
        };
        record.changes.iter().try_for_each(Change::check)?;
        match record.sequence < LAST {
            true => Ok(record),
            false => Err(Error::corrupt("a commit record has an impossible number")
                .with("sequence", record.sequence)),
        }
    }

    pub(crate) fn encode(&self) -> Result<Bytes> {
        let text = serde_json::to_vec(&Document::of(self));
        text.map(Bytes::from)
            .map_err(|error| Error::invalid("a commit record cannot be written").caused_by(error))
    }
}

impl Document {
    fn of(record: &Record) -> Self {
        let (mut stages, mut touches) = (Vec::new(), Vec::new());
        let entry = |change: &Change| {
            let short = |stage: &str| {
                let below = stage.strip_prefix(STAGE).and_then(|below| below.strip_prefix('/'));
                below.unwrap_or(stage).to_owned()
            };
            let stage = change.stage().map(|stage| position(&mut stages, short(stage)));
            let (action, touched) = match &change.action {
                Action::Replace { .. } => (Kind::Replace, None),
                Action::Patch { replaced, .. } => {
                    (Kind::Patch, Some(position(&mut touches, first_components(replaced))))
                }
                Action::Drop => (Kind::Drop, None),
            };
            let (path, rows, bytes) = (change.path.clone(), change.rows, change.bytes);
            let sources = change.sources.clone();
            Entry { path, action, stage, touches: touched, rows, bytes, sources }
        };
        let changes = record.changes.iter().map(entry).collect();
        let withdrawal = record.is_withdrawal().then_some(WITHDRAWAL);
        Self {
            format: FORMAT,
            requires: [MANIFESTS].into_iter().chain(withdrawal).map(str::to_owned).collect(),
            sequence: record.sequence,
            id: record.id.clone(),
            operation: record.operation.clone(),
            time: record.time,
            key: record.key.clone(),
            stages,
            touches,
            changes,
            config: record.config.clone(),
            config_before: record.config_before.clone(),
            statistics: record.statistics.clone(),
        }
    }

    fn into_record(self) -> Result<Record> {
        let (stages, touches) = (self.stages, self.touches);
        let missing = || Error::corrupt("a commit record refers to what it does not have");
        let change = |entry: Entry| {
            let stage = || {
                let short = entry.stage.and_then(|at| stages.get(at)).ok_or_else(missing)?;
                Ok::<_, Error>(format!("{STAGE}/{short}"))
            };
            let action = match entry.action {
                Kind::Replace => Action::Replace { stage: stage()?, fresh: false },
                Kind::Patch => {
                    let replaced = entry.touches.and_then(|at| touches.get(at));
                    let replaced = replaced.ok_or_else(missing)?.clone();
                    Action::Patch { stage: stage()?, replaced }
                }
                Kind::Drop => Action::Drop,
            };
            let has_manifest = !matches!(action, Action::Drop);
            let mut change = Change::new(&entry.path, action);
            (change.rows, change.bytes) = (entry.rows, entry.bytes);
            change.sources = entry.sources;
            change.has_manifest = has_manifest;
            Ok(change)
        };
        let changes = self.changes.into_iter().map(change).collect::<Result<_>>()?;
        Ok(Record {
            format: self.format,
            sequence: self.sequence,
            id: self.id,
            operation: self.operation,
            time: self.time,
            key: self.key,
            changes,
            config: self.config,
            config_before: self.config_before,
            statistics: self.statistics,
        })
    }
}

/// Where a value is in a list, to which it is added if it is not there.
fn position<T: PartialEq>(all: &mut Vec<T>, value: T) -> usize {
    // Values of one commit are the same in long runs, so the newest ones are looked at first.
    all.iter().rposition(|other| *other == value).unwrap_or_else(|| {
        all.push(value);
        all.len() - 1
    })
}

/// The first components of keys below a partition, but for those of documents, which begin with a
/// dot.
fn first_components(keys: &[String]) -> Vec<String> {
    let first = keys.iter().filter_map(|key| key.split('/').next());
    let named: BTreeSet<&str> = first.filter(|name| !name.starts_with('.')).collect();
    named.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partitions: usize) -> Record {
        let stage = || format!("{STAGE}/0123456789abcdef0123456789abcdef/1");
        let change = |number: usize| {
            let path = format!("year=2022/month=01/day=01/hour={number:05}");
            let replaced = (0..500).map(|chunk| format!("ssh/c/{chunk}/0")).collect();
            let mut change = match number % 3 {
                0 => Change::new(&path, Action::Replace { stage: stage(), fresh: false }),
                1 => Change::new(&path, Action::Patch { stage: stage(), replaced }),
                _ => Change::drop(&path),
            };
            (change.rows, change.bytes) = (Some(u64::MAX), u64::MAX);
            change
        };
        let changes = (0..partitions).map(change).collect();
        let mut record = Record::new("insert", "id".to_owned(), Some("key".to_owned()), changes);
        record.sequence = 7;
        record
    }

    #[test]
    fn an_entry_takes_fewer_than_200_bytes() {
        let size = |partitions| record(partitions).encode().unwrap().len();
        assert!(size(3000) - size(1500) < 1500 * 200, "{}", (size(3000) - size(1500)) / 1500);
    }

    #[test]
    fn records_are_read_back() {
        let record = record(9);
        let read = Record::decode(&record.encode().unwrap()).unwrap();
        let names = |of: &Record| -> Vec<(String, Option<String>)> {
            let stage = |change: &Change| change.stage().map(str::to_owned);
            of.changes.iter().map(|change| (change.path.clone(), stage(change))).collect()
        };
        assert_eq!(names(&read), names(&record));
        assert_eq!((read.sequence, read.id, read.key), (7, record.id, record.key));
        let Action::Patch { replaced, .. } = &read.changes[1].action else { panic!() };
        assert_eq!(replaced, &["ssh"]);
    }

    #[test]
    fn changes_stay_within_their_partitions() {
        let good = record(3);
        let with = |edit: fn(&mut Change)| {
            let mut record = good.clone();
            record.changes.iter_mut().for_each(edit);
            Record::decode(&serde_json::to_vec(&record).unwrap()).map_err(|error| error.kind())
        };
        assert!(with(|_| ()).is_ok());
        for path in ["", ".partita/log", "..", "year=2022/../../other", "/etc"] {
            let mut record = good.clone();
            record.changes[2].path = path.to_owned();
            for bytes in [serde_json::to_vec(&record).unwrap(), record.encode().unwrap().to_vec()] {
                let error = Record::decode(&bytes).unwrap_err();
                assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt, "{path}");
            }
        }
        let emptied = with(|change| {
            if let Action::Patch { replaced, .. } = &mut change.action {
                *replaced = vec![String::new()];
            }
        });
        assert_eq!(emptied.err(), Some(partita_core::ErrorKind::Corrupt));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let text = record(1).encode().unwrap();
        let mut document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for (field, value) in [("format", 3.into()), ("requires", vec!["group commit"].into())] {
            let before = document[field].clone();
            document[field] = value;
            let error = Record::decode(document.to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains("newer version"), "{error}");
            document[field] = before;
        }
        Record::decode(document.to_string().as_bytes()).unwrap();
    }
}
