//! A disk of a machine's own: a small file system in a file, mounted for the run, so that it can become full, hang, or
//! refuse writes without touching the machine below. Knows mounts, and nothing of who writes there.
//!
//! What writes to a frozen file system cannot be killed, not even by SIGKILL, until it is thawed: whoever ends a run thaws
//! first ([`Disk`] does when it is dropped) and only then waits for processes.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::names::RunId;
use super::wire::NAMED;
use crate::cluster::process::run_tool;

/// How long the last user of a disk may take to let it go.
const RELEASE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A mounted disk; thawed and unmounted with this value.
#[derive(Debug)]
pub struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Makes a file of so many MiB beside the mount point, puts a file system on it, and mounts it at `mount`.
    ///
    /// # Errors
    /// Without root, `mkfs.ext4` or loop devices.
    pub fn new(mount: &Path, mebibytes: u32) -> anyhow::Result<Self> {
        let image = image(mount);
        let file = fs::File::create_new(&image).with_context(|| format!("make {image}"))?;
        file.set_len(u64::from(mebibytes) * 1_048_576)?;
        fs::create_dir_all(mount)?;
        let at = mount.display().to_string();
        tool("mkfs.ext4", &["-q", "-m", "0", &image])?;
        tool("mount", &["-o", "loop", &image, &at])?;
        Ok(Self { mount: mount.to_owned() })
    }

    /// Every write to it waits from now on, and nobody is told.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn hang(&self) -> anyhow::Result<()> {
        tool("fsfreeze", &["-f", &self.text()])
    }

    /// What waited goes on.
    ///
    /// # Errors
    /// It did not hang.
    pub fn go_on(&self) -> anyhow::Result<()> {
        tool("fsfreeze", &["-u", &self.text()])
    }

    /// Whether it hangs: a file system can be frozen once.
    #[must_use]
    pub fn hangs(&self) -> bool {
        if self.hang().is_err() {
            return true;
        }
        let _ = self.go_on();
        false
    }

    /// Every write is refused from now on, whoever has files open, as after an error of the device.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn fail(&self) -> anyhow::Result<()> {
        tool("mount", &["-o", "remount,abort", &self.text()])
    }

    /// Takes a failed disk out and puts it in again, with what it holds. Nobody may use it any more.
    ///
    /// # Errors
    /// It is still in use, or cannot be mounted.
    pub fn exchange(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + RELEASE;
        while let Err(error) = tool("umount", &[&self.text()]) {
            if Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(LOOK);
        }
        tool("mount", &["-o", "loop", &image(&self.mount), &self.text()])
    }

    /// Writes so many bytes to a file of its own and waits until they are on the disk.
    ///
    /// # Errors
    /// The disk does not take them.
    pub fn write_synced(&self, bytes: usize) -> anyhow::Result<()> {
        let path = self.mount.join("trial");
        let mut file = fs::File::create(&path)?;
        let written = file.write_all(&vec![0x5a; bytes]).and_then(|()| file.sync_all());
        let _ = fs::remove_file(&path);
        Ok(written?)
    }

    /// Its block device, as `major:minor`.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn device(&self) -> anyhow::Result<String> {
        let stat = rustix::fs::stat(&self.mount)?;
        Ok(format!("{}:{}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)))
    }

    /// Fills it to the last byte with a file of its own.
    ///
    /// # Errors
    /// Another error than that it is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = fs::File::create(self.filler())?;
        let block = vec![0x5a_u8; 4_194_304];
        // In large steps as long as they fit, then in small ones.
        for length in [block.len(), 65_536] {
            loop {
                match file.write_all(&block[..length]).and_then(|()| file.sync_data()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill the disk"),
                }
            }
        }
        Ok(())
    }

    /// Takes that file away.
    ///
    /// # Errors
    /// It is not there.
    pub fn empty(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    /// How many bytes are free.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn free_bytes(&self) -> anyhow::Result<u64> {
        let stat = rustix::fs::statvfs(&self.mount)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    fn text(&self) -> String {
        self.mount.display().to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        release(&self.text());
    }
}

/// The file that a disk is made of.
fn image(mount: &Path) -> String {
    mount.with_extension("image").display().to_string()
}

/// Thaws, if it hangs, and unmounts, as soon as nobody uses it any more.
fn release(mount: &str) {
    let _ = tool("fsfreeze", &["-u", mount]);
    let _ = tool("umount", &["--lazy", mount]);
}

/// Thaws and unmounts the disks of the wanted runs.
pub(super) fn sweep(wanted: fn(&RunId) -> bool) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_wanted = |mount: &&str| {
        // A network namespace's name is a mount too.
        if mount.starts_with(NAMED) {
            return false;
        }
        let mut parts = Path::new(mount).iter().filter_map(|part| part.to_str());
        parts.any(|part| RunId::of_name(part).is_some_and(|run| wanted(&run)))
    };
    let found = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(is_wanted);
    let released = found.map(|mount| {
        release(mount);
        format!("disk at {mount}")
    });
    released.collect()
}

fn tool(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    run_tool(command, "").map(|_| ()).with_context(|| format!("{program} {}", arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_fills_hangs_fails_and_is_exchanged() {
        assert!(rustix::process::geteuid().is_root(), "this test mounts a disk, which only root may");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::new(&folder.path().join("data"), 16).expect("a mounted disk");
        disk.write_synced(1_000).expect("a sound disk takes it");
        disk.fill().expect("filled");
        assert!(disk.free_bytes().expect("told") < 65_536);
        assert!(disk.write_synced(1_000_000).is_err(), "no room");
        disk.empty().expect("emptied");
        disk.write_synced(1_000_000).expect("room again");
        assert!(!disk.hangs());
        disk.hang().expect("frozen");
        assert!(disk.hangs());
        disk.go_on().expect("thawed");
        disk.fail().expect("failed");
        assert!(disk.write_synced(1).is_err());
        disk.exchange().expect("nobody uses it");
        disk.write_synced(1).expect("sound again");
    }
}
