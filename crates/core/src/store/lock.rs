//! An exclusive lock on one key of a local store: a lock file beside it.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::backoff::Backoff;
use super::durability::Durability;
use super::failure::NotApplied;

/// The interval between progress signals of a holder, in milliseconds.
const SHOW_EVERY: u64 = 200;

/// True for the name of a lock file of [`KeyLock`].
pub(super) fn is_lock_name(name: &str) -> bool {
    name.len() > ".lock".len() && name.starts_with('.') && name.ends_with(".lock")
}

/// Holds the lock of a key until dropped.
///
/// The operating system releases the lock when the process dies; the remaining file blocks nobody
/// and is removed by the next holder.
#[derive(Debug)]
pub(super) struct KeyLock {
    path: PathBuf,
    file: File,
    since: Instant,
    /// When progress was last signalled, in milliseconds since `since`.
    shown: AtomicU64,
}

/// The outcome of an attempt to lock.
enum Attempt {
    Locked(KeyLock),
    /// Another process holds it; its last progress signal.
    Held(Sign),
    /// The lock file was removed in the meantime.
    Gone,
}

/// A value that changes when the holder of a lock makes progress, or when the holder changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sign {
    file: Option<u64>,
    written: Option<SystemTime>,
}

impl KeyLock {
    /// Waits for the lock of the object stored at `target`, and creates its directory if necessary.
    /// Fails once no holder has made progress for `timeout`.
    ///
    /// Dropping the future cancels the wait; no lock is held then.
    pub async fn acquire(target: &Path, timeout: Duration) -> object_store::Result<Self> {
        let path = lock_path(target);
        let (mut since, mut seen) = (Instant::now(), None);
        let mut backoff = Backoff::for_locks();
        loop {
            let attempt = path.clone();
            match tokio::task::spawn_blocking(move || Self::attempt(attempt)).await? {
                Ok(Attempt::Locked(lock)) => return Ok(lock),
                Ok(Attempt::Held(sign)) if seen != Some(sign) => {
                    (since, seen) = (Instant::now(), Some(sign));
                }
                Ok(_) if since.elapsed() > timeout => {
                    return Err(NotApplied::error(format!(
                        "another process has held the lock {} for {timeout:?} without progress; \
                         if it hangs, end it",
                        path.display()
                    )));
                }
                Ok(_) => {}
                Err(error) => {
                    let path = path.display();
                    return Err(NotApplied::error(format!("cannot lock {path}: {error}")));
                }
            }
            backoff.wait().await;
        }
    }

    fn attempt(path: PathBuf) -> io::Result<Attempt> {
        let file = match (open(&path), path.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                Durability::new(true).make_directory(parent)?;
                open(&path)?
            }
            (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
                remove_if_left_behind(&path, error)?;
                return Ok(Attempt::Gone);
            }
            (opened, _) => opened?,
        };
        open_to_others(&file, &path);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held(Sign::of(&file.metadata()?))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The previous holder removes the file while it holds the lock. A process that had opened
        // it before that now holds the lock of a deleted file, which excludes nobody: try again. (A
        // `KeyLock` must not be created and dropped here: that would remove whatever file is at its
        // path.)
        if !is_at(&file, &path) {
            return Ok(Attempt::Gone);
        }
        Ok(Attempt::Locked(Self { path, file, since: Instant::now(), shown: AtomicU64::new(0) }))
    }

    /// Signals progress to waiters at most every [`SHOW_EVERY`] milliseconds.
    pub fn progress(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shown = self.shown.load(Ordering::Relaxed);
        if now.saturating_sub(shown) < SHOW_EVERY
            || self
                .shown
                .compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        // The content is irrelevant: the write itself updates the file's modification time.
        let mut file = &self.file;
        let written = file.rewind().and_then(|()| file.write_all(&now.to_le_bytes()));
        if let Err(error) = written {
            tracing::debug!(lock = %self.path.display(), %error, "progress is not shown");
        }
    }
}

impl Sign {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let file = Some(std::os::unix::fs::MetadataExt::ino(metadata));
        #[cfg(not(unix))]
        let file = None;
        Self { file, written: metadata.modified().ok() }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Only the holder may remove the file, hence before unlocking. Systems other than Unix lack
        // the check in `attempt`, so the file stays there.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

/// Opens or creates a lock file. One that another user left may be read-only, which is enough to
/// lock it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A link could lead to a file that the holder would write to, and a pipe would block.
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    match options.clone().write(true).create(true).truncate(false).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            options.read(true).open(path).map_err(|_| error)
        }
        opened => opened,
    }
}

/// Lets every user lock the file who may write to the directory, whatever the umask of this
/// process.
#[cfg(unix)]
fn open_to_others(file: &File, path: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let Some(Ok(directory)) = path.parent().map(std::fs::metadata) else { return };
    let Ok(present) = file.metadata() else { return };
    let wanted = present.mode() & 0o666 | directory.mode() & 0o066;
    if wanted != present.mode() & 0o666 {
        // This fails for a file of another user, whose permissions then stay unchanged.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(wanted));
    }
}

#[cfg(not(unix))]
fn open_to_others(_file: &File, _path: &Path) {}

/// Removes a lock file that cannot be opened and that nobody holds: a process of another user left
/// it when it died. The permissions of the directory decide whether that is allowed. A process that
/// is about to lock the file notices its removal.
fn remove_if_left_behind(path: &Path, denied: io::Error) -> io::Result<()> {
    match is_held(path) {
        Some(true) => Ok(()),
        Some(false) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(denied),
            _ => Ok(()),
        },
        None => Err(denied),
    }
}

/// Whether any process holds a lock of the file; `None` if the system does not report it.
#[cfg(target_os = "linux")]
fn is_held(path: &Path) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::symlink_metadata(path).ok()?;
    let device = file.dev();
    let name = format!(
        "{:02x}:{:02x}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device),
        file.ino()
    );
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    Some(locks.split_whitespace().any(|word| word == name))
}

#[cfg(not(target_os = "linux"))]
fn is_held(_path: &Path) -> Option<bool> {
    None
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

    #[cfg(unix)]
    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the file is no object of a store")]
    async fn links_and_pipes_in_the_place_of_a_lock_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (target, outside) = (dir.path().join("t.json"), dir.path().join("precious"));
        let path = lock_path(&target);
        let short = Duration::from_millis(30);
        for exists in [true, false] {
            if exists {
                std::fs::write(&outside, "precious").unwrap();
            }
            std::os::unix::fs::symlink(&outside, &path).unwrap();
            assert!(KeyLock::acquire(&target, short).await.is_err());
            assert_eq!(std::fs::read(&outside).is_ok_and(|kept| kept == b"precious"), exists);
            std::fs::remove_file(&path).unwrap();
            let _ = std::fs::remove_file(&outside);
        }
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(KeyLock::acquire(&target, short).await.is_err());
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_holder_that_makes_progress_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("t");
        let held = KeyLock::acquire(&target, Duration::ZERO).await.unwrap();
        let timeout = Duration::from_millis(SHOW_EVERY * 10);
        let waiting = tokio::spawn({
            let target = target.clone();
            async move { KeyLock::acquire(&target, timeout).await }
        });
        let began = Instant::now();
        while began.elapsed() < timeout * 2 {
            held.progress();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!waiting.is_finished(), "the other one neither has the lock nor gives up");
        drop(held);
        drop(waiting.await.unwrap().unwrap());
        // A suspended holder does not signal progress.
        let _held = KeyLock::acquire(&target, timeout).await.unwrap();
        let error = KeyLock::acquire(&target, Duration::from_millis(30)).await.unwrap_err();
        assert!(error.to_string().contains("without progress"), "{error}");
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
