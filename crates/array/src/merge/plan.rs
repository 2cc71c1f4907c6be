//! Merge plans: the rows of two datasets that make up a third one.

use std::ops::Range;

use partita_core::Result;

use crate::dataset::{Array, Dataset};

/// One of the two datasets of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The stored rows.
    Old,
    /// The added rows.
    New,
}

/// Consecutive rows of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The side of the rows.
    pub side: Side,
    /// The rows, counted in their side.
    pub rows: Range<usize>,
}

/// Rows of two datasets, in the order of the merged dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pieces: Vec<Piece>,
    /// The first row of each piece, counted in the merged dataset.
    starts: Vec<usize>,
}

/// With more pieces than this, concatenating both datasets and gathering rows from the result is
/// faster than concatenating the pieces.
const MANY_PIECES: usize = 256;

impl Plan {
    /// The plan for these rows; consecutive ranges become one piece, and empty ones are dropped.
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

    /// True if the merged dataset has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The range of rows of the merged dataset that differ from the old rows, of which there are
    /// `count`: all rows before and after it are the old rows with the same numbers. Chunks outside
    /// of the range need not be written again.
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

    /// The plan for the first `count` new rows.
    pub(crate) fn new_rows(count: usize) -> Self {
        Self::of([(Side::New, 0..count)])
    }

    /// The plan in which each row comes from the old row in `places`, or is the new row if there is
    /// none.
    pub(crate) fn of_places(places: &[Option<usize>]) -> Self {
        Self::of(places.iter().enumerate().map(|(row, place)| match place {
            Some(old) => (Side::Old, *old..old + 1),
            None => (Side::New, row..row + 1),
        }))
    }

    /// The part of the plan for a range of rows of the merged dataset.
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

    /// Merges two datasets along a dimension. Variables without it are taken from `old`.
    ///
    /// # Errors
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if they do not have the same
    /// variables; [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if they have fewer
    /// rows than the plan needs.
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

    /// Like [`Plan::apply`], for two arrays.
    pub(crate) fn join(&self, old: &Array, new: &Array, axis: usize) -> Result<Array> {
        let rows = old.shape().get(axis).copied().unwrap_or(0);
        Array::concat(&[old, new], axis)?.take_ranges(axis, &self.joined_rows(rows))
    }

    /// The rows of the plan, counted in the concatenation of `old` old rows and the new ones.
    fn joined_rows(&self, old: usize) -> Vec<Range<usize>> {
        let shift = |piece: &Piece| match piece.side {
            Side::Old => piece.rows.clone(),
            Side::New => piece.rows.start + old..piece.rows.end + old,
        };
        self.pieces.iter().map(shift).collect()
    }
}
