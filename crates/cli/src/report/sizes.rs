//! The sizes of partitions: the largest ones, and how uneven they are.

use std::cmp::Reverse;

use super::html::{Cell, grid, paragraph};
use super::picture::bar;
use crate::units;

/// The most partitions that are listed.
const MOST: usize = 20;
/// The largest partition is called large if it is this many times as large as the median.
const UNEVEN: u64 = 10;

/// A partition and its size.
#[derive(Debug)]
pub(super) struct Size {
    /// Its path.
    pub name: String,
    /// The number of its rows, if known.
    pub rows: Option<u64>,
    /// The number of its files or objects.
    pub parts: u64,
    /// Their size, if known.
    pub bytes: Option<u64>,
}

/// The largest partitions, whose `parts` are files or objects, and what is uneven in them.
pub(super) fn sizes(partitions: &[Size], parts: &str) -> String {
    if partitions.is_empty() {
        return paragraph("There are no partitions yet.");
    }
    let mut largest: Vec<&Size> = partitions.iter().collect();
    largest.sort_by_key(|partition| Reverse(partition.bytes));
    let most = largest.first().and_then(|partition| partition.bytes).unwrap_or(0);
    let row = |partition: &&Size| {
        let size = units::known(partition.bytes, units::bytes);
        vec![
            Cell::Text(partition.name.clone()),
            Cell::Number(units::known(partition.rows, units::count)),
            Cell::Number(units::count(partition.parts)),
            Cell::Picture(bar(partition.bytes.unwrap_or(0), most, &size)),
            Cell::Number(size),
        ]
    };
    let rows: Vec<Vec<Cell>> = largest.iter().take(MOST).map(row).collect();
    let smaller = match largest.len().saturating_sub(MOST) as u64 {
        0 => String::new(),
        more => paragraph(&format!("… and {}", units::plural(more, "smaller partition"))),
    };
    let listed = grid(&["partition", "rows", parts, "", "size"], &rows);
    format!("{}{listed}{smaller}", uneven(&largest))
}

/// What the sizes of partitions, the largest first, say together; nothing about a single one.
fn uneven(largest: &[&Size]) -> String {
    let known: Option<Vec<u64>> = largest.iter().map(|partition| partition.bytes).collect();
    let Some(known) = known.filter(|known| known.len() > 1) else { return String::new() };
    let most = known.first().copied().unwrap_or(0);
    let median = known.get(known.len() / 2).copied().unwrap_or(0);
    let all: u128 = known.iter().map(|bytes| u128::from(*bytes)).sum();
    let share = u128::from(most) * 100 / all.max(1);
    let mut told = format!(
        "The largest partition has {}, which is {share} % of everything; the median is {}.",
        units::bytes(most),
        units::bytes(median),
    );
    if most / UNEVEN > median {
        told.push_str(
            " Reads and writes of the largest partition take much longer than those of the others: \
             a new dataset that is partitioned by one more column, or by a bucket of one, divides it.",
        );
    }
    paragraph(&told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[Option<u64>]) -> String {
        let size = |bytes: &Option<u64>| Size {
            name: "p".to_owned(),
            rows: None,
            parts: 1,
            bytes: *bytes,
        };
        sizes(&bytes.iter().map(size).collect::<Vec<_>>(), "files")
    }

    #[test]
    fn uneven_partitions_are_told() {
        assert!(shown(&[]).contains("no partitions"));
        assert!(!shown(&[Some(5)]).contains("median"));
        assert!(!shown(&[Some(5), None]).contains("median"));
        let even = shown(&[Some(1), Some(2), Some(3)]);
        assert!(even.contains("3 B, which is 50 % of everything; the median is 2 B"), "{even}");
        assert!(!even.contains("divides it"));
        assert!(shown(&[Some(1), Some(1), Some(100)]).contains("divides it"));
        shown(&[Some(u64::MAX), Some(u64::MAX)]);
        assert!(shown(&[Some(1); 22]).contains("… and 2 smaller partitions"));
    }
}
