//! The files that the programs read. Only what the public contract of the configuration names.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use crate::host::{Engine, HostPlan, InstancePlan};
use crate::postgres;

/// The cluster's name.
pub const CLUSTER: &str = "e2e";

/// Where a coordinator is reached.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// By others: loopback, or its node's address; by itself also on loopback.
    pub address: Ipv4Addr,
    /// gRPC.
    pub grpc: u16,
    /// HTTP.
    pub http: u16,
}

/// Who keeps the state of a host's cluster.
#[derive(Clone, Debug)]
pub enum Provider {
    /// A stateboard that listens there.
    Board(SocketAddrV4),
    /// An etcd at this address.
    Etcd(String),
    /// The coordinator itself.
    Embedded,
}

/// The configuration of a coordinator.
#[must_use]
pub fn coordinator(folder: &Path, plan: &HostPlan, ports: Ports, provider: &Provider) -> String {
    let (folder, name, Ports { address, grpc, http }) = (folder.display(), plan.name, ports);
    let listen = listen_on(address);
    let provider = match provider {
        Provider::Board(board) => format!("kind = \"stateboard\"\nendpoints = [\"http://{board}\"]"),
        Provider::Etcd(url) => {
            format!("kind = \"etcd\"\nendpoints = [\"{url}\"]\nseed_settings = \"{folder}/settings.toml\"")
        }
        Provider::Embedded => "kind = \"embedded\"".to_owned(),
    };
    let mut text = format!(
        "[cluster]\nname = \"{CLUSTER}\"\nsecret_file = \"{folder}/secret\"\n\n[provider]\n{provider}\n\n\
         [coordinator]\nname = \"{name}\"\nlisten = \"{listen}:{grpc}\"\nhttp_listen = \"{listen}:{http}\"\n\
         insecure = true\nadvertise = \"{address}:{grpc}\"\nstate_dir = \"{folder}/{name}/state\"\n\n\
         [arbiter]\nenabled = {}\n\n[directory]\nenabled = {}\n",
        plan.arbiter, plan.directory
    );
    for instance in &plan.instances {
        text.push_str(&section(&folder.to_string(), instance));
    }
    text
}

/// Whatever is reached from another node is reached on loopback too: tests ask there.
#[must_use]
pub fn listen_on(address: Ipv4Addr) -> Ipv4Addr {
    if address.is_loopback() { address } else { Ipv4Addr::UNSPECIFIED }
}

fn section(folder: &str, plan: &InstancePlan) -> String {
    let endpoint = plan.endpoint();
    let InstancePlan { name, set, priority, electable, members, .. } = plan;
    let zone = plan.zone.map_or_else(String::new, |zone| format!("zone = \"{zone}\"\n"));
    let mut text = format!(
        "\n[[instance]]\nname = \"{name}\"\nreplicaset = \"{set}\"\npriority = {priority}\nelectable = {electable}\n\
         bootstrap_members = {members}\n{zone}[instance.engine]\nendpoint = \"{endpoint}\"\n"
    );
    if plan.engine == Engine::Postgres {
        return text + &postgres::section(folder, plan);
    }
    text += "kind = \"redis\"\n";
    if plan.supervised {
        text += &format!("command = [\"redis-server\", \"{folder}/{name}/redis.conf\"]\n");
        text += &format!("data_dir = \"{folder}/{name}\"\n");
    }
    if plan.password.is_some() {
        text += &format!("password_file = \"{folder}/{name}/password\"\n");
    }
    text
}

/// The configuration of a Redis: an append-only file synced each second, no snapshots, and replicas that are fed at once.
#[must_use]
pub fn redis(folder: &Path, plan: &InstancePlan) -> String {
    let (port, name) = (plan.port, plan.name);
    // The first address is the one in the title of the process.
    let bind = if plan.address.is_loopback() {
        "bind 127.0.0.1".to_owned()
    } else {
        format!("bind {} 127.0.0.1\nprotected-mode no", plan.address)
    };
    let mut text = format!(
        "{bind}\nport {port}\ndir \"{}/{name}\"\ndaemonize no\nlogfile \"\"\nsave \"\"\nappendonly yes\n\
         appendfsync everysec\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-backlog-size 16mb\n",
        folder.display()
    );
    if let Some(password) = plan.engine_password {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "requirepass {password}");
    }
    text
}
