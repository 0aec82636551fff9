//! One temporary folder with a stateboard, hosts and engines; ends with everything that was started for it, and looks
//! into the logs then. At most two stages at a time: more would only measure how busy the machine is.

mod look;
mod place;
mod provider;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use baton_client::status::ReplicaSetStatus;
use tempfile::TempDir;

use crate::ctl;
use crate::files::{self, Ports, Provider};
use crate::host::{Daemon, Engine, Host, HostPlan, InstancePlan};
use crate::logs::{self, Allowed};
use crate::net::{self, Network, Node};
use crate::process::{self, Process};
use crate::writer::Writer;
use crate::{poll, ports, postgres};
use place::{Place, own_folder};

/// The lease of most stages: short, so that tests are, and long enough for a busy machine.
pub const LEASE: Duration = Duration::from_millis(1_000);
/// The lease of stages where a master goes on by promises, each of which is on a disk before it counts: long enough for a
/// disk that everybody uses.
pub const LONGER_LEASE: Duration = Duration::from_millis(2_000);

/// How long everything may take to end after SIGKILL.
const END: Duration = Duration::from_secs(10);

/// The network of a stage in namespaces, and who in it is no host.
#[derive(Debug)]
struct Wires {
    network: Network,
    /// The stateboard's machine.
    board: Node,
    /// Where `batonctl` runs.
    operator: Node,
}

/// Everything that one test started.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    /// The hosts, in the order in which they were added.
    pub hosts: Vec<Host>,
    board: Option<Daemon>,
    board_port: u16,
    network: Option<Wires>,
    engines: Vec<(u16, Daemon)>,
    etcd: Option<(u16, Daemon)>,
    /// Whether coordinators that are started from now on leave their masters' rights to the next process.
    pub keep_engines: bool,
    /// The state is kept by the etcd from the beginning.
    on_etcd: bool,
    _place: Place,
}

/// Plays a test's story, looks for alarms in the logs that `allowed` does not name, and ends everything.
///
/// # Panics
/// When something does not end, or a log has an unexpected alarm.
pub fn play(allowed: &[&[Allowed]], story: impl FnOnce(&mut Stage)) {
    run(Stage::new(LEASE, None), allowed, story);
}

/// The same with the [`LONGER_LEASE`].
///
/// # Panics
/// As [`play`] does.
pub fn play_slowly(allowed: &[&[Allowed]], story: impl FnOnce(&mut Stage)) {
    run(Stage::new(LONGER_LEASE, None), allowed, story);
}

/// The same with the [`LONGER_LEASE`] and a network: the stateboard (the node `board`), each host (a node of its name) and whoever asks them (the
/// node `operator`) are machines of their own, joined by links that a test can cut. Needs root.
///
/// # Panics
/// As [`play`] does, and without root.
pub fn play_in_namespaces(allowed: &[&[Allowed]], story: impl FnOnce(&mut Stage)) {
    let mut network = Network::new();
    let (board, operator) = (network.add("board"), network.add("operator"));
    run(Stage::new(LONGER_LEASE, Some(Wires { network, board, operator })), allowed, story);
}

fn run(mut stage: Stage, allowed: &[&[Allowed]], story: impl FnOnce(&mut Stage)) {
    story(&mut stage);
    let allowed: Vec<&[Allowed]> = allowed.iter().copied().chain([logs::ANYWHERE]).collect();
    // Looked for before the end, of which the daemons tell each in its own way.
    let unexpected = logs::unexpected(stage.path(), &allowed);
    let left = stage.end();
    assert!(left.is_empty(), "these do not end: {left:?}");
    if !unexpected.is_empty() {
        panic!("unexpected lines in the logs:\n{}", unexpected.join("\n"));
    }
}

impl Stage {
    fn new(lease: Duration, network: Option<Wires>) -> Self {
        let place = Place::take();
        process::adopt_descendants();
        let folder = own_folder().expect("a temporary folder");
        fs::write(folder.path().join("secret"), "only for this test\n").expect("writable");
        let settings = format!("lease_ttl = \"{}ms\"\nsuppress_threshold = 0\n", lease.as_millis());
        fs::write(folder.path().join("settings.toml"), settings).expect("writable");
        Self {
            folder,
            hosts: Vec::new(),
            board: None,
            board_port: ports::free(),
            network,
            engines: Vec::new(),
            etcd: None,
            keep_engines: false,
            on_etcd: false,
            _place: place,
        }
    }

    /// The folder with everything in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// One of Baton's programs: they lie where this test's own folder does.
    #[must_use]
    pub fn program(name: &str) -> PathBuf {
        let own = std::env::current_exe().expect("a running program has a file");
        let folder = own.ancestors().nth(2).expect("test programs lie in deps, below the programs");
        let path = folder.join(name);
        assert!(path.is_file(), "{} is not there: build it first (scripts/test e2e does)", path.display());
        path
    }

    fn spawn(&self, node: Option<&Node>, command: &mut Command, log: &str) -> Daemon {
        ctl::without_baton_variables(command);
        command.env("NO_COLOR", "1");
        let log = OpenOptions::new().create(true).append(true).open(self.path().join(log)).expect("writable");
        let output = log.try_clone().expect("descriptors are left");
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        let child = net::on(node, || command.spawn());
        Daemon::new(child.unwrap_or_else(|error| panic!("start {command:?}: {error}")))
    }

    /// The links, to cut and to mend them.
    ///
    /// # Panics
    /// When the stage was made without any.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network.as_mut().expect("a stage in namespaces").network
    }

    /// Runs something on a host, as if it were logged in there: its programs are reached on loopback.
    pub fn at<T: Send>(&self, host: usize, work: impl FnOnce() -> T + Send) -> T {
        net::on(self.hosts[host].node.as_ref(), work)
    }

    /// A client that runs on a host and writes to the engine there.
    #[must_use]
    pub fn writer(&self, host: usize) -> Writer {
        Writer::start_on(self.hosts[host].node.clone(), self.instance(host).port)
    }

    /// Writes a host's files and returns its place in the list; nothing is started.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn prepare(&mut self, mut plan: HostPlan) -> usize {
        let node = self.network.as_mut().map(|wires| wires.network.add(plan.name));
        let address = node.as_ref().map_or(Ipv4Addr::LOCALHOST, Node::address);
        plan.instances.iter_mut().for_each(|instance| instance.address = address);
        let folder = self.path().to_owned();
        fs::create_dir_all(folder.join(plan.name).join("state")).expect("writable");
        for instance in &plan.instances {
            let own = folder.join(instance.name);
            fs::create_dir_all(&own).expect("writable");
            match instance.engine {
                Engine::Redis => {
                    fs::write(own.join("redis.conf"), files::redis(&folder, instance)).expect("writable");
                }
                Engine::Postgres => postgres::prepare(&folder, instance),
            }
            if let Some(password) = instance.password {
                fs::write(own.join("password"), password).expect("writable");
            }
        }
        let ports = Ports { address, grpc: ports::free(), http: ports::free() };
        let provider = match plan.embedded {
            true => Provider::Embedded,
            false if self.on_etcd => Provider::Etcd(self.etcd_url()),
            false => Provider::Board(self.board_address()),
        };
        let mut config = files::coordinator(&folder, &plan, ports, &provider);
        if self.etcd.is_some() && !self.on_etcd {
            config += &format!("\n[provider.next]\nkind = \"etcd\"\nendpoints = [\"{}\"]\n", self.etcd_url());
        }
        fs::write(self.config_of(plan.name), config).expect("writable");
        self.hosts.push(Host { plan, ports, node, daemon: None });
        self.hosts.len() - 1
    }

    /// The configuration file of a host.
    #[must_use]
    pub fn config_of(&self, host: &str) -> PathBuf {
        self.path().join(format!("{host}.toml"))
    }

    /// What a host's coordinator has logged.
    #[must_use]
    pub fn log_of(&self, host: usize) -> String {
        let path = self.path().join(format!("{}.log", self.hosts[host].plan.name));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Starts a host's coordinator, again with the same state.
    pub fn start(&mut self, host: usize) {
        let name = self.hosts[host].plan.name;
        let mut command = Command::new(Self::program("baton-coordinator"));
        command.arg("run").arg("--config").arg(self.config_of(name));
        if self.keep_engines {
            command.arg("--keep-engine");
        }
        let daemon = self.spawn(self.hosts[host].node.as_ref(), &mut command, &format!("{name}.log"));
        self.hosts[host].daemon = Some(daemon);
    }

    /// Prepares and starts a host.
    pub fn add(&mut self, plan: HostPlan) -> usize {
        let host = self.prepare(plan);
        self.start(host);
        host
    }

    /// The coordinator of a host.
    ///
    /// # Panics
    /// When it was not started.
    pub fn daemon(&mut self, host: usize) -> &mut Daemon {
        self.hosts[host].daemon.as_mut().expect("the host was started")
    }

    /// Starts an engine that Baton is to adopt (on no node), with further words of configuration; again, if it was killed.
    pub fn start_engine(&mut self, plan: &InstancePlan, more: &[&str]) {
        let mut command = Command::new("redis-server");
        command.arg(self.path().join(plan.name).join("redis.conf")).args(more);
        let engine = self.spawn(None, &mut command, &format!("{}.redis", plan.name));
        self.engines.retain(|(port, _)| *port != plan.port);
        self.engines.push((plan.port, engine));
        poll::until("the engine answers", || crate::store::info(plan.port, "run_id"));
    }

    /// The same with any command, whose engine is waited for by the test.
    pub fn start_engine_by(&mut self, plan: &InstancePlan, mut command: Command) {
        let engine = self.spawn(None, &mut command, &format!("{}.engine", plan.name));
        self.engines.retain(|(port, _)| *port != plan.port);
        self.engines.push((plan.port, engine));
    }

    /// Ends such an engine in order.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end_engine(&mut self, plan: &InstancePlan) {
        for (port, engine) in &mut self.engines {
            if *port == plan.port {
                engine.process().interrupt();
                engine.ended_within(END);
            }
        }
        self.engines.retain(|(port, _)| *port != plan.port);
    }

    /// The engine of an instance, supervised or not.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn engine(&self, plan: &InstancePlan) -> Process {
        match plan.engine {
            Engine::Redis => {
                // Redis writes its own title: the program and where it listens.
                let title = format!("redis-server {}", plan.endpoint());
                self.find("engine", |command| command.contains(&title))
            }
            Engine::Postgres => {
                let data = self.path().join(plan.name).join("data").display().to_string();
                let server = postgres::program("postgres").display().to_string();
                self.find("engine", |command| command.starts_with(&server) && command.contains(&data))
            }
        }
    }

    /// The deadman of an instance.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn deadman(&self, plan: &InstancePlan) -> Process {
        let folder = self.path().display().to_string();
        self.find("deadman", |command| {
            command.contains(&format!(" deadman --instance {} ", plan.name)) && command.contains(&folder)
        })
    }

    fn find(&self, what: &str, fits: impl Fn(&str) -> bool) -> Process {
        let found = process::descendants().into_iter().find(|seen| fits(&seen.command));
        found.and_then(|seen| Process::open(seen.pid)).unwrap_or_else(|| panic!("the {what} does not run"))
    }

    /// A stateboard and three hosts with one supervised instance each of `orders`: `a1`, preferred and so the first
    /// master, on host 0; the arbiter, since it starts first, on host 1. Waits until all is well.
    pub fn trio(&mut self) -> ReplicaSetStatus {
        self.trio_of(Engine::Redis)
    }

    /// The same with another engine.
    pub fn trio_of(&mut self, engine: Engine) -> ReplicaSetStatus {
        self.start_board();
        self.three(engine)
    }

    /// The same with an etcd for the state.
    pub fn trio_on_etcd(&mut self) -> ReplicaSetStatus {
        self.start_etcd();
        self.on_etcd = true;
        self.three(Engine::Redis)
    }

    /// A stateboard, three hosts that never have the arbiter, and a fourth, without instances, that has it. `a1` on host 0
    /// leads `orders`.
    pub fn trio_and_an_arbiter(&mut self) -> ReplicaSetStatus {
        self.start_board();
        for (host, name) in [("host-a", "a1"), ("host-b", "b1"), ("host-c", "c1")] {
            let instance = InstancePlan::new(name, "orders", 3);
            let instance = if name == "a1" { instance.preferred() } else { instance };
            let mut plan = HostPlan::new(host, vec![instance]);
            plan.arbiter = false;
            self.prepare(plan);
        }
        let arbiter = self.add(HostPlan::new("host-d", Vec::new()));
        self.is_arbiter(arbiter);
        (0..arbiter).for_each(|host| self.start(host));
        let seen = self.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!(seen.master.as_deref(), Some("a1"), "the preferred one leads first");
        self.everybody_knows_the_arbiter();
        seen
    }

    fn three(&mut self, engine: Engine) -> ReplicaSetStatus {
        let plan = |host, instance: InstancePlan| HostPlan::new(host, vec![instance.on(engine)]);
        let a = self.prepare(plan("host-a", InstancePlan::new("a1", "orders", 3).preferred()));
        let b = self.prepare(plan("host-b", InstancePlan::new("b1", "orders", 3)));
        let c = self.prepare(plan("host-c", InstancePlan::new("c1", "orders", 3)));
        self.start(b);
        self.is_arbiter(b);
        self.start(a);
        self.start(c);
        let seen = self.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!(seen.master.as_deref(), Some("a1"), "the preferred one leads first");
        self.everybody_knows_the_arbiter();
        seen
    }

    /// The only instance of a host.
    #[must_use]
    pub fn instance(&self, host: usize) -> InstancePlan {
        self.hosts[host].plan.instances[0].clone()
    }

    /// The host that has an instance.
    ///
    /// # Panics
    /// When none has.
    #[must_use]
    pub fn host_of(&self, instance: &str) -> usize {
        let has = |host: &Host| host.plan.instances.iter().any(|plan| plan.name == instance);
        self.hosts.iter().position(has).unwrap_or_else(|| panic!("nobody has {instance}"))
    }

    /// Ends every process of this stage with SIGKILL, stopped ones too, and removes the control groups that were made
    /// for them. Returns what would not end.
    pub fn end(&mut self) -> Vec<String> {
        let mut marks = vec![self.path().display().to_string()];
        let instances = self.hosts.iter().flat_map(|host| &host.plan.instances);
        marks.extend(instances.map(|plan| format!(" {}", plan.endpoint())));
        let own = control_group_of_this_process();
        let mut groups = BTreeSet::new();
        let deadline = Instant::now() + END;
        let left = loop {
            let mut left = process::descendants();
            left.retain(|seen| marks.iter().any(|mark| seen.command.contains(mark)));
            if left.is_empty() || Instant::now() > deadline {
                break left;
            }
            for seen in &left {
                groups.extend(process::control_group(seen.pid).filter(|group| Some(group) != own.as_ref()));
                if let Some(process) = Process::open(seen.pid) {
                    process.kill();
                }
            }
            std::thread::sleep(Duration::from_millis(5)); // tidy: waits because what was killed takes a moment to end
        };
        for group in groups {
            // Only an empty group can be removed, so this can hurt nobody.
            let _ = fs::remove_dir(group);
        }
        for daemon in self.hosts.iter_mut().filter_map(|host| host.daemon.as_mut()).chain(self.board.as_mut())
        {
            daemon.process().kill();
        }
        left.into_iter().map(|seen| seen.command).collect()
    }
}

fn control_group_of_this_process() -> Option<PathBuf> {
    process::control_group(i32::try_from(std::process::id()).ok()?)
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            for path in logs::daemon_logs(self.path()) {
                let text = fs::read(&path).unwrap_or_default();
                eprintln!("---- {}\n{}", path.display(), String::from_utf8_lossy(&text));
            }
        }
    }
}
