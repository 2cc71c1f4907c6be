//! Removing files that are out of everybody's way, while whoever replaced them goes on.
//!
//! Giving the blocks of a file back takes some file systems milliseconds, which add up to as much
//! as the rest of a commit. What a process leaves behind that ends before is garbage under a name
//! that nobody looks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Directories that may wait. Who replaces more, faster than they are removed, removes them.
const MOST: usize = 256;
/// Between two looks at whether everything is removed.
const POLL: Duration = Duration::from_millis(2);

/// What is to be removed; none while no thread does so.
static WAITING: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);
/// The process whose thread that is: a forked child has none of its parent's threads.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Removes a directory with what is in it, if there is one, soon.
pub(super) fn remove_later(directory: PathBuf) {
    if directory.exists()
        && let Some(directory) = enqueue(directory)
    {
        remove(&directory);
    }
}

/// Gives back what cannot be removed later.
fn enqueue(directory: PathBuf) -> Option<PathBuf> {
    // A lock that was held when the process was forked is never free again.
    let Ok(mut waiting) = WAITING.try_lock() else { return Some(directory) };
    let own = process::id();
    if PROCESS.swap(own, Ordering::Relaxed) != own {
        *waiting = None;
    }
    match waiting.as_mut() {
        Some(others) if others.len() >= MOST => return Some(directory),
        Some(others) => others.push(directory),
        None => {
            let thread = thread::Builder::new().name("partita-removal".to_owned());
            if thread.spawn(work).is_err() {
                return Some(directory);
            }
            *waiting = Some(vec![directory]);
        }
    }
    None
}

fn work() {
    while let Some(directory) = next() {
        remove(&directory);
    }
}

/// What to remove next; none ends the thread.
fn next() -> Option<PathBuf> {
    let mut waiting = WAITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let next = waiting.as_mut().and_then(Vec::pop);
    if next.is_none() {
        *waiting = None;
    }
    next
}

fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(directory = %directory.display(), %error, "garbage could not be removed");
    }
}

/// Waits until local files are gone that this process has replaced and no longer needs, which it
/// does not wait for otherwise. What is left by a process that ends before is garbage, and collected
/// as such.
pub async fn removed() {
    while is_removing() {
        tokio::time::sleep(POLL).await;
    }
}

/// Whether [`removed`] has to wait.
#[must_use]
pub fn is_removing() -> bool {
    PROCESS.load(Ordering::Relaxed) == process::id()
        // Locked for moments only.
        && WAITING.try_lock().map_or(true, |waiting| waiting.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn directories_are_gone_when_they_were_waited_for() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..MOST + 20 {
            let directory = root.path().join(number.to_string());
            fs::create_dir_all(directory.join("below")).unwrap();
            fs::File::create(directory.join("below/file")).unwrap();
            remove_later(directory);
        }
        remove_later(root.path().join("none"));
        removed().await;
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
