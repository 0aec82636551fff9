//! The files that the programs of a cluster read. Only what the public contract of the configuration names.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// The name of the one replica set.
pub const REPLICASET: &str = "orders";
/// What a PostgreSQL's role logs in with, where it is reached over a network: among machines of the run alone.
pub const POSTGRES_PASSWORD: &str = "only for this run";
/// The name of the cluster.
pub const CLUSTER: &str = "demo";

#[derive(Serialize)]
struct Coordinator<'a> {
    cluster: ClusterPart<'a>,
    provider: Provider<'a>,
    coordinator: Own<'a>,
    instance: [Instance<'a>; 1],
}

#[derive(Serialize)]
struct ClusterPart<'a> {
    name: &'a str,
    secret_file: &'a Path,
}

#[derive(Serialize)]
struct Provider<'a> {
    kind: &'a str,
    endpoints: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed_settings: Option<&'a Path>,
}

#[derive(Serialize)]
struct Own<'a> {
    name: &'a str,
    listen: String,
    http_listen: String,
    advertise: String,
    #[serde(skip_serializing_if = "is_false")]
    insecure: bool,
    state_dir: &'a Path,
}

/// For serde, which hands a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Serialize)]
struct Instance<'a> {
    name: &'a str,
    replicaset: &'a str,
    priority: u32,
    bootstrap_members: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    engine: Engine<'a>,
}

#[derive(Serialize)]
struct Engine<'a> {
    kind: &'a str,
    endpoint: String,
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<&'a Path>,
    data_dir: &'a Path,
}

#[derive(Serialize)]
struct Stateboard<'a> {
    cluster: ClusterPart<'a>,
    stateboard: Board<'a>,
}

#[derive(Serialize)]
struct Board<'a> {
    listen: String,
    http_listen: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    insecure: bool,
    data_dir: &'a Path,
}

/// What distinguishes one host of the cluster.
#[derive(Clone, Debug)]
pub struct HostFacts<'a> {
    /// The coordinator's name.
    pub host: &'a str,
    /// The instance's name.
    pub instance: &'a str,
    /// Its priority.
    pub priority: u32,
    /// Where the host is reached: loopback, or an address of its own (open to others without TLS).
    pub address: Ipv4Addr,
    /// Its ports: gRPC, HTTP, engine.
    pub ports: [u16; 3],
    /// What is expected to fail together with it.
    pub zone: Option<&'a str>,
    /// The file with the cluster's secret.
    pub secret_file: &'a Path,
    /// What the guard keeps.
    pub state_dir: &'a Path,
    /// What the engine keeps.
    pub data_dir: &'a Path,
    /// What the engine is, by its name in the configuration.
    pub kind: &'a str,
    /// The engine's program and its arguments.
    pub command: &'a [String],
    /// The file with what the guard logs in with.
    pub password_file: Option<&'a Path>,
    /// What keeps the record, by its name in the configuration.
    pub provider: &'a str,
    /// Where that is.
    pub endpoints: &'a [String],
    /// The settings of a new cluster, where the coordinators bring them.
    pub seed_settings: Option<&'a Path>,
    /// How many members the set starts with.
    pub bootstrap_members: u32,
}

/// An address on loopback.
#[must_use]
pub fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The configuration of a coordinator.
///
/// # Errors
/// A path that is not UTF-8.
pub fn coordinator(facts: &HostFacts<'_>) -> anyhow::Result<String> {
    let [grpc, http, engine] = facts.ports.map(|port| SocketAddrV4::new(facts.address, port).to_string());
    Ok(toml::to_string(&Coordinator {
        cluster: ClusterPart { name: CLUSTER, secret_file: facts.secret_file },
        provider: Provider {
            kind: facts.provider,
            endpoints: facts.endpoints,
            seed_settings: facts.seed_settings,
        },
        coordinator: Own {
            name: facts.host,
            advertise: grpc.clone(),
            listen: grpc,
            http_listen: http,
            insecure: !facts.address.is_loopback(),
            state_dir: facts.state_dir,
        },
        instance: [Instance {
            name: facts.instance,
            replicaset: REPLICASET,
            priority: facts.priority,
            bootstrap_members: facts.bootstrap_members,
            zone: facts.zone,
            engine: Engine {
                kind: facts.kind,
                endpoint: engine,
                command: facts.command,
                password_file: facts.password_file,
                data_dir: facts.data_dir,
            },
        }],
    })?)
}

/// The configuration of a stateboard.
///
/// # Errors
/// A path that is not UTF-8.
pub fn stateboard(listen: SocketAddrV4, secret_file: &Path, data_dir: &Path) -> anyhow::Result<String> {
    Ok(toml::to_string(&Stateboard {
        cluster: ClusterPart { name: CLUSTER, secret_file },
        stateboard: Board {
            listen: listen.to_string(),
            http_listen: "off",
            insecure: !listen.ip().is_loopback(),
            data_dir,
        },
    })?)
}

/// The settings that a new cluster begins with.
#[must_use]
pub fn seed_settings(lease_ttl: Duration) -> String {
    // A master is killed again and again here, and each time it is to be replaced.
    format!("lease_ttl = \"{}\"\nsuppress_threshold = 0\n", humantime::format_duration(lease_ttl))
}

/// The configuration of a Redis: an append-only file synced each second, no snapshots, and replicas that are fed at once.
#[must_use]
pub fn redis(listen: SocketAddrV4, data_dir: &Path) -> String {
    let (address, port) = (listen.ip(), listen.port());
    // On an address of its own it is among machines of the run alone, and there is no password.
    let open = if address.is_loopback() { "" } else { "protected-mode no\n" };
    format!(
        "bind {address}\n{open}port {port}\ndir \"{}\"\ndaemonize no\nlogfile \"\"\nsave \"\"\nappendonly yes\n\
         appendfsync everysec\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-backlog-size 16mb\n",
        data_dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinators_file_has_the_keys_of_the_contract() {
        let facts = HostFacts {
            host: "host-a",
            instance: "a1",
            priority: 100,
            address: Ipv4Addr::LOCALHOST,
            zone: None,
            ports: [11_001, 11_002, 11_003],
            secret_file: Path::new("/d/secret"),
            state_dir: Path::new("/d/host-a/state"),
            data_dir: Path::new("/d/host-a/data"),
            kind: "redis",
            command: &["/usr/bin/redis-server".to_owned(), "/d/host-a/redis.conf".to_owned()],
            password_file: None,
            provider: "etcd",
            endpoints: &["http://127.0.0.1:11000".to_owned()],
            seed_settings: Some(Path::new("/d/settings.toml")),
            bootstrap_members: 3,
        };
        let parsed: toml::Table = coordinator(&facts).expect("plain text").parse().expect("TOML");
        let at = |path: &[&str]| {
            let mut value = toml::Value::Table(parsed.clone());
            for key in path {
                value = match value {
                    toml::Value::Array(items) => items[0].get(key).expect(key).clone(),
                    other => other.get(key).expect(key).clone(),
                };
            }
            value
        };
        assert_eq!(at(&["cluster", "name"]).as_str(), Some("demo"));
        assert_eq!(at(&["provider", "endpoints"]).as_array().map(Vec::len), Some(1));
        assert_eq!(at(&["provider", "kind"]).as_str(), Some("etcd"));
        assert_eq!(at(&["provider", "seed_settings"]).as_str(), Some("/d/settings.toml"));
        assert_eq!(at(&["coordinator", "advertise"]).as_str(), Some("127.0.0.1:11001"));
        assert_eq!(at(&["instance", "bootstrap_members"]).as_integer(), Some(3));
        assert_eq!(at(&["instance", "engine", "endpoint"]).as_str(), Some("127.0.0.1:11003"));
        assert!(parsed["coordinator"].get("insecure").is_none(), "nobody else reaches loopback");
        let open = HostFacts { address: Ipv4Addr::new(10, 79, 0, 11), zone: Some("west"), ..facts };
        let parsed: toml::Table = coordinator(&open).expect("plain text").parse().expect("TOML");
        assert_eq!(parsed["coordinator"]["insecure"].as_bool(), Some(true));
        assert_eq!(parsed["instance"][0]["zone"].as_str(), Some("west"));
    }

    #[test]
    fn a_lease_is_written_as_people_write_it() {
        assert_eq!(
            seed_settings(Duration::from_millis(300)),
            "lease_ttl = \"300ms\"\nsuppress_threshold = 0\n"
        );
        assert_eq!(seed_settings(Duration::from_secs(3)), "lease_ttl = \"3s\"\nsuppress_threshold = 0\n");
    }
}
