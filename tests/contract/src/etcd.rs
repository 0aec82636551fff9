//! Real etcd processes: one member, or three that elect a leader. Debian's program, with its own defaults.

use crate::peers::PeerRoad;
use crate::process::Process;
use crate::{ask, ports, world};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

/// A cluster.
pub(crate) struct Etcd {
    folder: TempDir,
    pub(crate) members: Vec<Member>,
}

/// One process of it.
pub(crate) struct Member {
    name: String,
    pub(crate) clients: SocketAddr,
    peers: SocketAddr,
    /// Where the others reach it, if that is another address.
    road: Option<PeerRoad>,
    pub(crate) process: Option<Process>,
}

impl Etcd {
    /// With roads between the members that can be cut, where they are wanted.
    pub(crate) async fn new(size: usize, with_roads: bool) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut members = Vec::new();
        for index in 0..size {
            let peers = ports::free();
            let road = if with_roads { Some(PeerRoad::to(peers).await) } else { None };
            let name = format!("n{index}");
            members.push(Member { name, clients: ports::free(), peers, road, process: None });
        }
        let mut etcd = Self { folder, members };
        for index in 0..size {
            etcd.start(index);
        }
        etcd.all_well().await;
        etcd
    }

    /// Starts a member, again with the same data.
    pub(crate) fn start(&mut self, index: usize) {
        let reached = |member: &Member| member.road.as_ref().map_or(member.peers, |road| road.address);
        let cluster: Vec<String> =
            self.members.iter().map(|member| format!("{}=http://{}", member.name, reached(member))).collect();
        let cluster = cluster.join(",");
        let folder = self.folder.path();
        let Some(member) = self.members.get_mut(index) else { panic!("there is no member {index}") };
        let (clients, peers) = (format!("http://{}", member.clients), format!("http://{}", member.peers));
        let advertised = format!("http://{}", reached(member));
        let data = folder.join(&member.name);
        let arguments: [(&str, OsString); 9] = [
            ("--name", member.name.clone().into()),
            ("--data-dir", data.into()),
            ("--listen-client-urls", clients.clone().into()),
            ("--advertise-client-urls", clients.into()),
            ("--listen-peer-urls", peers.into()),
            ("--initial-advertise-peer-urls", advertised.into()),
            ("--initial-cluster", cluster.into()),
            ("--initial-cluster-token", folder.as_os_str().to_owned()),
            ("--logger", "zap".into()),
        ];
        let arguments: Vec<OsString> =
            arguments.into_iter().flat_map(|(name, value)| [name.into(), value]).collect();
        let log = folder.join(format!("{}.log", member.name));
        member.process = Some(Process::start(Path::new("etcd"), &arguments, &log));
    }

    /// Waits until every member that runs answers for a majority.
    pub(crate) async fn all_well(&self) {
        for member in self.members.iter().filter(|member| member.process.is_some()) {
            let what = format!("{} of {}", member.name, self.folder.path().display());
            world::until(&what, async || match ask::get(member.clients, "/health").await {
                Ok(answer) if answer["health"] == "true" => Ok(()),
                other => Err(format!("{other:?}; its log ends with {}", self.end_of_log(&member.name))),
            })
            .await;
        }
    }

    fn end_of_log(&self, name: &str) -> String {
        let log = std::fs::read(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Cuts a member off from the others. All go on running, and clients reach all.
    pub(crate) async fn isolate(&self, index: usize) {
        let Some(member) = self.members.get(index) else { panic!("there is no member {index}") };
        let status = ask::post(member.clients, "/v3/maintenance/status", &json!({})).await;
        let number =
            status.expect("it answers")["header"]["member_id"].as_str().and_then(|it| it.parse().ok());
        let number: u64 = number.expect("it has a number");
        for (other, member) in self.members.iter().enumerate() {
            let road = member.road.as_ref().expect("the roads were wanted");
            if other == index {
                road.cut_wholly();
            } else {
                road.cut_from(&format!("{number:x}"));
            }
        }
    }

    /// Takes [`Etcd::isolate`] back.
    pub(crate) fn reunite(&self) {
        self.members.iter().filter_map(|member| member.road.as_ref()).for_each(PeerRoad::mend);
    }

    /// The index of the leader.
    pub(crate) async fn leader(&self) -> usize {
        world::until("a leader", async || {
            for (index, member) in self.members.iter().enumerate().filter(|(_, it)| it.process.is_some()) {
                let status = ask::post(member.clients, "/v3/maintenance/status", &json!({})).await?;
                if status["leader"] == status["header"]["member_id"] {
                    return Ok(index);
                }
            }
            Err("nobody says that it leads".to_owned())
        })
        .await
    }

    /// What an administrator does, at the first member.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let member = self.members.first().expect("a cluster has members");
        let answer = ask::post(member.clients, path, body).await.expect("an answer");
        assert!(answer.get("error").is_none(), "{path}: {answer}");
        answer
    }

    /// Forgets every revision but the newest.
    pub(crate) async fn compact(&self) {
        let range = self.post("/v3/kv/range", &json!({ "key": "AA==", "count_only": true })).await;
        let revision = &range["header"]["revision"];
        self.post("/v3/kv/compaction", &json!({ "revision": revision, "physical": true })).await;
    }

    /// Lets in only the user `baton` with this password (and `root`).
    pub(crate) async fn protect(&self, password: &str) {
        for (user, password) in [("root", "a root's password"), ("baton", password)] {
            self.post("/v3/auth/user/add", &json!({ "name": user, "password": password })).await;
            self.post("/v3/auth/role/add", &json!({ "name": user })).await;
            self.post("/v3/auth/user/grant", &json!({ "user": user, "role": user })).await;
        }
        let everything = json!({ "permType": "READWRITE", "key": "AA==", "range_end": "AA==" });
        self.post("/v3/auth/role/grant", &json!({ "name": "baton", "perm": everything })).await;
        self.post("/v3/auth/enable", &json!({})).await;
    }
}

/// One member that talks to clients over TLS only, and asks them for a certificate.
pub struct SecureEtcd {
    /// Kept, since the process ends with it.
    _process: Process,
    _folder: TempDir,
    /// Where clients find it: `HOST:PORT`.
    pub clients: SocketAddr,
}

impl SecureEtcd {
    /// With these files: its certificate, its key, and the authority of its clients.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn new(cert_file: &Path, key_file: &Path, ca_file: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let (clients, peers) = (ports::free(), format!("http://{}", ports::free()));
        let address = format!("https://{clients}");
        let arguments: [(&str, OsString); 11] = [
            ("--name", "secure".into()),
            ("--data-dir", folder.path().join("data").into()),
            ("--listen-client-urls", address.clone().into()),
            ("--advertise-client-urls", address.into()),
            ("--listen-peer-urls", peers.clone().into()),
            ("--initial-advertise-peer-urls", peers.clone().into()),
            ("--initial-cluster", format!("secure={peers}").into()),
            ("--cert-file", cert_file.into()),
            ("--key-file", key_file.into()),
            ("--trusted-ca-file", ca_file.into()),
            ("--logger", "zap".into()),
        ];
        let mut arguments: Vec<OsString> =
            arguments.into_iter().flat_map(|(name, value)| [name.into(), value]).collect();
        arguments.push("--client-cert-auth".into());
        let process = Process::start(Path::new("etcd"), &arguments, &folder.path().join("log"));
        Self { _process: process, _folder: folder, clients }
    }
}
