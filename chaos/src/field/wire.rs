//! The network of a run: each machine has a network namespace of its own, joined by a bridge in another one, which plays the
//! switch. What is cut is cut at the switch, silently: nobody is told, connections neither break nor end by it, and every
//! dropped packet is counted, so that a fault can show that it bit.
//!
//! It needs root and the programs `ip`, `nft` and `tc`. It knows machines by name and number, and nothing of what runs on
//! them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::names::RunId;
use crate::cluster::process::run_tool;

/// Where `ip` keeps the namespaces that have a name.
pub(super) const NAMED: &str = "/run/netns";
/// The bridge's name inside the switch.
pub(super) const BRIDGE: &str = "bridge";

/// A network namespace with a name that lasts as long as this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    fn new(name: String) -> anyhow::Result<Self> {
        tool("ip", &["netns", "add", &name], "")?;
        let file = File::open(Path::new(NAMED).join(&name)).context("open the new network namespace")?;
        Ok(Self { name, file })
    }

    /// Runs something inside: its sockets are there, and the processes that it starts stay there. A thread enters and ends
    /// there, so that no other work ever finds itself inside.
    ///
    /// # Panics
    /// As the work does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let joined = std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            entered.join()
        });
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// From now on the calling thread, and every thread and process that it starts, is inside.
    ///
    /// # Errors
    /// The kernel refuses: without root.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    pub(super) fn tool(&self, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        self.inside(|| tool(program, arguments, input))?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It lives on as long as something runs in it; the name is what would be left behind.
        let _ = tool("ip", &["netns", "del", &self.name], "");
    }
}

/// A machine's place on the network.
#[derive(Debug)]
pub struct Place {
    /// Its namespace.
    pub namespace: Namespace,
    number: u8,
}

impl Place {
    /// Where the others reach it.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        address_of(self.number)
    }

    pub(super) fn port(&self) -> String {
        format!("port{}", self.number)
    }
}

/// The address of the machine with this number.
#[must_use]
pub fn address_of(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 79, 0, number)
}

/// What the switch does to packets between two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All are dropped.
    All,
    /// So many of a hundred are, by chance.
    Percent(u8),
}

/// The switch with all machines.
#[derive(Debug)]
pub struct Wire {
    run: RunId,
    pub(super) switch: Namespace,
    places: BTreeMap<String, Arc<Place>>,
    filters: u32,
}

/// A filter that is in force.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut(u32);

impl Wire {
    /// A switch without machines.
    ///
    /// # Errors
    /// Without root, `ip` or `nft`.
    pub fn new(run: &RunId) -> anyhow::Result<Self> {
        let switch = Namespace::new(run.name("switch"))?;
        let bridge = format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up\n");
        switch.tool("ip", &["-batch", "-"], &bridge)?;
        Ok(Self { run: run.clone(), switch, places: BTreeMap::new(), filters: 0 })
    }

    /// Adds a machine, linked to everybody.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn add(&mut self, name: &str, number: u8) -> anyhow::Result<Arc<Place>> {
        let namespace = Namespace::new(self.run.name(name))?;
        let place = Place { namespace, number };
        let (port, own) = (place.port(), &place.namespace.name);
        self.switch.tool(
            "ip",
            &["-batch", "-"],
            &format!(
                "link add {port} type veth peer name eth0 netns {own}\nlink set {port} master {BRIDGE}\n\
                 link set {port} up\n"
            ),
        )?;
        let wired = format!("link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\n", place.address());
        place.namespace.tool("ip", &["-batch", "-"], &wired)?;
        let place = Arc::new(place);
        self.places.insert(name.to_owned(), place.clone());
        Ok(place)
    }

    /// A machine's place.
    ///
    /// # Errors
    /// There is no such machine.
    pub fn place(&self, name: &str) -> anyhow::Result<&Arc<Place>> {
        self.places.get(name).with_context(|| format!("there is no machine {name}"))
    }

    /// From now on what `from` sends to `to` is filtered, for each pair; the other direction stays as it is.
    ///
    /// # Errors
    /// There is no such machine, or `nft` refuses.
    pub fn cut(&mut self, pairs: &[(String, String)], filter: Filter) -> anyhow::Result<Cut> {
        self.filters += 1;
        let chance = match filter {
            Filter::All => String::new(),
            Filter::Percent(percent) => format!("numgen random mod 100 < {percent} "),
        };
        let mut rules = String::new();
        for (from, to) in pairs {
            let (from, to) = (self.place(from)?.address(), self.place(to)?.address());
            rules += &format!("ip saddr {from} ip daddr {to} {chance}counter name dropped drop\n");
        }
        let table = table(self.filters);
        let text = format!(
            "table bridge {table} {{\ncounter dropped {{ }}\nchain forward {{\n\
             type filter hook forward priority 0; policy accept;\n{rules}}}\n}}\n"
        );
        self.switch.tool("nft", &["-f", "-"], &text)?;
        Ok(Cut(self.filters))
    }

    /// How many packets the filter has dropped.
    ///
    /// # Errors
    /// `nft` does not say.
    pub fn dropped(&self, cut: &Cut) -> anyhow::Result<u64> {
        let said = self.switch.tool("nft", &["list", "counter", "bridge", &table(cut.0), "dropped"], "")?;
        packets(&said).with_context(|| format!("nft names no count of packets: {said:?}"))
    }

    /// Takes the filter away. Connections that outlived it go on.
    ///
    /// # Errors
    /// `nft` refuses.
    pub fn mend(&mut self, cut: &Cut) -> anyhow::Result<()> {
        self.switch.tool("nft", &["delete", "table", "bridge", &table(cut.0)], "").map(|_| ())
    }

    /// Pulls a machine's cable out of the switch, or puts it in again. The machine keeps its address and loses its carrier.
    ///
    /// # Errors
    /// There is no such machine, or `ip` refuses.
    pub fn plug(&mut self, name: &str, plugged: bool) -> anyhow::Result<()> {
        let port = self.place(name)?.port();
        let state = if plugged { "up" } else { "down" };
        self.switch.tool("ip", &["link", "set", &port, state], "").map(|_| ())
    }

    /// Whether the machine itself sees a carrier.
    ///
    /// # Errors
    /// There is no such machine, or `ip` does not say.
    pub fn has_carrier(&self, name: &str) -> anyhow::Result<bool> {
        let said = self.place(name)?.namespace.tool("ip", &["-o", "link", "show", "eth0"], "")?;
        Ok(said.contains("LOWER_UP"))
    }

    /// From now on no more than `kbit` kilobits a second reach the machine (`None`: as many as it can take).
    ///
    /// # Errors
    /// There is no such machine, or `tc` refuses.
    pub fn narrow(&mut self, name: &str, kbit: Option<u32>) -> anyhow::Result<()> {
        let port = self.place(name)?.port();
        match kbit {
            Some(kbit) => {
                let rate = format!("{kbit}kbit");
                let shape = ["rate", &rate, "burst", "16kb", "latency", "400ms"];
                let mut arguments = vec!["qdisc", "add", "dev", &port, "root", "tbf"];
                arguments.extend(shape);
                self.switch.tool("tc", &arguments, "").map(|_| ())
            }
            None => self.switch.tool("tc", &["qdisc", "del", "dev", &port, "root"], "").map(|_| ()),
        }
    }

    /// How many packets waited or were dropped at a narrowed port.
    ///
    /// # Errors
    /// There is no such machine, or `tc` does not say.
    pub fn overlimits(&self, name: &str) -> anyhow::Result<u64> {
        let port = self.place(name)?.port();
        let said = self.switch.tool("tc", &["-s", "qdisc", "show", "dev", &port, "root"], "")?;
        number_after(&said, "overlimits ").with_context(|| format!("tc names no overlimits: {said:?}"))
    }
}

fn table(number: u32) -> String {
    format!("chaos{number}")
}

/// The number in nft's `packets 12 bytes 720`.
fn packets(said: &str) -> Option<u64> {
    number_after(said, "packets ")
}

fn number_after(said: &str, word: &str) -> Option<u64> {
    let (_, rest) = said.split_once(word)?;
    rest.split(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()
}

fn tool(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    run_tool(command, input).with_context(|| format!("{program} {}", arguments.join(" ")))
}

/// Machines `one` and `two` on one switch. As the machine's root only: CI is, and says so where it is not.
#[cfg(test)]
pub(super) fn two_machines() -> (Wire, Arc<Place>, Arc<Place>) {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes network namespaces, which only root may: run it as root"
    );
    let mut wire = Wire::new(&RunId::new()).expect("root, ip and nft");
    let one = wire.add("one", 11).expect("wired");
    let two = wire.add("two", 12).expect("wired");
    (wire, one, two)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn counts_are_read_as_the_tools_print_them() {
        let nft = "table bridge chaos3 {\n\tcounter dropped {\n\t\tpackets 12 bytes 720\n\t}\n}\n";
        assert_eq!(packets(nft), Some(12));
        assert_eq!(packets("no such thing"), None);
        let tc = " Sent 1078 bytes 11 pkt (dropped 2, overlimits 7 requeues 0)\n";
        assert_eq!(number_after(tc, "overlimits "), Some(7));
    }

    /// Three machines, of which the second listens. As the machine's root only: CI is, and says so where it is not.
    #[test]
    fn what_is_cut_is_silent_and_counted_and_the_others_live() {
        let (mut wire, one, two) = two_machines();
        let three = wire.add("three", 13).expect("wired");
        let _listener =
            two.namespace.inside(|| TcpListener::bind("0.0.0.0:7000")).expect("inside").expect("free");
        let reach = |from: &Place| {
            let address = (two.address(), 7000).into();
            let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok();
            from.namespace.inside(connect).expect("inside")
        };
        assert!(reach(&one) && reach(&three));
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let there = wire.cut(&[pair("one", "two")], Filter::All).expect("cut");
        let back = wire.cut(&[pair("two", "three")], Filter::All).expect("cut");
        assert_eq!(wire.dropped(&there).expect("counted"), 0, "nothing was sent yet");
        assert!(!reach(&one) && !reach(&three));
        assert!(wire.dropped(&there).expect("counted") > 0 && wire.dropped(&back).expect("counted") > 0);
        wire.mend(&there).expect("mended");
        assert!(reach(&one) && !reach(&three), "each filter goes by itself");
        wire.mend(&back).expect("mended");
        wire.plug("two", false).expect("pulled");
        assert!(!wire.has_carrier("two").expect("told") && !reach(&one));
        wire.plug("two", true).expect("plugged");
        assert!(wire.has_carrier("two").expect("told") && reach(&one));
        wire.narrow("two", Some(64)).expect("narrowed");
        assert_eq!(wire.overlimits("two").expect("told"), 0);
        wire.narrow("two", None).expect("wide again");
    }
}
