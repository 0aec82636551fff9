//! A wall clock of a machine's own, that can be set off the right one while programs run. What its engine reads and what all
//! others read is told apart, since the ways to tell them differ: libfaketime hangs under an engine with an allocator of its own.
//! Monotonic clocks stay right: leases are counted by those, and a kernel does not make them jump either.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::cluster::process::run_tool;

/// Where Debian has the library that tells programs another time.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// The library that tells engines.
const OF_ENGINES: &str = include_str!("clock.c");

/// The clock of one machine.
#[derive(Debug)]
pub struct Clock {
    library: &'static str,
    folder: PathBuf,
}

impl Clock {
    /// One that is right, with its files in this folder.
    ///
    /// # Errors
    /// libfaketime or a C compiler is not there.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let library = LIBRARIES.iter().find(|library| Path::new(library).exists());
        let library = library.context("libfaketime is not there (Debian: libfaketime)")?;
        let clock = Self { library, folder: folder.to_owned() };
        let source = folder.join("engine-clock.c");
        fs::write(&source, OF_ENGINES)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(clock.library_of_engine()).arg(&source);
        run_tool(compiler, "").context("compile the clock of engines (Debian: gcc)")?;
        fs::write(clock.file_of_engine(), 0_i64.to_ne_bytes())?;
        clock.set(0)?;
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    fn file_of_engine(&self) -> PathBuf {
        self.folder.join("engine-clock")
    }

    fn library_of_engine(&self) -> PathBuf {
        self.folder.join("engine-clock.so")
    }

    /// So many seconds off the right one, for all programs but the engine.
    ///
    /// # Errors
    /// The file that says so cannot be written.
    pub fn set(&self, seconds: i64) -> anyhow::Result<()> {
        Ok(fs::write(self.file(), format!("{seconds:+}s\n"))?)
    }

    /// The same for the engine.
    ///
    /// # Errors
    /// The file that says so cannot be written.
    pub fn set_for_engine(&self, seconds: i64) -> anyhow::Result<()> {
        // In its place: the engine has it mapped, and a moment without content would end it.
        let file = fs::OpenOptions::new().write(true).open(self.file_of_engine())?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    /// From its start on the program reads this clock.
    pub fn tell(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library).env("FAKETIME_TIMESTAMP_FILE", self.file());
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// The engine's program, as a script that makes it read the engine's clock.
    ///
    /// # Errors
    /// The script cannot be written.
    pub fn script_of_engine(&self, program: &Path) -> anyhow::Result<PathBuf> {
        let script = self.folder.join("engine");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(&script)?;
        let (library, clock) = (self.library_of_engine(), self.file_of_engine());
        writeln!(
            file,
            "#!/bin/sh\nexport LD_PRELOAD='{}' CHAOS_ENGINE_CLOCK='{}'\nexec '{}' \"$@\"",
            library.display(),
            clock.display(),
            program.display()
        )?;
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_clock_jumps_while_it_runs_and_its_monotonic_clock_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::new(folder.path()).expect("libfaketime and a C compiler");
        let script = clock.script_of_engine(Path::new("/bin/bash")).expect("writable");
        let set = |seconds: i64| {
            let bytes = seconds.to_ne_bytes().map(|byte| format!("\\x{byte:02x}")).concat();
            format!(
                "printf '{bytes}' | dd of='{}' conv=notrunc status=none",
                clock.file_of_engine().display()
            )
        };
        let now = "printf -v now '%(%s)T' -1; echo $now";
        let text = format!("{now}; {}; {now}; {}; {now}", set(-600), set(600));
        let mut command = Command::new(script);
        command.args(["-c", &text]);
        let told = run_tool(command, "").expect("it runs");
        let seconds: Vec<i64> = told.lines().map(|line| line.parse().expect("seconds")).collect();
        let [right, back, ahead] = seconds.as_slice() else { panic!("three times, not {told:?}") };
        assert!((back - right + 600).abs() <= 2, "{told}");
        assert!((ahead - right - 600).abs() <= 2, "{told}");
        clock.set_for_engine(7).expect("written in its place");
        assert_eq!(fs::read(clock.file_of_engine()).expect("there"), 7_i64.to_ne_bytes());
    }
}
