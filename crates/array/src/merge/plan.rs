//! Which rows of two datasets make a third.

use std::ops::Range;

use partita_core::Result;

use crate::dataset::Dataset;
use crate::selection::shares_chunk;

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
}

/// With more pieces than this, gathering rows from one joined dataset beats joining the pieces.
const MANY_PIECES: usize = 256;

impl Plan {
    /// The plan of the given rows; neighbours become one piece, empty ranges none.
    pub(super) fn of(rows: impl IntoIterator<Item = (Side, Range<usize>)>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for (side, rows) in rows.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            match pieces.last_mut() {
                Some(last) if last.side == side && last.rows.end == rows.start => {
                    last.rows.end = rows.end;
                }
                _ => pieces.push(Piece { side, rows }),
            }
        }
        Self { pieces }
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The number of rows of the merged dataset.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.rows.len()).sum()
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

    /// Some rows of the merged dataset.
    #[must_use]
    pub(crate) fn within(&self, wanted: &Range<usize>) -> Self {
        let pieces = self.pieces.iter().scan(0, |next, piece| {
            let first = *next;
            *next += piece.rows.len();
            let clip = |row: usize| row.clamp(first, *next) - first + piece.rows.start;
            Some((piece.side, clip(wanted.start)..clip(wanted.end)))
        });
        Self::of(pieces)
    }

    /// The old rows that are needed, in runs of which no two share `height` rows from a multiple of
    /// it on, and the plan in which these are all old rows.
    #[must_use]
    pub(crate) fn needed(&self, height: usize) -> (Vec<Range<usize>>, Self) {
        let old = self.pieces.iter().filter(|piece| piece.side == Side::Old);
        let mut old: Vec<Range<usize>> = old.map(|piece| piece.rows.clone()).collect();
        old.sort_by_key(|rows| rows.start);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for rows in old {
            match runs.last_mut() {
                Some(last) if shares_chunk(last, &rows, height) => last.end = rows.end,
                _ => runs.push(rows),
            }
        }
        // How many rows are left out before each run.
        let gaps: Vec<usize> = runs
            .iter()
            .scan((0, 0), |(end, gap), run| {
                *gap += run.start - *end;
                *end = run.end;
                Some(*gap)
            })
            .collect();
        let gap = |row: usize| gaps.get(runs.partition_point(|run| run.end <= row)).copied();
        let plan = Self::of(self.pieces.iter().map(|piece| match piece.side {
            Side::Old => {
                let gap = gap(piece.rows.start).unwrap_or(0);
                (Side::Old, piece.rows.start - gap..piece.rows.end - gap)
            }
            Side::New => (Side::New, piece.rows.clone()),
        }));
        (runs, plan)
    }

    /// Merges two datasets along a dimension. Variables that lack it are those of `old`.
    ///
    /// # Errors
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if they do not hold the same
    /// variables; [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if they have fewer
    /// rows than the plan says.
    pub fn apply(&self, old: &Dataset, new: &Dataset, dimension: &str) -> Result<Dataset> {
        let parts = self.parts(old, new, dimension)?;
        Dataset::concat(&parts.iter().collect::<Vec<_>>(), dimension)
    }

    /// As [`Plan::apply`], in parts that follow each other and share memory with the two datasets
    /// where they are few. There is at least one.
    pub(crate) fn parts(
        &self,
        old: &Dataset,
        new: &Dataset,
        dimension: &str,
    ) -> Result<Vec<Dataset>> {
        if self.pieces.len() <= MANY_PIECES {
            let cut = |piece: &Piece| match piece.side {
                Side::Old => old.slice(dimension, piece.rows.clone()),
                Side::New => new.slice(dimension, piece.rows.clone()),
            };
            let mut parts = vec![old.slice(dimension, 0..0)?];
            parts.extend(self.pieces.iter().map(cut).collect::<Result<Vec<_>>>()?);
            return Ok(parts);
        }
        let joined = Dataset::concat(&[old, new], dimension)?;
        let rows = old.size(dimension).unwrap_or(0);
        let shift = |piece: &Piece| match piece.side {
            Side::Old => piece.rows.clone(),
            Side::New => piece.rows.start + rows..piece.rows.end + rows,
        };
        let rows: Vec<_> = self.pieces.iter().map(shift).collect();
        Ok(vec![joined.take_ranges(dimension, &rows)?])
    }
}
