//! When what is written to local files is on the disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes written at once. The system takes the largest pages that fit for them, which a virtual
/// machine may have to get back from its host first: with 2 MiB or more at once, filling a file took
/// two to four times as long.
pub(super) const STEP: usize = 512 << 10;

/// Whether success means that files are on the disk, where they survive a power cut, or in the hands
/// of the system, where they survive the process.
#[derive(Debug)]
pub(super) struct Durability {
    waits: bool,
    /// Open since before the first file that [`Durability::everything`] is to sync: the system tells
    /// of what could not be written whoever had the file system open then.
    root: OnceLock<File>,
    failed: AtomicBool,
}

impl Durability {
    pub fn new(waits: bool) -> Self {
        Self { waits, root: OnceLock::new(), failed: AtomicBool::new(false) }
    }

    /// Waits for a file.
    pub fn file(&self, file: &File) -> io::Result<()> {
        if self.waits { file.sync_all() } else { Ok(()) }
    }

    /// Waits for the entries of a directory. Directories cannot be synced elsewhere than on Unix.
    pub fn directory(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { self.file(&File::open(path)?) } else { Ok(()) }
    }

    /// Makes a directory with its parents, and waits for each new entry.
    pub fn make_directory(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::create_dir_all(path)?;
        missing.into_iter().filter_map(Path::parent).try_for_each(|path| self.directory(path))
    }

    /// Fills a file below `root`, which is on the disk after [`Durability::everything`].
    pub fn fill(&self, file: &mut File, bytes: &[u8], root: &Path) -> io::Result<()> {
        use io::Write;
        if self.syncs_everything() && self.root.get().is_none() {
            // Another thread may be faster.
            let _ = self.root.set(File::open(root)?);
        }
        bytes.chunks(STEP).try_for_each(|part| file.write_all(part))?;
        if self.waits { begin(file) } else { Ok(()) }
    }

    /// Has a file that was filled without [`Durability::fill`] on the disk after
    /// [`Durability::everything`].
    pub fn copied(&self, path: &Path) -> io::Result<()> {
        if self.syncs_everything() { Ok(()) } else { self.file(&File::open(path)?) }
    }

    /// Waits for what was written to another file system than that of the root.
    pub fn elsewhere(&self, directory: &Path) -> io::Result<()> {
        if self.syncs_everything() { sync(&File::open(directory)?) } else { Ok(()) }
    }

    /// Whether files are synced together. Elsewhere there is no call that does so.
    fn syncs_everything(&self) -> bool {
        self.waits && cfg!(target_os = "linux")
    }

    /// Waits for every file that was filled.
    pub fn everything(&self, root: &Path) -> io::Result<()> {
        if !self.syncs_everything() {
            return Ok(());
        }
        let synced = match self.root.get() {
            Some(root) => sync(root),
            None => sync(&File::open(root)?),
        };
        // The system tells it once, but all who have written since have to know.
        if synced.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        synced?;
        match self.failed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(io::Error::other(
                "what was written earlier did not reach the disk; open the dataset again",
            )),
        }
    }
}

/// Has the system begin to write a file out, so that the disk is not idle while chunks are encoded.
/// What fails is told by [`sync`].
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library that is used has the call")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn begin(file: &File) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the file is open, and the call changes nothing in memory.
    let begun =
        unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if begun != 0 {
        tracing::trace!(error = %io::Error::last_os_error(), "a file is written out later");
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn begin(file: &File) -> io::Result<()> {
    file.sync_all()
}

#[cfg(target_os = "linux")]
fn sync(root: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(root)?)
}

#[cfg(not(target_os = "linux"))]
fn sync(_root: &File) -> io::Result<()> {
    Ok(())
}
