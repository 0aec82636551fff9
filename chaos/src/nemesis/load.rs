//! Faults of what a machine gives its programs: too little processor time, and a wall clock that jumps.

use super::target::{Part, Victims};
use super::{Fault, bite};
use crate::evidence::{Allowed, Bite, Micros};
use crate::field::Field;
use crate::field::machine::right_now;

/// How many percent of one processor a starved machine has.
const STARVED_PERCENT: u32 = 3;
/// How far a wall clock jumps, in seconds.
const JUMP_SECONDS: i64 = 3_600;
/// How long replicas may take that an engine has disconnected for a clock: they try again each second.
const CONNECTED_AGAIN_US: Micros = 2_500_000;

/// All programs of a machine share a sliver of a processor.
#[derive(Debug, Default)]
pub struct Starved {
    machines: Vec<String>,
    before: u64,
}

impl Starved {
    fn throttled(&self, field: &Field) -> anyhow::Result<u64> {
        let mut periods = 0;
        for name in &self.machines {
            periods += field.machine(name)?.group.throttled();
        }
        Ok(periods)
    }
}

impl Fault for Starved {
    fn available(&self, field: &Field) -> Result<(), String> {
        let all = field.machines().all(|machine| machine.group.can_limit_processor());
        if all { Ok(()) } else { Err("this kernel has no cpu group of version 1".to_owned()) }
    }

    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        self.machines.clone_from(&victims.machines);
        self.before = self.throttled(field)?;
        for name in &self.machines {
            field.machine(name)?.group.limit_processor(Some(STARVED_PERCENT))?;
        }
        Ok(format!("everything on {} shares {STARVED_PERCENT} % of a processor", self.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let periods = self.throttled(field)? - self.before;
        bite(periods > 0, format!("they wanted more in {periods} tenths of a second"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        let machines = std::mem::take(&mut self.machines);
        machines.iter().try_for_each(|name| field.machine(name)?.group.limit_processor(None))
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        if victims.machines.contains(&victims.standing.master_host) {
            let why = "a starved master is slow, and may be replaced or not; no bound is promised for that";
            Allowed::Unbounded { why: why.to_owned() }
        } else {
            Allowed::Nothing
        }
    }
}

/// Which way the wall clock jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Jump {
    /// An hour ahead.
    Ahead,
    /// An hour back.
    Back,
}

/// The wall clock of a machine jumps, or that of one of its programs; no lease may depend on it.
#[derive(Debug)]
pub struct ClockJump {
    jump: Jump,
    part: Part,
    machines: Vec<String>,
}

impl ClockJump {
    /// That way.
    #[must_use]
    pub fn new(jump: Jump) -> Self {
        Self { jump, part: Part::Host, machines: Vec::new() }
    }

    fn seconds(&self) -> i64 {
        match self.jump {
            Jump::Ahead => JUMP_SECONDS,
            Jump::Back => -JUMP_SECONDS,
        }
    }

    /// Who reads the clock that jumps: the coordinator, the engine.
    fn reads(part: Part) -> (bool, bool) {
        match part {
            Part::Host => (true, true),
            Part::Sidecar | Part::Deadman => (true, false),
            Part::Engine => (false, true),
        }
    }

    fn set(&self, field: &Field, seconds: i64) -> anyhow::Result<()> {
        let (coordinator, engine) = Self::reads(self.part);
        for name in &self.machines {
            let clock = field.machine(name)?.clock()?;
            if coordinator {
                clock.set(seconds)?;
            }
            if engine {
                clock.set_for_engine(seconds)?;
            }
        }
        Ok(())
    }

    /// Whether everybody who is to read it does.
    fn is_read(&self, field: &Field, name: &str) -> anyhow::Result<bool> {
        let (coordinator, engine) = Self::reads(self.part);
        let near = |seen: i64| (seen - self.seconds()).abs() <= 5;
        let host = field.host(name)?;
        let told =
            !coordinator || (near(host.machine.clock_difference()?) && followed(field, name, Part::Sidecar));
        Ok(told && (!engine || near(host.engine().clock(host.endpoint())? - right_now()?)))
    }
}

impl Fault for ClockJump {
    fn available(&self, field: &Field) -> Result<(), String> {
        if field.hosts.iter().all(|host| host.machine.has_clock()) {
            Ok(())
        } else {
            Err("the machines have no clocks of their own in this run (Debian: libfaketime, gcc)".to_owned())
        }
    }

    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        self.machines.clone_from(&victims.machines);
        self.part = victims.part;
        self.set(field, self.seconds())?;
        let whose = self.part.word().map_or(String::new(), |part| format!("the {part} of "));
        let (machines, seconds) = (self.machines.join(" and "), self.seconds());
        Ok(format!("the wall clock of {whose}{machines} jumps by {seconds} seconds"))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut told = Vec::new();
        for name in &self.machines {
            told.push(self.is_read(field, name)?);
        }
        let by = self.seconds();
        let how = format!("programs of {} machines read a clock that is off by {by} seconds", told.len());
        bite(!told.is_empty() && told.iter().all(|seen| *seen), how)
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        self.set(field, 0)
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        let masters = victims.machines.contains(&victims.standing.master_host);
        match (self.jump, Self::reads(victims.part)) {
            // An engine that counts its replicas' silence by the wall clock may take all of them for gone; they connect again.
            (Jump::Ahead, (_, true)) if masters => Allowed::Late { by_us: CONNECTED_AGAIN_US },
            (Jump::Ahead | Jump::Back, _) => Allowed::Nothing,
        }
    }
}

/// Whether the processes really have the library that tells them the time.
fn followed(field: &Field, host: &str, part: Part) -> bool {
    let Ok(host) = field.host(host) else { return false };
    let processes = host.processes(part);
    let told = |process: &crate::cluster::process::Process| {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid())).unwrap_or_default();
        maps.contains("libfaketime")
    };
    !processes.is_empty() && processes.iter().all(told)
}
