//! What the machine has for this process.

use std::sync::LazyLock;

/// How many cores this process may use; two, where the system does not tell. Asked for once: Linux
/// looks into several files to tell it.
#[must_use]
pub fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(2, usize::from));
    *CORES
}
