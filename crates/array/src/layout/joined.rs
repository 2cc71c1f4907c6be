//! The rows that are written to an array: new ones, and existing ones that change their place.
//!
//! Existing rows are read when the first chunk needs them, one row of objects at a time, and
//! released after the last one that does, so that a merge uses no more memory than the chunks in
//! flight.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use futures::future::try_join_all;
use partita_core::{Error, ErrorKind, Result, Store};
use tokio::sync::OnceCell;

use super::StoredArray;
use super::chunk::Piece;
use super::read::{check_same, read_band};
use crate::buffer_pool::BufferPool;
use crate::cores::Cores;
use crate::dataset::{Array, Buffer, Dataset, Variable};
use crate::merge::{Plan, Side};

/// The rows that are written to a partition, joined from existing and new ones.
pub(crate) struct Joined<'a> {
    /// The plan of which rows are old and which are new.
    pub plan: Arc<Plan>,
    /// The store and path of the partition.
    pub store: &'a Store,
    pub path: &'a str,
    pub stored: &'a [Arc<StoredArray>],
    /// Variables that were read already. They include all whose partitioned dimension is not the
    /// first.
    pub known: &'a Dataset,
}

impl Joined<'_> {
    /// The rows of a variable in the group at `prefix`; `new` has the new ones.
    pub(super) fn rows(&self, prefix: &str, new: &Variable, dimension: &str) -> Result<Rows> {
        let own = new.schema();
        let array = format!("{prefix}/{}", own.name);
        let known = array.get(self.path.len() + 1..).and_then(|path| self.known.variable(path));
        let old = match (known, own.axis(dimension)) {
            (Some(known), Some(axis)) if axis > 0 => {
                return Ok(Rows::of(self.plan.join(known.data(), new.data(), axis)?));
            }
            (Some(known), _) => Old::Known(known.data().clone()),
            (None, _) => match self.stored.iter().find(|stored| stored.prefix == array) {
                Some(array) => {
                    check_same(own, array)?;
                    Old::Stored(self.store.clone(), Arc::clone(array))
                }
                None => Old::Missing,
            },
        };
        let found = new.data().shape();
        if let Some(expected) = old.shape()
            && expected.get(1..) != found.get(1..)
        {
            let why = "a dimension has another size in the partition";
            return Err(Error::new(ErrorKind::SchemaMismatch, why)
                .with("variable", &own.name)
                .with("expected", format!("{expected:?}"))
                .with("found", format!("{found:?}")));
        }
        Ok(Rows { plan: Arc::clone(&self.plan), old, new: new.data().clone() })
    }
}

/// The rows of one array that are written.
#[derive(Debug)]
pub(super) struct Rows {
    plan: Arc<Plan>,
    old: Old,
    new: Array,
}

/// The location of existing rows.
#[derive(Debug)]
enum Old {
    Stored(Store, Arc<StoredArray>),
    Known(Array),
    /// The partition lacks the variable.
    Missing,
}

impl Old {
    fn shape(&self) -> Option<&[usize]> {
        match self {
            Self::Stored(_, array) => Some(&array.shape),
            Self::Known(known) => Some(known.shape()),
            Self::Missing => None,
        }
    }
}

/// Existing rows in one row of objects, read at most once.
#[derive(Debug)]
struct Band {
    rows: Range<usize>,
    items: OnceCell<Array>,
}

/// The rows of one chunk.
#[derive(Debug)]
pub(super) struct ChunkRows {
    of: Arc<Rows>,
    /// The first row, counted in the array.
    start: usize,
    /// The rows, counted in the plan.
    rows: Range<usize>,
    /// The existing rows that the chunk needs, in order.
    bands: Vec<Arc<Band>>,
}

impl Rows {
    /// All rows of an array; one row if it has no dimension.
    pub fn of(data: Array) -> Self {
        let count = data.shape().first().copied().unwrap_or(1);
        Self { plan: Arc::new(Plan::new_rows(count)), old: Old::Missing, new: data }
    }

    pub fn len(&self) -> usize {
        self.plan.len()
    }

    /// The shape of the new rows.
    pub fn shape(&self) -> &[usize] {
        self.new.shape()
    }

    /// Divides the rows `written` of an array into chunks of `height` rows that begin at the rows
    /// `starts`. `first` is the row of the array with which the rows of the plan begin.
    pub fn cut(
        self,
        first: usize,
        written: &Range<usize>,
        height: usize,
        starts: &[usize],
    ) -> Vec<ChunkRows> {
        let mut needed: BTreeMap<usize, Range<usize>> = BTreeMap::new();
        for (number, rows) in self.bands(&(written.start - first..written.end - first)) {
            let known = needed.entry(number).or_insert_with(|| rows.clone());
            *known = known.start.min(rows.start)..known.end.max(rows.end);
        }
        let band = |(number, rows)| (number, Arc::new(Band { rows, items: OnceCell::new() }));
        let bands: BTreeMap<usize, Arc<Band>> = needed.into_iter().map(band).collect();
        let of = Arc::new(self);
        let chunk = |start: &usize| {
            let begin = (*start).max(written.start);
            let rows = begin - first..(start + height).min(written.end) - first;
            let own: BTreeSet<usize> =
                of.bands(&rows).into_iter().map(|(number, _)| number).collect();
            let own = own.iter().filter_map(|number| bands.get(number)).map(Arc::clone).collect();
            ChunkRows { of: Arc::clone(&of), start: begin, rows, bands: own }
        };
        starts.iter().map(chunk).collect()
    }

    /// The existing rows among these that have to be read, each run with the number of its row of
    /// objects.
    fn bands(&self, rows: &Range<usize>) -> Vec<(usize, Range<usize>)> {
        let Old::Stored(_, array) = &self.old else { return Vec::new() };
        let plan = self.plan.within(rows);
        let old = plan.pieces().iter().filter(|piece| piece.side == Side::Old);
        let bands = old.flat_map(|piece| array.bands(&piece.rows));
        bands.map(|rows| (rows.start / array.object_rows(), rows)).collect()
    }
}

impl ChunkRows {
    /// Reads the bands that no other chunk has read yet.
    pub async fn load(&self, cores: &Cores) -> Result<()> {
        let Old::Stored(store, array) = &self.of.old else { return Ok(()) };
        let load = async |band: &Arc<Band>| {
            let read = || read_band(store, array, band.rows.clone(), cores);
            band.items.get_or_try_init(read).await.map(drop)
        };
        try_join_all(self.bands.iter().map(load)).await.map(drop)
    }

    /// The rows as pieces, without those that are missing.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        let mut next = self.start;
        for piece in self.of.plan.within(&self.rows).pieces() {
            let start = next;
            next += piece.rows.len();
            let data = match (piece.side, &self.of.old) {
                (Side::New, _) => &self.of.new,
                (Side::Old, Old::Known(known)) => known,
                (Side::Old, Old::Missing) => continue,
                (Side::Old, Old::Stored(..)) => {
                    pieces.extend(self.stored(start, &piece.rows));
                    continue;
                }
            };
            pieces.push(Piece { start, data, rows: piece.rows.clone() });
        }
        pieces
    }

    /// The pieces of existing rows, the first of which is row `start` of the array.
    fn stored(&self, start: usize, rows: &Range<usize>) -> impl Iterator<Item = Piece<'_>> {
        let first = self.bands.partition_point(|band| band.rows.end <= rows.start);
        let bands = self.bands.get(first..).unwrap_or_default().iter();
        let end = rows.end;
        let from = rows.start;
        bands.take_while(move |band| band.rows.start < end).filter_map(move |band| {
            let rows = from.max(band.rows.start)..end.min(band.rows.end);
            let own = rows.start - band.rows.start..rows.end - band.rows.start;
            Some(Piece { start: start + rows.start - from, data: band.items.get()?, rows: own })
        })
    }

    /// Returns the memory of bands that no other chunk needs to the pool.
    pub fn give_back(self, pool: &BufferPool) {
        let items =
            self.bands.into_iter().filter_map(|band| Arc::into_inner(band)?.items.into_inner());
        for items in items {
            if let Buffer::Fixed(bytes) = items.into_buffer() {
                pool.give_object(bytes);
            }
        }
    }
}
