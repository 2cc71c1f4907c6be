//! Indexes of collections: which rows of which partitions have which values.
//!
//! An index is a table of slices of rows, kept in one Parquet file in the form that ZCollection gives
//! it. Each row says where a slice begins and stops in its partition, and what is true of it: values
//! of variables, or whatever a function works out. A query by these values and by the fields of keys
//! gives a [`Selection`], with which reads and updates touch only the chunks concerned.
//!
//! - `entries`: the table in memory. `file`: its stored forms, of both generations.
//! - `source`: what an index is made of: runs of equal values, or a function.
//! - `state`: what an index reflects, and which partitions were touched since.
//! - `build`: making an index, and making it true again. `copy`: for a copy of its collection.
//!
//! The file says which commit of the collection it reflects, so an index that is behind is noticed,
//! and only the partitions that were touched since are looked at again.

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

pub use build::{BuildOptions, RefreshOptions};
pub use place::IndexPlace;
pub use source::{IndexFunction, IndexSource};

use crate::collection::{Collection, Partition};
use crate::options::Work;
use crate::selection::Selection;
use state::{Behind, State};

/// Views have the rows of their bases.
const NO_VIEW: &str = "an index is one of a collection; make that of the base of the view";

/// An open index of a collection. Clones are cheap and share what they know of it.
#[derive(Clone)]
pub struct Index {
    collection: Collection,
    place: IndexPlace,
    /// What works out the rows of an index that is not one of variables.
    function: Option<IndexFunction>,
    state: Arc<Mutex<Arc<State>>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What a query does if the collection was changed since the index was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stale {
    /// It looks again at the partitions that were touched, for itself alone; the file stays as it
    /// is. An index of a function that is not at hand cannot, which is an error.
    #[default]
    Refresh,
    /// It takes the index as it is. Rows may be others than those that the condition means.
    Allow,
}

impl Index {
    /// Opens the index of a collection at a place. One of a function is to be given the function,
    /// if it shall follow the collection.
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

    /// Where its file is.
    #[must_use]
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The variables of which it tells the runs of equal values; none if it is one of a function.
    #[must_use]
    pub fn variables(&self) -> Option<Vec<String>> {
        self.state().about.variables.clone()
    }

    /// The number of the last commit that it reflects, as far as this handle knows; none if that is
    /// not known, as of a file that ZCollection wrote.
    #[must_use]
    pub fn commit(&self) -> Option<u64> {
        self.state().about.commit.as_ref().map(|commit| commit.number)
    }

    /// Its table, in the form in which it is stored.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if it cannot be put together.
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

    /// The rows for which the predicate is true, or all that the index names. Its columns are those
    /// of the index, `start` and `stop`, and the fields of the keys.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate names anything else;
    /// [`StaleIndex`](ErrorKind::StaleIndex) if the collection was changed since the index was made,
    /// and its function is not at hand; as [`Collection::read`].
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
        .boxed()
    }

    /// The partitions with rows for which the predicate is true, ordered by key.
    ///
    /// # Errors
    /// As [`Index::query`].
    pub async fn partitions(
        &self,
        predicate: Option<&Predicate>,
        stale: Stale,
        work: &Work,
    ) -> Result<Vec<Partition>> {
        Ok(self.query(predicate, stale, work).await?.places())
    }

    /// A state that tells of the newest commit, and the number of that.
    async fn current(&self, stale: Stale, work: &Work) -> Result<(Arc<State>, u64)> {
        let snapshot = self.collection.snapshot().await?;
        let state = self.state();
        if stale == Stale::Allow {
            return Ok((state, snapshot.latest));
        }
        let behind = state.behind(&snapshot).await?;
        if let Behind::Nothing = behind {
            return Ok((state, snapshot.latest));
        }
        let source = self.source(&state);
        let fresh = build::renewed(&self.collection, &state, &snapshot, behind, source, work);
        let fresh = fresh.await.map_err(|error| error.with("index", self.place.url()))?;
        Ok((self.keep(fresh), snapshot.latest))
    }

    /// What its rows are worked out by, if that is at hand.
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
