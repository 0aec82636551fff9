//! A small network for hosts that are to be cut off from each other: each node has a network namespace of its own, and a
//! router in another one joins them. A cut link drops packets silently, in one direction or in both; nobody is told, and
//! connections neither break nor end by it.
//!
//! It needs root and the program `ip`, and knows nothing of Baton. The namespaces have names only while they are wired:
//! afterwards they live as long as this process and what runs in them, so that a test that is killed leaves none behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip` keeps the namespaces that have a name.
const NAMED: &str = "/run/netns";
/// The beginning of our names; the number of the process that made them follows.
const PREFIX: &str = "baton-e2e-";

static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace.
#[derive(Clone, Debug)]
struct Namespace(Arc<File>);

/// One machine of the network, as its own programs see it.
#[derive(Clone, Debug)]
pub struct Node {
    namespace: Namespace,
    number: u8,
}

impl Node {
    /// Where the others reach it.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 2)
    }

    /// Runs something on this node: its sockets are the node's, and the processes that it starts stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(work)
    }
}

/// Runs something on a node, or right here where there is none.
pub fn on<T: Send>(node: Option<&Node>, work: impl FnOnce() -> T + Send) -> T {
    match node {
        Some(node) => node.inside(work),
        None => work(),
    }
}

/// All nodes and the router between them.
#[derive(Debug)]
pub struct Network {
    router: Namespace,
    nodes: BTreeMap<&'static str, Node>,
    cut: BTreeSet<(&'static str, &'static str)>,
}

impl Network {
    /// A router without nodes.
    ///
    /// # Panics
    /// Without root or `ip`.
    #[must_use]
    pub fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test puts hosts into network namespaces of their own, which only root may: run it as root"
        );
        sweep();
        let (name, router) = Namespace::named();
        Namespace::unnamed(&name);
        router.ip("link set lo up\n");
        router.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1")).expect("a router may forward");
        Self { router, nodes: BTreeMap::new(), cut: BTreeSet::new() }
    }

    /// Adds a node, with a link to everybody.
    ///
    /// # Panics
    /// When it cannot be wired, or there is one of this name.
    pub fn add(&mut self, name: &'static str) -> Node {
        let number = u8::try_from(self.nodes.len() + 1).expect("a small network");
        let (own, namespace) = Namespace::named();
        self.router.ip(&format!(
            "link add n{number} type veth peer name eth0 netns {own}\n\
             addr add 10.77.{number}.1/24 dev n{number}\nlink set n{number} up\n"
        ));
        Namespace::unnamed(&own);
        namespace.ip(&format!(
            "link set lo up\naddr add 10.77.{number}.2/24 dev eth0\nlink set eth0 up\n\
             route add default via 10.77.{number}.1\n"
        ));
        let node = Node { namespace, number };
        assert!(self.nodes.insert(name, node.clone()).is_none(), "two nodes are called {name}");
        node
    }

    /// From now on nothing that `from` sends reaches `to`; the other direction stays as it is.
    pub fn cut(&mut self, from: &'static str, to: &'static str) {
        self.turn(vec![(from, to)], true);
    }

    /// From now on nothing passes between this node and any other.
    pub fn isolate(&mut self, name: &'static str) {
        let others = self.nodes.keys().copied().filter(|other| *other != name);
        let links = others.flat_map(|other| [(name, other), (other, name)]).collect();
        self.turn(links, true);
    }

    /// All links are as new.
    pub fn mend(&mut self) {
        let links = self.cut.iter().copied().collect();
        self.turn(links, false);
    }

    /// The router's rules: what a `blackhole` rule matches is dropped, and its sender hears nothing.
    fn turn(&mut self, links: Vec<(&'static str, &'static str)>, cut: bool) {
        let mut rules = String::new();
        for link in links {
            let changed = if cut { self.cut.insert(link) } else { self.cut.remove(&link) };
            if changed {
                let verb = if cut { "add" } else { "del" };
                let (from, to) = (self.node(link.0).number, self.node(link.1).address());
                rules += &format!("rule {verb} iif n{from} to {to} blackhole\n");
            }
        }
        self.router.ip(&rules);
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespace {
    /// A new one, and the name under which `ip` knows it.
    fn named() -> (String, Self) {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        ip(&["netns", "add", &name], "");
        let file = File::open(Path::new(NAMED).join(&name)).expect("it was just made");
        (name, Self(Arc::new(file)))
    }

    /// Takes the name away; the namespace stays.
    fn unnamed(name: &str) {
        ip(&["netns", "del", name], "");
    }

    /// A thread enters it and ends there, so that no other work ever finds itself inside.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let joined = std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter a network namespace");
                work()
            });
            entered.join()
        });
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn ip(&self, batch: &str) {
        self.inside(|| ip(&["-batch", "-"], batch));
    }
}

/// # Panics
/// When `ip` does not do what it is told.
fn ip(arguments: &[&str], input: &str) {
    let command = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = command.unwrap_or_else(|error| panic!("the program ip (Debian: iproute2): {error}"));
    let mut stdin = child.stdin.take().expect("it was asked for");
    // Where it has ended before it has read everything, its status and words say more than this write's error.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let said = child.wait_with_output().expect("a child can be waited for");
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "ip {arguments:?} with {input:?}: {error}");
}

/// Takes away the names that a test left which was killed while it wired its network.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMED) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if maker.is_some_and(|maker| !Path::new(&format!("/proc/{maker}")).exists()) {
            // Another test may be sweeping too.
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn a_cut_link_is_silent_and_the_others_live() {
        let mut network = Network::new();
        let [one, two, three] = ["one", "two", "three"].map(|name| network.add(name));
        let _listener = two.inside(|| TcpListener::bind("0.0.0.0:7000")).expect("nobody else is there");
        let reach = |from: &Node| {
            let address = (two.address(), 7000).into();
            from.inside(|| {
                TcpStream::connect_timeout(&address, SHORT).map(|_| ()).map_err(|error| error.kind())
            })
        };
        assert_eq!(reach(&one), Ok(()));
        network.cut("one", "two");
        assert_eq!(reach(&one), Err(std::io::ErrorKind::TimedOut), "no answer of any kind");
        assert_eq!(reach(&three), Ok(()));
        network.mend();
        network.cut("two", "one");
        assert_eq!(reach(&one), Err(std::io::ErrorKind::TimedOut), "the answer is dropped");
        network.isolate("three");
        assert_eq!(reach(&three), Err(std::io::ErrorKind::TimedOut));
        network.mend();
        assert_eq!((reach(&one), reach(&three)), (Ok(()), Ok(())));
        assert!(TcpListener::bind((two.address(), 0)).is_err(), "what runs elsewhere is not inside");
    }
}
