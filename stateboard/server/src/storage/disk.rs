//! A disk for tests: keeps what was not synced apart, and at a loss of power forgets a random part of it, torn at
//! sectors. It can also lie about its syncs, or fail one, as real ones do.

use super::{OpenError, Storage, at, belongs, check, damaged, fill, load};
use baton_board::{Durable, Identity};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redb::{Builder, StorageBackend};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// How the disk keeps its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// What was synced stays.
    Honest,
    /// A sync is answered and nothing is done.
    Lies,
    /// The sync after so many fails once, and what it was about counts as written from then on: so Linux does it.
    Fails(u32),
}

#[derive(Clone, Debug)]
enum Op {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug)]
struct State {
    /// What survives for sure.
    durable: Vec<u8>,
    /// What the process sees.
    view: Vec<u8>,
    /// What was done since the last sync, in order.
    pending: Vec<Op>,
    /// How many writes and syncs the power lasts for.
    power: u64,
    syncs: Syncs,
    synced: u32,
}

/// The disk; a clone is the same disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

fn no_power() -> io::Error {
    io::Error::other("no power")
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, data } => {
            let end = bytes.len().min(offset + data.len());
            if *offset < end {
                bytes[*offset..end].copy_from_slice(&data[..end - offset]);
            }
        }
        Op::SetLen(length) => bytes.resize(*length, 0),
    }
}

impl State {
    /// Every write and sync costs; the last one is under way when the power goes.
    fn spend(&mut self) -> io::Result<()> {
        self.power = self.power.checked_sub(1).ok_or_else(no_power)?;
        if self.power == 0 { Err(no_power()) } else { Ok(()) }
    }

    fn change(&mut self, op: Op) -> io::Result<()> {
        if self.power == 0 {
            return Err(no_power());
        }
        apply(&mut self.view, &op);
        self.pending.push(op);
        self.spend()
    }

    fn keep_all(&mut self) {
        for op in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &op);
        }
    }
}

impl Disk {
    pub(crate) fn new(image: Vec<u8>, power: u64, syncs: Syncs) -> Self {
        let view = image.clone();
        Self(Arc::new(Mutex::new(State {
            durable: image,
            view,
            pending: Vec::new(),
            power,
            syncs,
            synced: 0,
        })))
    }

    /// One that holds `durable` and has lost nothing.
    pub(crate) fn holding(durable: &Durable) -> Vec<u8> {
        let disk = Self::new(Vec::new(), u64::MAX, Syncs::Honest);
        let database = Builder::new().create_with_backend(disk.clone()).expect("an empty disk is a new file");
        fill(&database, durable).expect("the disk works");
        drop(database);
        disk.state().keep_all();
        disk.state().durable.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation panics")
    }

    /// Whether the power has gone.
    pub(crate) fn is_off(&self) -> bool {
        self.state().power == 0
    }

    pub(crate) fn cut_power(&self) {
        self.state().power = 0;
    }

    /// What is found when the power is back: everything synced, and of the rest what the disk happened to have written.
    pub(crate) fn after_power_loss(&self, seed: u64) -> Vec<u8> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = self.state();
        let mut image = std::mem::take(&mut state.durable);
        let pending = std::mem::take(&mut state.pending);
        let kind = random.random_range(0..5);
        let cut = random.random_range(0..=pending.len());
        for (index, op) in pending.iter().enumerate() {
            let odds = match kind {
                0 => 0.0,
                1 => 1.0,
                2 => 0.5,
                // In order up to a place, or only from there.
                3 if index < cut => 1.0,
                4 if index > cut => 1.0,
                _ if index == cut => 0.5,
                _ => 0.0,
            };
            match op {
                Op::SetLen(_) if random.random_bool(odds) => apply(&mut image, op),
                Op::SetLen(_) => {}
                Op::Write { offset, data } => {
                    let mut place = *offset;
                    while place < offset + data.len() {
                        let end = ((place / SECTOR + 1) * SECTOR).min(offset + data.len());
                        if random.random_bool(odds) {
                            let data = data[place - offset..end - offset].to_vec();
                            apply(&mut image, &Op::Write { offset: place, data });
                        }
                        place = end;
                    }
                }
            }
        }
        image
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let state = self.state();
        if state.power == 0 { Err(no_power()) } else { Ok(state.view.len() as u64) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if state.power == 0 {
            return Err(no_power());
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state.view.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().change(Op::SetLen(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.synced += 1;
        match state.syncs {
            Syncs::Honest => state.keep_all(),
            Syncs::Lies => {}
            Syncs::Fails(after) if state.synced == after + 1 => {
                // The pages are marked clean all the same: a later sync does not try them again.
                state.pending.clear();
                return Err(io::Error::other("the disk could not write"));
            }
            Syncs::Fails(_) => state.keep_all(),
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.state().change(Op::Write { offset, data: data.to_vec() })
    }
}

impl Storage {
    /// Opens what is on `disk` as [`Storage::open`] opens a file: checked on a copy first.
    pub(crate) fn on(disk: &Disk, identity: &Identity) -> Result<(Self, Durable), OpenError> {
        let path: PathBuf = Path::new("/").join(super::FILE_NAME);
        let bytes = disk.state().view.clone();
        belongs(&check::read_bytes(&path, bytes)?, identity, &path)?;
        if disk.is_off() {
            return Err(at(&path)(no_power()));
        }
        let database =
            Builder::new().create_with_backend(disk.clone()).map_err(|error| damaged(&path, error))?;
        let durable = load(&database).map_err(|bad| bad.at(&path))?;
        Ok((Self { database: Arc::new(database), path, _lock: None }, durable))
    }
}
