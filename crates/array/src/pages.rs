//! Populating the pages of fresh memory in the cheaper of two ways.
//!
//! The kernel maps memory when it is first written (a page fault), which costs as much as decoding
//! the data that goes there. On Linux this module maps the pages of an output buffer beforehand
//! with `madvise(MADV_POPULATE_WRITE)`, and chooses the page size: transparent huge pages (2 MiB)
//! or small pages (4 KiB).
//!
//! Huge pages cost a tenth where the kernel has contiguous free memory. Where it has to move other
//! pages first, or a virtual machine has to get memory back from its host, they can cost more than
//! small ones. So the time per mebibyte is measured for both ways while they are used, as a moving
//! average for the whole process, and the cheaper way is taken; the other one is tried again every
//! [`RETRY`] calls.

use std::sync::atomic::{AtomicU64, Ordering};

/// Indexes into [`COSTS`]: huge pages and small pages.
const HUGE: usize = 0;
const SMALL: usize = 1;
/// The size of a huge page in bytes.
const HUGE_SIZE: usize = 2 << 20;
/// The size of a small page in bytes; some systems have larger ones.
const SMALL_SIZE: usize = 4 << 10;
/// Bytes that allocators keep in front of a block of this size.
const ALLOCATOR_HEADER: usize = 32;
/// Every `RETRY`th call takes the way that is not the cheaper one, to measure it again.
const RETRY: u64 = 64;
/// Speed in GiB/s above which the pages were resident already; such a sample is ignored.
const FASTEST: u64 = 64;

/// Moving average of nanoseconds per mebibyte, for huge and for small pages; 0 if there is no
/// sample.
static COSTS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Counts the calls, to know when to try the other way.
static TURN: AtomicU64 = AtomicU64::new(0);

/// Populates the huge pages that begin in the `size` bytes at address `start`, which are part of a
/// buffer that ends at address `end`.
pub(crate) fn touch(start: usize, size: usize, end: usize) {
    if let Some((start, size)) = huge_pages(start, size, end) {
        populate(start, size);
    }
}

/// Like [`touch`], for a whole buffer including the allocator's header in its first small page.
pub(crate) fn touch_all(start: usize, size: usize) {
    let (first, size, end) = small_pages(start, size);
    touch(first, size, end);
}

/// The start, size and end of the range of small pages that the memory lies in, partly or wholly.
fn small_pages(start: usize, size: usize) -> (usize, usize, usize) {
    let first = start / SMALL_SIZE * SMALL_SIZE;
    let end = start.saturating_add(size).checked_next_multiple_of(SMALL_SIZE).unwrap_or(usize::MAX);
    (first, end - first, end)
}

/// The smallest capacity of at least `size` bytes that, with the allocator's header, fills whole
/// huge pages. The kernel aligns blocks of such a size to huge pages.
pub(crate) fn whole(size: usize) -> usize {
    size.saturating_add(ALLOCATOR_HEADER)
        .checked_next_multiple_of(HUGE_SIZE)
        .map_or(size, |all| all - ALLOCATOR_HEADER)
}

/// The start and size of the huge pages that begin in this part of a buffer and end within the
/// buffer. Every huge page belongs to exactly one part, however the buffer is divided.
fn huge_pages(start: usize, size: usize, end: usize) -> Option<(usize, usize)> {
    let first = start.checked_next_multiple_of(HUGE_SIZE)?;
    let behind = start.checked_add(size)?.checked_next_multiple_of(HUGE_SIZE)?;
    let behind = behind.min(end / HUGE_SIZE * HUGE_SIZE);
    (behind > first).then(|| (first, behind - first))
}

/// Chooses between huge and small pages. Huge pages also make later accesses faster, so that small
/// ones are chosen only if they cost less than two thirds.
fn choose(costs: [u64; 2], turn: u64) -> usize {
    let [huge, small] = costs;
    let way = if small.saturating_mul(3) < huge.saturating_mul(2) { SMALL } else { HUGE };
    if turn % RETRY == RETRY - 1 { 1 - way } else { way }
}

/// The new average for a way, from its average `before` and one sample; none if the sample is
/// ignored.
fn learn(before: u64, nanoseconds: u64, size: u64) -> Option<u64> {
    let now = nanoseconds.saturating_mul(1 << 20).checked_div(size)?;
    if now < (1 << 20) / FASTEST {
        return None;
    }
    Some(if before == 0 { now } else { before.saturating_mul(3).saturating_add(now) / 4 })
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "madvise takes memory by its address")]
fn populate(start: usize, size: usize) {
    use rustix::mm::{Advice, madvise};
    let costs = [0, 1].map(|way| COSTS.get(way).map_or(0, |cost| cost.load(Ordering::Relaxed)));
    let way = choose(costs, TURN.fetch_add(1, Ordering::Relaxed));
    let memory = std::ptr::without_provenance_mut(start);
    let advise = |advice| {
        // SAFETY: the caller owns a part of each of these small pages, so that all of them stay
        // mapped, and neither advice changes the content of memory.
        unsafe { madvise(memory, size, advice) }
    };
    if way == HUGE && advise(Advice::LinuxHugepage).is_err() {
        return;
    }
    let began = std::time::Instant::now();
    // Linux before 5.14 does not support this advice.
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
        fn every_huge_page_belongs_to_one_part(
            start in 1..10 * HUGE_SIZE,
            sizes in prop::collection::vec(0..5 * HUGE_SIZE, 0..6),
        ) {
            let end = start + sizes.iter().sum::<usize>();
            let mut next = start.next_multiple_of(HUGE_SIZE);
            let mut part = start;
            for size in sizes {
                if let Some((first, length)) = huge_pages(part, size, end) {
                    prop_assert_eq!(first, next);
                    prop_assert!(part <= first && first < part + size && length % HUGE_SIZE == 0);
                    next += length;
                }
                part += size;
            }
            prop_assert!(next > end || end - next < HUGE_SIZE);
        }
    }

    #[test]
    fn buffers_of_whole_pages_are_populated_whole() {
        assert_eq!(whole(1), HUGE_SIZE - ALLOCATOR_HEADER);
        assert_eq!(whole(HUGE_SIZE - ALLOCATOR_HEADER), HUGE_SIZE - ALLOCATOR_HEADER);
        assert_eq!(whole(HUGE_SIZE - ALLOCATOR_HEADER + 1), 2 * HUGE_SIZE - ALLOCATOR_HEADER);
        assert_eq!(whole(usize::MAX), usize::MAX);
        let (first, size, end) = small_pages(7 * HUGE_SIZE + 16, whole(HUGE_SIZE));
        assert_eq!(huge_pages(first, size, end), Some((7 * HUGE_SIZE, 2 * HUGE_SIZE)));
        let (first, size, end) = small_pages(7 * HUGE_SIZE + SMALL_SIZE + 16, whole(HUGE_SIZE));
        assert_eq!(huge_pages(first, size, end), Some((8 * HUGE_SIZE, HUGE_SIZE)));
    }

    #[test]
    fn the_cheaper_way_is_taken_and_the_other_one_tried_again() {
        // A way without a sample is tried.
        assert_eq!(choose([0, 0], 0), HUGE);
        assert_eq!(choose([100, 0], 1), SMALL);
        assert_eq!(choose([100, 250], 2), HUGE);
        assert_eq!(choose([100, 70], 3), HUGE);
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
