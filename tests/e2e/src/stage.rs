//! One temporary folder with a stateboard, hosts and engines; ends with everything that was started for it, and looks
//! into the logs then. At most two stages at a time: more would only measure how busy the machine is.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use baton_client::status::{ClusterStatus, ReplicaSetStatus};
use rustix::fs::statvfs;
use tempfile::TempDir;

use crate::ctl::{self, Said};
use crate::files::{self, Ports};
use crate::host::{Daemon, Host, HostPlan, InstancePlan};
use crate::logs::{self, Allowed};
use crate::net::{self, Network, Node};
use crate::process::{self, Process};
use crate::writer::Writer;
use crate::{http, poll, ports};

/// The lease of most stages: short, so that tests are, and long enough for a busy machine.
pub const LEASE: Duration = Duration::from_millis(1_000);
/// The lease of stages where a master goes on by promises, each of which is on a disk before it counts: long enough for a
/// disk that everybody uses.
pub const LONGER_LEASE: Duration = Duration::from_millis(2_000);

/// How many stages there may be at a time.
const STAGES_MAX: usize = 2;
/// How much room a folder in memory must have, in bytes: an append-only file grows for as long as a stage has a writer.
const MEMORY_MIN: u64 = 1 << 30;
/// How long everything may take to end after SIGKILL.
const END: Duration = Duration::from_secs(10);

static STAGES: Mutex<usize> = Mutex::new(0);
static STAGE_FREE: Condvar = Condvar::new();

/// One of the places; given back when it is dropped.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Self {
        let taken = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = STAGE_FREE
            .wait_while(taken, |taken| *taken >= STAGES_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *STAGES.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        STAGE_FREE.notify_one();
    }
}

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

    /// Starts the stateboard, again with the same data.
    pub fn start_board(&mut self) {
        let folder = self.path();
        let board = self.board_address();
        let listen = SocketAddrV4::new(files::listen_on(*board.ip()), board.port());
        let mut command = Command::new(Self::program("baton-stateboard"));
        command.args(["--cluster", files::CLUSTER, "--insecure", "--listen", &listen.to_string()]);
        command.args(["--http-listen", "off"]);
        command.arg("--secret-file").arg(folder.join("secret"));
        command.arg("--data-dir").arg(folder.join("board"));
        command.arg("--seed-settings").arg(folder.join("settings.toml"));
        let node = self.network.as_ref().map(|wires| &wires.board);
        let daemon = self.spawn(node, &mut command, "board.log");
        poll::until("the stateboard listens", || {
            net::on(node, || TcpStream::connect(("127.0.0.1", board.port())))
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        self.board = Some(daemon);
    }

    /// Starts an etcd of one member; hosts that are prepared from now on have it in `[provider.next]`.
    pub fn start_etcd(&mut self) {
        let (clients, peers) = (ports::free(), ports::free());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.path().join("etcd"));
        command.args(["--name", "n0", "--initial-cluster", &format!("n0={}", url(peers))]);
        command.args(["--listen-client-urls", &url(clients), "--advertise-client-urls", &url(clients)]);
        command.args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)]);
        let etcd = self.spawn(None, &mut command, "etcd.output");
        poll::until("etcd leads itself", || match http::get(clients, "/health")? {
            (200, body) if body["health"] == "true" => Ok(()),
            other => Err(format!("{other:?}")),
        });
        self.etcd = Some((clients, etcd));
    }

    /// Where the etcd is.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd.as_ref().expect("an etcd was started").0)
    }

    /// Where the stateboard is.
    #[must_use]
    pub fn board_url(&self) -> String {
        format!("http://{}", self.board_address())
    }

    /// `batonctl provider migrate`, ready to be run.
    #[must_use]
    pub fn migrate(&self, from: &str, to: &str) -> Command {
        let reached = |host: &Host| format!("{}:{}", host.ports.address, host.ports.grpc);
        let endpoints: Vec<String> = self.hosts.iter().map(reached).collect();
        let mut command = Command::new(Self::program("batonctl"));
        command.args(["--json", "--endpoint", &endpoints.join(",")]);
        command.args(["provider", "migrate", "--cluster", files::CLUSTER, "--secret-file"]);
        command.arg(self.path().join("secret")).args(["--from", from, "--to", to]);
        command
    }

    fn board_address(&self) -> SocketAddrV4 {
        let address = self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, |wires| wires.board.address());
        SocketAddrV4::new(address, self.board_port)
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

    /// SIGKILL to the stateboard, and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_board(&mut self) {
        let mut board = self.board.take().expect("the stateboard runs");
        board.process().kill();
        board.ended_within(poll::PATIENCE);
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
            fs::write(own.join("redis.conf"), files::redis(&folder, instance)).expect("writable");
            if let Some(password) = instance.password {
                fs::write(own.join("password"), password).expect("writable");
            }
        }
        let ports = Ports { address, grpc: ports::free(), http: ports::free() };
        let board = (!plan.embedded).then(|| self.board_address());
        let mut config = files::coordinator(&folder, &plan, ports, board);
        if self.etcd.is_some() {
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

    /// The engine of an instance, supervised or not.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn engine(&self, plan: &InstancePlan) -> Process {
        // Redis writes its own title: the program and where it listens.
        let title = format!("redis-server {}", plan.endpoint());
        self.find("engine", |command| command.contains(&title))
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

    /// Runs `batonctl` against all hosts.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Said {
        let reached = |host: &Host| format!("{}:{}", host.ports.address, host.ports.grpc);
        let endpoints: Vec<String> = self.hosts.iter().map(reached).collect();
        let mut command = Command::new(Self::program("batonctl"));
        command.args(["--endpoint", &endpoints.join(",")]).args(arguments);
        net::on(self.network.as_ref().map(|wires| &wires.operator), || ctl::run(&mut command))
    }

    /// Runs `batonctl stateboard`.
    #[must_use]
    pub fn ctl_board(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(Self::program("batonctl"));
        command.args(["stateboard", "--cluster", files::CLUSTER, "--secret-file"]);
        command.arg(self.path().join("secret"));
        command.args(["--stateboard", &format!("127.0.0.1:{}", self.board_port)]);
        ctl::run(command.args(arguments))
    }

    /// The cluster as `batonctl` shows it to programs.
    ///
    /// # Panics
    /// When it does not, or its JSON has another shape.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        let said = self.ctl(&["status", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// A set as the active arbiter sees it.
    ///
    /// # Errors
    /// No arbiter can be asked, or it does not know the set.
    pub fn set(&self, name: &str) -> Result<ReplicaSetStatus, String> {
        let mut said = String::from("no host runs");
        for host in self.hosts.iter().filter(|host| host.plan.directory) {
            let path = format!("/v1/replicasets/{name}");
            match net::on(host.node.as_ref(), || http::get(host.ports.http, &path)) {
                Ok((200, body)) if body["arbiter"]["active_here"] == true => {
                    return serde_json::from_value(body).map_err(|error| error.to_string());
                }
                Ok((code, body)) => said = format!("{}: {code} {body}", host.plan.name),
                Err(error) => said = error,
            }
        }
        Err(said)
    }

    /// Waits until a set is whole, see [`Self::is_whole`].
    pub fn whole(&self, set: &str, names: &[&str]) -> ReplicaSetStatus {
        poll::until(&format!("{set} is whole"), || self.is_whole(set, names))
    }

    /// A set that is active, and all of `names` up, in sync, and master or replica.
    ///
    /// # Errors
    /// What it is instead.
    pub fn is_whole(&self, set: &str, names: &[&str]) -> Result<ReplicaSetStatus, String> {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        let seen = self.set(set)?;
        let in_sync: BTreeSet<&str> =
            seen.record.iter().flat_map(|record| record.in_sync.iter().map(String::as_str)).collect();
        let up = |member: &&baton_client::status::MemberStatus| {
            member.health == "up" && matches!(&*member.role, "master" | "replica")
        };
        let well: BTreeSet<&str> = seen.members.iter().filter(up).map(|member| &*member.instance).collect();
        if seen.state == "active" && in_sync == names && well == names {
            return Ok(seen);
        }
        Err(format!(
            "{} at term {}, in sync {in_sync:?}, well {well:?}, {:?}",
            seen.state, seen.term, seen.issues
        ))
    }

    /// Waits until a set has an active master at a term above `term`.
    pub fn next_master(&self, set: &str, term: u64) -> ReplicaSetStatus {
        poll::until(&format!("{set} has a master above term {term}"), || {
            let seen = self.set(set)?;
            let there = seen.state == "active" && seen.term > term;
            if there {
                Ok(seen)
            } else {
                Err(format!("{} at term {}, {:?}", seen.state, seen.term, seen.issues))
            }
        })
    }

    /// What a host's HTTP port answers.
    ///
    /// # Errors
    /// Nobody does.
    pub fn page(&self, host: usize, path: &str) -> Result<(u16, serde_json::Value), String> {
        self.at(host, || http::get(self.hosts[host].ports.http, path))
    }

    /// Whether a health check of an instance says yes.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn check(&self, host: usize, path: &str) -> Result<u16, String> {
        self.page(host, path).map(|(code, _)| code)
    }

    /// A stateboard and three hosts with one supervised instance each of `orders`: `a1`, preferred and so the first
    /// master, on host 0; the arbiter, since it starts first, on host 1. Waits until all is well.
    pub fn trio(&mut self) -> ReplicaSetStatus {
        self.start_board();
        let plan = |host, instance: InstancePlan| HostPlan::new(host, vec![instance]);
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

    /// Waits until every host can say who the arbiter is: one that has just attached needs a moment.
    pub fn everybody_knows_the_arbiter(&self) {
        for host in self.hosts.iter().filter(|host| host.plan.directory) {
            poll::until("it knows the arbiter", || {
                match net::on(host.node.as_ref(), || http::get(host.ports.http, "/v1/replicasets/orders"))? {
                    (200, body) if body["arbiter"]["coordinator"].is_string() => Ok(()),
                    other => Err(format!("{}: {other:?}", host.plan.name)),
                }
            });
        }
    }

    /// Waits until a host is the active arbiter.
    pub fn is_arbiter(&self, host: usize) {
        let address = format!("127.0.0.1:{}", self.hosts[host].ports.grpc);
        poll::until("it is the arbiter", || {
            let mut command = Command::new(Self::program("batonctl"));
            command.args(["--endpoint", &address, "status", "--json"]);
            let said = self.at(host, || ctl::run(&mut command));
            let status: ClusterStatus =
                serde_json::from_str(&said.out).map_err(|error| format!("{error}: {said:?}"))?;
            let here = status.arbiter.coordinator.as_deref() == Some(self.hosts[host].plan.name);
            if here { Ok(()) } else { Err(format!("{:?}", status.arbiter)) }
        });
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

/// Stages lie in memory, where there is enough. Leases, promises and the record wait for syncs, and a disk on which
/// somebody compiles may take seconds for one; that would be a story of its own in every test.
fn own_folder() -> io::Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("baton-e2e-");
    let memory = Path::new("/dev/shm");
    let room = statvfs(memory).is_ok_and(|seen| seen.f_bavail * seen.f_frsize >= MEMORY_MIN);
    if room { folder.tempdir_in(memory) } else { folder.tempdir() }
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
