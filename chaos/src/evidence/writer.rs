//! Writes evidence so that a crash of the suite costs at most the line that was being written: every line goes to the kernel
//! whole, in one write, and nothing is held back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{Decision, Ending, Fault, Health, Operation, Run, Sighting, file};

/// A file that grows by lines of one kind. The handle may be cloned into another task only through [`Lines::try_clone`]: lines of
/// two handles do not mix, since each is one append.
#[derive(Debug)]
pub struct Lines<T> {
    file: File,
    kind: PhantomData<fn(&T)>,
}

impl<T: Serialize> Lines<T> {
    /// Opens `path` to append to it; made if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("open {} to write evidence", path.display()))?;
        Ok(Self { file, kind: PhantomData })
    }

    /// A second handle on the same file.
    ///
    /// # Errors
    /// The system has no more handles.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, kind: PhantomData })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The disk is full or failing: the run is worth nothing without its evidence.
    pub fn write(&mut self, line: &T) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }
}

/// The folder of a run that goes on.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Faults, as they strike and as they are healed.
    pub faults: Lines<Fault>,
    /// Who is master.
    pub masters: Lines<Sighting>,
    /// Why.
    pub decisions: Lines<Decision>,
    /// How the cluster feels.
    pub health: Lines<Health>,
}

impl Folder {
    /// Makes the folder and writes down what the run is.
    ///
    /// # Errors
    /// It holds evidence of another run already, or cannot be written.
    pub fn create(path: &Path, run: &Run) -> anyhow::Result<Self> {
        let first = path.join(file::RUN);
        anyhow::ensure!(!first.exists(), "{} holds the evidence of another run", path.display());
        for folder in [file::HISTORY, file::LOGS] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        }
        write_whole(&first, run)?;
        Ok(Self {
            path: path.to_owned(),
            faults: Lines::open(&path.join(file::FAULTS))?,
            masters: Lines::open(&path.join(file::MASTERS))?,
            decisions: Lines::open(&path.join(file::DECISIONS))?,
            health: Lines::open(&path.join(file::HEALTH))?,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a client of this name writes its operations.
    #[must_use]
    pub fn history_of(&self, client: &str) -> PathBuf {
        self.path.join(file::HISTORY).join(format!("{client}.jsonl"))
    }

    /// A client's operations, for clients in this very process.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn history(&self, client: &str) -> anyhow::Result<Lines<Operation>> {
        Lines::open(&self.history_of(client))
    }

    /// Where the programs' logs belong.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join(file::LOGS)
    }

    /// Writes down how it ended. Evidence without this is of a run that did not end, and proves nothing good.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn end(self, ending: &Ending) -> anyhow::Result<()> {
        write_whole(&self.path.join(file::FINAL), ending)
    }
}

/// Whole or not at all: a reader never sees half of it.
fn write_whole(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(value)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}
