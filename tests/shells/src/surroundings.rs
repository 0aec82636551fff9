//! The simulated clock, chance and network, in the place of the machine's.

use baton_coordinator::surroundings::{Dialled, Stream, Surroundings, simulate};
use baton_core::rng::split_mix;
use baton_core::time::{Span, Time};
use http::Uri;
use std::cell::Cell;
use std::io;

/// Where the clocks begin: long after the boot, so that nothing is told by its distance from it.
const BOOT: Time = Time(3_600_000_000);

thread_local! {
    /// Each simulation runs on a thread of its own.
    static CHANCE: Cell<u64> = const { Cell::new(0) };
    static LATEST: Cell<Time> = const { Cell::new(BOOT) };
}

/// Begins a run on this thread.
pub fn begin(seed: u64) {
    simulate(Surroundings { now, chance, dial });
    CHANCE.set(split_mix(seed));
    LATEST.set(BOOT);
}

/// The clock of the host that runs now; between two hosts, the latest that any has read.
pub fn now() -> Time {
    let Some(elapsed) = turmoil::sim_elapsed() else { return LATEST.get() };
    let now = BOOT + Span::from_duration(elapsed);
    LATEST.set(LATEST.get().max(now));
    now
}

/// A clock that all hosts share: they run one after another, each through the same millisecond.
pub fn shared() -> Time {
    now();
    LATEST.get()
}

pub fn chance() -> u64 {
    CHANCE.set(CHANCE.get().wrapping_add(1));
    split_mix(CHANCE.get())
}

fn dial(uri: Uri) -> Dialled {
    Box::pin(async move {
        let unusable = || io::Error::new(io::ErrorKind::InvalidInput, "an address without a host or a port");
        let (host, port) = (uri.host().ok_or_else(unusable)?, uri.port_u16().ok_or_else(unusable)?);
        let stream = turmoil::net::TcpStream::connect((host, port)).await?;
        Ok(Box::new(stream) as Box<dyn Stream>)
    })
}
