//! Background removal of replaced files.
//!
//! Freeing the blocks of a file takes milliseconds on some file systems, which can add up to as
//! much as the rest of a commit. If the process ends first, the files remain as garbage under a
//! name that nobody reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The maximum length of the queue; beyond it the caller deletes synchronously (back-pressure).
const MAX_PENDING: usize = 256;
/// The interval between checks whether the queue is empty.
const POLL: Duration = Duration::from_millis(2);

/// The queue; `None` while no thread is running.
static WAITING: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);
/// The id of the process that owns the thread: a forked child has none of its parent's threads.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Removes a directory with its content in the background, if it exists.
pub(super) fn remove_later(directory: PathBuf) {
    if directory.exists()
        && let Some(directory) = enqueue(directory)
    {
        remove(&directory);
    }
}

/// Queues a directory; returns it if it cannot be queued.
fn enqueue(directory: PathBuf) -> Option<PathBuf> {
    // A lock that was held during a fork is never released in the child.
    let Ok(mut waiting) = WAITING.try_lock() else { return Some(directory) };
    let own = process::id();
    if PROCESS.swap(own, Ordering::Relaxed) != own {
        *waiting = None;
    }
    match waiting.as_mut() {
        Some(others) if others.len() >= MAX_PENDING => return Some(directory),
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

/// The next directory to remove; `None` ends the thread.
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

/// Waits until the local files that this process has replaced are removed, which operations do not
/// wait for. If a process ends before, the rest remains as garbage and is collected as such.
pub async fn removed() {
    while is_removing() {
        tokio::time::sleep(POLL).await;
    }
}

/// Whether files are still being removed, so that [`removed`] has to wait.
#[must_use]
pub fn is_removing() -> bool {
    PROCESS.load(Ordering::Relaxed) == process::id()
        // The lock is only held for moments.
        && WAITING.try_lock().map_or(true, |waiting| waiting.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn directories_are_gone_when_they_were_waited_for() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..MAX_PENDING + 20 {
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
