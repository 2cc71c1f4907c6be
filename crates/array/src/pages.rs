//! The first touch of memory, which costs as much as decoding what goes there.
//!
//! Large pages (2 MiB instead of 4 KiB) are a tenth of the work where free memory lies together and
//! at hand. It need not: the system may have to move other pages out of the way first, or the host
//! of a virtual machine may have taken the memory back, and gives large pieces anew while small ones
//! still lie about. So both ways are timed as they are used, and the cheaper one is taken.

use std::sync::atomic::{AtomicU64, Ordering};

/// What there is of each kind of pages.
const LARGE: usize = 0;
const SMALL: usize = 1;
/// The size of a large page.
const SIZE: usize = 2 << 20;
/// The size of a small one, at least.
const SMALL_SIZE: usize = 4 << 10;
/// What allocators keep beside a piece of memory of this size.
const BESIDE: usize = 32;
/// Once in so many times the other way is tried.
const RETRY: u64 = 64;
/// Nothing is touched anew at this speed: somebody else was there before.
const FASTEST: u64 = 64;

/// Nanoseconds that a mebibyte took lately, of large and of small pages; 0 if that is not known.
static COSTS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
static TURN: AtomicU64 = AtomicU64::new(0);

/// Has the system give the large pages that begin in the `size` bytes at `start`, which are part of
/// memory that reaches to `end` (addresses).
pub(crate) fn touch(start: usize, size: usize, end: usize) {
    if let Some((start, size)) = large_pages(start, size, end) {
        populate(start, size);
    }
}

/// As [`touch`], of all of a piece of memory, and of what the allocator keeps in its first small page.
pub(crate) fn touch_all(start: usize, size: usize) {
    let (first, size, end) = small_pages(start, size);
    touch(first, size, end);
}

/// Where the small pages begin that a piece of memory has a part of, their size, and where they end.
fn small_pages(start: usize, size: usize) -> (usize, usize, usize) {
    let first = start / SMALL_SIZE * SMALL_SIZE;
    let end = start.saturating_add(size).checked_next_multiple_of(SMALL_SIZE).unwrap_or(usize::MAX);
    (first, end - first, end)
}

/// At least so many bytes, which fill large pages with what the allocator keeps beside them. The
/// system puts memory of such a size where large pages begin.
pub(crate) fn whole(size: usize) -> usize {
    size.saturating_add(BESIDE).checked_next_multiple_of(SIZE).map_or(size, |all| all - BESIDE)
}

/// Where the large pages begin that begin in a part of some memory, and the size of those that lie
/// in it. Every page belongs to one part, whatever memory is cut into.
fn large_pages(start: usize, size: usize, end: usize) -> Option<(usize, usize)> {
    let first = start.checked_next_multiple_of(SIZE)?;
    let behind = start.checked_add(size)?.checked_next_multiple_of(SIZE)?;
    let behind = behind.min(end / SIZE * SIZE);
    (behind > first).then(|| (first, behind - first))
}

/// The way to take. Large pages make later work faster too, so small ones must be worth it.
fn choose(costs: [u64; 2], turn: u64) -> usize {
    let [large, small] = costs;
    let way = if small.saturating_mul(3) < large.saturating_mul(2) { SMALL } else { LARGE };
    if turn % RETRY == RETRY - 1 { 1 - way } else { way }
}

/// What a way costs now, if it did `before`, and `size` bytes just took so long; none if that tells
/// nothing.
fn learn(before: u64, nanoseconds: u64, size: u64) -> Option<u64> {
    let now = nanoseconds.saturating_mul(1 << 20).checked_div(size)?;
    if now < (1 << 20) / FASTEST {
        return None;
    }
    Some(if before == 0 { now } else { before.saturating_mul(3).saturating_add(now) / 4 })
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system is told about memory by its address")]
fn populate(start: usize, size: usize) {
    use rustix::mm::{Advice, madvise};
    let costs = [0, 1].map(|way| COSTS.get(way).map_or(0, |cost| cost.load(Ordering::Relaxed)));
    let way = choose(costs, TURN.fetch_add(1, Ordering::Relaxed));
    let memory = std::ptr::without_provenance_mut(start);
    let advise = |advice| {
        // SAFETY: whoever calls has a part of each of these small pages and so keeps all of them
        // mapped, and neither advice changes what is in them.
        unsafe { madvise(memory, size, advice) }
    };
    if way == LARGE && advise(Advice::LinuxHugepage).is_err() {
        return;
    }
    let began = std::time::Instant::now();
    // Systems before Linux 5.14 do not know it.
    if advise(Advice::LinuxPopulateWrite).is_ok()
        && let (Some(cost), Ok(took)) = (COSTS.get(way), u64::try_from(began.elapsed().as_nanos()))
        && let Some(now) = learn(cost.load(Ordering::Relaxed), took, size as u64)
    {
        cost.store(now, Ordering::Relaxed);
    }
}

#[cfg(not(target_os = "linux"))]
fn populate(_start: usize, _size: usize) {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_large_page_belongs_to_one_part(
            start in 1..10 * SIZE,
            sizes in prop::collection::vec(0..5 * SIZE, 0..6),
        ) {
            let end = start + sizes.iter().sum::<usize>();
            let mut next = start.next_multiple_of(SIZE);
            let mut part = start;
            for size in sizes {
                if let Some((first, length)) = large_pages(part, size, end) {
                    prop_assert_eq!(first, next);
                    prop_assert!(part <= first && first < part + size && length % SIZE == 0);
                    next += length;
                }
                part += size;
            }
            prop_assert!(next > end || end - next < SIZE);
        }
    }

    #[test]
    fn memory_of_whole_pages_is_touched_whole() {
        assert_eq!(whole(1), SIZE - BESIDE);
        assert_eq!(whole(SIZE - BESIDE), SIZE - BESIDE);
        assert_eq!(whole(SIZE - BESIDE + 1), 2 * SIZE - BESIDE);
        assert_eq!(whole(usize::MAX), usize::MAX);
        let (first, size, end) = small_pages(7 * SIZE + 16, whole(SIZE));
        assert_eq!(large_pages(first, size, end), Some((7 * SIZE, 2 * SIZE)));
        let (first, size, end) = small_pages(7 * SIZE + SMALL_SIZE + 16, whole(SIZE));
        assert_eq!(large_pages(first, size, end), Some((8 * SIZE, SIZE)));
    }

    #[test]
    fn the_cheaper_way_is_taken_and_the_other_one_tried_again() {
        // What is not known is tried.
        assert_eq!(choose([0, 0], 0), LARGE);
        assert_eq!(choose([100, 0], 1), SMALL);
        assert_eq!(choose([100, 250], 2), LARGE);
        assert_eq!(choose([100, 70], 3), LARGE);
        assert_eq!(choose([1800, 700], 4), SMALL);
        let turns = |costs| (0..RETRY * 10).filter(|turn| choose(costs, *turn) == SMALL).count();
        assert_eq!((turns([100, 250]), turns([1800, 700])), (10, RETRY as usize * 10 - 10));
    }

    #[test]
    fn costs_follow_what_is_measured() {
        let size = 4 << 20;
        assert_eq!(learn(0, 400_000, size), Some(100_000));
        assert_eq!(learn(100_000, 4_000_000, size), Some(325_000));
        assert_eq!(learn(100_000, 1000, size), None);
        assert_eq!(learn(100_000, 1000, 0), None);
    }
}
