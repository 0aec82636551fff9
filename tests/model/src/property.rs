//! What must hold in every state (by the functions of the oracle), and what must be seen in some, so that a world that
//! holds is not an empty one.

use crate::engine::Entry;
use crate::host::Host;
use crate::model::Checked;
use crate::state::{State, incarnation, instance, set_name};
use crate::world::World;
use baton_core::time::Span;
use baton_oracle::{Lead, i2, i3, i4};
use stateright::Property;

/// What a world may have to show, each with its condition.
type Shown = (&'static str, fn(&Checked, &State) -> bool);

/// Everything that a world can be asked to show.
pub const SOMETIMES: [Shown; 29] = [
    ("a failover completes", a_failover_completes),
    ("a lease lapses", a_lease_lapses),
    ("the deadman kills", the_deadman_kills),
    ("an old master follows", an_old_master_follows),
    ("an arbiter takes over", an_arbiter_takes_over),
    ("a guard leads again after its crash", a_guard_leads_again),
    ("an unknown write is settled", an_unknown_write_is_settled),
    ("a switchover completes", a_switchover_completes),
    ("the first master serves", the_first_master_serves),
    ("a master goes on by promises", a_master_goes_on_by_promises),
    ("a failsafe is left", a_failsafe_is_left),
    ("a beat is passed on", |_, state| state.hosts.iter().any(|host| host.past.passed_on)),
    ("a switchover rolls back", a_switchover_rolls_back),
    ("the set is paused", |_, state| is_paused(state)),
    ("a pause ends", a_pause_ends),
    ("an arbiter takes over in a pause", |model, state| {
        is_paused(state) && an_arbiter_takes_over(model, state)
    }),
    ("a forced failover completes", a_forced_failover_completes),
    ("a host is turned off", |_, state| state.hosts.iter().any(|host| host.boot > 1)),
    ("a member leaves the in-sync set", a_member_leaves),
    ("a member comes back", a_member_comes_back),
    ("an arbiter returns", an_arbiter_returns),
    ("an arbiter comes back from nothing", an_arbiter_comes_back_from_nothing),
    ("a hand-over is taken", a_hand_over_is_taken),
    ("the set is removed", |_, state| {
        state.provider.record.as_ref().is_some_and(|record| record.master.is_none())
    }),
    ("a removed set begins anew", a_removed_set_begins_anew),
    ("a promised write goes along", a_promised_write_goes_along),
    ("commits come to wait", |model, state| {
        quorum(state) > model.world.ack_quorum && master(state).is_some_and(|host| serves(state, host))
    }),
    ("commits wait for fewer", |model, state| {
        quorum(state) < model.world.ack_quorum && master(state).is_some_and(|host| serves(state, host))
    }),
    ("two are writable at once", |_, state| !one_writable(state)),
];

/// The invariants.
pub const ALWAYS: [Shown; 7] = [
    ("I1 one master for a term", |_, state| !state.provider.broke_i1),
    ("I2 one writable instance", one_writable_instance),
    ("I3 no guard leads at a term that it read", only_new_terms_are_led),
    ("I4 no writable instance without a durable record", records_come_first),
    ("I5 every promised write is in the data of every later master", |_, state| !state.watch.broke),
    ("I6 only the current epoch changes the record", |_, state| !state.provider.broke_i6),
    (REST, the_record_comes_to_rest),
];

const REST: &str = "the record comes to rest";

/// What rests on clocks, and is not asked where they mean nothing.
const BY_CLOCKS: [&str; 3] =
    ["I2 one writable instance", "I5 every promised write is in the data of every later master", REST];

/// The properties of a world.
pub fn properties(world: &World) -> Vec<Property<Checked>> {
    let shows = world.shows;
    let asked = ALWAYS.iter().filter(|(name, _)| {
        // What may be late without being a fault may be late for ever.
        let rests = !world.any_order || *name != REST;
        rests && (!world.timeless || !BY_CLOCKS.contains(name))
    });
    let always = asked.map(|(name, holds)| Property::always(name, *holds));
    let shown = SOMETIMES.iter().filter(|(name, _)| shows.contains(name));
    always.chain(shown.map(|(name, seen)| Property::sometimes(name, *seen))).collect()
}

fn one_writable_instance(_: &Checked, state: &State) -> bool {
    one_writable(state)
}

fn one_writable(state: &State) -> bool {
    let writable = state.hosts.iter().filter(|host| host.accepts_writes());
    i2::check_now(writable.map(|host| instance(host.index)), &set_name(), &"one instant").is_ok()
}

fn only_new_terms_are_led(_: &Checked, state: &State) -> bool {
    state.hosts.iter().all(|host| leads_lawfully(host) && its_disk_knows(host))
}

fn leads_lawfully(host: &Host) -> bool {
    let Some(guard) = &host.guard else { return true };
    let Some((term, _)) = guard.right_until() else { return true };
    let lead = Lead {
        instance: instance(host.index),
        incarnation: incarnation(host.index, host.boot, host.run),
        term,
        floor: guard.floor(),
        highest_seen: guard.highest_term(),
    };
    i3::check_lead(&lead).is_ok()
}

fn its_disk_knows(host: &Host) -> bool {
    let engine = &host.engine;
    !engine.writable
        || i3::check_durable(&instance(host.index), engine.promoted, host.disk.highest_term).is_ok()
}

fn records_come_first(_: &Checked, state: &State) -> bool {
    let appointed = || state.provider.appointed.iter().cloned();
    let writable = state.hosts.iter().filter(|host| host.engine.writable);
    let mut checked =
        writable.map(|host| i4::check_now(appointed(), &instance(host.index), host.engine.promoted));
    checked.all(|verdict| verdict.is_ok())
}

/// A bounded number of faults costs a bounded number of changes: a failover, the leaving and the return of a member, and
/// once more each for what was late. Without this a world would not end, and the provider would be written to for ever.
fn the_record_comes_to_rest(model: &Checked, state: &State) -> bool {
    let version = state.provider.record.as_ref().map_or(0, |record| record.version.0);
    version <= 2 + 6 * (1 + u64::from(model.world.faults.all))
}

fn master(state: &State) -> Option<&Host> {
    let master = state.provider.record.as_ref()?.master.as_ref()?;
    state.hosts.iter().map(|host| &**host).find(|host| instance(host.index) == *master)
}

fn serves(state: &State, host: &Host) -> bool {
    let term = state.provider.record.as_ref().map(|record| record.term);
    host.accepts_writes() && Some(host.engine.promoted) == term
}

fn first_term(state: &State) -> Option<baton_core::ids::Term> {
    state.provider.appointed.first().map(|(term, _)| *term)
}

fn a_failover_completes(_: &Checked, state: &State) -> bool {
    master(state).is_some_and(|host| serves(state, host) && Some(host.engine.promoted) > first_term(state))
}

fn the_first_master_serves(_: &Checked, state: &State) -> bool {
    master(state).is_some_and(|host| serves(state, host) && Some(host.engine.promoted) == first_term(state))
}

/// The recorded master's own guard has fenced it, and nobody has replaced it yet.
fn a_lease_lapses(_: &Checked, state: &State) -> bool {
    master(state).is_some_and(|host| {
        let idle =
            host.guard.as_ref().is_some_and(|guard| guard.right_until().is_none() && !guard.may_write());
        let term = state.provider.record.as_ref().map(|record| record.term);
        idle && host.engine.up && !host.engine.writable && Some(host.engine.promoted) == term
    })
}

fn a_master_goes_on_by_promises(_: &Checked, state: &State) -> bool {
    master(state)
        .and_then(|host| host.guard.as_ref())
        .is_some_and(baton_core::guard::Guard::rests_on_promises)
}

fn the_deadman_kills(_: &Checked, state: &State) -> bool {
    state.hosts.iter().any(|host| host.paused && !host.engine.up)
}

fn an_old_master_follows(_: &Checked, state: &State) -> bool {
    let Some(new) = master(state).filter(|host| serves(state, host)) else { return false };
    let first = state.provider.appointed.first().map(|(_, master)| master.clone());
    state
        .hosts
        .iter()
        .any(|host| Some(instance(host.index)) == first && host.engine.follows == Some(new.index))
}

fn an_arbiter_takes_over(model: &Checked, state: &State) -> bool {
    let active = |index: usize| {
        let now = state.clocks[model.world.arbiter_clocks[index]];
        state.seats[index].machine.is_active(now)
            && state.seats[index].machine.epoch() == Some(state.provider.epoch)
    };
    state.provider.epoch.number > 1
        && state.provider.holding().is_some_and(active)
        && master(state).is_some_and(|host| serves(state, host))
}

fn a_guard_leads_again(_: &Checked, state: &State) -> bool {
    master(state).is_some_and(|host| serves(state, host) && host.run > 1)
}

fn an_unknown_write_is_settled(_: &Checked, state: &State) -> bool {
    let version = state.provider.record.as_ref().map(|record| record.version);
    state.late_writes.iter().any(|request| version > request.expected)
        && state.seats.iter().all(|seat| seat.writes.is_empty())
}

fn a_switchover_completes(_: &Checked, state: &State) -> bool {
    let by_hand = state.provider.record.as_ref().is_some_and(|record| record.reason == "switchover");
    by_hand && a_failover_completes_now(state)
}

fn a_failover_completes_now(state: &State) -> bool {
    master(state).is_some_and(|host| {
        let stand = host.guard.as_ref().and_then(|guard| guard.right_until());
        serves(state, host)
            && stand.is_some_and(|(_, right)| right.since(baton_core::time::Time(0)) > Span::ZERO)
    })
}

fn a_failsafe_is_left(_: &Checked, state: &State) -> bool {
    master(state).is_some_and(|host| {
        let by_grants = host.guard.as_ref().is_some_and(|guard| !guard.rests_on_promises());
        host.past.on_promises
            && by_grants
            && serves(state, host)
            && Some(host.engine.promoted) == first_term(state)
    })
}

fn reason(state: &State) -> &str {
    state.provider.record.as_ref().map_or("", |record| &record.reason)
}

/// The first master was appointed again, at the next term, by a switchover.
fn a_switchover_rolls_back(model: &Checked, state: &State) -> bool {
    let first = state.provider.appointed.first().map(|(_, master)| master.clone());
    let back = master(state).is_some_and(|host| Some(instance(host.index)) == first);
    back && a_switchover_completes(model, state)
}

/// It leads by a right that is longer than any lease.
fn is_paused(state: &State) -> bool {
    let pinned = state.provider.record.as_ref().is_some_and(|record| record.pinned.is_some());
    pinned && master(state).is_some_and(|host| host.past.pinned && serves(state, host))
}

fn a_pause_ends(_: &Checked, state: &State) -> bool {
    reason(state) == "resume" && master(state).is_some_and(|host| host.past.pinned && serves(state, host))
}

fn a_forced_failover_completes(_: &Checked, state: &State) -> bool {
    let forced = state.provider.record.as_ref().is_some_and(|record| record.forced);
    forced && master(state).is_some_and(|host| serves(state, host))
}

fn a_member_leaves(_: &Checked, state: &State) -> bool {
    reason(state).starts_with("shrink")
}

/// Not those of the beginning, who joined one after the other.
fn a_member_comes_back(_: &Checked, state: &State) -> bool {
    let version = state.provider.record.as_ref().map_or(0, |record| record.version.0);
    reason(state).starts_with("grow") && version > state.hosts.len() as u64
}

/// The first holder holds the lock again, after another.
fn an_arbiter_returns(model: &Checked, state: &State) -> bool {
    state.provider.epoch.number > 2
        && state.provider.holding() == Some(0)
        && an_arbiter_takes_over(model, state)
}

fn an_arbiter_comes_back_from_nothing(model: &Checked, state: &State) -> bool {
    let again = state.provider.holder.is_some_and(|holder| holder.run > 1);
    again && an_arbiter_takes_over(model, state)
}

fn a_hand_over_is_taken(_: &Checked, state: &State) -> bool {
    master(state).is_some_and(|host| {
        host.taken > 0 && serves(state, host) && Some(host.engine.promoted) == first_term(state)
    })
}

fn a_removed_set_begins_anew(model: &Checked, state: &State) -> bool {
    reason(state) == "first-appointment" && a_failover_completes(model, state)
}

fn quorum(state: &State) -> u32 {
    state.provider.record.as_ref().map_or(0, |record| record.ack_quorum)
}

fn a_promised_write_goes_along(model: &Checked, state: &State) -> bool {
    let waits = state.provider.record.as_ref().is_some_and(|record| record.ack_quorum > 0);
    let holds = |host: &Host| host.engine.log.iter().any(|entry| matches!(entry, Entry::Write(_)));
    waits && a_failover_completes(model, state) && master(state).is_some_and(holds)
}
