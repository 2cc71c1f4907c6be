//! An exclusive lock on one key of a local store: a lock file beside it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::durability::Durability;
use super::failure::NotApplied;

/// True for the name of a file that [`KeyLock`] makes.
pub(super) fn is_lock_name(name: &str) -> bool {
    name.len() > ".lock".len() && name.starts_with('.') && name.ends_with(".lock")
}

/// Holds the lock of a key until dropped.
///
/// The operating system releases the lock when the process dies; the file that then stays behind
/// blocks nobody and is removed by the next holder.
#[derive(Debug)]
pub(super) struct KeyLock {
    path: PathBuf,
    file: File,
}

impl KeyLock {
    /// Waits for the lock of the object stored at `target`, making its directory if need be.
    ///
    /// Waiting is cancelled by dropping the future; nothing is held then.
    pub async fn acquire(target: &Path, timeout: Duration) -> object_store::Result<Self> {
        let path = lock_path(target);
        let began = Instant::now();
        let mut backoff = Backoff::for_locks();
        loop {
            let attempt = path.clone();
            match tokio::task::spawn_blocking(move || Self::attempt(attempt)).await? {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) if began.elapsed() > timeout => {
                    return Err(NotApplied::error(format!(
                        "another process has held the lock {} for {timeout:?}; if it hangs, end it",
                        path.display()
                    )));
                }
                Ok(None) => backoff.wait().await,
                Err(error) => {
                    let path = path.display();
                    return Err(NotApplied::error(format!("cannot lock {path}: {error}")));
                }
            }
        }
    }

    fn attempt(path: PathBuf) -> io::Result<Option<Self>> {
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = match (open(), path.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                Durability::new(true).make_directory(parent)?;
                open()?
            }
            (opened, _) => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The former holder removes the file while it holds the lock. Whoever had opened it before
        // that now holds the lock of a file that is gone, which excludes nobody: try again.
        // (Not `then_some`: dropping a `KeyLock` removes whatever lock file is at its path.)
        Ok(is_at(&file, &path).then(|| Self { path, file }))
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Only the holder may remove the file, hence before unlocking. Elsewhere than on Unix the
        // check in `attempt` is not to be had, so there the file stays.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

fn lock_path(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".lock");
    target.with_file_name(name)
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(lock_path(Path::new("/a/t.json")), Path::new("/a/.t.json.lock"));
        assert!(is_lock_name(".t.json.lock"));
        assert!(!is_lock_name(".lock") && !is_lock_name("t.lock") && !is_lock_name(".t"));
    }

    #[tokio::test]
    async fn excludes_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new/t.json");
        let short = Duration::from_millis(30);
        let held = KeyLock::acquire(&target, short).await.unwrap();
        let error = KeyLock::acquire(&target, short).await.unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(held);
        drop(KeyLock::acquire(&target, short).await.unwrap());
        assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("t");
        let inside = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let tasks = (0..8).map(|_| {
            let (target, inside) = (target.clone(), inside.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    let lock = KeyLock::acquire(&target, Duration::from_secs(30)).await.unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(lock);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
}
