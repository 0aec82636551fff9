//! The files that the programs read. Only what the public contract of the configuration names.

use std::fmt::Write as _;
use std::path::Path;

use crate::host::{HostPlan, InstancePlan};

/// The cluster's name.
pub const CLUSTER: &str = "e2e";

/// The ports of a coordinator.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// gRPC.
    pub grpc: u16,
    /// HTTP.
    pub http: u16,
}

/// The configuration of a coordinator; `board` is the stateboard's port, `None` for an embedded one.
#[must_use]
pub fn coordinator(folder: &Path, plan: &HostPlan, ports: Ports, board: Option<u16>) -> String {
    let (folder, name, Ports { grpc, http }) = (folder.display(), plan.name, ports);
    let provider = match board {
        Some(port) => format!("kind = \"stateboard\"\nendpoints = [\"http://127.0.0.1:{port}\"]"),
        None => "kind = \"embedded\"".to_owned(),
    };
    let mut text = format!(
        "[cluster]\nname = \"{CLUSTER}\"\nsecret_file = \"{folder}/secret\"\n\n[provider]\n{provider}\n\n\
         [coordinator]\nname = \"{name}\"\nlisten = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n\
         advertise = \"127.0.0.1:{grpc}\"\nstate_dir = \"{folder}/{name}/state\"\n\n\
         [arbiter]\nenabled = {}\n\n[directory]\nenabled = {}\n",
        plan.arbiter, plan.directory
    );
    for instance in &plan.instances {
        text.push_str(&section(&folder.to_string(), instance));
    }
    text
}

fn section(folder: &str, plan: &InstancePlan) -> String {
    let InstancePlan { name, set, port, priority, electable, members, .. } = plan;
    let mut text = format!(
        "\n[[instance]]\nname = \"{name}\"\nreplicaset = \"{set}\"\npriority = {priority}\nelectable = {electable}\n\
         bootstrap_members = {members}\n[instance.engine]\nkind = \"redis\"\nendpoint = \"127.0.0.1:{port}\"\n"
    );
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
    let mut text = format!(
        "bind 127.0.0.1\nport {port}\ndir \"{}/{name}\"\ndaemonize no\nlogfile \"\"\nsave \"\"\nappendonly yes\n\
         appendfsync everysec\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-backlog-size 16mb\n",
        folder.display()
    );
    if let Some(password) = plan.engine_password {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "requirepass {password}");
    }
    text
}
