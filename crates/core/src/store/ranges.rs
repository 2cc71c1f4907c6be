//! Reading several ranges of one object.
//!
//! Implemented here because the client's `get_ranges` panics if the object is shorter than its
//! metadata claimed.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::Store;
use crate::{Error, Result};

/// Ranges closer than this are read by one request: transferring the bytes in between costs less
/// than another round trip.
const GAP: u64 = 1 << 20;
/// The maximum number of requests of one call in flight.
const REQUESTS_IN_FLIGHT: usize = 10;

impl Store {
    /// Reads several ranges, each exactly as long as requested, in the order of `ranges`. Ranges
    /// less than 1 MiB apart share a request, and up to ten requests are in flight.
    ///
    /// # Errors
    /// The errors are those of [`Store::get_range`].
    pub async fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let fetches = coalesced(ranges);
        let fetched: Vec<Bytes> = stream::iter(fetches.clone())
            .map(|range| self.get_range(key, range))
            .buffered(REQUESTS_IN_FLIGHT)
            .try_collect()
            .await?;
        let cut = |range: &Range<u64>| {
            if range.is_empty() {
                return Some(Bytes::new());
            }
            // The last fetch that begins at or before the range covers it.
            let index =
                fetches.partition_point(|fetch| fetch.start <= range.start).checked_sub(1)?;
            let (fetch, bytes) = (fetches.get(index)?, fetched.get(index)?);
            let from = usize::try_from(range.start - fetch.start).ok()?;
            let to = usize::try_from(range.end - fetch.start).ok()?;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        };
        let cut = |range| cut(range).ok_or_else(|| self.too_short(key, range));
        ranges.iter().map(cut).collect::<Result<_, Error>>()
    }
}

/// The ranges that [`Store::get_ranges`] fetches with one request each: ordered, disjoint, and
/// covering every range given that is not empty.
#[must_use]
pub fn coalesced(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut wanted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    wanted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in wanted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_merged() {
        assert_eq!(coalesced(&[]), []);
        assert_eq!(coalesced(&[7..9, 0..2, 4..4, 1..3]), vec![Range { start: 0, end: 9 }]);
        let far = 10 * GAP;
        assert_eq!(coalesced(&[far..far + 1, 0..2 * GAP, 5..6]), [0..2 * GAP, far..far + 1]);
        let all = Range { start: 0, end: u64::MAX };
        assert_eq!(coalesced(&[all.clone(), u64::MAX - 1..u64::MAX]), vec![all]);
    }
}
