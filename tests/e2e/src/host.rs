//! A host of the stage: what it is made of, and its coordinator while that runs.

use std::net::Ipv4Addr;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use crate::files::Ports;
use crate::net::Node;
use crate::poll;
use crate::process::Process;

/// A daemon that a test has started.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    process: Process,
}

impl Daemon {
    /// Takes charge of a child.
    ///
    /// # Panics
    /// When it has ended already.
    #[must_use]
    pub fn new(child: Child) -> Self {
        let pid = i32::try_from(child.id()).expect("process numbers fit");
        let process = Process::open(pid).expect("a child that nobody waited for keeps its number");
        Self { child, process }
    }

    /// To signal it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        poll::within(limit, "the end of a daemon", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// What a host is to be.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// The coordinator's name.
    pub name: &'static str,
    /// Its instances.
    pub instances: Vec<InstancePlan>,
    /// Whether it may become the arbiter.
    pub arbiter: bool,
    /// Whether it answers routers.
    pub directory: bool,
    /// Whether it has a stateboard inside rather than asks the stage's.
    pub embedded: bool,
}

impl HostPlan {
    /// A host with everything on.
    #[must_use]
    pub fn new(name: &'static str, instances: Vec<InstancePlan>) -> Self {
        Self { name, instances, arbiter: true, directory: true, embedded: false }
    }
}

/// What engine an instance has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Redis.
    Redis,
    /// PostgreSQL.
    Postgres,
}

/// What an instance is to be.
#[derive(Clone, Debug)]
pub struct InstancePlan {
    /// Its engine.
    pub engine: Engine,
    /// Its name.
    pub name: &'static str,
    /// Its replica set.
    pub set: &'static str,
    /// Its engine's address: loopback, or its host's node where that has one.
    pub address: Ipv4Addr,
    /// Its engine's port.
    pub port: u16,
    /// Higher is preferred.
    pub priority: u32,
    /// Where it stands.
    pub zone: Option<&'static str>,
    /// Whether it may lead.
    pub electable: bool,
    /// The first appointment waits for so many.
    pub members: u32,
    /// Whether Baton starts the engine; else the test does.
    pub supervised: bool,
    /// What Baton is told.
    pub password: Option<&'static str>,
    /// What the engine wants.
    pub engine_password: Option<&'static str>,
}

impl InstancePlan {
    /// A supervised instance of a set whose first appointment waits for `members`.
    #[must_use]
    pub fn new(name: &'static str, set: &'static str, members: u32) -> Self {
        Self {
            engine: Engine::Redis,
            name,
            set,
            address: Ipv4Addr::LOCALHOST,
            port: crate::ports::free(),
            priority: 100,
            zone: None,
            electable: true,
            members,
            supervised: true,
            password: None,
            engine_password: None,
        }
    }

    /// The same with another engine.
    #[must_use]
    pub fn on(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The same, preferred to others.
    #[must_use]
    pub fn preferred(mut self) -> Self {
        self.priority = 200;
        self
    }

    /// The same, standing in a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: &'static str) -> Self {
        self.zone = Some(zone);
        self
    }

    /// The same, its engine started by the test.
    #[must_use]
    pub fn adopted(mut self) -> Self {
        self.supervised = false;
        self
    }

    /// Where its engine listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }
}

/// A host that was prepared.
#[derive(Debug)]
pub struct Host {
    /// What it is.
    pub plan: HostPlan,
    /// Where it listens.
    pub ports: Ports,
    /// Its place in the network, where the stage has one.
    pub node: Option<Node>,
    /// Its coordinator, once started.
    pub daemon: Option<Daemon>,
}
