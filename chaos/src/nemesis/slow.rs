//! Bad lines: late, uneven, out of order, twice. Nothing is lost for good, and connections live on.

use std::time::Duration;

use super::target::Victims;
use super::{Fault, bite};
use crate::evidence::{Allowed, Bite};
use crate::field::Field;
use crate::field::lane::Weather;
use crate::field::relay::BadLine;
use crate::workload::history::micros;

const MILLI: Duration = Duration::from_millis(1);

/// Another continent: a tenth of a second to and from everybody.
pub const FAR: Weather =
    Weather { delay: MILLI.saturating_mul(50), jitter: Duration::ZERO, overtaking: 0, doubled: 0 };
/// A line that is now quick and now slow.
pub const UNEVEN: Weather =
    Weather { delay: MILLI, jitter: MILLI.saturating_mul(80), overtaking: 0, doubled: 0 };
/// Packets overtake each other.
pub const DISORDERED: Weather =
    Weather { delay: MILLI.saturating_mul(10), jitter: MILLI.saturating_mul(10), overtaking: 25, doubled: 0 };
/// Packets come twice.
pub const DOUBLED: Weather = Weather { delay: MILLI, jitter: Duration::ZERO, overtaking: 0, doubled: 30 };

/// The lines of the victims are bad.
#[derive(Debug)]
pub struct Slow {
    weather: Weather,
    lines: Vec<BadLine>,
}

impl Slow {
    /// This bad.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self { weather, lines: Vec::new() }
    }
}

impl Fault for Slow {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for (number, name) in (0..).zip(&victims.machines) {
            // Which packets it meets is the kernel's matter; what becomes of the first, second, … is the same each time.
            self.lines.push(field.wire.spoil(
                name,
                self.weather,
                victims.standing.term.wrapping_mul(16) + number,
            )?);
        }
        let Weather { delay, jitter, overtaking, doubled } = self.weather;
        let whose = victims.machines.join(" and ");
        Ok(format!(
            "every packet to and from {whose} is {delay:?} late and up to {jitter:?} more, {overtaking} % overtake, \
             {doubled} % come twice"
        ))
    }

    fn bite(&mut self, _field: &Field) -> anyhow::Result<Bite> {
        let carried: u64 = self.lines.iter().map(BadLine::carried).sum();
        bite(carried > 0, format!("{carried} packets went over it"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        self.lines.drain(..).try_for_each(|line| field.wire.repair(line))
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        // A lease is many times what any packet is late by: nobody may be replaced for it. A write, where it lies (in
        // PostgreSQL) and what confirms it go there and back between client and master, and so does the log between master and replica;
        // the last two twice, where one has just been missed.
        let crossing = self.weather.delay + self.weather.jitter;
        Allowed::Late { by_us: micros(crossing * 12) }
    }
}
