//! The contenders of a world: on each host the real machine, which bids for the lock of an arbiter that hears too few, knocks,
//! and stands back.
//!
//! It must not know when any of that is called for.

use super::clock::Clock;
use super::net::Body;
use super::provider::BOARD;
use super::{Due, World};
use baton_board::{Input as BoardInput, LockView, Request};
use baton_core::arbiter::Input as ArbiterInput;
use baton_core::contender::{Action, Bid, Contender, Input, SeenLock};
use baton_core::ids::{CoordinatorName, Endpoint, Epoch};
use baton_core::time::Time;

/// One host's.
#[derive(Clone, Debug)]
pub(super) struct ContenderNode {
    machine: Contender,
    attached: Option<bool>,
    /// The knock that is not answered yet.
    knock: Option<u64>,
    last_knock: u64,
}

impl ContenderNode {
    pub(super) fn deadline(&self, now: u64, clock: Clock) -> Option<u64> {
        clock.when(now, self.machine.next_deadline()?)
    }
}

fn coordinator(host: &str) -> CoordinatorName {
    CoordinatorName::parse(host).expect("stories use good names")
}

impl World {
    /// The process of a host starts. Hosts of instances may not be the arbiter in these worlds.
    pub(super) fn start_contender(&mut self, host: &str) {
        let Some((clock, _)) = self.process(host) else { return };
        let contends = self.arbiters.contains_key(host);
        let (now, guards) = (clock.read(self.now), u32::from(!contends));
        let (_, timing) = self.read_settings(host);
        let machine = Contender::new(now, coordinator(host), guards, contends, &timing);
        let node = ContenderNode { machine, attached: None, knock: None, last_knock: 0 };
        self.contenders.insert(host.to_owned(), node);
        self.host_sees_lock(host, &self.provider.lock.clone());
    }

    /// The clock of a host whose process runs, and whether it is stopped.
    fn process(&self, host: &str) -> Option<(Clock, bool)> {
        if let Some(node) = self.arbiters.get(host) {
            return node.machine.as_ref().map(|_| (node.clock, node.frozen));
        }
        let node = self.nodes.values().find(|node| node.name.as_str() == host)?;
        node.guard.as_ref().map(|_| (node.clock, node.guard_is_stopped()))
    }

    /// The next moment at which a contender wants to be stepped, and whose.
    pub(super) fn contender_deadline(&self) -> Option<(u64, String)> {
        let due = self.contenders.iter().filter_map(|(host, node)| {
            let (clock, _) = self.process(host).filter(|(_, stopped)| !stopped)?;
            Some((node.deadline(self.now, clock)?, host.clone()))
        });
        due.min()
    }

    pub(super) fn contender_tick(&mut self, host: &str) {
        self.contender_step(host, Input::Tick);
    }

    /// After anything that happened: who is attached to the holder of the lock now.
    pub(super) fn watch_links(&mut self) {
        let holder =
            self.known_arbiter().filter(|name| self.process(name).is_some_and(|(_, stopped)| !stopped));
        let news = |(host, node): (&String, &ContenderNode)| {
            let attached = holder.as_deref().is_some_and(|holder| self.is_attached(host, holder));
            (node.attached != Some(attached)).then(|| (host.clone(), attached))
        };
        let news: Vec<_> = self.contenders.iter().filter_map(news).collect();
        for (host, attached) in news {
            if self.process(&host).is_some_and(|(_, stopped)| !stopped) {
                if let Some(node) = self.contenders.get_mut(&host) {
                    node.attached = Some(attached);
                }
                self.contender_step(&host, Input::Attached(attached));
            }
        }
    }

    /// Whether this host has a stream to the holder of the lock, which is at work.
    fn is_attached(&self, host: &str, holder: &str) -> bool {
        let node = self.nodes.values().find(|node| node.name.as_str() == host);
        if node.is_some_and(|node| node.stream.is_none() || !node.welcome) {
            return false;
        }
        // As if a stream broke with the network.
        self.net.is_open(host, holder) && self.net.is_open(holder, host)
    }

    /// What stands at the board goes out to everybody.
    pub(super) fn spread_lock(&mut self) {
        let view = self.provider.lock.clone();
        let hosts = self.nodes.keys().map(ToString::to_string).chain(self.arbiters.keys().cloned());
        for host in hosts.collect::<Vec<_>>() {
            self.send(BOARD, &host, Body::Lock(Box::new(view.clone())));
        }
    }

    pub(super) fn host_sees_lock(&mut self, host: &str, view: &LockView) {
        let holder = view.holder.as_ref().map(|holder| holder.coordinator.clone());
        let seen = SeenLock { epoch: view.epoch, holder, bid: view.bid.clone() };
        self.contender_step(host, Input::Lock(seen));
        let epoch = self.arbiters.get(host).and_then(|node| node.machine.as_ref()?.epoch());
        if epoch == Some(view.epoch) {
            self.arbiter_step(host, ArbiterInput::Bid(view.bid.clone()));
        }
    }

    fn contender_step(&mut self, host: &str, input: Input) {
        let Some((clock, _)) = self.process(host) else { return };
        let now = clock.read(self.now);
        let timing = self.timing.clone();
        let Some(node) = self.contenders.get_mut(host) else { return };
        node.machine.take_timing(&timing);
        node.machine.step(now, input);
        let actions: Vec<_> = std::iter::from_fn(|| node.machine.pop_action()).collect();
        for action in actions {
            match action {
                Action::Bid { epoch, expected, hears } => {
                    self.say(host, format_args!("bids for the lock: it hears {hears}"));
                    self.put_bid(host, epoch, expected, Some(hears));
                }
                Action::Knock { address } => self.knock(host, &address.0),
            }
        }
        self.stand_back(host);
    }

    pub(super) fn put_bid(&mut self, host: &str, epoch: Epoch, expected: u64, hears: Option<u32>) {
        let address = Endpoint(host.into());
        let bid = hears.map(|hears| Box::new(Bid { by: coordinator(host), address, hears, number: 0 }));
        let request = Request::PutBid { epoch, expected, bid };
        let id = self.provider.next_id();
        self.send(host, BOARD, Body::ToBoard(Box::new(BoardInput::Request { id, request })));
    }

    fn knock(&mut self, host: &str, bidder: &str) {
        let Some(node) = self.contenders.get_mut(host) else { return };
        node.last_knock += 1;
        let number = node.last_knock;
        node.knock = Some(number);
        let guards = u32::from(!self.arbiters.contains_key(host));
        self.send(host, bidder, Body::Knock(number, guards));
        let within = self.timing.beat_master.0;
        self.after(within, Due::KnockUnanswered { host: host.to_owned(), number });
    }

    pub(super) fn knocked(&mut self, host: &str, from: &str, number: u64, guards: u32) {
        if self.process(host).is_some() {
            self.contender_step(host, Input::Knocked { by: coordinator(from), guards });
            self.send(host, from, Body::KnockHeard(number));
        }
    }

    /// The knock with this number was heard, or its time is over.
    pub(super) fn knock_ended(&mut self, host: &str, number: u64, heard: bool) {
        if let Some(node) = self.contenders.get_mut(host)
            && node.knock == Some(number)
        {
            node.knock = None;
            self.contender_step(host, Input::Answered(heard));
        }
    }

    /// From when on an arbiter may campaign, where another's bid has its chance first.
    pub(super) fn campaign_from(&self, name: &str) -> Option<Time> {
        let (clock, _) = self.process(name)?;
        let from = self.contenders.get(name)?.machine.campaign_from()?;
        (clock.read(self.now) < from).then_some(from)
    }

    /// Leaves the line, where it waits in it and is to stand back.
    fn stand_back(&mut self, name: &str) {
        let Some(from) = self.campaign_from(name) else { return };
        if self.leave_line(name) {
            self.say(name, "stands back for a bid");
            self.campaign_at(name, from);
        }
    }

    /// Campaigns when that moment of its own clock has come.
    pub(super) fn campaign_at(&mut self, name: &str, from: Time) {
        let Some(node) = self.arbiters.get(name) else { return };
        let (run, at) = (node.run, node.clock.when(self.now, from).unwrap_or(self.now));
        self.after(at.saturating_sub(self.now) + 1, Due::Rejoin { arbiter: name.to_owned(), run });
    }
}
