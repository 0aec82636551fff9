//! What can go wrong, and what people do meanwhile, as plain values: drawn before a run begins, so that a run can be repeated
//! without some of them.
//!
//! It must not know the world; `strike.rs` carries them out.

use crate::dice::Dice;
use crate::world::NextWrite;
use baton_core::time::Span;

/// A host of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// By its number; what is beyond the last counts from the first again.
    Member(u8),
    /// Whoever the record names at that moment.
    Master,
    /// By its number among those whom it does not name.
    Other(u8),
}

/// A coordinator that runs an arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Arbiter(u8),
    /// Whoever decides at that moment.
    Active,
}

/// A place on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host of an instance.
    Host(Who),
    /// A host of an arbiter.
    Coordinator(Which),
    /// The state provider.
    Board,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An engine's processes end.
    EndEngine(Who),
    /// Power off: guard, deadman and engine are gone; the host comes back, on the same boot or on another.
    KillHost(Who, bool),
    /// A guard's process ends; its deadman lives on.
    CrashGuard(Who),
    /// A guard's daemon is asked to end, and ends.
    StopGuard(Who),
    /// Everything on a host stops.
    FreezeHost(Who),
    /// The guard alone stops.
    FreezeGuard(Who),
    /// An arbiter's process ends.
    CrashArbiter(Which),
    /// An arbiter's process stops.
    FreezeArbiter(Which),
    /// An arbiter does not renew its lock.
    NoRenewals(Which),
    /// An arbiter gives its lock up.
    Resign(Which),
    /// Nothing passes in this direction.
    CutOneWay(Place, Place),
    /// Nothing passes between the two.
    Cut(Place, Place),
    /// A host reaches nobody and is reached by nobody.
    Isolate(Place),
    /// Messages of one kind wait in this direction, and come at last.
    Hold(Place, Place, &'static str),
    /// Messages of one kind wait in this direction, and are lost.
    Lose(Place, Place, &'static str),
    /// A guard's stream to its arbiter breaks.
    CloseStream(Who),
    /// A guard's connection to its engine breaks.
    BreakConnection(Who),
    /// An engine hears nothing; what was asked may be carried out late.
    DeafEngine(Who, bool),
    /// An engine hears nothing any more from its next promotion on; that may be carried out late.
    SlowPromotion(Who, bool),
    /// An engine finishes no write.
    StallEngine(Who),
    /// A deadman's process ends.
    KillDeadman(Who),
    /// A deadman is starved.
    DeafDeadman(Who),
    /// Nothing becomes durable on a host.
    StuckDisk(Who),
    /// The stateboard's process ends.
    StopBoard,
    /// The next write of a record is treated like this.
    TreatWrite(NextWrite),
    /// The provider is put back to an earlier state: as it was when this began.
    RestoreBoard,
    /// The provider loses every record, and it is put back in the end.
    LoseBoard,
    /// An instance loses its data.
    Wipe(Who),
    /// Another host takes an instance's name.
    Impostor(Who),
    /// Another hand makes an engine writable.
    ByHand(Who),
    /// A clock runs so many millionths faster or slower.
    Drift(Place, i64),
    /// A sidecar is restarted on purpose.
    HandOver(Who),
    /// A sidecar is restarted on purpose; later somebody puts a copy of what it left back.
    CopyHandOver(Who),
    /// A planned change of master.
    Switchover(Option<Who>, Span),
    /// The last planned change is aborted.
    Abort,
    /// A pause, for good where no span is given.
    Pause(Option<Span>),
    /// Its end.
    Resume,
    /// A forced failover: to whom, within which time, with the fence command or not, and whether that command works.
    Force(Option<Who>, Span, bool, bool),
    /// Another setting, of those that do not change who waits for whom.
    Setting(u8, Who, u64),
    /// A shorter lease, or a longer one.
    Lease(bool),
    /// A drill.
    Drill(bool, bool, Span),
    /// Another number of replicas to wait for.
    Quorum(u32),
    /// A member is expelled, and taken back.
    Expel(Who),
    /// All sidecars are stopped and the set is removed.
    TakeAway,
    /// The cluster's state moves to another provider; until it is there, nobody is served.
    MoveBoard,
    /// A program that is not ours asks the provider, under the current lock, for the recorded term, or an earlier one, for another
    /// master.
    WrongWrite(bool),
}

impl What {
    /// The host that it is about, where it is something that goes wrong on one.
    #[must_use]
    pub fn host(&self) -> Option<Who> {
        match self {
            Self::EndEngine(who)
            | Self::KillHost(who, _)
            | Self::CrashGuard(who)
            | Self::StopGuard(who)
            | Self::FreezeHost(who)
            | Self::FreezeGuard(who)
            | Self::CloseStream(who)
            | Self::BreakConnection(who)
            | Self::DeafEngine(who, _)
            | Self::SlowPromotion(who, _)
            | Self::StallEngine(who)
            | Self::KillDeadman(who)
            | Self::DeafDeadman(who)
            | Self::StuckDisk(who)
            | Self::Wipe(who)
            | Self::Impostor(who)
            | Self::ByHand(who)
            | Self::HandOver(who)
            | Self::CopyHandOver(who) => Some(*who),
            _ => None,
        }
    }
}

/// Something that happens for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, in microseconds from the begin of the safety phase.
    pub from: u64,
    /// How long it lasts, in microseconds.
    pub lasts: u64,
    /// What.
    pub what: What,
}

/// The kinds of messages that can be held, by the names that the stories use.
const KINDS: [&str; 14] = [
    "grant",
    "beat",
    "lead",
    "follow",
    "sever",
    "relinquish",
    "data",
    "confirm",
    "promise",
    "relay",
    "settings",
    "quorum",
    "answer",
    "all",
];
const TREATMENTS: [NextWrite; 3] = [NextWrite::LoseAnswer, NextWrite::LoseRequest, NextWrite::Delay];

/// How many kinds [`draw`] knows.
pub const KINDS_OF_FAULT: u64 = 44;
/// The first of those that are done by people.
pub const FIRST_OF_PEOPLE: u64 = 31;

/// A host of an instance, the master's as often as any other.
pub fn who(dice: &mut Dice) -> Who {
    if dice.below(5) < 2 { Who::Master } else { Who::Member(small(dice.below(8))) }
}

/// An arbiter's host, the active one more often than any other.
pub fn which(dice: &mut Dice) -> Which {
    if dice.below(2) == 0 { Which::Active } else { Which::Arbiter(small(dice.below(6))) }
}

/// Any place.
pub fn place(dice: &mut Dice) -> Place {
    match dice.below(7) {
        0..=3 => Place::Host(who(dice)),
        4 | 5 => Place::Coordinator(which(dice)),
        _ => Place::Board,
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(0)
}

fn maybe<T>(dice: &mut Dice, value: T) -> Option<T> {
    dice.chance(500).then_some(value)
}

/// A fault of a kind, with all that it needs to know.
#[must_use]
pub fn draw(kind: u64, drift: u64, dice: &mut Dice) -> What {
    match kind {
        0 => What::EndEngine(who(dice)),
        1 => What::KillHost(who(dice), dice.chance(500)),
        2 => What::CrashGuard(who(dice)),
        3 => What::StopGuard(who(dice)),
        4 => What::FreezeHost(who(dice)),
        5 => What::FreezeGuard(who(dice)),
        6 => What::CrashArbiter(which(dice)),
        7 => What::FreezeArbiter(which(dice)),
        8 => What::NoRenewals(which(dice)),
        9 => What::Resign(which(dice)),
        10 => What::CutOneWay(place(dice), place(dice)),
        11 => What::Cut(place(dice), place(dice)),
        12 => What::Isolate(Place::Host(who(dice))),
        13 => What::Isolate(place(dice)),
        14 => What::Hold(place(dice), place(dice), dice.pick(&KINDS)),
        15 => What::Lose(place(dice), place(dice), dice.pick(&KINDS)),
        16 => What::CloseStream(who(dice)),
        17 => What::BreakConnection(who(dice)),
        18 => What::DeafEngine(who(dice), dice.chance(500)),
        19 => What::StallEngine(who(dice)),
        20 => What::KillDeadman(who(dice)),
        21 => What::DeafDeadman(who(dice)),
        22 => What::StuckDisk(who(dice)),
        23 => What::StopBoard,
        24 => What::TreatWrite(dice.pick(&TREATMENTS)),
        25 => What::RestoreBoard,
        26 => What::Wipe(who(dice)),
        27 => What::Impostor(who(dice)),
        28 => What::ByHand(who(dice)),
        29 => {
            let ppm = i64::try_from(dice.below(2 * drift + 1)).unwrap_or(0);
            What::Drift(place(dice), ppm - i64::try_from(drift).unwrap_or(0))
        }
        30 => What::SlowPromotion(who(dice), dice.chance(700)),
        _ => by_people(kind, dice),
    }
}

fn by_people(kind: u64, dice: &mut Dice) -> What {
    let span = |dice: &mut Dice, most| Span::from_millis(dice.below(most));
    match kind {
        31 => What::HandOver(who(dice)),
        32 => What::CopyHandOver(who(dice)),
        33 => {
            let target = who(dice);
            What::Switchover(maybe(dice, target), span(dice, 4_000))
        }
        34 => What::Abort,
        35 => {
            let length = span(dice, 40_000);
            What::Pause(maybe(dice, length))
        }
        36 => {
            let target = who(dice);
            What::Force(maybe(dice, target), span(dice, 8_000), dice.chance(500), dice.chance(500))
        }
        37 => What::Setting(small(dice.below(8)), who(dice), dice.below(20_000)),
        38 => What::Lease(dice.chance(500)),
        39 => What::Drill(dice.chance(500), dice.chance(500), span(dice, 20_000)),
        40 => What::Quorum(u32::try_from(dice.below(3)).unwrap_or(0)),
        41 => What::Expel(who(dice)),
        42 => What::TakeAway,
        _ => What::Resume,
    }
}
