//! Carries faults out on a world, and ends them.
//!
//! It must not know what comes of it.

use crate::fault::{Fault, Place, What, Which, Who};
use crate::fixtures::name;
use crate::world::{BOARD, World};
use baton_core::arbiter::{DrillAsked, Fault as Drilled};
use baton_core::guard::{Input, Saved};
use baton_core::ids::InstanceName;
use baton_core::record::Settings;
use baton_core::settings::LossPolicy;
use baton_core::time::Span;
use baton_core::timing::LEASE_TTL_MIN;

/// How a fault ends.
#[derive(Clone, Debug)]
pub enum End {
    /// A guard's process starts.
    Start(InstanceName),
    /// A guard's process ends, a copy of an earlier hand-over is put back, and its process starts.
    PutBack(InstanceName),
    /// A host goes on.
    Thaw(InstanceName),
    /// A guard goes on.
    ThawGuard(InstanceName),
    /// An arbiter's process starts.
    StartArbiter(String),
    /// An arbiter goes on.
    ThawArbiter(String),
    /// An arbiter renews again.
    Renew(String),
    /// Messages pass again in these directions.
    Mend(Vec<(String, String)>),
    /// What waited comes out.
    Release(String, String),
    /// What waited is lost, and nothing waits any more.
    Drop(String, String),
    /// An engine hears again; what was asked is carried out late, or never.
    Hear(InstanceName, bool),
    /// An engine finishes writes again.
    Unstall(InstanceName),
    /// A deadman hears again.
    HearDeadman(InstanceName),
    /// A disk works again.
    FreeDisk(InstanceName),
    /// The stateboard is started.
    StartBoard,
    /// A write that was on its way arrives.
    LetWriteThrough,
    /// The provider is put back to the copy that was made.
    Restore,
    /// The provider is given back what it lost.
    FindBoard,
    /// The provider's state is at the other end.
    Arrive,
    /// A member is taken back.
    TakeBack(InstanceName),
    /// All sidecars are started.
    StartAll,
}

impl World {
    fn member(&self, who: Who) -> InstanceName {
        let number = match who {
            Who::Member(number) => usize::from(number),
            Who::Other(number) => {
                let master = self.provider.record().and_then(|record| record.master.clone());
                let others: Vec<_> = self.nodes.keys().filter(|it| Some(*it) != master.as_ref()).collect();
                let count = others.len().max(1);
                return others
                    .get(usize::from(number) % count)
                    .map_or_else(|| name("a1"), |it| (*it).clone());
            }
            Who::Master => {
                let master = self.provider.record().and_then(|record| record.master.clone());
                match master.filter(|master| self.nodes.contains_key(master)) {
                    Some(master) => return master,
                    None => 0,
                }
            }
        };
        let mut names = self.nodes.keys().cycle().skip(number % self.nodes.len().max(1));
        names.next().cloned().unwrap_or_else(|| name("a1"))
    }

    fn coordinator(&self, which: Which) -> String {
        let number = match which {
            Which::Arbiter(number) => usize::from(number),
            Which::Active => match self.active_arbiter() {
                Some(active) => return active,
                None => 0,
            },
        };
        let mut names = self.arbiters.keys().cycle().skip(number % self.arbiters.len().max(1));
        names.next().cloned().unwrap_or_default()
    }

    fn place(&self, place: Place) -> String {
        match place {
            Place::Host(who) => self.member(who).to_string(),
            Place::Coordinator(which) => self.coordinator(which),
            Place::Board => BOARD.to_owned(),
        }
    }

    fn cut_all(&mut self, pairs: Vec<(String, String)>) -> Option<End> {
        for (from, to) in &pairs {
            self.net().cut(from, to);
        }
        Some(End::Mend(pairs))
    }

    /// Begins a fault; how it ends, where it lasts. `None`: it was over at once, or had nothing to take hold of.
    pub fn strike(&mut self, fault: &Fault) -> Option<End> {
        match &fault.what {
            What::CutOneWay(from, to) => {
                let pair = (self.place(*from), self.place(*to));
                self.cut_all(vec![pair])
            }
            What::Cut(one, other) => {
                let (one, other) = (self.place(*one), self.place(*other));
                self.cut_all(vec![(one.clone(), other.clone()), (other, one)])
            }
            What::Isolate(place) => {
                let alone = self.place(*place);
                let mut others: Vec<String> = self.arbiters.keys().cloned().collect();
                others.extend(self.nodes.keys().map(ToString::to_string));
                others.push(BOARD.to_owned());
                others.retain(|other| *other != alone);
                let both = |other: String| [(alone.clone(), other.clone()), (other, alone.clone())];
                self.cut_all(others.into_iter().flat_map(both).collect())
            }
            What::Hold(from, to, kind) | What::Lose(from, to, kind) => {
                let (from, to) = (self.place(*from), self.place(*to));
                self.net().hold(&from, &to, kind);
                let lost = matches!(fault.what, What::Lose(..));
                Some(if lost { End::Drop(from, to) } else { End::Release(from, to) })
            }
            What::CrashArbiter(which)
            | What::FreezeArbiter(which)
            | What::NoRenewals(which)
            | What::Resign(which) => {
                let arbiter = self.coordinator(*which);
                self.strike_arbiter(&fault.what, arbiter)
            }
            What::StopBoard
            | What::TreatWrite(_)
            | What::RestoreBoard
            | What::LoseBoard
            | What::MoveBoard
            | What::WrongWrite(_) => self.strike_board(&fault.what),
            What::Drift(place, ppm) => {
                let (place, now) = (self.place(*place), self.now);
                if let Some(node) = self.arbiters.get_mut(&place) {
                    node.clock.set_rate(now, *ppm);
                } else if let Some(node) = self.nodes.values_mut().find(|node| node.name.as_str() == place) {
                    node.clock.set_rate(now, *ppm);
                }
                None
            }
            What::Abort => {
                self.abort();
                None
            }
            _ => self.strike_host(&fault.what).or_else(|| self.people_do(&fault.what)),
        }
    }

    fn strike_arbiter(&mut self, what: &What, arbiter: String) -> Option<End> {
        match what {
            What::CrashArbiter(_) => {
                self.crash_arbiter(&arbiter);
                Some(End::StartArbiter(arbiter))
            }
            What::FreezeArbiter(_) => {
                self.freeze_arbiter(&arbiter, true);
                Some(End::ThawArbiter(arbiter))
            }
            What::NoRenewals(_) => {
                self.arbiters.get_mut(&arbiter)?.no_renewals = true;
                Some(End::Renew(arbiter))
            }
            _ => {
                self.resign(&arbiter);
                None
            }
        }
    }

    fn strike_board(&mut self, what: &What) -> Option<End> {
        match what {
            What::StopBoard => {
                self.stop_provider();
                Some(End::StartBoard)
            }
            What::TreatWrite(treatment) => {
                self.treat_next_write(*treatment);
                Some(End::LetWriteThrough)
            }
            What::LoseBoard => self.lose_provider().then_some(End::FindBoard),
            What::MoveBoard => self.leave_provider().then_some(End::Arrive),
            What::WrongWrite(earlier) => {
                self.write_wrongly(*earlier);
                None
            }
            _ => {
                self.provider.backup = Some(Box::new(self.provider.durable.clone()));
                Some(End::Restore)
            }
        }
    }

    fn strike_host(&mut self, what: &What) -> Option<End> {
        let host = self.member(what.host()?);
        match what {
            What::EndEngine(_) => self.end_engine(&host),
            What::KillHost(_, boots) => {
                self.kill_host(&host);
                if *boots {
                    self.boots(&host);
                }
                return Some(End::Start(host));
            }
            What::CrashGuard(_) => {
                self.crash_guard(&host);
                return Some(End::Start(host));
            }
            What::StopGuard(_) => {
                self.tell_guard_to_stop(&host);
                return Some(End::Start(host));
            }
            What::FreezeHost(_) => {
                self.freeze(&host);
                return Some(End::Thaw(host));
            }
            What::CloseStream(_) => self.close_stream(&host),
            What::BreakConnection(_) => self.break_connection(&host),
            What::KillDeadman(_) => {
                self.kill_deadman(&host);
                return Some(End::Start(host));
            }
            What::Wipe(_) | What::Impostor(_) if !self.is_held_elsewhere(&host) => {}
            // With those who know of it the set would be lost for good.
            What::Impostor(_) if self.provider.is_lost() => {}
            What::Wipe(_) | What::Impostor(_) => {
                self.kill_host(&host);
                self.boots(&host);
                let node = self.nodes.get_mut(&host)?;
                node.engine.replace_data(Vec::new());
                if matches!(what, What::Impostor(_)) {
                    node.home += 100;
                    node.disk = Saved::default();
                }
                return Some(End::Start(host));
            }
            What::HandOver(_) => return self.hand_over(&host).then_some(End::Start(host)),
            What::CopyHandOver(_) => {
                let lies = self.nodes.get(&host).is_some_and(|node| node.left.is_some());
                if !lies && !self.hand_over(&host) {
                    return None;
                }
                let node = self.nodes.get_mut(&host)?;
                node.copy = node.left.clone();
                self.start_guard(&host);
                return Some(End::PutBack(host));
            }
            What::ByHand(_) => {
                let running =
                    self.nodes.get(&host).is_some_and(|node| node.engine.running && !node.engine.writable);
                if running {
                    self.set_by_hand(&host, true);
                }
            }
            _ => return self.switch_off(what, host),
        }
        None
    }

    /// Whether another member of the in-sync set has the data: nobody promises anything where all copies are lost.
    fn is_held_elsewhere(&self, host: &InstanceName) -> bool {
        let Some(record) = self.provider.record() else { return false };
        let others =
            self.nodes.values().filter(|node| node.name != *host && record.in_sync.contains(&node.name));
        others.filter(|node| self.has_the_sets_data(node)).count() > 0
    }

    /// The machine boots anew: its clock begins again, and nothing of the last boot is anybody's word.
    fn boots(&mut self, host: &InstanceName) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(host) else { return };
        node.boot += 1;
        node.same_boot = false;
        node.left = None;
        node.clock = node.clock.booted(now, 1_000_000);
    }

    /// Something of the host stops working until it is put right.
    fn switch_off(&mut self, what: &What, host: InstanceName) -> Option<End> {
        let node = self.nodes.get_mut(&host)?;
        match what {
            What::FreezeGuard(_) => {
                node.guard_frozen = true;
                Some(End::ThawGuard(host))
            }
            What::DeafEngine(_, late) => {
                node.engine_deaf = true;
                Some(End::Hear(host, *late))
            }
            What::StallEngine(_) => {
                node.engine.stalled = true;
                self.tell_guard(&host, Input::WritePath { finished: false });
                Some(End::Unstall(host))
            }
            What::SlowPromotion(_, late) => {
                node.hangs_in_promotion = true;
                Some(End::Hear(host, *late))
            }
            What::DeafDeadman(_) => {
                node.deadman.deaf = true;
                Some(End::HearDeadman(host))
            }
            _ => {
                node.disk_stuck = true;
                Some(End::FreeDisk(host))
            }
        }
    }

    fn people_do(&mut self, what: &What) -> Option<End> {
        match what {
            What::Switchover(target, timeout) => {
                let target = target.map(|who| self.member(who));
                self.switchover(target, *timeout);
            }
            What::Pause(span) => self.pause_set(*span),
            What::Resume => self.resume_set(),
            What::Force(target, timeout, fence, works) => {
                let target = target.map(|who| self.member(who));
                self.fence_works = *works;
                self.force(target, *timeout, *fence);
            }
            What::Setting(which, who, number) => {
                let host = self.member(*who);
                self.set(*which, host, *number);
            }
            What::Lease(shorter) => {
                let lease = self.lease();
                let longest = Span::from_secs(6);
                self.change_lease(if *shorter {
                    (lease / 2).max(LEASE_TTL_MIN)
                } else {
                    (lease * 2).min(longest)
                });
            }
            What::Drill(crash, back, timeout) => {
                let fault = Drilled::ALL[usize::from(*crash)];
                self.drill(DrillAsked { fault, spares: 1, accept_loss: true, back: *back }, *timeout);
            }
            What::Quorum(ack_quorum) => {
                self.change_settings(Settings { ack_quorum: *ack_quorum, ..self.settings.clone() });
            }
            What::Expel(who) => {
                let host = self.member(*who);
                self.expel(host.clone(), true);
                return Some(End::TakeBack(host));
            }
            What::TakeAway => {
                for host in self.nodes.keys().cloned().collect::<Vec<_>>() {
                    // Who cannot be reached goes on.
                    if self.net().is_open(BOARD, host.as_str()) {
                        self.crash_guard(&host);
                    }
                }
                return Some(End::StartAll);
            }
            _ => {}
        }
        None
    }

    fn expel(&mut self, host: InstanceName, expelled: bool) {
        let mut settings = self.settings.clone();
        settings.members.entry(host).or_default().expelled = expelled;
        self.change_settings(settings);
    }

    fn set(&mut self, which: u8, host: InstanceName, number: u64) {
        let mut settings = self.settings.clone();
        match which {
            0 => settings.autoreturn = !settings.autoreturn,
            1 => settings.suppress_threshold = u32::try_from(number % 4).unwrap_or(0),
            2 => settings.max_failovers_per_minute = number.is_multiple_of(2).then_some(1),
            3 => settings.loss_policy = LossPolicy::ALL[usize::try_from(number % 3).unwrap_or(0)],
            4 => settings.fence_command = Some("off".to_owned()),
            5 => settings.members.entry(host).or_default().electable = Some(number.is_multiple_of(2)),
            6 => {
                let until = self.unix_millis() + number;
                settings.members.entry(host).or_default().maintenance_until = Some(until);
            }
            _ => settings.members.entry(host).or_default().priority = Some(200),
        }
        settings.immunity = Span::from_millis(number % 3_000);
        settings.autoreturn_delay = Span::from_millis(number % 5_000);
        self.change_settings(settings);
    }

    /// Ends a fault.
    pub fn end(&mut self, end: End) {
        match end {
            End::Start(host) => {
                // Nothing starts on a host that stands still.
                self.thaw(&host);
                self.crash_guard(&host);
                self.start_guard(&host);
            }
            End::PutBack(host) => {
                self.thaw(&host);
                self.crash_guard(&host);
                if let Some(node) = self.nodes.get_mut(&host) {
                    node.left = node.copy.take();
                }
                self.start_guard(&host);
            }
            End::Thaw(host) => self.thaw(&host),
            End::ThawGuard(host) => self.resume_backlog(&host),
            End::StartArbiter(arbiter) => self.start_arbiter_if_down(&arbiter),
            End::ThawArbiter(arbiter) => self.freeze_arbiter(&arbiter, false),
            End::Renew(arbiter) => {
                if let Some(node) = self.arbiters.get_mut(&arbiter) {
                    node.no_renewals = false;
                }
            }
            End::Mend(pairs) => self.mend(pairs),
            End::Release(from, to) => {
                self.release(&from, &to);
            }
            End::Drop(from, to) => {
                self.net().drop_held(&from, &to);
                self.release(&from, &to);
            }
            End::Hear(host, late) => {
                self.engine_hears(&host);
                if late {
                    self.late_commands(&host);
                } else {
                    self.forget_unheard(&host);
                }
            }
            End::Unstall(host) => {
                if let Some(node) = self.nodes.get_mut(&host) {
                    node.engine.stalled = false;
                }
                self.late_commands(&host);
                self.tell_guard(&host, Input::WritePath { finished: true });
            }
            End::HearDeadman(host) => self.deadman_hears(&host),
            End::FreeDisk(host) => self.free_disk(&host),
            End::StartBoard => self.start_provider_if_down(),
            End::LetWriteThrough => self.let_write_through(),
            End::Restore => {
                if let Some(backup) = self.provider.backup.take() {
                    self.restore_provider(*backup);
                }
            }
            End::FindBoard => self.put_provider_back(),
            End::Arrive => self.arrive_at_provider(),
            End::TakeBack(host) => self.expel(host, false),
            End::StartAll => {
                self.remove_set();
                for host in self.nodes.keys().cloned().collect::<Vec<_>>() {
                    if self.nodes.get(&host).is_some_and(|node| node.guard.is_none()) {
                        self.start_guard(&host);
                    }
                }
            }
        }
    }
}
