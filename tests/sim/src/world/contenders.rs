//! The contenders of a world: on each host the real machine, which bids for the lock of an arbiter that hears too few, knocks,
//! and stands back.
//!
//! It must not know when any of that is called for.

use super::clock::Clock;
use super::net::Body;
use super::provider::BOARD;
use super::table::Eye;
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
    /// When it wants to be stepped, by its own clock.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.machine.next_deadline()
    }
}

/// What all links rest on, as it was when they were looked at last.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// Who holds the lock, and whether it is at work.
    holder: Option<CoordinatorName>,
    works: bool,
    /// How often the network has changed.
    cuts: u64,
    /// Whether the holder is at work and the way to it and back is open, in the order of the names.
    nodes: Vec<bool>,
    arbiters: Vec<bool>,
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
    pub(super) fn process(&self, host: &str) -> Option<(Clock, bool)> {
        if let Some(node) = self.arbiters.get(host) {
            return node.machine.as_ref().map(|_| (node.clock, node.frozen));
        }
        let node = self.nodes.get(host)?;
        node.guard.as_ref().map(|_| (node.clock, node.guard_is_stopped()))
    }

    pub(super) fn contender_tick(&mut self, host: &str) {
        self.contender_step(host, Input::Tick);
    }

    /// After anything that happened: who is attached to the holder of the lock now.
    pub(super) fn watch_links(&mut self) {
        let news = self.news_of_links();
        if self.doubts {
            let plain = self.plain_news_of_links();
            assert!(
                plain.iter().all(|it| news.contains(it)),
                "links that changed were passed over: {plain:?}"
            );
        }
        for (host, attached) in news {
            if self.process(&host).is_some_and(|(_, stopped)| !stopped) {
                if let Some(node) = self.contenders.get_mut(&*host) {
                    node.attached = Some(attached);
                }
                self.contender_step(&host, Input::Attached(attached));
            }
        }
    }

    /// Who is attached and does not know it, or the other way. Asked only of those for whom it may have changed.
    fn news_of_links(&mut self) -> Vec<(String, bool)> {
        let all = self.renew_links();
        let mut news = Vec::new();
        let Self { nodes, arbiters, contenders, links, .. } = self;
        let mut ask = |host: &str, attached: bool| {
            if contenders.get(host).is_some_and(|it| it.attached != Some(attached)) {
                news.push((host.to_owned(), attached));
            }
        };
        if all || !nodes.rests(Eye::Links) {
            for ((name, node, touched), open) in nodes.look(Eye::Links).zip(&links.nodes) {
                if all || touched {
                    ask(name.as_str(), *open && node.stream.is_some() && node.welcome);
                }
            }
        }
        if all || !arbiters.rests(Eye::Links) {
            for ((name, _, touched), open) in arbiters.look(Eye::Links).zip(&links.arbiters) {
                if all || touched {
                    ask(name, *open);
                }
            }
        }
        news.sort_unstable();
        news
    }

    /// The same, looked up for everybody who can be told of it now.
    fn plain_news_of_links(&self) -> Vec<(String, bool)> {
        let holder = self.provider.durable.lock.holder.as_ref().map(|(it, _)| it.coordinator.as_str());
        let holder = holder.filter(|name| self.process(name).is_some_and(|(_, stopped)| !stopped));
        let news = self.contenders.iter().filter_map(|(host, contender)| {
            self.process(host).filter(|(_, stopped)| !stopped)?;
            let node = self.nodes.get(host.as_str());
            let streams = node.is_none_or(|node| node.stream.is_some() && node.welcome);
            let reached =
                holder.is_some_and(|to| self.net.is_open(host, to) && self.net.is_open(to, host) && streams);
            (contender.attached != Some(reached)).then(|| (host.clone(), reached))
        });
        news.collect()
    }

    /// What all links rest on; whether everybody is to be asked, because it changed, or because of a contender that was in hand:
    /// it may be a new one, which knows nothing.
    fn renew_links(&mut self) -> bool {
        let holder = self.provider.durable.lock.holder.as_ref().map(|(candidate, _)| &candidate.coordinator);
        let (cuts, before) = (self.net.changes(), &self.links);
        let drawn = before.nodes.len() == self.nodes.len() && before.arbiters.len() == self.arbiters.len();
        let same = drawn && holder == before.holder.as_ref() && cuts == before.cuts;
        let works = if same && self.arbiters.rests(Eye::Links) {
            before.works
        } else {
            let node = holder.and_then(|name| self.arbiters.get(name.as_str()));
            node.is_some_and(|node| node.machine.is_some() && !node.frozen)
        };
        let begun = !self.contenders.rests(Eye::Links);
        if begun {
            self.contenders.look(Eye::Links).for_each(drop);
        }
        if same && works == before.works {
            return begun;
        }
        let holder = holder.cloned();
        let to = holder.as_ref().filter(|_| works).map(CoordinatorName::as_str);
        // As if a stream broke with the network.
        let open = |host: &str| to.is_some_and(|to| self.net.is_open(host, to) && self.net.is_open(to, host));
        let nodes = self.nodes.keys().map(|name| open(name.as_str())).collect();
        let arbiters = self.arbiters.keys().map(|name| open(name)).collect();
        self.links = Links { holder, works, cuts, nodes, arbiters };
        true
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
        let own = holder.as_ref().is_some_and(|holder| holder.as_str() == host);
        let seen = SeenLock { epoch: view.epoch, holder, bid: view.bid.clone() };
        self.contender_step(host, Input::Lock(seen));
        let epoch = self.arbiters.get(host).and_then(|node| node.machine.as_ref()?.epoch());
        if own && epoch == Some(view.epoch) {
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
