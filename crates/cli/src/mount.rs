//! The file system of a directory, and its guarantees for commits.

use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The mount point.
    pub at: PathBuf,
    /// The type reported by the system: `ext4`, `nfs4`, `fuse.sshfs`, …
    pub kind: String,
    /// The mounted device or remote path.
    pub source: String,
    /// The options of the mount and of the file system.
    pub options: Vec<String>,
}

/// The properties of a file system that commits on local files rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promises {
    /// The processes that a lock excludes.
    pub locks: &'static str,
    /// The state that other processes see while a file is renamed over another one.
    pub renames: &'static str,
    /// What a completed sync guarantees.
    pub syncs: &'static str,
}

const LOCAL: Promises = Promises {
    locks: "keep out all processes of this machine",
    renames: "atomic",
    syncs: "what is acknowledged survives a power cut",
};

impl Mount {
    /// The mount of `directory`, or of its nearest existing parent. `None` if the system does not
    /// report it.
    pub fn of(directory: &Path) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let real = directory.ancestors().find_map(|path| path.canonicalize().ok())?;
        Self::find(&mounts, &real)
    }

    /// The last mount in a mount table (proc_pid_mountinfo(5)) that contains a path.
    fn find(mounts: &str, path: &Path) -> Option<Self> {
        let all = mounts.lines().filter_map(Self::parse);
        all.filter(|mount| path.starts_with(&mount.at))
            .max_by_key(|mount| mount.at.components().count())
    }

    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(4);
        let (at, own) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, source) = (file_system.next()?, file_system.next()?);
        let options = own.split(',').chain(file_system.next().unwrap_or_default().split(','));
        Some(Self {
            at: PathBuf::from(unescape(at)),
            kind: kind.to_owned(),
            source: unescape(source),
            options: options.map(str::to_owned).collect(),
        })
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }

    /// The guarantees of the file system with its mount options.
    pub fn promises(&self) -> Promises {
        let this_machine = "keep out the processes of this machine only: write from one machine";
        let nothing = "do not work: let one process write at a time";
        match self.kind.as_str() {
            "tmpfs" | "ramfs" => Promises { syncs: "nothing survives a restart", ..LOCAL },
            "nfs" | "nfs4" => Promises {
                locks: if self.has("nolock")
                    || self.has("local_lock=all")
                    || self.has("local_lock=flock")
                {
                    this_machine
                } else {
                    "keep out all machines, if the server and its lock service work"
                },
                renames: "atomic on the server; other machines may see the old file for a few seconds",
                syncs: if self.has("async") {
                    "the mount is asynchronous; what is synced is on the server"
                } else {
                    "what is acknowledged is on the server, which may export with async"
                },
            },
            "lustre" => Promises {
                locks: if self.has("noflock") {
                    nothing
                } else if self.has("localflock") {
                    this_machine
                } else {
                    "keep out all machines"
                },
                ..LOCAL
            },
            "cifs" | "smb3" | "smbfs" => Promises {
                locks: if self.has("nobrl") || self.has("nolease") && self.has("forcemandatorylock")
                {
                    this_machine
                } else {
                    "keep out all machines, if the server knows byte-range locks"
                },
                renames: "not atomic everywhere: readers may find no file for a moment",
                syncs: if self.has("nostrictsync") {
                    "a sync does not reach the disk of the server"
                } else {
                    "what is acknowledged is on the server"
                },
            },
            "ceph" | "gpfs" | "beegfs" | "ocfs2" | "gfs2" | "orangefs" => Promises {
                locks: "keep out all machines, if the file system is set up so",
                ..LOCAL
            },
            "vfat" | "exfat" | "msdos" => {
                Promises { renames: "atomic, not safe in a power cut", ..LOCAL }
            }
            "9p" | "virtiofs" | "vboxsf" | "vmhgfs" | "drvfs" => {
                Promises { locks: this_machine, renames: "as on the host", syncs: "as on the host" }
            }
            kind if kind == "fuse" || kind.starts_with("fuse.") => Promises {
                locks: this_machine,
                renames: "depend on the program behind the mount; those over object stores copy",
                syncs: "depend on the program behind the mount",
            },
            _ => LOCAL,
        }
    }
}

/// Decodes the octal escapes of the mount table.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:5 / /data rw,relatime shared:2 - nfs4 host:/export/data rw,vers=4.2,local_lock=none
31 22 0:6 / /old\\040data rw shared:3 - nfs host:/old rw,vers=3,nolock
32 22 0:7 / /lake rw - lustre mgs@tcp:/lake rw,localflock
33 22 0:8 / /win rw - cifs //host/share rw,nobrl
34 22 0:9 / /bucket rw - fuse.s3fs s3fs rw
35 22 0:10 / /tmp rw - tmpfs tmpfs rw
";

    fn kind_and_locks(path: &str) -> (String, &'static str) {
        let mount = Mount::find(TABLE, Path::new(path)).unwrap();
        (mount.kind.clone(), mount.promises().locks)
    }

    #[test]
    fn a_path_is_on_the_deepest_mount() {
        let found = |path| kind_and_locks(path).0;
        assert_eq!(found("/home/me"), "ext4");
        assert_eq!(found("/data/x/y"), "nfs4");
        assert_eq!(found("/database"), "ext4");
        assert_eq!(found("/old data/x"), "nfs");
    }

    #[test]
    fn options_decide_whom_locks_keep_out() {
        for (path, words) in [
            ("/x", "all processes of this machine"),
            ("/data", "all machines"),
            ("/old data", "one machine"),
            ("/lake", "one machine"),
            ("/win", "one machine"),
            ("/bucket", "one machine"),
        ] {
            let (_, locks) = kind_and_locks(path);
            assert!(locks.contains(words), "{path}: {locks}");
        }
        let memory = Mount::find(TABLE, Path::new("/tmp/x")).unwrap();
        assert!(memory.promises().syncs.contains("restart"));
    }
}
