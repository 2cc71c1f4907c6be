//! How a compressor looks for repetitions.
//!
//! A level of zstd is how hard it looks, and most of the time of levels 3 and 4 goes into looking. In
//! many arrays there is little to be found: measurements of full precision repeat nothing but the
//! bytes of their exponents. So a sample of a chunk is compressed in cheaper ways too, and the chunk
//! in one of them, if that takes no more room. The frames are of the same format, and what a chunk
//! becomes depends on nothing but its items and the level.

use zstd::zstd_safe::{CParameter, Strategy};

/// The levels that look for repetitions of two lengths.
const LEVELS: std::ops::RangeInclusive<i32> = 3..=4;
/// Shorter chunks cost little, beside which samples would count.
const LEAST: usize = 1 << 20;
/// A sample is so many pieces from all over the chunk, of so many bytes.
const PIECES: usize = 4;
const PIECE: usize = 16 << 10;

/// A way that takes the place of that of a level.
#[derive(Debug)]
pub(super) struct Search {
    /// The shortest repetitions, in bytes.
    min_match: u32,
    /// The logarithm of the number of places that are remembered.
    hash_log: u32,
}

/// In order of the time that they take.
static WAYS: [Search; 2] =
    [Search { min_match: 7, hash_log: 15 }, Search { min_match: 6, hash_log: 16 }];

impl Search {
    /// What makes a compressor look in this way, as far back as level 3 does.
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

/// The way for a chunk; none is that of the level. `size` is what a sample is compressed to.
pub(super) fn search<E>(
    level: i32,
    chunk: &[u8],
    mut size: impl FnMut(&[u8], Option<&Search>) -> Result<usize, E>,
) -> Result<Option<&'static Search>, E> {
    if !LEVELS.contains(&level) || chunk.len() < LEAST {
        return Ok(None);
    }
    let mut sample = Vec::with_capacity(PIECES * PIECE);
    for piece in chunk.chunks(chunk.len() / PIECES).take(PIECES) {
        let (_, behind) = piece.split_at((piece.len() - PIECE) / 2);
        sample.extend(behind.iter().take(PIECE));
    }
    let size_of_level = size(&sample, None)?;
    let most = size_of_level + size_of_level / 256;
    for way in &WAYS {
        if size(&sample, Some(way))? <= most {
            return Ok(Some(way));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen where the sizes are these, of the level and then of each way.
    fn chosen(level: i32, length: usize, sizes: [usize; 3]) -> Option<u32> {
        let size = |sample: &[u8], way: Option<&Search>| {
            assert_eq!(sample.len(), PIECES * PIECE);
            let at =
                way.map_or(0, |way| 1 + WAYS.iter().position(|o| std::ptr::eq(o, way)).unwrap());
            Ok::<_, ()>(sizes[at])
        };
        search(level, &vec![0; length], size).unwrap().map(|way| way.min_match)
    }

    #[test]
    fn the_cheapest_way_is_taken_that_needs_no_more_room() {
        assert_eq!(chosen(3, LEAST, [1024, 1028, 900]), Some(7));
        assert_eq!(chosen(4, LEAST + 1, [1024, 1029, 1028]), Some(6));
        assert_eq!(chosen(3, 4 * LEAST + 3, [1024, 1500, 1029]), None);
    }

    #[test]
    fn other_levels_and_short_chunks_are_as_the_level_says() {
        assert_eq!(chosen(3, LEAST - 1, [1024, 1, 1]), None);
        assert_eq!(chosen(1, LEAST, [1024, 1, 1]), None);
        assert_eq!(chosen(5, LEAST, [1024, 1, 1]), None);
    }

    #[test]
    fn the_sample_is_from_all_over_the_chunk() {
        let chunk: Vec<u8> = (0..LEAST).map(|at| (at / (LEAST / PIECES)) as u8).collect();
        let size = |sample: &[u8], _: Option<&Search>| {
            let parts: Vec<&[u8]> = sample.chunks(PIECE).collect();
            assert!(parts.iter().enumerate().all(|(at, part)| part.iter().all(|b| *b == at as u8)));
            Ok::<_, ()>(1)
        };
        search(3, &chunk, size).unwrap();
    }
}
