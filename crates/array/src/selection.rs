//! Row selections, such as the rows that a query of an index finds.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use partita_core::{Error, ErrorKind, Result};

use crate::collection::Partition;
use crate::commit::Since;
use crate::rows::PartitionRows;

/// A row selection: rows of partitions in the state that a commit left. Reads and updates with a
/// selection touch only the chunks that hold its rows, and are refused if one of its partitions was
/// changed after that commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    commit: u64,
    partitions: Vec<PartitionRows>,
}

impl Selection {
    /// Selects rows of the state after `commit`. Partitions are sorted by key and runs by row; runs
    /// that touch or overlap are joined.
    #[must_use]
    pub fn new(commit: u64, rows: impl IntoIterator<Item = PartitionRows>) -> Self {
        let mut given: Vec<PartitionRows> = rows.into_iter().collect();
        given.sort_by(|a, b| a.partition.cmp(&b.partition));
        let mut partitions: Vec<PartitionRows> = Vec::with_capacity(given.len());
        for found in given {
            match partitions.last_mut() {
                Some(last) if last.partition == found.partition => last.rows.extend(found.rows),
                _ => partitions.push(found),
            }
        }
        for found in &mut partitions {
            found.rows = fused(std::mem::take(&mut found.rows));
        }
        partitions.retain(|found| !found.rows.is_empty());
        Self { commit, partitions }
    }

    /// The number of the commit whose state the rows are of.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// The partitions with selected rows, ordered by key.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionRows] {
        &self.partitions
    }

    /// The number of selected rows.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.partitions.iter().flat_map(|found| &found.rows).map(Range::len).sum()
    }

    /// The selected runs of rows of a partition; empty if there are none.
    #[must_use]
    pub fn rows_of(&self, partition: &Partition) -> &[Range<usize>] {
        let place = self.partitions.binary_search_by(|found| found.partition.cmp(partition));
        place.ok().and_then(|place| self.partitions.get(place)).map_or(&[], |found| &found.rows)
    }

    /// The intersection: rows that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs)
    }

    /// The union: rows that are in at least one of the two.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine || theirs)
    }

    /// The difference: rows that are not in the other.
    #[must_use]
    pub fn and_not(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs)
    }

    /// The symmetric difference: rows that are in exactly one of the two.
    #[must_use]
    pub fn xor(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine != theirs)
    }

    /// The result belongs to the older of the two commits, so that a change between them is
    /// detected.
    fn combine(&self, other: &Self, keep: impl Fn(bool, bool) -> bool) -> Self {
        let mut combined = Vec::new();
        let (mut mine, mut theirs) = (self.partitions.iter(), other.partitions.iter());
        let (mut a, mut b) = (mine.next(), theirs.next());
        while let Some(order) = match (a, b) {
            (Some(a), Some(b)) => Some(a.partition.cmp(&b.partition)),
            (Some(_), None) => Some(Ordering::Less),
            (None, Some(_)) => Some(Ordering::Greater),
            (None, None) => None,
        } {
            let left = a.filter(|_| order.is_le());
            let right = b.filter(|_| order.is_ge());
            let runs = |found: Option<&PartitionRows>| found.map_or(Vec::new(), |f| f.rows.clone());
            if let Some(found) = left.or(right) {
                let rows = sweep(&runs(left), &runs(right), &keep);
                combined.push(PartitionRows { partition: found.partition.clone(), rows });
            }
            if left.is_some() {
                a = mine.next();
            }
            if right.is_some() {
                b = theirs.next();
            }
        }
        combined.retain(|found| !found.rows.is_empty());
        Self { commit: self.commit.min(other.commit), partitions: combined }
    }

    /// The partitions with selected rows.
    pub(crate) fn places(&self) -> Vec<Partition> {
        self.partitions.iter().map(|found| found.partition.clone()).collect()
    }

    /// Refuses the selection if one of the partitions at `paths` was changed after its commit.
    pub(crate) fn check(&self, since: &Since, paths: &[&str]) -> Result<()> {
        let paths: HashSet<&str> = paths.iter().copied().collect();
        let mine = self.partitions.iter().map(|found| found.partition.path.as_str());
        let mut looked_at = mine.filter(|path| paths.contains(path));
        match looked_at.find(|path| since.touched(path, self.commit)) {
            None => Ok(()),
            Some(path) => Err(Error::new(
                ErrorKind::CommitConflict,
                "a partition was changed since its rows were chosen; choose them again",
            )
            .with("partition", path)
            .with("commit", self.commit)),
        }
    }
}

/// Sorts runs, joins those that touch or overlap, and removes empty ones.
pub(crate) fn fused(mut runs: Vec<Range<usize>>) -> Vec<Range<usize>> {
    runs.retain(|run| !run.is_empty());
    runs.sort_by_key(|run| (run.start, run.end));
    let mut fused: Vec<Range<usize>> = Vec::with_capacity(runs.len());
    for run in runs {
        match fused.last_mut() {
            Some(last) if last.end >= run.start => last.end = last.end.max(run.end),
            _ => fused.push(run),
        }
    }
    fused
}

/// True if `run` begins in the same chunk in which `before`, an earlier run, ends.
pub(crate) fn shares_chunk(before: &Range<usize>, run: &Range<usize>, height: usize) -> bool {
    before.end.saturating_sub(1) / height == run.start / height
}

/// The rows that are in both lists of fused runs.
pub(crate) fn common(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    sweep(a, b, &|mine, theirs| mine && theirs)
}

/// The rows of two lists of fused runs for which `keep` is true.
fn sweep(
    a: &[Range<usize>],
    b: &[Range<usize>],
    keep: &impl Fn(bool, bool) -> bool,
) -> Vec<Range<usize>> {
    let ends = |runs: &[Range<usize>], second: bool| -> Vec<(usize, bool, bool)> {
        runs.iter().flat_map(|run| [(run.start, second, true), (run.end, second, false)]).collect()
    };
    let mut edges = ends(a, false);
    edges.extend(ends(b, true));
    edges.sort_unstable();
    let mut kept = Vec::new();
    let (mut inside, mut since) = ([false, false], 0);
    for (at, second, begins) in edges {
        let [mine, theirs] = inside;
        if at > since && keep(mine, theirs) {
            kept.push(since..at);
        }
        since = at;
        inside = if second { [mine, begins] } else { [begins, theirs] };
    }
    fused(kept)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::partitioning::{Digits, Partitioning};

    type Rows = BTreeSet<(i128, usize)>;

    fn selection(commit: u64, runs: &[(i128, usize, usize)]) -> (Selection, Rows) {
        let partitioning = Partitioning::sequence(&["p"]);
        let rows = runs.iter().map(|(p, start, length)| {
            let key = crate::partitioning::Key::new(vec!["p".to_owned()].into(), vec![*p]);
            let partition = Partition { path: partitioning.path(&key, Digits::Two), key };
            PartitionRows {
                partition,
                rows: Vec::from([Range { start: *start, end: start + length }]),
            }
        });
        let all = runs.iter().flat_map(|(p, start, n)| (*start..start + n).map(move |i| (*p, i)));
        (Selection::new(commit, rows), all.collect())
    }

    fn rows(selection: &Selection) -> Rows {
        let of = |found: &PartitionRows| {
            let p = found.partition.key.values()[0];
            found.rows.clone().into_iter().flatten().map(move |row| (p, row)).collect::<Vec<_>>()
        };
        selection.partitions().iter().flat_map(of).collect()
    }

    fn runs() -> impl Strategy<Value = Vec<(i128, usize, usize)>> {
        prop::collection::vec((-2..3i128, 0..20usize, 0..6usize), 0..12)
    }

    proptest! {
        #[test]
        fn selections_are_sets_of_rows(a in runs(), b in runs()) {
            let ((first, a), (second, b)) = (selection(3, &a), selection(2, &b));
            prop_assert_eq!(rows(&first), a.clone());
            prop_assert_eq!(first.num_rows(), a.len());
            let and = first.and(&second);
            prop_assert_eq!(rows(&and), &a & &b);
            prop_assert_eq!(and.commit(), 2);
            prop_assert_eq!(rows(&first.or(&second)), &a | &b);
            prop_assert_eq!(rows(&first.and_not(&second)), &a - &b);
            let xor = first.xor(&second);
            prop_assert_eq!(rows(&xor), &a ^ &b);
            for found in xor.partitions() {
                prop_assert!(found.rows.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            let keys = xor.partitions().iter().map(|found| found.partition.key.clone());
            prop_assert!(keys.is_sorted());
        }
    }
}
