//! Building an index, and refreshing one that is stale.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use partita_core::store::{LARGEST, Swap};
use partita_core::{Error, ErrorKind, Predicate, Result};
use tracing::Instrument;
use uuid::Uuid;

use super::entries::Worked;
use super::file::{About, CommitName, encode};
use super::place::IndexPlace;
use super::source::{IndexFunction, IndexSource};
use super::state::{IndexLag, State};
use super::{Index, NO_VIEW};
use crate::collection::{Collection, Partition};
use crate::commit::{Action, Snapshot};
use crate::options::{Work, concurrency};

/// How often an operation is repeated because partitions or the index changed meanwhile.
const ATTEMPTS: u32 = 30;

/// Options of building an index.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The partitions that are indexed; all if there is none. The columns are the fields of the
    /// keys.
    pub predicate: Option<Predicate>,
    /// Replace an existing index.
    pub overwrite: bool,
    /// How many partitions are processed concurrently; by default as many as there are cores.
    pub at_once: Option<usize>,
    /// Receives progress in partitions.
    pub work: Work,
}

/// Options of refreshing an index.
#[derive(Debug, Clone, Default)]
pub struct RefreshOptions {
    /// Index all partitions again, not only those that commits changed: writes of ZCollection leave
    /// no commit records.
    pub all: bool,
    /// How many partitions are processed concurrently; by default as many as there are cores.
    pub at_once: Option<usize>,
    /// Receives progress in partitions.
    pub work: Work,
}

impl Index {
    /// Builds an index of a collection and stores it. The file is created atomically.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a file and it is not to be
    /// overwritten; [`NotFound`](ErrorKind::NotFound) or
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) with the variable, if the collection does
    /// not have it, or it has other dimensions than the partitioned one;
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) with the partition, if the tables that the
    /// function returns differ in their columns; the errors of [`Collection::map`].
    pub fn build<'a>(
        collection: &'a Collection,
        place: IndexPlace,
        source: IndexSource,
        options: &'a BuildOptions,
    ) -> BoxFuture<'a, Result<Self>> {
        async move {
            place.store.check_writable()?;
            collection.config().check_no_view(NO_VIEW)?;
            let exists = || {
                Error::new(
                    ErrorKind::AlreadyExists,
                    "a file exists here already; overwrite it, or open it if it is an index of \
                     this collection",
                )
                .with("index", place.url())
            };
            let old = place.store.get_versioned_within(&place.key, LARGEST).await?;
            if old.is_some() && !options.overwrite {
                return Err(exists());
            }
            let snapshot = collection.snapshot().await?;
            source.check(&snapshot.config)?;
            let (variables, inputs, function) = match &source {
                IndexSource::Variables(names) => (Some(names.clone()), None, None),
                IndexSource::Function { function, variables } => {
                    (None, variables.clone(), Some(IndexFunction::clone(function)))
                }
            };
            let predicate = options.predicate.as_ref().map(ToString::to_string);
            let state = State {
                entries: source.entries(&snapshot.config)?,
                about: About::of(variables, inputs, predicate),
                others: Vec::new(),
                version: old.map(|(_, version)| version),
                verified: true,
            };
            let working = Working { collection, source: Some(source), at_once: options.at_once };
            let state = working.renew(&state, &snapshot, IndexLag::Unknown, &options.work).await?;
            match write(collection, &place, state).await? {
                Ok(state) => Ok(Self::of(collection.clone(), place, function, state)),
                Err(Lost) => Err(exists()),
            }
        }
        .instrument(tracing::debug_span!("build", dataset = %collection.place()))
        .boxed()
    }

    /// Indexes again the partitions that commits changed since the index was built, or all
    /// partitions if these are not known, and stores the result. Concurrent refreshes keep each
    /// other's results. Returns how many partitions were examined.
    ///
    /// # Errors
    /// [`StaleIndex`](ErrorKind::StaleIndex) if the index is stale and was opened without its
    /// function; [`ReadOnly`](ErrorKind::ReadOnly); the errors of [`Index::build`].
    pub fn refresh<'a>(&'a self, options: &'a RefreshOptions) -> BoxFuture<'a, Result<usize>> {
        async move {
            let mut looked_at = 0;
            for _ in 0..ATTEMPTS {
                let mut state =
                    State::load(&self.collection, &self.place).await?.ok_or_else(|| {
                        Error::new(
                            ErrorKind::NotFound,
                            "the file of the index does not exist any more",
                        )
                        .with("index", self.url())
                    })?;
                let known = self.state();
                // The results of a query that refreshed this handle since are used.
                let is_ahead = known.version == state.version && known.verified;
                let stored = state.about.commit.clone();
                if is_ahead {
                    state = State::clone(&known);
                }
                let snapshot = self.collection.snapshot().await?;
                let lag = match options.all {
                    true => IndexLag::Unknown,
                    false => state.lag(&snapshot).await?,
                };
                let work = if looked_at == 0 { options.work.clone() } else { options.work.quiet() };
                let fresh = match lag {
                    IndexLag::None if state.about.commit == stored => {
                        state.verified = true;
                        self.keep(state);
                        return Ok(looked_at);
                    }
                    IndexLag::None => state,
                    lag => {
                        let source = self.source(&state);
                        looked_at += match &lag {
                            IndexLag::Partitions { touched, gone } => touched.len() + gone.len(),
                            _ => 0,
                        };
                        let everything = matches!(lag, IndexLag::Unknown);
                        let at_once = options.at_once;
                        let working = Working { collection: &self.collection, source, at_once };
                        let fresh = working.renew(&state, &snapshot, lag, &work).await;
                        let fresh = fresh.map_err(|error| error.with("index", self.url()))?;
                        if everything {
                            looked_at += fresh.entries.partitions.len();
                        }
                        fresh
                    }
                };
                match write(&self.collection, &self.place, fresh).await? {
                    Ok(state) => {
                        self.keep(state);
                        return Ok(looked_at);
                    }
                    Err(Lost) => continue,
                }
            }
            Err(Error::new(
                ErrorKind::CommitConflict,
                "other writers kept changing the index; try again",
            )
            .with("index", self.url()))
        }
        .instrument(tracing::debug_span!("refresh", dataset = %self.collection.place()))
        .boxed()
    }
}

/// The compare-and-swap was lost to another writer.
pub(super) struct Lost;

/// Stores a state in place of the one that it was derived from.
pub(super) async fn write(
    collection: &Collection,
    place: &IndexPlace,
    mut state: State,
) -> Result<Result<State, Lost>> {
    let id = Uuid::new_v4().simple().to_string();
    state.about.id.clone_from(&id);
    let about = state.about.clone();
    let bytes = encode(&state.entries, about, &state.others, &collection.config())?;
    let swap = place.store.compare_and_swap(&place.key, state.version.as_ref(), bytes, &id).await?;
    Ok(match swap {
        Swap::Lost { .. } => Err(Lost),
        Swap::Done(version) => {
            state.version = Some(version);
            Ok(state)
        }
    })
}

/// Returns the state brought up to date with a snapshot of the collection.
pub(super) async fn renewed(
    collection: &Collection,
    state: &State,
    snapshot: &Snapshot,
    lag: IndexLag,
    source: Option<IndexSource>,
    work: &Work,
) -> Result<State> {
    Working { collection, source, at_once: None }.renew(state, snapshot, lag, work).await
}

/// The index is stale, and its function is not available to refresh it.
fn stale() -> Error {
    Error::new(
        ErrorKind::StaleIndex,
        "the collection was changed since the index was made, or it is not known whether it was, \
         and the function of the index was not given; give the function and refresh the index, or \
         allow it to be stale",
    )
}

/// The computation of index entries for partitions.
struct Working<'a> {
    collection: &'a Collection,
    /// None if the index was opened without its function.
    source: Option<IndexSource>,
    at_once: Option<usize>,
}

impl Working<'_> {
    async fn renew(
        &self,
        state: &State,
        snapshot: &Snapshot,
        lag: IndexLag,
        work: &Work,
    ) -> Result<State> {
        let needs_source = match &lag {
            IndexLag::None => false,
            IndexLag::Partitions { touched, .. } => !touched.is_empty(),
            IndexLag::Unknown => true,
        };
        if needs_source && self.source.is_none() {
            return Err(stale());
        }
        let (partitions, gone) = match lag {
            IndexLag::None => return Ok(state.clone()),
            IndexLag::Partitions { touched, gone } => (touched, gone.into_iter().collect()),
            IndexLag::Unknown => {
                let all = snapshot.partitions(state.about.predicate()?.as_ref()).await?;
                let gone = state.entries.partitions.iter().map(|(found, _)| found.path.clone());
                (all, gone.collect::<HashSet<String>>())
            }
        };
        let progress = work.progress.as_ref();
        progress.start("index", Some(partitions.len() as u64));
        let worked = self.rows(snapshot, partitions, work).await;
        progress.finish();
        let (mut about, entries) = (state.about.clone(), state.entries.renewed(&gone, worked?)?);
        let number = snapshot.latest;
        let id = snapshot.commit_id(number).await?;
        about.commit = Some(CommitName { number, id });
        Ok(State { entries, about, verified: true, ..state.clone() })
    }

    /// Computes the entries of each partition, in the state of the snapshot or in a later one.
    async fn rows(
        &self,
        snapshot: &Snapshot,
        partitions: Vec<Partition>,
        work: &Work,
    ) -> Result<Worked> {
        let (at_once, cores) = concurrency(self.at_once);
        let mut done: BTreeMap<Partition, _> = BTreeMap::new();
        let Some(source) = &self.source else { return Ok(Vec::new()) };
        let mut left = partitions;
        let mut snapshot = snapshot.clone();
        for _ in 0..ATTEMPTS {
            let one = async |partition: Partition| {
                work.cancel.check()?;
                let rows = source.rows(&snapshot, &partition, work, &cores).await;
                let rows = rows.map_err(|error| error.with("partition", &partition.path));
                work.progress.advance(1);
                Ok::<_, Error>((partition, rows))
            };
            let found: Vec<Result<_>> =
                stream::iter(left).map(one).buffer_unordered(at_once).collect().await;
            let since = snapshot.since(snapshot.latest).await?;
            let dropped: HashMap<&str, bool> = since
                .records
                .iter()
                .flat_map(|record| &record.changes)
                .map(|change| (change.path.as_str(), matches!(change.action, Action::Drop)))
                .collect();
            left = Vec::new();
            for one in found {
                let (partition, rows) = one?;
                if snapshot.is_steady(&since, &[&partition.path], false) {
                    done.insert(partition, rows?);
                } else if dropped.get(partition.path.as_str()) == Some(&true) {
                    done.insert(partition, None);
                } else {
                    left.push(partition);
                }
            }
            if left.is_empty() {
                return Ok(done.into_iter().collect());
            }
            snapshot = self.collection.snapshot().await?;
        }
        Err(self.collection.unsteady())
    }
}
