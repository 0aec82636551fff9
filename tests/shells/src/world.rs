//! A cluster: three coordinators that contend for the lock, and three hosts with two members each of two replica sets.

use crate::surroundings;
use anyhow::Context as _;
use baton_board::Durable;
use baton_coordinator::config::{Config, Overrides};
use baton_coordinator::daemon::{self, Doors};
use baton_core::ids::ClusterName;
use baton_core::record::{Record, Settings};
use baton_core::rules::Rules;
use baton_oracle::{i1, i2};
use baton_provider::memory::{Faults, MemoryBoard};
use baton_provider::switching::SwitchingProvider;
use baton_provider::{Identity, identity_of};
use futures_util::stream;
use load::{Fleet, FleetConfig, Pace, Plan, Sets};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use turmoil::Sim;
use turmoil::net::{TcpListener, TcpStream};

/// The coordinators without instances, any of which may hold the lock.
pub const ARBITERS: [&str; 3] = ["arbiter-1", "arbiter-2", "arbiter-3"];
/// The hosts with instances.
pub const HOSTS: [&str; 3] = ["h00000-a", "h00000-b", "h00000-c"];

const PORT: u16 = 7_000;
const SETS: usize = 2;
/// One step of the network.
const TICK: Duration = Duration::from_millis(1);

type Fleets = Rc<RefCell<BTreeMap<&'static str, Fleet>>>;

/// A run.
pub struct World {
    sim: Sim<'static>,
    board: MemoryBoard,
    fleets: Fleets,
    sets: Sets,
    /// What was recorded, in order: the journal of the run.
    journal: Vec<String>,
    known: BTreeMap<String, Record>,
}

impl World {
    /// Starts everything; nothing has happened yet.
    ///
    /// # Panics
    /// When what is configured here is refused.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Rules::default())
    }

    /// The same with guards that keep these rules. Where they break one, their engines have no deadman either.
    ///
    /// # Panics
    /// As [`World::new`].
    #[must_use]
    pub fn with(seed: u64, rules: Rules) -> Self {
        surroundings::begin(seed);
        let identity = identity_of(ClusterName::parse("simulated").expect("a name"), "");
        let durable = Durable::genesis(identity.clone(), Settings::default());
        let board =
            MemoryBoard::with(durable, baton_board::Limits::default(), Arc::new(surroundings::shared));
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_micros(100))
            .max_message_latency(Duration::from_millis(3))
            .simulation_duration(Duration::from_secs(3_600))
            .build();
        let (fleets, sets) = (Fleets::default(), Sets::default());
        for name in ARBITERS {
            let (board, identity) = (board.clone(), identity.clone());
            sim.host(name, move || coordinate(name, board.clone(), identity.clone()));
        }
        for name in HOSTS {
            let (board, identity) = (board.clone(), identity.clone());
            let (fleets, sets) = (Rc::clone(&fleets), sets.clone());
            sim.host(name, move || {
                guard(name, rules, board.clone(), identity.clone(), sets.clone(), Rc::clone(&fleets))
            });
        }
        Self { sim, board, fleets, sets, journal: Vec::new(), known: BTreeMap::new() }
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// When a host ends, which none may, or a change of the record breaks a property.
    pub fn advance(&mut self, span: Duration) {
        let end = self.sim.elapsed() + span;
        while self.sim.elapsed() < end {
            self.sim.step().expect("no host ends by itself");
            // What has expired is told by the next call of anybody; here, by nobody's.
            self.board.tick();
            self.look();
        }
    }

    /// Lets time pass until `come`, `most` at most; whether it came.
    pub fn until(&mut self, most: Duration, mut come: impl FnMut(&Self) -> bool) -> bool {
        let end = self.sim.elapsed() + most;
        while !come(self) {
            if self.sim.elapsed() >= end {
                return false;
            }
            self.advance(TICK * 10);
        }
        true
    }

    /// Writes down what has changed, and checks it.
    fn look(&mut self) {
        for name in self.known.keys() {
            let writable = self.sets.writable(name);
            if let Err(violation) = i2::check_now(writable.iter(), name, &format!("{:?}", self.sim.elapsed()))
            {
                panic!("{violation}\n{}", self.journal.join("\n"));
            }
        }
        for (name, record) in &self.board.durable().records {
            let before = self.known.get(name.as_str());
            if before == Some(record) {
                continue;
            }
            let Record { term, version, master, reason, epoch, in_sync, .. } = record;
            let master = master.as_ref().map_or("nobody", |master| master.as_str());
            let in_sync: Vec<_> = in_sync.iter().map(|member| member.as_str()).collect();
            self.journal.push(format!(
                "{:.3} {name} v{version} term {term} {master} [{}] {reason} epoch {epoch}",
                self.sim.elapsed().as_secs_f64(),
                in_sync.join(" "),
            ));
            if let Some(Err(violation)) = before.map(|before| i1::check_step(before, record)) {
                panic!("{violation}\n{}", self.journal.join("\n"));
            }
            self.known.insert(name.to_string(), record.clone());
        }
    }

    /// Every change of a record that was seen, a line each.
    #[must_use]
    pub fn journal(&self) -> &[String] {
        &self.journal
    }

    /// The records by the names of their sets.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<String, Record> {
        &self.known
    }

    /// Who holds the lock.
    #[must_use]
    pub fn arbiter(&self) -> Option<&'static str> {
        let (holder, _) = self.board.durable().lock.holder?;
        ARBITERS.into_iter().find(|name| *name == holder.coordinator.as_str())
    }

    /// Whether every set has a master whose engine accepts writes, and all members are in its in-sync set.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.known.len() == SETS && self.known.iter().all(|(name, record)| self.is_set_whole(name, record))
    }

    fn is_set_whole(&self, name: &str, record: &Record) -> bool {
        let writable = self.sets.writable(name);
        let serves = record.master.as_ref().is_some_and(|master| writable == [master.as_str()]);
        serves && record.in_sync.len() == HOSTS.len()
    }

    /// An engine ends, as if its process had crashed.
    pub fn end_engine(&self, instance: &str) {
        for fleet in self.fleets.borrow().values() {
            fleet.end_engines([instance]);
        }
    }

    /// A host stands still, or goes on.
    pub fn freeze(&self, host: &'static str, frozen: bool) {
        if let Some(fleet) = self.fleets.borrow().get(host) {
            fleet.freeze([host], frozen);
        }
    }

    /// A coordinator without instances dies.
    pub fn crash(&mut self, arbiter: &'static str) {
        self.sim.crash(arbiter);
    }

    /// And is started again.
    pub fn start(&mut self, arbiter: &'static str) {
        self.sim.bounce(arbiter);
    }

    /// What the two say to each other is not heard, until [`World::heal`]: no connection breaks by it.
    pub fn hold(&self, one: &'static str, other: &'static str) {
        self.sim.hold(one, other);
    }

    /// What was held arrives.
    pub fn heal(&self) {
        for one in ARBITERS.into_iter().chain(HOSTS) {
            for other in ARBITERS.into_iter().chain(HOSTS).filter(|other| *other != one) {
                self.sim.release(one, other);
            }
        }
    }

    /// The provider is away, answers nobody, is slow, or all is well.
    pub fn provider(&self, faults: Faults) {
        self.board.set_faults(faults);
    }

    /// The provider is started anew.
    pub fn restart_provider(&self) {
        self.board.restart();
    }
}

fn configuration(name: &str) -> anyhow::Result<Config> {
    let text = format!(
        "[cluster]\nname = \"simulated\"\n[provider]\nkind = \"stateboard\"\nendpoints = [\"http://nowhere.invalid:1\"]\n\
         [coordinator]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\nstate_dir = \"/nonexistent\"\n"
    );
    Config::from_text("simulated.toml", &text, [], &Overrides::default())
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// A coordinator without instances: the daemon, but for its HTTP ports.
async fn coordinate(name: &'static str, board: MemoryBoard, identity: Identity) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let grpc = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
        Some((accepted, listener))
    });
    let provider = SwitchingProvider::new(Arc::new(board.client(identity)), None);
    let doors = Doors { provider, address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)), grpc, web: None };
    let program = PathBuf::from("nothing is guarded");
    daemon::run_on(doors, configuration(name)?, program, CancellationToken::new(), || {}).await?;
    Err("the daemon ended".into())
}

/// A host with instances: the daemon's link, guards, and what is acted.
async fn guard(
    name: &'static str,
    rules: Rules,
    board: MemoryBoard,
    identity: Identity,
    sets: Sets,
    fleets: Fleets,
) -> turmoil::Result {
    let plan = Plan { sets: 0..SETS, per_host: SETS };
    let mut config = FleetConfig::new(configuration(name)?, plan, Pace { engine: TICK, disk: TICK });
    (config.rules, config.deadman) = (rules, rules == Rules::default());
    let provider = SwitchingProvider::new(Arc::new(board.client(identity)), None);
    let fleet = Fleet::on(provider, config, &sets, |host| host == name).await.context("the fleet")?;
    fleets.borrow_mut().insert(name, fleet);
    std::future::pending::<()>().await;
    Ok(())
}

/// An accepted connection, as the gRPC server wants it.
struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
