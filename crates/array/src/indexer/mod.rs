//! Indexes of collections, which map values to rows of partitions.
//!
//! An index is a table of slices of rows, kept in one Parquet file in ZCollection's format. Each
//! row says where a slice starts and stops in its partition, and the values that hold for it:
//! values of variables, or columns that a function computes. A query by these values and by the
//! fields of keys returns a [`Selection`], with which reads and updates touch only the chunks that
//! hold its rows.
//!
//! - `entries`: the table in memory. `file`: its stored formats, of both generations.
//! - `source`: what an index is computed from: runs of equal values, or a function.
//! - `state`: the commit that an index reflects, and the partitions that were changed since.
//! - `build`: building an index, and refreshing it. `copy`: copying it for a copy of its
//!   collection.
//!
//! The file names the commit of the collection that it reflects, so that a stale index is detected,
//! and only the partitions that were changed since are indexed again.

mod build;
mod copy;
mod entries;
mod file;
mod place;
mod source;
mod state;

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::{Error, ErrorKind, Predicate, Result};
use tracing::Instrument;

pub use build::{BuildOptions, RefreshOptions};
pub use place::IndexPlace;
pub use source::{IndexFunction, IndexSource};

use crate::collection::{Collection, Partition};
use crate::options::Work;
use crate::selection::Selection;
use state::{IndexLag, State};

/// The error for views, whose rows are those of their bases.
const NO_VIEW: &str = "a view cannot be indexed; build an index of the base of the view";

/// An open index of a collection. Clones are cheap and share their state.
#[derive(Clone)]
pub struct Index {
    collection: Collection,
    place: IndexPlace,
    /// The function that computes the entries; none for an index of variables.
    function: Option<IndexFunction>,
    state: Arc<Mutex<Arc<State>>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The way in which a query treats a stale index, whose collection was changed since it was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stale {
    /// Indexes the changed partitions again, in memory only; the file stays as it is. For an index
    /// that was opened without its function this is an error.
    #[default]
    Refresh,
    /// Uses the index as it is. The result may differ from the rows for which the condition is true
    /// now.
    Allow,
}

impl Index {
    /// Opens the index of a collection at a place. An index of a function needs the function to be
    /// refreshed.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none;
    /// [`Corrupt`](ErrorKind::Corrupt) if it cannot be read, or is not one of this collection.
    pub fn open<'a>(
        collection: &'a Collection,
        place: IndexPlace,
        function: Option<IndexFunction>,
    ) -> BoxFuture<'a, Result<Self>> {
        async move {
            collection.config().check_no_view(NO_VIEW)?;
            let state = State::load(collection, &place).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "there is no index here").with("index", place.url())
            })?;
            Ok(Self::of(collection.clone(), place, function, state))
        }
        .boxed()
    }

    fn of(
        collection: Collection,
        place: IndexPlace,
        function: Option<IndexFunction>,
        state: State,
    ) -> Self {
        Self { collection, place, function, state: Arc::new(Mutex::new(Arc::new(state))) }
    }

    /// The URL of the file.
    #[must_use]
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The variables whose runs of equal values are indexed; none for an index of a function.
    #[must_use]
    pub fn variables(&self) -> Option<Vec<String>> {
        self.state().about.variables.clone()
    }

    /// The number of the last commit that the index reflects, as far as this handle knows; none if
    /// that is not known, as for a file that ZCollection wrote.
    #[must_use]
    pub fn commit(&self) -> Option<u64> {
        self.state().about.commit.as_ref().map(|commit| commit.number)
    }

    /// The table as it is stored.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the columns do not form a table.
    pub fn table(&self) -> Result<RecordBatch> {
        file::table(&self.state().entries, &self.collection.config())
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, state: State) -> Arc<State> {
        let state = Arc::new(state);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state);
        state
    }

    /// Selects the rows for which the predicate is true, or all indexed rows. The columns are those
    /// of the index, `start` and `stop`, and the fields of the keys.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate names another column;
    /// [`StaleIndex`](ErrorKind::StaleIndex) if the collection was changed since the index was
    /// built, and the index was opened without its function; the errors of [`Collection::read`].
    pub fn query<'a>(
        &'a self,
        predicate: Option<&'a Predicate>,
        stale: Stale,
        work: &'a Work,
    ) -> BoxFuture<'a, Result<Selection>> {
        async move {
            let (state, commit) = self.current(stale, work).await?;
            state.entries.select(predicate, &self.collection.config().partitioning, commit)
        }
        .instrument(tracing::debug_span!("query", dataset = %self.collection.place()))
        .boxed()
    }

    /// The partitions with rows for which the predicate is true, ordered by key.
    ///
    /// # Errors
    /// The same as [`Index::query`].
    pub async fn partitions(
        &self,
        predicate: Option<&Predicate>,
        stale: Stale,
        work: &Work,
    ) -> Result<Vec<Partition>> {
        Ok(self.query(predicate, stale, work).await?.places())
    }

    /// A state that reflects the newest commit, and the number of that commit.
    async fn current(&self, stale: Stale, work: &Work) -> Result<(Arc<State>, u64)> {
        let snapshot = self.collection.snapshot().await?;
        let state = self.state();
        if stale == Stale::Allow {
            return Ok((state, snapshot.latest));
        }
        let lag = state.lag(&snapshot).await?;
        if let IndexLag::None = lag {
            return Ok((state, snapshot.latest));
        }
        let source = self.source(&state);
        let fresh = build::renewed(&self.collection, &state, &snapshot, lag, source, work);
        let fresh = fresh.await.map_err(|error| error.with("index", self.place.url()))?;
        Ok((self.keep(fresh), snapshot.latest))
    }

    /// The source of the entries, if it is available.
    fn source(&self, state: &State) -> Option<IndexSource> {
        match (&state.about.variables, &self.function) {
            (Some(variables), _) => Some(IndexSource::Variables(variables.clone())),
            (None, Some(function)) => Some(IndexSource::Function {
                function: Arc::clone(function),
                variables: state.about.inputs.clone(),
            }),
            (None, None) => None,
        }
    }
}
