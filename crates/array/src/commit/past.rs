//! Earlier states of a collection in a plain store, as far as their objects are retained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use partita_core::{Error, ErrorKind, Result, Store};

use super::contents::Contents;
use super::head::Head;
use super::log::{self, read_after};
use super::note;
use super::overlay::Overlay;
use super::record::{Action, Record};
use super::snapshot::{Snapshot, laid_over, read_document};
use crate::collection::Partition;
use crate::layout::{decode_config, list_partitions};
use crate::partitioning::Key;

/// How often an earlier state is taken again because commits changed which partitions there are.
const ATTEMPTS: u32 = 20;
/// Records and notes read at once.
const READ_AT_ONCE: usize = 32;

/// The history of a collection, as far as it is retained.
pub(crate) struct History {
    head: Head,
    /// The records of which replaced objects are retained, the oldest first.
    records: Vec<Record>,
    latest: u64,
}

impl History {
    /// One request for each record of which anything is retained.
    pub async fn read(store: &Store) -> Result<Self> {
        let head = Head::read(store).await?;
        let pending = read_after(store, head.published).await?;
        let latest = pending.last().map_or(head.published, |record| record.sequence);
        let numbers = head.cleaned + 1..=head.published;
        let read = async |number: u64| log::read(store, number).await;
        let all: Vec<_> = numbers.map(read).collect();
        let kept: Vec<Option<Record>> =
            stream::iter(all).buffered(READ_AT_ONCE).try_collect().await?;
        let records = kept.into_iter().flatten().chain(pending).collect();
        Ok(Self { head, records, latest })
    }

    /// The number of the last commit that was made by then, by the clocks of the writers.
    pub fn number_at(&self, time: Timestamp, store: &Store) -> Result<u64> {
        match self.records.iter().rfind(|record| in_micros(record.time) <= in_micros(time)) {
            Some(record) => Ok(record.sequence),
            None => Err(self.no_longer_kept(store).with("time", time)),
        }
    }

    /// The number of the oldest commit whose state is kept if history ends before what is older than
    /// `within`, or before all but the last `last` states.
    pub fn end(&self, within: Option<Timestamp>, last: Option<u64>) -> u64 {
        let old = within.and_then(|time| self.records.iter().rfind(|own| own.time < time));
        let by_time = old.map_or(0, |record| record.sequence);
        let by_number = last.map_or(0, |last| (self.latest + 1).saturating_sub(last.max(1)));
        by_time.max(by_number).min(self.head.published).max(self.head.oldest_state())
    }

    /// The ids of the commits whose states are not kept any more if history ends at a number.
    pub fn expiring(&self, end: u64) -> Vec<String> {
        let gone = self.head.oldest_state()..end;
        let records = self.records.iter().filter(|record| gone.contains(&record.sequence));
        records.map(|record| record.id.clone()).collect()
    }

    /// The partitions that commits after this number have touched.
    pub fn touched(&self, number: u64) -> BTreeSet<&str> {
        let since = self.records.iter().filter(|record| record.sequence > number);
        since.flat_map(|record| &record.changes).map(|change| change.path.as_str()).collect()
    }

    fn check(&self, number: u64, store: &Store) -> Result<()> {
        if number > self.latest {
            return Err(Error::new(ErrorKind::NotFound, "there is no commit of this number yet")
                .with("commit", number)
                .with("latest", self.latest)
                .with("store", store.url()));
        }
        let first = self.records.first().map_or(self.latest + 1, |record| record.sequence);
        if number < self.head.oldest_state() || number + 1 < first {
            return Err(self.no_longer_kept(store).with("commit", number));
        }
        Ok(())
    }

    fn no_longer_kept(&self, store: &Store) -> Error {
        Error::new(
            ErrorKind::NotFound,
            "that state has expired: its objects are not retained any more; set a longer retention \
             to keep more of the history",
        )
        .with("oldest", self.head.oldest_state())
        .with("store", store.url())
    }
}

/// Earlier contents of partitions, by their paths.
pub(super) type PastStates = BTreeMap<String, PastState>;

/// The earlier contents of a partition.
#[derive(Debug)]
pub(super) enum PastState {
    Absent,
    Present(Contents),
}

impl Snapshot {
    /// The state that the commit of this number left; of a view, over the newest state of its base.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such commit, or what it left is not retained.
    pub async fn past(base: &Store, number: u64, under: Option<Self>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let history = History::read(base).await?;
            history.check(number, base)?;
            let found = Self::past_of(base, number, under.clone(), &history).await?;
            // The partitions were listed after the history was read.
            let later = read_after(base, history.latest).await?;
            if !later.iter().any(Record::changes_listing) {
                return Ok(found);
            }
        }
        Err(Error::new(
            ErrorKind::CommitConflict,
            "other writers made or removed partitions during each attempt to find those of an \
             earlier state; try again",
        )
        .with("commit", number)
        .with("store", base.url()))
    }

    async fn past_of(
        base: &Store,
        number: u64,
        under: Option<Self>,
        history: &History,
    ) -> Result<Self> {
        let mut config = read_document(base, under.as_ref()).await?;
        let changed = history.records.iter().filter_map(|record| {
            let own = (record.sequence, record.config.as_ref()?, record.config_before.as_ref());
            Some(own)
        });
        let changed: Vec<_> = changed.collect();
        let after = changed.iter().find(|(sequence, _, _)| *sequence > number);
        let before = changed.iter().rfind(|(sequence, _, _)| *sequence <= number);
        let text = match (after, before) {
            (Some((_, _, Some(text))), _) => Some(text.as_str()),
            (Some((_, _, None)), Some((_, text, _))) => Some(text.as_str()),
            (Some((_, _, None)), None) => return Err(history.no_longer_kept(base)),
            (None, Some((_, text, _))) => Some(text.as_str()),
            (None, None) => None,
        };
        if let Some(text) = text {
            config = decode_config(&config, text.as_bytes())?;
        }
        let (config, whole) = laid_over(config, under.as_ref())?;
        let state = async |path: &str| {
            let state = history.state_of(base, path, number).await;
            Ok::<_, Error>((path.to_owned(), state.map_err(|e| e.with("partition", path))?))
        };
        // Commits that are not published are not where partitions are read otherwise.
        let touched = history.touched(number.min(history.head.published));
        let states: Vec<_> = touched.iter().map(|path| state(path)).collect();
        let states: PastStates =
            stream::iter(states).buffer_unordered(READ_AT_ONCE).try_collect().await?;
        let listed = list_partitions(base, &config).await?;
        let mut partitions: BTreeMap<Key, String> =
            listed.into_iter().map(|found| (found.key, found.path)).collect();
        for (path, state) in &states {
            let Some(key) = config.partitioning.parse(path) else { continue };
            match state {
                PastState::Absent => drop(partitions.remove(&key)),
                PastState::Present(_) => drop(partitions.insert(key, path.clone())),
            }
        }
        let partition = |(key, path)| Partition { key, path };
        let partitions: Vec<Partition> = partitions.into_iter().map(partition).collect();
        let states = Arc::new(states);
        let overlay = Overlay::past(base, &history.head, &states);
        Ok(Self {
            store: base.wrap(|_| Arc::new(overlay)),
            listed: Some(Arc::new(partitions)),
            past: Some(states),
            latest: number,
            seen: history.latest,
            ..Self::new(base, config, whole, under, history.head.clone())
        })
    }
}

impl Snapshot {
    /// The contents of a partition that commits since this state have touched; none if it was not
    /// there.
    pub(super) fn past_contents(&self, path: &str) -> Option<&Contents> {
        match self.past.as_ref()?.get(path)? {
            PastState::Absent => None,
            PastState::Present(contents) => Some(contents),
        }
    }
}

impl History {
    /// The contents of a partition after the commit of this number.
    async fn state_of(&self, store: &Store, path: &str, number: u64) -> Result<PastState> {
        // Commits that are not published have no notes.
        let pending = self.records.iter().rev().filter(|r| r.sequence > self.head.published);
        let pending = pending.filter(|record| record.sequence <= number);
        let mut changes = pending.flat_map(|record| &record.changes);
        if let Some(change) = changes.find(|change| change.path == path) {
            return match (&change.action, change.stage()) {
                (Action::Drop, _) | (_, None) => Ok(PastState::Absent),
                (_, Some(stage)) => self.present(store, Contents::of(store, stage, path).await?),
            };
        }
        let mut next = note::newest(store, path, self.head.published).await?;
        let mut is_created = true;
        while let Some(name) = next {
            let note = note::require(store, path, &name).await?;
            if note.sequence <= number {
                if note.foreign {
                    return Err(self.no_longer_kept(store));
                }
                return match note.stage {
                    None => Ok(PastState::Absent),
                    Some(_) => self.present(store, note.contents(store, path).await?),
                };
            }
            is_created = note.created;
            next = note.previous;
        }
        // Before its first note a partition was not there, or another program had written it.
        match is_created {
            true => Ok(PastState::Absent),
            false => Err(self.no_longer_kept(store)),
        }
    }

    fn present(&self, store: &Store, contents: Contents) -> Result<PastState> {
        match contents.complete {
            true => Ok(PastState::Present(contents)),
            false => Err(self.no_longer_kept(store)),
        }
    }
}

/// Times are shown in microseconds, so that is what they are compared in.
fn in_micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}
