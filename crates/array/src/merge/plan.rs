//! Which rows of two datasets make a third.

use std::ops::Range;

use partita_core::Result;

use crate::dataset::{Array, Dataset};

/// One of the two datasets that are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What is stored.
    Old,
    /// What is added.
    New,
}

/// Neighbouring rows of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where the rows come from.
    pub side: Side,
    /// Which they are.
    pub rows: Range<usize>,
}

/// Rows of two datasets, in the order in which they make the merged one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pieces: Vec<Piece>,
    /// The row of the merged dataset with which each piece begins.
    starts: Vec<usize>,
}

/// With more pieces than this, gathering rows from one joined dataset beats joining the pieces.
const MANY_PIECES: usize = 256;

impl Plan {
    /// The plan of the given rows; neighbours become one piece, empty ranges none.
    pub(super) fn of(rows: impl IntoIterator<Item = (Side, Range<usize>)>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut starts, mut next) = (Vec::new(), 0);
        for (side, rows) in rows.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            let count = rows.len();
            match pieces.last_mut() {
                Some(last) if last.side == side && last.rows.end == rows.start => {
                    last.rows.end = rows.end;
                }
                _ => {
                    pieces.push(Piece { side, rows });
                    starts.push(next);
                }
            }
            next += count;
        }
        Self { pieces, starts }
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The number of rows of the merged dataset.
    #[must_use]
    pub fn len(&self) -> usize {
        let last = self.pieces.last().zip(self.starts.last());
        last.map_or(0, |(piece, start)| start + piece.rows.len())
    }

    /// True if nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The rows of the merged dataset around which all are the old rows of the same numbers, of
    /// which there are `count`: chunks without one of them need not be written again.
    #[must_use]
    pub fn changes(&self, count: usize) -> Range<usize> {
        let start = match self.pieces.first() {
            Some(Piece { side: Side::Old, rows }) if rows.start == 0 => rows.end,
            _ => 0,
        };
        let length = self.len();
        let end = match self.pieces.last() {
            Some(Piece { side: Side::Old, rows }) if rows.end == count && length == count => {
                rows.start
            }
            _ => length,
        };
        start..end.max(start)
    }

    /// The plan in which all rows are the first `count` new ones.
    pub(crate) fn new_rows(count: usize) -> Self {
        Self::of([(Side::New, 0..count)])
    }

    /// The plan in which each row is an old one where `places` says so, and else the new one.
    pub(crate) fn of_places(places: &[Option<usize>]) -> Self {
        Self::of(places.iter().enumerate().map(|(row, place)| match place {
            Some(old) => (Side::Old, *old..old + 1),
            None => (Side::New, row..row + 1),
        }))
    }

    /// Some rows of the merged dataset.
    #[must_use]
    pub(crate) fn within(&self, wanted: &Range<usize>) -> Self {
        let first = self.starts.partition_point(|start| *start <= wanted.start).saturating_sub(1);
        let pieces = self.pieces.iter().zip(&self.starts).skip(first);
        let pieces = pieces.take_while(|(_, start)| **start < wanted.end);
        Self::of(pieces.map(|(piece, start)| {
            let clip = |row: usize| row.clamp(*start, start + piece.rows.len()) - start;
            let first = piece.rows.start;
            (piece.side, first + clip(wanted.start)..first + clip(wanted.end))
        }))
    }

    /// Merges two datasets along a dimension. Variables that lack it are those of `old`.
    ///
    /// # Errors
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if they do not hold the same
    /// variables; [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if they have fewer
    /// rows than the plan says.
    pub fn apply(&self, old: &Dataset, new: &Dataset, dimension: &str) -> Result<Dataset> {
        if self.pieces.len() <= MANY_PIECES {
            let cut = |piece: &Piece| match piece.side {
                Side::Old => old.slice(dimension, piece.rows.clone()),
                Side::New => new.slice(dimension, piece.rows.clone()),
            };
            let mut parts = vec![old.slice(dimension, 0..0)?];
            parts.extend(self.pieces.iter().map(cut).collect::<Result<Vec<_>>>()?);
            return Dataset::concat(&parts.iter().collect::<Vec<_>>(), dimension);
        }
        let joined = Dataset::concat(&[old, new], dimension)?;
        joined.take_ranges(dimension, &self.joined_rows(old.size(dimension).unwrap_or(0)))
    }

    /// As [`Plan::apply`], of two arrays.
    pub(crate) fn join(&self, old: &Array, new: &Array, axis: usize) -> Result<Array> {
        let rows = old.shape().get(axis).copied().unwrap_or(0);
        Array::concat(&[old, new], axis)?.take_ranges(axis, &self.joined_rows(rows))
    }

    /// The rows where the new ones follow `old` old ones.
    fn joined_rows(&self, old: usize) -> Vec<Range<usize>> {
        let shift = |piece: &Piece| match piece.side {
            Side::Old => piece.rows.clone(),
            Side::New => piece.rows.start + old..piece.rows.end + old,
        };
        self.pieces.iter().map(shift).collect()
    }
}
