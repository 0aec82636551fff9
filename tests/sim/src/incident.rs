//! Faults that matter only together: what happens is known, its moments and what surrounds it are drawn. Some rules exist for such
//! an incident alone, and a mixture of single faults would meet it once in thousands of seeds.
//!
//! It must not know the world.

use crate::dice::Dice;
use crate::fault::{Fault, Place, What, Which, Who};
use crate::swarm::SAFETY_MICROS;
use baton_core::time::Span;
use std::ops::Range;

const SECOND: u64 = 1_000_000;
/// How many of a thousand seeds have one.
const OFTEN: u64 = 700;
const MASTER: Place = Place::Host(Who::Master);
const ACTIVE: Place = Place::Coordinator(Which::Active);

/// At a moment, for so long.
fn at(from: u64, lasts: u64, what: What) -> Fault {
    Fault { from, lasts, what }
}

/// Everybody but the master, as far as a cluster has so many.
fn others() -> [Who; 4] {
    [0, 1, 2, 3].map(Who::Other)
}

/// The incident of a seed, if it has one. `waits`: whether its commits wait for replicas.
#[must_use]
pub fn incident(dice: &mut Dice, waits: bool) -> Vec<Fault> {
    if !dice.chance(OFTEN) {
        return Vec::new();
    }
    let from = dice.between(3 * SECOND, SAFETY_MICROS - 45 * SECOND);
    match dice.below(7) {
        0 => paused_and_unheard(dice, from),
        1 => paused_until_the_lock_ends(dice, from),
        2 => restarted_after_promises(dice, from),
        3 => released_at_once(dice, from),
        4 => back_while_promises_carry(dice, from),
        5 if waits => followed_without_a_guard(dice, from),
        5 => alone_and_unheard(dice, from, true),
        _ if waits => started_anew_at_the_end(dice, from),
        _ => alone_and_unheard(dice, from, false),
    }
}

/// What hardly ever comes of a mixture, and what it needs of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Rare {
    /// What happens.
    pub faults: Vec<Fault>,
    /// No commit waits for replicas, masters go on by promises, and two members suffice to begin.
    pub alone: bool,
    /// From when until when nothing else begins: a story of half a minute would hardly ever be told to its end.
    pub calm: Range<u64>,
}

/// How many of a thousand seeds have one.
const SELDOM: u64 = 90;

/// What a seed has of that. `lease`: how long one of its cluster is.
#[must_use]
pub fn rare(dice: &mut Dice, lease: Span) -> Rare {
    if !dice.chance(SELDOM) {
        return Rare::default();
    }
    let from = dice.between(3 * SECOND, SAFETY_MICROS - 60 * SECOND);
    match dice.below(3) {
        0 => {
            let faults = removed_while_unheard(dice, from, lease.0);
            let end = faults.iter().map(|fault| fault.from + fault.lasts).max().unwrap_or(from);
            Rare { faults, alone: true, calm: from.saturating_sub(2 * SECOND)..end }
        }
        1 => Rare { faults: moved(dice, from), ..Rare::default() },
        _ => Rare { faults: written_wrongly(dice, from), ..Rare::default() },
    }
}

/// The master is alone in its in-sync set and unheard when people take the set away, and two others begin under its name.
fn removed_while_unheard(dice: &mut Dice, from: u64, lease: u64) -> Vec<Fault> {
    let away = 2 * lease + dice.between(SECOND, 4 * SECOND);
    let unheard = from + away - dice.below(SECOND / 50);
    let mut faults: Vec<_> =
        others().into_iter().map(|other| at(from, away, What::Isolate(Place::Host(other)))).collect();
    let removed = lease + dice.between(SECOND, 4 * SECOND);
    // While its stream seems to stand nobody takes the set away.
    faults.push(at(unheard, 0, What::CloseStream(Who::Master)));
    faults.push(at(unheard, removed + dice.between(8 * SECOND, 20 * SECOND), What::Isolate(MASTER)));
    faults.push(at(unheard + dice.between(SECOND / 20, SECOND), removed, What::TakeAway));
    faults
}

/// The state moves, and something else happens meanwhile.
fn moved(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let lasts = dice.between(SECOND / 10, 15 * SECOND);
    let meanwhile = match dice.below(3) {
        0 => What::EndEngine(Who::Master),
        1 => What::KillHost(Who::Master, false),
        _ => What::Switchover(None, Span(4 * SECOND)),
    };
    vec![at(from, lasts, What::MoveBoard), at(from + dice.below(lasts), 5 * SECOND, meanwhile)]
}

/// Somebody else's program asks for what must not be, a few times.
fn written_wrongly(dice: &mut Dice, from: u64) -> Vec<Fault> {
    (0..4).map(|turn| at(from + turn * 12 * SECOND, 0, What::WrongWrite(dice.chance(500)))).collect()
}

/// How many of a thousand seeds have one of those that follow.
const HARDLY: u64 = 80;

/// Commits are to wait for more replicas, and the lock changes hands in the few milliseconds between the master's answer and its
/// record; some times, since a time hardly ever hits, and nothing else meanwhile. None where the seed has
/// none of it.
#[must_use]
pub fn raised_as_the_lock_goes(dice: &mut Dice) -> Option<(Vec<Fault>, Range<u64>)> {
    if !dice.chance(HARDLY) {
        return None;
    }
    let begin = dice.between(3 * SECOND, SAFETY_MICROS - 70 * SECOND);
    let mut moment = begin + 3 * SECOND;
    let mut faults = Vec::new();
    for _ in 0..8 {
        faults.push(at(moment - 2 * SECOND, 0, What::Quorum(0)));
        faults.push(at(moment, 0, What::Quorum(2)));
        faults.push(at(moment + dice.between(10_000, 100_000), SECOND / 4, What::Resign(Which::Active)));
        moment += dice.between(4 * SECOND, 6 * SECOND);
    }
    Some((faults, begin..moment))
}

/// The provider loses what it holds, and is given it back; meanwhile its lock may change hands until guards listen to its holder again.
#[must_use]
pub fn lost_and_put_back(dice: &mut Dice) -> Vec<Fault> {
    if !dice.chance(HARDLY) {
        return Vec::new();
    }
    let from = dice.between(3 * SECOND, SAFETY_MICROS - 45 * SECOND);
    let lasts = dice.between(SECOND, 25 * SECOND);
    let within = |dice: &mut Dice| from + dice.below(lasts);
    let mut faults = vec![at(from, lasts, What::LoseBoard)];
    let unheard = from.saturating_sub(2 * SECOND) + dice.below(4 * SECOND);
    faults.push(match dice.below(4) {
        0 => at(unheard, dice.between(5 * SECOND, 25 * SECOND), What::Isolate(MASTER)),
        1 => at(unheard, dice.between(5 * SECOND, 25 * SECOND), What::Cut(MASTER, ACTIVE)),
        2 => at(within(dice), 4 * SECOND, What::KillHost(Who::Master, dice.chance(500))),
        _ => at(within(dice), 4 * SECOND, What::CrashGuard(Who::Other(0))),
    });
    for _ in 0..dice.below(12) {
        faults.push(at(within(dice), 0, What::Resign(Which::Active)));
    }
    if dice.chance(300) {
        let target = dice.chance(500).then_some(Who::Other(0));
        faults.push(at(within(dice), 0, What::Force(target, Span(8 * SECOND), false, true)));
    }
    faults
}

/// A paused master is heard by nobody, the lock changes hands, and the pause ends, in any order.
fn paused_and_unheard(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let span = dice.chance(300).then(|| Span(dice.between(5 * SECOND, 30 * SECOND)));
    let soon = |dice: &mut Dice| from + dice.between(SECOND, 6 * SECOND);
    vec![
        at(from, 0, What::Pause(span)),
        at(soon(dice), dice.between(8 * SECOND, 25 * SECOND), What::Isolate(MASTER)),
        at(soon(dice), dice.between(SECOND, 10 * SECOND), What::CrashArbiter(Which::Active)),
        at(from + dice.between(2 * SECOND, 12 * SECOND), 0, What::Resume),
    ]
}

/// A pause ends while the arbiter's lock runs out, and the master is cut off then.
fn paused_until_the_lock_ends(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let stops = from + dice.between(SECOND, 3 * SECOND);
    let ends = stops + dice.between(SECOND / 4, 5 * SECOND);
    vec![
        at(from, 0, What::Pause(None)),
        at(stops, 10 * SECOND, What::NoRenewals(Which::Active)),
        at(ends, 0, What::Resume),
        at(ends + dice.between(30_000, SECOND / 2), 8 * SECOND, What::Isolate(MASTER)),
    ]
}

/// The others are away until the master is alone in its in-sync set; then it is unheard, and a person wants another one, or the
/// set gone.
fn alone_and_unheard(dice: &mut Dice, from: u64, forced: bool) -> Vec<Fault> {
    let away = dice.between(4 * SECOND, 14 * SECOND);
    let unheard = from + away - dice.below(SECOND / 20);
    let mut faults: Vec<_> =
        others().into_iter().map(|other| at(from, away, What::Isolate(Place::Host(other)))).collect();
    faults.push(at(unheard, dice.between(15 * SECOND, 25 * SECOND), What::Isolate(MASTER)));
    let then = unheard + dice.between(SECOND, 8 * SECOND);
    faults.push(if forced {
        at(then, 0, What::Force(Some(Who::Other(0)), Span(8 * SECOND), false, false))
    } else {
        at(then, dice.between(SECOND, 9 * SECOND), What::TakeAway)
    });
    faults
}

/// The provider is away until the others have promised; then their sidecars are restarted on purpose, and the master is cut off.
fn restarted_after_promises(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let away = dice.between(4 * SECOND, 12 * SECOND);
    let mut faults = vec![
        at(from, away, What::StopBoard),
        at(from + away - dice.below(SECOND), 10 * SECOND, What::Isolate(MASTER)),
    ];
    let restart = |other| at(from + away + dice.below(SECOND), dice.below(100_000), What::HandOver(other));
    faults.extend(others().map(restart));
    faults
}

/// The active arbiter ends, and whoever takes its lock over gives it up again at once.
fn released_at_once(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let mut faults = vec![at(from, dice.between(20_000, 400_000), What::CrashArbiter(Which::Active))];
    for arbiter in [0, 1, 2, 0, 1, 2] {
        faults.push(at(from + dice.between(500, 20_000), 0, What::Resign(Which::Arbiter(arbiter))));
    }
    faults
}

/// A member's guard is away while the mastership goes and comes back, or hears nothing and is heard: its engine follows all the same.
fn followed_without_a_guard(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let mut moment = from + dice.between(SECOND, 2 * SECOND);
    let mut faults = vec![at(from, 30 * SECOND, What::CrashGuard(Who::Other(0)))];
    for _ in 0..2 {
        faults.push(at(moment, 0, What::Switchover(Some(Who::Other(0)), Span(4 * SECOND))));
        moment += dice.between(3 * SECOND, 6 * SECOND);
    }
    faults.push(at(moment, 10 * SECOND, What::Isolate(MASTER)));
    if dice.chance(500) {
        // Taken into the next master's set by its beats, it is never told to follow that one.
        faults[0].what = What::CutOneWay(ACTIVE, Place::Host(Who::Other(1)));
    }
    faults
}

/// No grant reaches the master, which lives by promises when a member comes back.
fn back_while_promises_carry(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let away = dice.between(4 * SECOND, 14 * SECOND);
    let lost = from + away - dice.between(SECOND / 4, 3 * SECOND);
    let mut faults = vec![
        at(from, away, What::Cut(Place::Host(Who::Other(0)), ACTIVE)),
        at(lost, 6 * SECOND, What::Lose(ACTIVE, MASTER, "grant")),
    ];
    let relays = |other| at(lost, 6 * SECOND, What::Lose(ACTIVE, Place::Host(other), "relay"));
    faults.extend(others().map(relays));
    faults
}

/// A replica's engine is started anew, cannot catch up, and the master dies.
fn started_anew_at_the_end(dice: &mut Dice, from: u64) -> Vec<Fault> {
    let cut = from + dice.below(20_000);
    let mut faults = vec![at(from, 0, What::EndEngine(Who::Other(0)))];
    faults.extend(others().map(|other| at(cut, 12 * SECOND, What::Cut(Place::Host(other), MASTER))));
    faults.push(at(cut + dice.below(SECOND), 15 * SECOND, What::KillHost(Who::Master, false)));
    faults
}
