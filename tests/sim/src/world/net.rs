//! The network: one queue for each direction between two hosts, which can be cut, held, or held for one kind of message.
//!
//! It must not know what the messages mean, only of which kind they are.

use baton_board::{LockView, Reply, RequestId, SessionMessage};
use baton_core::arbiter::SessionId;
use baton_core::ids::{EngineRun, Epoch, InstanceName};
use baton_core::message::{Ask, Beat, Grant, Hello, Order, PeerAnswer, ToGuard};
use baton_core::record::Settings;
use baton_core::time::Time;
use std::ops::Deref;
use std::sync::Arc;

use super::engine::Entry;

/// A host: an instance's name, an arbiter's name, or `board`.
#[derive(Clone, Debug)]
pub struct Host {
    name: Arc<str>,
    /// Its place among all hosts of this network.
    pub(super) number: usize,
}

impl Deref for Host {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Body {
    /// A guard opens its stream.
    Hello(SessionId, Box<Hello>),
    /// The arbiter has taken the stream.
    Welcome(SessionId),
    /// A stream ended.
    Bye(SessionId),
    /// A beat.
    Beat(SessionId, Box<Beat>),
    /// The arbiter speaks.
    ToGuard(SessionId, ToGuard),
    /// An arbiter asks the board.
    ToBoard(Box<baton_board::Input>),
    /// A master asks another member for a promise.
    Ask(Box<Hello>, Box<Ask>),
    /// Its answer.
    Promised(Box<PeerAnswer>),
    /// A member passes a master's beat on.
    Relay(Box<Hello>, Box<Beat>),
    /// The arbiter answers that.
    Relayed {
        /// Whose beat it was.
        of: InstanceName,
        /// The arbiter's epoch.
        epoch: Epoch,
        /// Whether it gives full leases.
        well: bool,
        /// Its grant.
        grant: Option<Grant>,
    },
    /// An arbiter renews its lock, and by its clock this is when: what is answered counts from there.
    Renew(baton_board::SessionId, Time),
    /// The board answers a candidate, over this connection; a renewal, with when that was sent.
    FromBoard(baton_board::SessionId, SessionMessage, Option<Time>),
    /// The board answers a request.
    Answer(RequestId, Box<Reply>),
    /// A starting guard (of this run) reads the board.
    Read(u64),
    /// What it read.
    HasRead(u64, Box<baton_board::Snapshot>),
    /// The board's settings, of this generation.
    Settings(u64, Box<Settings>),
    /// Who holds the lock, and what stands beside it.
    Lock(Box<LockView>),
    /// A host that the arbiter does not reach knocks at a bidder: which knock, and how many guards it has.
    Knock(u64, u32),
    /// It was heard.
    KnockHeard(u64),
    /// A master's engine streams to a replica's, over this of its links: what stands from here on in its log; from the begin, where
    /// the link is new.
    Data(EngineRun, u64, usize, Vec<Entry>),
    /// The replica has it, by what came over this of its links.
    Confirm(EngineRun, InstanceName, u64, usize),
}

impl Body {
    /// The kind, by which stories hold messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(..) | Self::Welcome(_) | Self::Bye(_) => "stream",
            Self::Beat(..) => "beat",
            Self::ToGuard(_, ToGuard::Grant(_)) => "grant",
            Self::ToGuard(_, ToGuard::Greeting(_)) => "greeting",
            Self::ToGuard(_, ToGuard::Directive(directive)) => match directive.order {
                Order::Lead { .. } => "lead",
                Order::Follow { .. } => "follow",
                Order::Sever { .. } => "sever",
                Order::Relinquish => "relinquish",
                Order::Grow { .. } => "grow",
                Order::Shrink { .. } => "shrink",
                Order::Quorum { .. } => "quorum",
                Order::Unpin => "unpin",
                Order::EndEngine { .. } => "end-engine",
                Order::StandDown => "stand-down",
            },
            Self::ToBoard(_) | Self::Renew(..) => "ask",
            Self::FromBoard(..) | Self::Answer(..) => "answer",
            Self::Ask(..) | Self::Promised(_) => "promise",
            Self::Relay(..) | Self::Relayed { .. } => "relay",
            Self::Read(_) | Self::HasRead(..) => "read",
            Self::Settings(..) => "settings",
            Self::Lock(_) => "lock",
            Self::Knock(..) | Self::KnockHeard(_) => "knock",
            Self::Data(..) => "data",
            Self::Confirm(..) => "confirm",
        }
    }
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// From.
    pub from: Host,
    /// To.
    pub to: Host,
    /// What.
    pub body: Body,
}

#[derive(Clone, Debug, Default)]
struct Link {
    /// By how many it is cut.
    cuts: u32,
    /// Held kinds; empty: none, `all`: every kind.
    held_kinds: Vec<String>,
    held: Vec<Packet>,
}

/// All links. One that was never touched lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct Net {
    hosts: Vec<Host>,
    /// By the number of the host where they begin, then of that where they end; `None` where nothing was ever done to one.
    links: Vec<Vec<Option<Link>>>,
    /// How often what passes may have changed.
    changes: u64,
}

impl Net {
    /// What passes now; the rest is dropped or kept.
    pub fn pass(&mut self, packet: Box<Packet>) -> Option<Box<Packet>> {
        let Some(link) = self
            .links
            .get_mut(packet.from.number)
            .and_then(|links| links.get_mut(packet.to.number)?.as_mut())
        else {
            return Some(packet);
        };
        if link.cuts > 0 {
            return None;
        }
        let kind = packet.body.kind();
        if link.held_kinds.iter().any(|held| held == "all" || held == kind) {
            link.held.push(*packet);
            return None;
        }
        Some(packet)
    }

    /// Whether anything passes in this direction.
    #[must_use]
    pub fn is_open(&self, from: &str, to: &str) -> bool {
        let number = |name: &str| self.hosts.iter().position(|host| **host == *name);
        let link =
            number(from).zip(number(to)).and_then(|(from, to)| self.links.get(from)?.get(to)?.as_ref());
        link.is_none_or(|link| link.cuts == 0)
    }

    /// A host by its name, made once.
    pub(super) fn host(&mut self, name: &str) -> Host {
        if let Some(host) = self.hosts.iter().find(|host| ***host == *name) {
            return host.clone();
        }
        let host = Host { name: name.into(), number: self.hosts.len() };
        self.hosts.push(host.clone());
        host
    }

    /// A number that is another one after each cut and each that was mended.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Drops whatever is sent in this direction from now on.
    pub fn cut(&mut self, from: &str, to: &str) {
        self.link(from, to).cuts += 1;
    }

    /// Undoes one cut: where it was the last, what is sent in this direction from now on passes again.
    pub fn mend(&mut self, from: &str, to: &str) {
        let link = self.link(from, to);
        link.cuts = link.cuts.saturating_sub(1);
    }

    /// Keeps messages of a kind (`all`: of every kind) in this direction.
    pub fn hold(&mut self, from: &str, to: &str, kind: &str) {
        self.link(from, to).held_kinds.push(kind.to_owned());
    }

    /// Lets everything pass again in this direction; what was kept comes out, in order.
    pub fn release(&mut self, from: &str, to: &str) -> Vec<Packet> {
        let link = self.link(from, to);
        link.held_kinds.clear();
        std::mem::take(&mut link.held)
    }

    /// Forgets what was kept in this direction.
    pub fn drop_held(&mut self, from: &str, to: &str) -> usize {
        std::mem::take(&mut self.link(from, to).held).len()
    }

    /// Everything passes everywhere; what was kept comes out.
    pub fn heal(&mut self) -> Vec<Packet> {
        self.changes += 1;
        let mut links = Vec::new();
        for (from, row) in self.hosts.iter().zip(std::mem::take(&mut self.links)) {
            let touched = self.hosts.iter().zip(row).filter_map(|(to, link)| Some((to, link?)));
            links.extend(touched.map(|(to, link)| ((from.name.clone(), to.name.clone()), link.held)));
        }
        // By their names, however the hosts were numbered.
        links.sort_by(|(one, _), (other, _)| one.cmp(other));
        links.into_iter().flat_map(|(_, held)| held).collect()
    }

    fn link(&mut self, from: &str, to: &str) -> &mut Link {
        self.changes += 1;
        let (from, to) = (self.host(from).number, self.host(to).number);
        if self.links.len() <= from {
            self.links.resize_with(from + 1, Vec::new);
        }
        let links = &mut self.links[from];
        if links.len() <= to {
            links.resize_with(to + 1, || None);
        }
        links[to].get_or_insert_default()
    }
}
