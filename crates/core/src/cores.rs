//! The number of cores available to this process.

use std::sync::LazyLock;

/// The number of cores that this process may use; two if the system does not report it. Cached,
/// since Linux reads several files to determine it.
#[must_use]
pub fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(2, usize::from));
    *CORES
}
