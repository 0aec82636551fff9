//! What a seed means: the cluster, its weather, its clients, and the faults, of which each seed draws its own mixture. A search
//! that always draws from everything meets few things often; one that leaves kinds out meets the rest in depth.
//!
//! It must not know the world.

use crate::dice::Dice;
use crate::fault::{FIRST_OF_PEOPLE, Fault, KINDS_OF_FAULT, Place, What, Who, draw, place, who};
use crate::incident::{incident, lost_and_put_back, raised_as_the_lock_goes, rare};
use crate::world::Weather;
use baton_core::record::Settings;
use baton_core::settings::{LossPolicy, ZonePolicy};
use baton_core::time::Span;

/// How long the safety phase is, in microseconds.
pub const SAFETY_MICROS: u64 = 121_000_000;

/// The cluster of a seed.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many instances.
    pub members: u8,
    /// How many arbiters.
    pub arbiters: u8,
    /// How many members the first appointment waits for; all of them if not set.
    pub bootstrap_members: Option<u32>,
    /// How many zones they are spread over; none: nobody says where it stands.
    pub zones: u8,
    /// The settings that it begins with.
    pub settings: Settings,
    /// Engines have on disk whatever they confirm.
    pub durable: bool,
    /// How the network and the disks behave.
    pub weather: Weather,
    /// How far each clock is off, in millionths: members first, then arbiters.
    pub clocks: Vec<i64>,
    /// How long a client waits between two of its requests, in milliseconds at most.
    pub client_pause: u64,
}

/// Everything that a seed says.
#[derive(Clone, Debug)]
pub struct Script {
    /// The cluster.
    pub shape: Shape,
    /// What happens, in its order.
    pub faults: Vec<Fault>,
}

/// Earlier seeds are pinned for what they found, and mean what they meant.
const DURABLE_FROM: u64 = 200_000_000;
/// In these the provider loses what it holds.
const LOST_FROM: u64 = 300_000_000;

/// What a seed means.
#[must_use]
pub fn script(seed: u64) -> Script {
    let mut dice = Dice::of(seed, 1);
    let few = Dice::of(seed, 5).chance(400);
    let durable = seed >= DURABLE_FROM && Dice::of(seed, 12).chance(400);
    let mut shape =
        Shape { bootstrap_members: few.then_some(2), durable, ..shape(&mut dice, Dice::of(seed, 2)) };
    let rare = rare(&mut Dice::of(seed, 6), shape.settings.lease_ttl);
    if rare.alone {
        shape.bootstrap_members = Some(2);
        shape.settings = Settings { ack_quorum: 0, failsafe: true, ..shape.settings };
    }
    let mut dice = Dice::of(seed, 3);
    let mut faults = faults(&mut dice, shape.settings.clock_drift_ppm.into());
    faults.extend(incident(&mut Dice::of(seed, 4), shape.settings.ack_quorum > 0));
    if let Some((raises, calm)) = raised_as_the_lock_goes(&mut Dice::of(seed, 11)) {
        faults.retain(|fault| !calm.contains(&fault.from));
        faults.extend(raises);
        // An answer has to be on its way for longer than the next arbiter needs for its first orders.
        shape.weather.net_jitter = 20_000;
    }
    if seed >= LOST_FROM {
        faults.extend(lost_and_put_back(&mut Dice::of(seed, 13)));
    }
    faults.retain(|fault| !rare.calm.contains(&fault.from));
    faults.extend(rare.faults);
    faults.sort_by_key(|fault| fault.from);
    Script { shape, faults }
}

fn shape(dice: &mut Dice, of_weather: Dice) -> Shape {
    let members = dice.pick(&[3, 3, 3, 4, 5]);
    let arbiters = dice.pick(&[2, 2, 3]);
    let lease_ttl = Span::from_millis(dice.pick(&[3_000, 3_000, 3_000, 6_000, 1_000]));
    let settings = Settings {
        lease_ttl,
        longest_lease: lease_ttl,
        ack_quorum: dice.pick(&[0, 1, 1, 2]),
        failsafe: dice.chance(600),
        loss_policy: dice.pick(&[
            LossPolicy::Bounded,
            LossPolicy::Bounded,
            LossPolicy::None,
            LossPolicy::Any,
        ]),
        zone_policy: dice.pick(&[ZonePolicy::Prefer, ZonePolicy::Prefer, ZonePolicy::Any]),
        suppress_threshold: dice.pick(&[3, 100, 100]),
        immunity: Span::from_millis(dice.pick(&[1_000, 15_000])),
        fence_command: dice.chance(200).then(|| "off".to_owned()),
        ..Settings::default()
    };
    let drift = i64::from(settings.clock_drift_ppm);
    let clocks = (0..members + arbiters)
        .map(|_| match dice.below(4) {
            0 => 0,
            1 => drift,
            2 => -drift,
            _ => i64::try_from(dice.below(settings.clock_drift_ppm.into())).unwrap_or(0),
        })
        .collect();
    Shape {
        members,
        arbiters,
        bootstrap_members: None,
        durable: false,
        zones: dice.pick(&[0, 0, 2, 3]),
        weather: weather(dice, of_weather),
        clocks,
        client_pause: dice.pick(&[300, 1_000, 3_000]),
        settings,
    }
}

fn weather(dice: &mut Dice, of_weather: Dice) -> Weather {
    let mut weather = Weather::of(of_weather);
    weather.net_least = dice.between(100, 1_000);
    weather.net_jitter = dice.pick(&[0, 500, 5_000, 20_000]);
    weather.late = dice.pick(&[0, 0, 5, 50]);
    weather.late_by = dice.pick(&[20_000, 300_000, 2_000_000]);
    weather.twice = dice.pick(&[0, 0, 10, 50]);
    weather.lost = dice.pick(&[0, 0, 5, 30]);
    weather.disk_least = dice.between(100, 1_000);
    weather.disk_jitter = dice.pick(&[0, 2_000, 30_000]);
    weather
}

/// How often each kind is drawn in this run.
fn mixture(dice: &mut Dice) -> Vec<u64> {
    let on = dice.between(150, 600);
    let people = dice.pick(&[0, 100, 300]);
    let mut weights: Vec<u64> = (0..KINDS_OF_FAULT)
        .map(|kind| {
            let often = if kind < FIRST_OF_PEOPLE { on } else { people };
            if dice.chance(often) { dice.between(1, 6) } else { 0 }
        })
        .collect();
    // Nothing at all would be no run.
    for kind in [0, 11] {
        if let Some(weight) = weights.get_mut(kind) {
            *weight += 1;
        }
    }
    weights
}

fn kind_of(weights: &[u64], dice: &mut Dice) -> u64 {
    let mut left = dice.below(weights.iter().sum::<u64>().max(1));
    for (kind, weight) in (0..).zip(weights) {
        if left < *weight {
            return kind;
        }
        left -= weight;
    }
    0
}

fn faults(dice: &mut Dice, drift: u64) -> Vec<Fault> {
    let weights = mixture(dice);
    let pause = dice.pick(&[500_000, 1_500_000, 4_000_000]);
    let length = dice.pick(&[500_000, 3_000_000, 10_000_000]);
    let mut faults = Vec::new();
    let mut from = dice.below(pause);
    while from < SAFETY_MICROS - 1_000_000 {
        let what = draw(kind_of(&weights, dice), drift, dice);
        faults.push(Fault { from, lasts: lasts(dice, length), what });
        from += match dice.below(3) {
            // What comes together shows what neither shows alone.
            0 => dice.below(20_000),
            1 => dice.below(pause),
            _ => dice.below(2 * pause),
        };
    }
    faults.extend(storm(dice));
    faults.sort_by_key(|fault| fault.from);
    faults
}

fn lasts(dice: &mut Dice, length: u64) -> u64 {
    match dice.below(4) {
        0 => dice.below(50_000),
        1 => dice.below(2 * length),
        _ => dice.below(length),
    }
}

/// Each run has some faults that overlap, and one that costs a master its place.
fn storm(dice: &mut Dice) -> Vec<Fault> {
    let begin = dice.between(10_000_000, SAFETY_MICROS - 40_000_000);
    let kinds = [
        What::FreezeGuard(who(dice)),
        What::Cut(place(dice), place(dice)),
        What::CutOneWay(place(dice), place(dice)),
        What::StuckDisk(who(dice)),
        What::Hold(place(dice), place(dice), "all"),
    ];
    let mut faults: Vec<Fault> = kinds
        .into_iter()
        .map(|what| Fault {
            from: begin + dice.below(1_000_000),
            lasts: dice.between(2_000_000, 8_000_000),
            what,
        })
        .collect();
    let last = match dice.below(3) {
        0 => What::EndEngine(Who::Master),
        1 => What::KillHost(Who::Master, false),
        _ => What::Isolate(Place::Host(Who::Master)),
    };
    faults.push(Fault { from: begin + 25_000_000, lasts: 10_000_000, what: last });
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_one_thing_and_another_seed_another() {
        assert_eq!(script(7).faults, script(7).faults);
        assert_ne!(script(7).faults, script(8).faults);
    }

    #[test]
    fn every_kind_of_fault_is_drawn_by_some_seed() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            for fault in script(seed).faults {
                let text = format!("{:?}", fault.what);
                seen.insert(text.split(['(', ' ']).next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(seen.len(), 45, "{seen:?}");
    }
}
