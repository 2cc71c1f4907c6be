//! Hard links and atomic renames, with fallbacks for file systems that lack them.

use std::fs;
use std::io;
use std::path::Path;

use super::durability::Durability;

/// The system calls that may be used. A file system that lacks a call reports so itself; this is
/// for tests, which cannot provide every kind of file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub links: bool,
    pub exchange: bool,
    /// A rename that fails if the target exists.
    pub rename_new: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Self { links: true, exchange: true, rename_new: true }
    }
}

impl Calls {
    /// Makes `to`, which must not exist, a hard link to `from`, or a copy of it if the file system
    /// has no links, the file has its maximum number of links, or `to` is on another file system. A
    /// symbolic link stays one.
    ///
    /// The copy is not atomic, so `to` must be a path that nobody reads yet.
    pub fn link_or_copy(self, from: &Path, to: &Path, durability: &Durability) -> io::Result<()> {
        match self.hard_link(from, to) {
            Err(error) if is_refused(&error) => copy(from, to, durability),
            linked => linked,
        }
    }

    /// Gives a file the name `to` if that is free. Afterwards `from` may or may not exist.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `Unsupported` if the file system lacks the call.
    pub fn put_new(self, from: &Path, to: &Path) -> io::Result<()> {
        match self.hard_link(from, to) {
            Err(error) if is_refused(&error) => match self.rename_new(from, to) {
                // A system that does not implement the call may report a missing permission.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unsupported(),
                renamed => renamed,
            },
            linked => linked,
        }
    }

    pub fn hard_link(self, from: &Path, to: &Path) -> io::Result<()> {
        if self.links { fs::hard_link(from, to) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    #[cfg(target_os = "linux")]
    fn rename_new(self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::RenameFlags;
        if self.rename_new { rename(from, to, RenameFlags::NOREPLACE) } else { unsupported() }
    }

    #[cfg(not(target_os = "linux"))]
    fn rename_new(self, _from: &Path, _to: &Path) -> io::Result<()> {
        unsupported()
    }

    /// Exchanges two directories atomically.
    ///
    /// # Errors
    /// `Unsupported` if the file system lacks the call.
    #[cfg(target_os = "linux")]
    pub fn exchange(self, one: &Path, other: &Path) -> io::Result<()> {
        use rustix::fs::RenameFlags;
        if self.exchange { rename(one, other, RenameFlags::EXCHANGE) } else { unsupported() }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn exchange(self, _one: &Path, _other: &Path) -> io::Result<()> {
        unsupported()
    }
}

#[cfg(target_os = "linux")]
fn rename(from: &Path, to: &Path, flags: rustix::fs::RenameFlags) -> io::Result<()> {
    use rustix::fs::{CWD, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, flags) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => unsupported(),
        renamed => Ok(renamed?),
    }
}

fn unsupported() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// True if a hard link failed for a reason that does not prevent a copy.
pub(super) fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), PermissionDenied | TooManyLinks | Unsupported | CrossesDevices)
}

/// Copies a file, which is durable after [`Durability::everything`].
pub(super) fn copy(from: &Path, to: &Path, durability: &Durability) -> io::Result<()> {
    #[cfg(unix)]
    if from.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    durability.copied(to)
}
