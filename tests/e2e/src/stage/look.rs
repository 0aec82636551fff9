//! What can be asked of a stage: by `batonctl`, by the pages of its hosts, and until something is so. It starts and ends
//! nothing.

use std::collections::BTreeSet;
use std::process::Command;

use baton_client::status::{ClusterStatus, ReplicaSetStatus};

use super::Stage;
use crate::ctl::{self, Said};
use crate::host::Host;
use crate::{files, http, net, poll};

impl Stage {
    /// Runs `batonctl` against all hosts.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Said {
        let reached = |host: &Host| format!("{}:{}", host.ports.address, host.ports.grpc);
        let endpoints: Vec<String> = self.hosts.iter().map(reached).collect();
        let mut command = Command::new(Self::program("batonctl"));
        command.args(["--endpoint", &endpoints.join(",")]).args(arguments);
        net::on(self.network.as_ref().map(|wires| &wires.operator), || ctl::run(&mut command))
    }

    /// Runs `batonctl` against one host: where another is stopped, a request that reached it would be waited for.
    #[must_use]
    pub fn ctl_at(&self, host: usize, arguments: &[&str]) -> Said {
        let ports = self.hosts[host].ports;
        let mut command = Command::new(Self::program("batonctl"));
        command.args(["--endpoint", &format!("{}:{}", ports.address, ports.grpc)]).args(arguments);
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
}
