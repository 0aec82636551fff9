//! A cgroup (v2) of the engine's own: made, killed and watched through its files. It does not know what runs in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A group that was made, with the files open that are needed when no path can be looked up any more.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    kill: File,
    events: File,
}

impl Cgroup {
    /// Makes the group `name` below the group that this process is in, or takes the one that is there.
    ///
    /// # Errors
    /// Where there is no version 2 tree, or it may not be written.
    pub(super) fn make(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let (root, mount) = mount_point(&mounts)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup2 tree is mounted"))?;
        let own = own_group(&own)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this process is in no cgroup2 group"))?;
        // Where only a part of the tree is mounted (containers), paths count from that part's root.
        let below = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(own).trim_start_matches('/');
        let path = Path::new(&mount).join(below).join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Self::open(&path),
        }
    }

    /// Opens a group that is there.
    ///
    /// # Errors
    /// Where it is not, or may not be killed (a kernel before 5.14 has no `cgroup.kill`).
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            kill: OpenOptions::new().write(true).open(path.join("cgroup.kill"))?,
            events: File::open(path.join("cgroup.events"))?,
            path: path.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills every process in it, also those that are being forked.
    pub(super) fn kill(&self) -> io::Result<()> {
        (&self.kill).write_all(b"1")
    }

    /// Whether a process is in it. Reading also arms the next notification on [`Cgroup::events`].
    pub(super) fn is_populated(&self) -> io::Result<bool> {
        let mut text = [0_u8; 256];
        (&self.events).seek(SeekFrom::Start(0))?;
        let length = (&self.events).read(&mut text)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
        Ok(!text.lines().any(|line| line == "populated 0"))
    }

    /// Becomes ready with `POLLPRI` when the group gets its first or loses its last process.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Whether a process is in it.
    pub(super) fn contains(&self, pid: u32) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        own_group(&groups).is_some_and(|group| group.rsplit('/').next() == Some(name))
    }

    /// Removes the group, if it is empty.
    pub(super) fn remove(&self) {
        // An error only leaves an empty directory behind, which the next start takes over.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Root and mount point of the first cgroup2 tree in `/proc/self/mountinfo`.
fn mount_point(mounts: &str) -> Option<(String, String)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then_some(())?;
        let mut fields = before.split(' ').skip(3);
        Some((unescape(fields.next()?), unescape(fields.next()?)))
    })
}

/// The kernel writes blanks in paths as octal numbers.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// The version 2 group in `/proc/PID/cgroup`.
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_2_tree_is_found_beside_others() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 /part /sys/fs/cgroup/uni\\040fied rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some(("/part".into(), "/sys/fs/cgroup/uni fied".into())));
        assert_eq!(mount_point("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
    }

    #[test]
    fn the_own_group_is_the_one_of_version_2() {
        assert_eq!(
            own_group("9:name=systemd:/x\n0::/system.slice/baton.service\n"),
            Some("/system.slice/baton.service")
        );
        assert_eq!(own_group("9:name=systemd:/x\n"), None);
    }
}
