//! The names of all faults: one table, from which the command line, the scenarios and the random mode take theirs.

use std::fmt;

use super::Fault;
use super::cut::{LinkDown, Lost, Narrow, Partition, PowerOff};
use super::disk::{BadDisk, Trouble};
use super::hand::{MadeWritable, WrongFile};
use super::load::{ClockJump, Jump, Starved};
use super::process::{Freeze, Kill, Stop};
use super::slow::{self, Slow};
use super::state::{Emptied, Gone, Restored, Wiped};
use super::twin::SameName;

/// How narrow a narrow line is, in kilobits a second: a replication stream of the clients' writes does not fit.
const NARROW_KBIT: u32 = 256;
/// How many packets of a hundred a bad line loses.
const LOSS_PERCENT: u8 = 20;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Stop,
    /// A whole machine frozen and thawed at once.
    Freeze,
    /// Killed without a last packet.
    PowerOff,
    /// Carrier gone.
    LinkDown,
    /// Cut off from everybody, in silence.
    Isolate,
    /// Cut off from everybody but its clients.
    IsolateButClients,
    /// What it sends is lost.
    LoseOutgoing,
    /// What is sent to it is lost.
    LoseIncoming,
    /// It and the arbiter do not hear each other; all others do.
    CutFromArbiter,
    /// It and the other machines of the provider do not hear each other; all others hear it.
    CutFromPeers,
    /// It and the other hosts do not hear each other; the provider hears it.
    CutFromHosts,
    /// It and the provider do not hear each other.
    CutFromProvider,
    /// Its clients do not reach it; all others do.
    CutFromClients,
    /// Some packets are lost.
    Lossy,
    /// Little bandwidth.
    Narrow,
    /// Everything is late.
    Far,
    /// Now quick, now slow.
    Uneven,
    /// Packets overtake each other.
    Disordered,
    /// Packets come twice.
    Doubled,
    /// Its disk is full.
    DiskFull,
    /// Its disk takes few bytes a second.
    DiskSlow,
    /// A write to its disk does not come back.
    DiskHung,
    /// Its disk refuses every write.
    DiskFailing,
    /// Hardly any processor time.
    Starved,
    /// Its wall clock jumps an hour ahead.
    ClockAhead,
    /// Its wall clock jumps an hour back.
    ClockBack,
    /// Of a provider: it loses everything, and gets it back in the end.
    Wiped,
    /// Of a provider: a person puts an older backup in the place of everything that it holds.
    Restored,
    /// It starts again at once under its old name, with an empty engine.
    Emptied,
    /// It vanishes for good; in the end a new machine with nothing takes its place.
    Gone,
    /// A person makes its engine a master by hand.
    MadeWritable,
    /// Its coordinator starts with the secret of another cluster.
    WrongFile,
    /// Another machine starts a coordinator and an empty engine under its instance's name.
    SameName,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::Kill,
        Self::Stop,
        Self::Freeze,
        Self::PowerOff,
        Self::LinkDown,
        Self::Isolate,
        Self::IsolateButClients,
        Self::LoseOutgoing,
        Self::LoseIncoming,
        Self::CutFromArbiter,
        Self::CutFromPeers,
        Self::CutFromHosts,
        Self::CutFromProvider,
        Self::CutFromClients,
        Self::Lossy,
        Self::Narrow,
        Self::Far,
        Self::Uneven,
        Self::Disordered,
        Self::Doubled,
        Self::DiskFull,
        Self::DiskSlow,
        Self::DiskHung,
        Self::DiskFailing,
        Self::Starved,
        Self::ClockAhead,
        Self::ClockBack,
        Self::Wiped,
        Self::Restored,
        Self::Emptied,
        Self::Gone,
        Self::MadeWritable,
        Self::WrongFile,
        Self::SameName,
    ];

    /// Its name in evidence and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::PowerOff => "power-off",
            Self::LinkDown => "link-down",
            Self::Isolate => "isolate",
            Self::IsolateButClients => "isolate-but-clients",
            Self::LoseOutgoing => "lose-outgoing",
            Self::LoseIncoming => "lose-incoming",
            Self::CutFromArbiter => "cut-from-arbiter",
            Self::CutFromPeers => "cut-from-peers",
            Self::CutFromHosts => "cut-from-hosts",
            Self::CutFromProvider => "cut-from-provider",
            Self::CutFromClients => "cut-from-clients",
            Self::Lossy => "lossy",
            Self::Narrow => "narrow",
            Self::Far => "far",
            Self::Uneven => "uneven",
            Self::Disordered => "disordered",
            Self::Doubled => "doubled",
            Self::DiskFull => "disk-full",
            Self::DiskSlow => "disk-slow",
            Self::DiskHung => "disk-hung",
            Self::DiskFailing => "disk-failing",
            Self::Starved => "starved",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBack => "clock-back",
            Self::Wiped => "wiped",
            Self::Restored => "restored",
            Self::Emptied => "emptied",
            Self::Gone => "gone",
            Self::MadeWritable => "made-writable",
            Self::WrongFile => "wrong-file",
            Self::SameName => "same-name",
        }
    }

    /// Whether it is made at the switch or on a machine's line.
    #[must_use]
    pub fn is_of_the_network(self) -> bool {
        !matches!(
            self,
            Self::Kill
                | Self::Stop
                | Self::Freeze
                | Self::DiskFull
                | Self::DiskSlow
                | Self::DiskHung
                | Self::DiskFailing
                | Self::Starved
                | Self::ClockAhead
                | Self::ClockBack
                | Self::Wiped
                | Self::Restored
                | Self::Emptied
                | Self::MadeWritable
                | Self::WrongFile
                | Self::SameName
        )
    }

    /// Whether it needs disks of the machines' own.
    #[must_use]
    pub fn needs_disks(self) -> bool {
        matches!(self, Self::DiskFull | Self::DiskSlow | Self::DiskHung | Self::DiskFailing)
    }

    /// Whether it needs a machine that is none of the set's.
    #[must_use]
    pub fn needs_spare(self) -> bool {
        self == Self::SameName
    }

    /// Whether it needs wall clocks of the machines' own.
    #[must_use]
    pub fn needs_clocks(self) -> bool {
        matches!(self, Self::ClockAhead | Self::ClockBack)
    }

    /// One to strike with.
    #[must_use]
    pub fn make(self) -> Box<dyn Fault> {
        let cut = |lost| -> Box<dyn Fault> { Box::new(Partition::new(lost)) };
        match self {
            Self::Kill => Box::new(Kill::default()),
            Self::Stop => Box::new(Stop::default()),
            Self::Freeze => Box::new(Freeze::default()),
            Self::PowerOff => Box::new(PowerOff::default()),
            Self::LinkDown => Box::new(LinkDown::default()),
            Self::Isolate => cut(Lost::Both),
            Self::IsolateButClients => cut(Lost::AllButClients),
            Self::LoseOutgoing => cut(Lost::Outgoing),
            Self::LoseIncoming => cut(Lost::Incoming),
            Self::CutFromArbiter => cut(Lost::Arbiter),
            Self::CutFromPeers => cut(Lost::Peers),
            Self::CutFromHosts => cut(Lost::Hosts),
            Self::CutFromProvider => cut(Lost::Provider),
            Self::CutFromClients => cut(Lost::Clients),
            Self::Lossy => Box::new(Partition::by_chance(Lost::Both, LOSS_PERCENT)),
            Self::Narrow => Box::new(Narrow::new(NARROW_KBIT)),
            Self::Far => Box::new(Slow::new(slow::FAR)),
            Self::Uneven => Box::new(Slow::new(slow::UNEVEN)),
            Self::Disordered => Box::new(Slow::new(slow::DISORDERED)),
            Self::Doubled => Box::new(Slow::new(slow::DOUBLED)),
            Self::DiskFull => Box::new(BadDisk::new(Trouble::Full)),
            Self::DiskSlow => Box::new(BadDisk::new(Trouble::Slow)),
            Self::DiskHung => Box::new(BadDisk::new(Trouble::Hung)),
            Self::DiskFailing => Box::new(BadDisk::new(Trouble::Failing)),
            Self::Starved => Box::new(Starved::default()),
            Self::ClockAhead => Box::new(ClockJump::new(Jump::Ahead)),
            Self::ClockBack => Box::new(ClockJump::new(Jump::Back)),
            Self::Wiped => Box::new(Wiped::default()),
            Self::Restored => Box::new(Restored),
            Self::Emptied => Box::new(Emptied::default()),
            Self::Gone => Box::new(Gone::default()),
            Self::MadeWritable => Box::new(MadeWritable::default()),
            Self::WrongFile => Box::new(WrongFile::default()),
            Self::SameName => Box::new(SameName::default()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
