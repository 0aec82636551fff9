//! How the network and the disks behave where they are not steady: how long each message and each write takes, what comes
//! twice, late or not at all. Drawn from a seed.
//!
//! It must not know what a message means, only whether its road keeps an order.

use super::net::{Body, Packet};
use crate::dice::Dice;
use std::collections::BTreeMap;

/// What is drawn from, and how far from ordinary it goes. Spans in microseconds, chances in thousandths.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// Where the numbers come from.
    pub dice: Dice,
    /// A message takes so long, at least.
    pub net_least: u64,
    /// And up to so much longer.
    pub net_jitter: u64,
    /// How often a message that may overtake others is late.
    pub late: u64,
    /// By up to how much.
    pub late_by: u64,
    /// How often it comes twice.
    pub twice: u64,
    /// How often it is lost.
    pub lost: u64,
    /// A synced write takes so long, at least.
    pub disk_least: u64,
    /// And up to so much longer.
    pub disk_jitter: u64,
    /// When the last message of each road that keeps an order arrives, by the numbers of its hosts.
    last: BTreeMap<(usize, usize), u64>,
}

impl Weather {
    /// Nothing is late, lost or doubled any more.
    pub fn calm(&mut self) {
        (self.late, self.twice, self.lost) = (0, 0, 0);
    }

    /// Steady, and without any delay, until it is said otherwise.
    #[must_use]
    pub fn of(dice: Dice) -> Self {
        Self { dice, ..Self::default() }
    }

    /// After how long the message arrives, and after how long once more.
    pub(super) fn delays(&mut self, now: u64, packet: &Packet) -> [Option<u64>; 2] {
        let micros = self.net_least + self.dice.below(self.net_jitter + 1);
        if !overtakes(&packet.body) {
            let last = self.last.entry((packet.from.number, packet.to.number)).or_default();
            *last = (*last).max(now + micros);
            return [Some(*last - now), None];
        }
        if self.dice.chance(self.lost) {
            return [None, None];
        }
        // A call is sent once; what travels in a stream may be sent again over the next one.
        let again = matches!(packet.body, Body::Beat(..) | Body::ToGuard(..) | Body::Settings(..));
        let second =
            (again && self.dice.chance(self.twice)).then(|| micros + self.dice.below(self.late_by + 1));
        let late = if self.dice.chance(self.late) { self.dice.below(self.late_by + 1) } else { 0 };
        [Some(micros + late), second]
    }

    /// How long a client's message takes.
    pub(super) fn road_micros(&mut self) -> u64 {
        self.net_least + self.dice.below(self.net_jitter + 1)
    }

    pub(super) fn disk_micros(&mut self) -> u64 {
        self.disk_least + self.dice.below(self.disk_jitter + 1)
    }

    /// How much of what was not synced is on the disk after a crash.
    pub(super) fn kept_of(&mut self, unsynced: usize) -> usize {
        usize::try_from(self.dice.below(unsynced as u64 + 1)).unwrap_or(0)
    }
}

/// Whether it may overtake others on its road, come twice or be lost. Streams keep their order, and what is lost of them ends
/// them (a cut, or a stream that is closed); calls are alone. Beats, grants and directives travel in streams too, and bear more
/// than those do: they carry numbers.
fn overtakes(body: &Body) -> bool {
    match body {
        Body::Beat(..)
        | Body::ToGuard(..)
        | Body::Ask(..)
        | Body::Promised(_)
        | Body::Relay(..)
        | Body::Relayed { .. }
        | Body::Read(_)
        | Body::HasRead(..)
        | Body::Settings(..)
        | Body::Answer(..)
        | Body::Knock(..)
        | Body::KnockHeard(_) => true,
        Body::ToBoard(input) => matches!(input.as_ref(), baton_board::Input::Request { .. }),
        Body::Hello(..)
        | Body::Welcome(_)
        | Body::Bye(_)
        | Body::Renew(..)
        | Body::FromBoard(..)
        | Body::Lock(_)
        | Body::Data(..)
        | Body::Confirm(..) => false,
    }
}
