//! What the machine has for this process.

/// How many cores this process may use; two, where the system does not tell.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
