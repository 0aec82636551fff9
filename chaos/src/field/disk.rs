//! A disk of a machine's own: a small file system in a file, mounted for the run, so that it can become full, hang, or
//! refuse writes without touching the machine below. Knows mounts, and nothing of who writes there.
//!
//! What writes to a frozen file system cannot be killed, not even by SIGKILL, until it is thawed: whoever ends a run thaws
//! first ([`Disk`] does when it is dropped) and only then waits for processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::names::RunId;
use crate::cluster::process::run_tool;

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
        let image = mount.with_extension("image");
        let file = fs::File::create_new(&image).with_context(|| format!("make {}", image.display()))?;
        file.set_len(u64::from(mebibytes) * 1_048_576)?;
        fs::create_dir_all(mount)?;
        let (image, at) = (image.display().to_string(), mount.display().to_string());
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

    /// Whether writes are refused from now on. What has files open for writing keeps the kernel from it, so the file system
    /// is shut off as a failing device would be.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn refuse_writes(&self, refuse: bool) -> anyhow::Result<()> {
        let how = if refuse { "remount,ro" } else { "remount,rw" };
        tool("mount", &["-o", how, &self.text()])
    }

    /// Fills it to the last byte with a file of its own.
    ///
    /// # Errors
    /// Another error than that it is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut file = fs::File::create(self.filler())?;
        let block = vec![0x5a_u8; 65_536];
        loop {
            match file.write_all(&block).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
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

/// Thaws, if it hangs, and unmounts, as soon as nobody uses it any more.
fn release(mount: &str) {
    let _ = tool("fsfreeze", &["-u", mount]);
    let _ = tool("umount", &["--lazy", mount]);
}

/// Thaws and unmounts the disks of the wanted runs.
pub(super) fn sweep(wanted: fn(&RunId) -> bool) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_wanted = |mount: &&str| {
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
