//! Sets of the literals of `in`, for one look-up per row.

use std::hash::Hash;

use hashbrown::HashSet;

/// Up to this many values are compared one after the other.
const FEW: usize = 4;
/// The memory that a bitmap may use, in bytes per value; a bitmap of [`BITMAP_BYTES_AT_LEAST`] is
/// always allowed.
const BITMAP_BYTES_PER_VALUE: u64 = 64;
const BITMAP_BYTES_AT_LEAST: u64 = 4 << 10;

/// A set of integers of at most 64 bits. They are looked up by their bits, sign-extended, so that
/// one set serves every integer type.
#[derive(Debug)]
pub(crate) struct IntSet {
    least: u64,
    /// Distance from the least to the largest value.
    span: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Few(Vec<u64>),
    /// A bitmap with one bit per number, starting at `least`.
    Bits(Vec<u64>),
    Hash(HashSet<u64>),
}

impl IntSet {
    /// The set of `values`, which are ascending and all of one integer type; `None` if there are
    /// none.
    pub(crate) fn new(values: &[i128]) -> Option<Self> {
        let least = *values.first()? as u64;
        let span = (*values.last()? as u64).wrapping_sub(least);
        let keys = values.iter().map(|value| *value as u64);
        let room = BITMAP_BYTES_AT_LEAST + BITMAP_BYTES_PER_VALUE * values.len() as u64;
        let kind = if values.len() <= FEW {
            Kind::Few(keys.collect())
        } else if span / 8 <= room {
            let mut bits = vec![0_u64; (span / 64) as usize + 1];
            for offset in keys.map(|key| key.wrapping_sub(least)) {
                if let Some(word) = bits.get_mut((offset / 64) as usize) {
                    *word |= 1 << (offset % 64);
                }
            }
            Kind::Bits(bits)
        } else {
            Kind::Hash(keys.collect())
        };
        Some(Self { least, span, kind })
    }

    /// Runs `with` with a membership test that is chosen once per array.
    pub(crate) fn contains_all<R>(&self, with: impl WithLookup<R>) -> R {
        let (least, span) = (self.least, self.span);
        match &self.kind {
            Kind::Few(keys) => with.run(|key| keys.contains(&key)),
            Kind::Bits(bits) => with.run(|key| {
                let offset = key.wrapping_sub(least);
                offset <= span
                    && bits
                        .get((offset / 64) as usize)
                        .is_some_and(|word| word >> (offset % 64) & 1 == 1)
            }),
            Kind::Hash(keys) => {
                with.run(|key| key.wrapping_sub(least) <= span && keys.contains(&key))
            }
        }
    }
}

/// Work that needs a look-up function; generic, so that the look-up is inlined into its loop.
pub(crate) trait WithLookup<R> {
    fn run(self, contains: impl Fn(u64) -> bool) -> R;
}

/// A set of values of any other type.
#[derive(Debug)]
pub(crate) struct ValueSet<T> {
    values: HashSet<T>,
}

impl<T: Eq + Hash> ValueSet<T> {
    pub(crate) fn new(values: impl Iterator<Item = T>) -> Self {
        Self { values: values.collect() }
    }

    pub(crate) fn contains(&self, value: &T) -> bool {
        self.values.contains(value)
    }
}

/// A set of texts or bytes.
#[derive(Debug)]
pub(crate) struct BytesSet {
    shortest: usize,
    longest: usize,
    values: HashSet<Box<[u8]>>,
}

impl BytesSet {
    pub(crate) fn new(values: &[Box<[u8]>]) -> Self {
        let lengths = || values.iter().map(|value| value.len());
        Self {
            shortest: lengths().min().unwrap_or(usize::MAX),
            longest: lengths().max().unwrap_or(0),
            values: values.iter().cloned().collect(),
        }
    }

    pub(crate) fn contains(&self, value: &[u8]) -> bool {
        (self.shortest..=self.longest).contains(&value.len()) && self.values.contains(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Probe(Vec<i128>);

    impl WithLookup<Vec<bool>> for Probe {
        fn run(self, contains: impl Fn(u64) -> bool) -> Vec<bool> {
            self.0.into_iter().map(|value| contains(value as u64)).collect()
        }
    }

    #[test]
    fn every_arrangement_finds_what_it_holds_and_no_more() {
        let (low, high) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let dense: Vec<i128> = (-500..500).map(|n| n * 3).collect();
        let sparse: Vec<i128> = (-50..50).map(|n| n * 1_000_000_007).collect();
        let unsigned: Vec<i128> = vec![0, 1, 2, high, high + 1, i128::from(u64::MAX)];
        for values in [vec![7], vec![low, 0, high], dense, sparse, unsigned] {
            let set = IntSet::new(&values).unwrap();
            assert!(set.contains_all(Probe(values.clone())).into_iter().all(|found| found));
            let others: Vec<i128> = values
                .iter()
                .map(|v| v + 1)
                .filter(|v| !values.contains(v) && *v <= high)
                .collect();
            assert!(!set.contains_all(Probe(others)).into_iter().any(|found| found));
        }
        assert!(IntSet::new(&[]).is_none());
    }
}
