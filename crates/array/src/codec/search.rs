//! Choice of the match finder of the zstd compressor.
//!
//! The level of zstd determines how thoroughly it searches for repetitions (matches), and levels 3
//! and 4 spend most of their time on the search. Many arrays have few matches: measurements of full
//! precision repeat only the bytes of their exponents. So a sample of a chunk is also compressed
//! with cheaper match finders, and the chunk is compressed with one of them if the sample does not
//! become larger. The frame format is the same, and the result depends only on the items and the
//! level.

use zstd::zstd_safe::{CParameter, Strategy};

/// The levels with a match finder for two match lengths.
const LEVELS: std::ops::RangeInclusive<i32> = 3..=4;
/// Shorter chunks are compressed as the level says, since compressing samples would cost too much
/// in comparison.
const MIN_LENGTH: usize = 1 << 20;
/// A sample consists of this many pieces of this many bytes, spread over the chunk.
const PIECES: usize = 4;
const PIECE: usize = 16 << 10;

/// The parameters of a match finder that replaces that of the level.
#[derive(Debug)]
pub(super) struct MatchFinder {
    /// The minimum match length in bytes.
    min_match: u32,
    /// The base-2 logarithm of the size of the hash table.
    hash_log: u32,
}

/// The match finders, from the fastest to the slowest.
static FINDERS: [MatchFinder; 2] =
    [MatchFinder { min_match: 7, hash_log: 15 }, MatchFinder { min_match: 6, hash_log: 16 }];

impl MatchFinder {
    /// The compressor parameters for this match finder, with the window size of level 3.
    pub fn parameters(&self) -> impl Iterator<Item = CParameter> + use<> {
        [
            CParameter::Strategy(Strategy::ZSTD_fast),
            CParameter::MinMatch(self.min_match),
            CParameter::HashLog(self.hash_log),
            CParameter::WindowLog(21),
            CParameter::TargetLength(0),
        ]
        .into_iter()
    }
}

/// Chooses the match finder for a chunk; none means that of the level. `size` compresses a sample
/// and returns the size.
pub(super) fn search<E>(
    level: i32,
    chunk: &[u8],
    mut size: impl FnMut(&[u8], Option<&MatchFinder>) -> Result<usize, E>,
) -> Result<Option<&'static MatchFinder>, E> {
    if !LEVELS.contains(&level) || chunk.len() < MIN_LENGTH {
        return Ok(None);
    }
    let mut sample = Vec::with_capacity(PIECES * PIECE);
    for piece in chunk.chunks(chunk.len() / PIECES).take(PIECES) {
        let (_, behind) = piece.split_at((piece.len() - PIECE) / 2);
        sample.extend(behind.iter().take(PIECE));
    }
    let size_of_level = size(&sample, None)?;
    let most = size_of_level + size_of_level / 256;
    for finder in &FINDERS {
        if size(&sample, Some(finder))? <= most {
            return Ok(Some(finder));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The choice for samples of these sizes, with the level's match finder and then with each
    /// other one.
    fn chosen(level: i32, length: usize, sizes: [usize; 3]) -> Option<u32> {
        let size = |sample: &[u8], finder: Option<&MatchFinder>| {
            assert_eq!(sample.len(), PIECES * PIECE);
            let at = finder.map_or(0, |finder| {
                1 + FINDERS.iter().position(|o| std::ptr::eq(o, finder)).unwrap()
            });
            Ok::<_, ()>(sizes[at])
        };
        search(level, &vec![0; length], size).unwrap().map(|finder| finder.min_match)
    }

    #[test]
    fn the_cheapest_match_finder_that_compresses_as_well_is_taken() {
        assert_eq!(chosen(3, MIN_LENGTH, [1024, 1028, 900]), Some(7));
        assert_eq!(chosen(4, MIN_LENGTH + 1, [1024, 1029, 1028]), Some(6));
        assert_eq!(chosen(3, 4 * MIN_LENGTH + 3, [1024, 1500, 1029]), None);
    }

    #[test]
    fn other_levels_and_short_chunks_are_as_the_level_says() {
        assert_eq!(chosen(3, MIN_LENGTH - 1, [1024, 1, 1]), None);
        assert_eq!(chosen(1, MIN_LENGTH, [1024, 1, 1]), None);
        assert_eq!(chosen(5, MIN_LENGTH, [1024, 1, 1]), None);
    }

    #[test]
    fn the_sample_is_from_all_over_the_chunk() {
        let chunk: Vec<u8> = (0..MIN_LENGTH).map(|at| (at / (MIN_LENGTH / PIECES)) as u8).collect();
        let size = |sample: &[u8], _: Option<&MatchFinder>| {
            let parts: Vec<&[u8]> = sample.chunks(PIECE).collect();
            assert!(parts.iter().enumerate().all(|(at, part)| part.iter().all(|b| *b == at as u8)));
            Ok::<_, ()>(1)
        };
        search(3, &chunk, size).unwrap();
    }
}
