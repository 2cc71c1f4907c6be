//! Durability of writes to local files.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes per write call. The kernel allocates the largest pages that fit a write, and a virtual
/// machine may have to get those from its host first: with 2 MiB or more per call, writing a file
/// took two to four times as long.
pub(super) const STEP: usize = 512 << 10;

/// Whether success means that files are on the disk, where they survive a power cut, or in the page
/// cache, where they survive the process.
#[derive(Debug)]
pub(super) struct Durability {
    waits: bool,
    /// A handle that was opened before the first file that [`Durability::everything`] is to sync:
    /// the kernel reports write-back errors only to handles that were open at that time.
    root: OnceLock<File>,
    failed: AtomicBool,
}

impl Durability {
    pub fn new(waits: bool) -> Self {
        Self { waits, root: OnceLock::new(), failed: AtomicBool::new(false) }
    }

    /// Waits until a file is on the disk.
    pub fn file(&self, file: &File) -> io::Result<()> {
        if self.waits { file.sync_all() } else { Ok(()) }
    }

    /// Waits until the entries of a directory are on the disk. Only Unix can sync directories.
    pub fn directory(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { self.file(&File::open(path)?) } else { Ok(()) }
    }

    /// Creates a directory with its parents, and syncs each new entry.
    pub fn make_directory(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::create_dir_all(path)?;
        missing.into_iter().filter_map(Path::parent).try_for_each(|path| self.directory(path))
    }

    /// Writes a file below `root`, which is durable after [`Durability::everything`].
    pub fn fill(&self, file: &mut File, bytes: &[u8], root: &Path) -> io::Result<()> {
        use io::Write;
        if self.syncs_everything() && self.root.get().is_none() {
            // Another thread may have set it first.
            let _ = self.root.set(File::open(root)?);
        }
        bytes.chunks(STEP).try_for_each(|part| file.write_all(part))?;
        if self.waits { begin(file) } else { Ok(()) }
    }

    /// Makes a file that was written without [`Durability::fill`] durable after
    /// [`Durability::everything`].
    pub fn copied(&self, path: &Path) -> io::Result<()> {
        if self.syncs_everything() { Ok(()) } else { self.file(&File::open(path)?) }
    }

    /// Syncs files written to a file system other than that of the root.
    pub fn elsewhere(&self, directory: &Path) -> io::Result<()> {
        if self.syncs_everything() { sync(&File::open(directory)?) } else { Ok(()) }
    }

    /// Whether all files are synced by one call, which only Linux has.
    fn syncs_everything(&self) -> bool {
        self.waits && cfg!(target_os = "linux")
    }

    /// Waits until every file written by [`Durability::fill`] is on the disk.
    pub fn everything(&self, root: &Path) -> io::Result<()> {
        if !self.syncs_everything() {
            return Ok(());
        }
        let synced = match self.root.get() {
            Some(root) => sync(root),
            None => sync(&File::open(root)?),
        };
        // The kernel reports the error once, but every thread that has written since must fail.
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

/// Starts the write-back of a file, so that the disk is not idle while chunks are encoded. Errors
/// are reported by [`sync`].
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
