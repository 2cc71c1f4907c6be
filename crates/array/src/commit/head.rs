//! The head of a collection: how far records are published, and for how long things are kept.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use partita_core::store::{Swap, Version};
use partita_core::{Error, ErrorKind, Result, Store};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::manifest::{decode_document, encode_document};
use super::paths::HEAD;
use super::record::{LAST, check_requires};

/// The form of heads that this version writes.
const FORMAT: u32 = 2;
/// Published records that the head names, so that a writer whose record was published before it heard
/// of its commit can tell.
const RECENT: usize = 256;
/// The grace period unless another one was set, in seconds.
const GRACE: u64 = 24 * 60 * 60;

/// All records up to the mark are published, and dead.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    /// The number of the last record that is published; 0 if none is.
    pub published: u64,
    /// Numbers and ids of the records published last, the newest last.
    recent: Vec<(u64, String)>,
    /// For how many seconds staged and replaced objects stay.
    pub grace: u64,
    /// How much history is kept beyond that.
    pub retention: Retention,
    /// Objects that were replaced by commits up to this one were removed: history begins after it.
    pub cleaned: u64,
    /// History was ended before the state of this commit, beyond what retention does.
    pub expired: u64,
    /// The number of changes of the commit after `cleaned` that were cleaned up too.
    pub clean_change: usize,
    /// Before this time, in seconds since 1970, nothing is to be removed; unknown if absent.
    pub clean_after: Option<i64>,
    /// Bytes that commits after `cleaned` have staged and preserved, at most.
    pub retained: u64,
    /// Partitions of stores in which requests may be carried out late that were published within
    /// the grace period.
    pub young: BTreeMap<String, Young>,
}

/// How much history is kept; nothing beyond the grace period if nothing is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// States that were replaced within so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<u64>,
    /// The last so many states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// History is cut where more bytes than this are retained, whatever else is set. Staged and
    /// replaced objects stay for the grace period all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// The default: seven days on object stores.
    fn usual(store: &Store) -> Self {
        let keep_within = (!store.is_local()).then_some(7 * 24 * 60 * 60);
        Self { keep_within, ..Self::default() }
    }
}

/// A partition that was published within the grace period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "YoungTuple", into = "YoungTuple")]
pub(crate) struct Young {
    /// The name of its note.
    pub note: String,
    /// The stage with its manifest; none after a drop.
    pub stage: Option<String>,
    /// The depth of that manifest.
    pub depth: u32,
    /// When it was published, in seconds since 1970.
    pub time: i64,
}

type YoungTuple = (String, Option<String>, u32, i64);

impl From<YoungTuple> for Young {
    fn from((note, stage, depth, time): YoungTuple) -> Self {
        Self { note, stage, depth, time }
    }
}

impl From<Young> for YoungTuple {
    fn from(young: Young) -> Self {
        (young.note, young.stage, young.depth, young.time)
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
    mark: u64,
    token: String,
    recent: Vec<(u64, String)>,
    grace: u64,
    #[serde(flatten)]
    retention: Retention,
    cleaned: u64,
    #[serde(default)]
    expired: u64,
    #[serde(default)]
    clean_change: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clean_after: Option<i64>,
    #[serde(default)]
    retained: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    young: String,
}

/// A head of the format before: it lacks the field `mark`, and later ones lack `published`, by
/// which versions before this one refuse them.
#[derive(Deserialize)]
struct OldDocument {
    published: u64,
    recent: Vec<(u64, String)>,
}

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            published: 0,
            recent: Vec::new(),
            grace: GRACE,
            retention: Retention::default(),
            cleaned: 0,
            expired: 0,
            clean_change: 0,
            clean_after: None,
            retained: 0,
            young: BTreeMap::new(),
        }
    }
}

impl Head {
    /// One request.
    pub async fn read(store: &Store) -> Result<Self> {
        Ok(Self::read_versioned(store).await?.0)
    }

    pub async fn read_versioned(store: &Store) -> Result<(Self, Option<Version>)> {
        let default = Self { retention: Retention::usual(store), ..Self::default() };
        let Some((bytes, version)) = store.get_versioned(HEAD).await? else {
            return Ok((default, None));
        };
        let head = Self::decode(&bytes, default).and_then(|head| match head.published < LAST {
            true => Ok(head),
            false => Err(Error::corrupt("the head of the commits has an impossible number")
                .with("published", head.published)),
        });
        let head = head.map_err(|error| error.with("key", HEAD).with("store", store.url()))?;
        Ok((head, Some(version)))
    }

    /// Reads a head; `default` is one without what the format before did not have.
    pub(super) fn decode(bytes: &[u8], default: Self) -> Result<Self> {
        let damaged = |error: serde_json::Error| {
            Error::corrupt("the head of the commits cannot be read").caused_by(error)
        };
        let form: Form = serde_json::from_slice(bytes).map_err(damaged)?;
        check_requires(form.format, FORMAT, &form.requires)?;
        if form.format < FORMAT {
            let OldDocument { published, recent } =
                serde_json::from_slice(bytes).map_err(damaged)?;
            // Objects that earlier commits replaced were not retained.
            return Ok(Self { published, recent, cleaned: published, ..default });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(damaged)?;
        let young = match document.young.as_str() {
            "" => BTreeMap::new(),
            text => {
                let bytes = STANDARD.decode(text).map_err(|error| {
                    Error::corrupt("the head of the commits cannot be read").caused_by(error)
                })?;
                decode_document(&bytes, "the list of young partitions")?
            }
        };
        Ok(Self {
            published: document.mark,
            recent: document.recent,
            grace: document.grace,
            retention: document.retention,
            cleaned: document.cleaned,
            expired: document.expired,
            clean_change: document.clean_change,
            clean_after: document.clean_after,
            retained: document.retained,
            young,
        })
    }

    /// The document, and what no other one has.
    pub(super) fn encode(&self) -> Result<(Bytes, String)> {
        let token = Uuid::new_v4().simple().to_string();
        let young = match self.young.is_empty() {
            true => String::new(),
            false => STANDARD.encode(encode_document(&self.young, "the list of young partitions")?),
        };
        let document = Document {
            format: FORMAT,
            requires: Vec::new(),
            mark: self.published,
            token: token.clone(),
            recent: self.recent.clone(),
            grace: self.grace,
            retention: self.retention,
            cleaned: self.cleaned,
            expired: self.expired,
            clean_change: self.clean_change,
            clean_after: self.clean_after,
            retained: self.retained,
            young,
        };
        let text = serde_json::to_vec(&document).map_err(|error| {
            Error::invalid("the head of the commits cannot be written").caused_by(error)
        })?;
        Ok((text.into(), token))
    }

    /// The number of the oldest commit whose state can still be read.
    pub fn oldest_state(&self) -> u64 {
        self.cleaned.max(self.expired)
    }

    /// The id of a published record, if it was published lately.
    pub fn id_of(&self, sequence: u64) -> Option<&str> {
        let found = self.recent.iter().find(|(number, _)| *number == sequence);
        found.map(|(_, id)| id.as_str())
    }

    /// Counts bytes that are retained. History that is to be cut by that is looked at by the next
    /// clean-up.
    pub fn retain(&mut self, bytes: u64) {
        self.retained = self.retained.saturating_add(bytes);
        if self.is_over_limit() {
            self.clean_after = None;
        }
    }

    /// More bytes are retained than are to be.
    pub fn is_over_limit(&self) -> bool {
        self.retention.max_bytes.is_some_and(|most| self.retained > most)
    }

    /// The young partition at a path, by the clock of this machine: past the grace period, and a
    /// tenth of it for the difference between clocks, no request can be carried out late any more.
    pub fn young(&self, path: &str, now: Timestamp) -> Option<&Young> {
        self.young.get(path).filter(|young| !self.is_past(young.time, now))
    }

    fn is_past(&self, time: i64, now: Timestamp) -> bool {
        let grace = i64::try_from(self.grace.saturating_add(self.grace / 10)).unwrap_or(i64::MAX);
        now.as_second() > time.saturating_add(grace)
    }

    /// Moves the mark by one record, which published these partitions.
    pub async fn advance(
        mut self,
        store: &Store,
        version: Option<&Version>,
        sequence: u64,
        record: &str,
        published: Vec<(String, Option<Young>)>,
    ) -> Result<(Self, Version)> {
        self.recent.push((sequence, record.to_owned()));
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        self.published = sequence;
        for (path, young) in published {
            match young {
                Some(young) => drop(self.young.insert(path, young)),
                None => drop(self.young.remove(&path)),
            }
        }
        let now = Timestamp::now();
        if sequence == self.cleaned + 1 {
            // The first commit of which anything is retained.
            let grace = i64::try_from(self.grace).unwrap_or(i64::MAX);
            self.clean_after = Some(now.as_second().saturating_add(grace));
        }
        let past: Vec<String> = self
            .young
            .iter()
            .filter(|(_, young)| self.is_past(young.time, now))
            .map(|(path, _)| path.clone())
            .collect();
        past.iter().for_each(|path| drop(self.young.remove(path)));
        self.replace(store, version).await
    }

    /// Writes the head in place of the one that was read. Only for the holder of the lease.
    pub async fn replace(
        self,
        store: &Store,
        version: Option<&Version>,
    ) -> Result<(Self, Version)> {
        let (text, token) = self.encode()?;
        match store.compare_and_swap(HEAD, version, text, &token).await? {
            Swap::Done(version) => Ok((self, version)),
            Swap::Lost { .. } => Err(Error::new(
                ErrorKind::CommitConflict,
                "another process published this commit at the same time",
            )
            .with("store", store.url())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_back_and_unknown_ones_refused() {
        let mut head = Head { published: 9, cleaned: 3, ..Head::default() };
        let young = Young { note: "n".into(), stage: Some("s".into()), depth: 2, time: 7 };
        head.young.insert("p=1".to_owned(), young);
        head.retention.keep_last = Some(4);
        let (text, _) = head.encode().unwrap();
        assert_eq!(Head::decode(&text, Head::default()).unwrap(), head);
        // Versions before require this field.
        let mut document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(document.get("published").is_none());
        document["requires"] = vec!["something new"].into();
        let error = Head::decode(document.to_string().as_bytes(), Head::default()).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
        let old = br#"{"published": 5, "id": "x", "recent": [[5, "y"]]}"#;
        let old = Head::decode(old, Head::default()).unwrap();
        assert_eq!((old.published, old.cleaned, old.id_of(5)), (5, 5, Some("y")));
    }
}
