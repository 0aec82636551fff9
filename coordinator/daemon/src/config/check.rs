//! From the tree of texts to a [`Config`]: the rules of `[cluster]`, `[coordinator]`, `[arbiter]` and `[directory]`. Goes on after a problem, so that all are found; what it returns counts only without any.

use super::{Config, InstanceConfig, instance, provider};
use baton_board::Identity;
use baton_config::value::{quoted, socket_address};
use baton_config::{Document, Read, Section};
use baton_core::ids::{ClusterName, CoordinatorName, Endpoint, InstanceName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Most engines on one host.
const INSTANCES_MAX: usize = 500;
/// Default gRPC port.
const GRPC_PORT: u16 = 4402;
/// Default HTTP port.
const HTTP_PORT: u16 = 4403;
/// Default of `coordinator.state_dir`.
const STATE_DIR: &str = "/var/lib/baton";

/// What is understood as configuration but not built.
pub(super) const NOT_YET: &str = "not yet supported in this version";

/// Reads the whole document. `None` or any problem noted in it: there is no configuration.
pub(super) fn check(document: &Document) -> Option<Config> {
    let mut root = document.root();
    let mut cluster = root.section("cluster");
    let mut secret_file = None;
    let identity = identity(&mut cluster, &mut secret_file);
    cluster.finish();

    let mut own = root.section("coordinator");
    let name = coordinator_name(&mut own);
    let listen = address(&mut own, "listen", GRPC_PORT);
    let http_listen = address(&mut own, "http_listen", HTTP_PORT);
    let advertise = own.parsed("advertise", endpoint).map(|read| read.value);
    let state_dir = path(&mut own, "state_dir").unwrap_or_else(|| PathBuf::from(STATE_DIR));
    let keep_engine = own.boolean("keep_engine").is_some_and(|read| read.value);
    let insecure = own.boolean("insecure").is_some_and(|read| read.value);

    let mut tls = root.section("tls");
    let common_tls = provider::TlsSection::read(&mut tls);
    tls.finish();
    let mut provider_section = root.section("provider");
    let provider = provider::check(&mut provider_section, &common_tls, &state_dir);
    let next = provider::next(&mut provider_section, &common_tls, &state_dir);
    provider_section.finish();

    let arbiter_enabled = enabled(&mut root, "arbiter");
    let directory_enabled = enabled(&mut root, "directory");

    let mut ports = Ports { insecure, issues: Vec::new(), taken: BTreeMap::new() };
    if !common_tls.is_empty() {
        let text =
            "[tls] is used for the connection to the provider; this version's own ports are without TLS";
        ports.issues.push(text.to_owned());
    }
    ports.check(&own, &listen);
    ports.check(&own, &http_listen);
    own.finish();
    let instances = instances(&mut root, &state_dir, &mut ports);
    root.finish();
    Some(Config {
        identity: identity?,
        secret_file,
        provider: provider?,
        next,
        name: name?,
        listen: listen.value,
        http_listen: http_listen.value,
        advertise,
        state_dir,
        keep_engine,
        arbiter_enabled,
        directory_enabled,
        instances,
        issues: ports.issues,
    })
}

fn identity(cluster: &mut Section, secret_file: &mut Option<PathBuf>) -> Option<Identity> {
    if !cluster.has("name") {
        cluster.problem("name", "must be given: the name that the provider knows the cluster by");
    }
    let name = cluster.parsed("name", |text| ClusterName::parse(text).map_err(rule_of));
    // Without a secret the name alone is the identity: enough against a mistake, not against an attacker.
    let secret = match cluster.text("secret_file") {
        None => String::new(),
        Some(read) => match std::fs::read_to_string(secret_file.insert(PathBuf::from(&read.value))) {
            Ok(secret) if secret.trim().is_empty() => {
                cluster.problem_with(
                    &read,
                    quoted(&read.value),
                    "is empty; put the cluster's secret into it",
                );
                return None;
            }
            Ok(secret) => secret,
            Err(error) => {
                cluster.problem_with(&read, quoted(&read.value), format!("cannot be read: {error}"));
                return None;
            }
        },
    };
    Some(baton_provider::identity_of(name?.value, &secret))
}

fn coordinator_name(own: &mut Section) -> Option<CoordinatorName> {
    let given = own.has("name");
    let named = own.parsed("name", |text| CoordinatorName::parse(text).map_err(rule_of));
    if given {
        return named.map(|read| read.value);
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match CoordinatorName::parse(&host) {
        Ok(name) => Some(name),
        Err(error) => {
            own.problem("name", format!("must be given, since the host's name cannot be used: {error}"));
            None
        }
    }
}

/// An address to listen on; loopback by default.
fn address(own: &mut Section, key: &'static str, port: u16) -> Read<SocketAddr> {
    own.parsed(key, socket_address).unwrap_or_else(|| Read {
        value: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        origin: own.origin().clone(),
        key: own.key(key),
    })
}

fn enabled(root: &mut Section, part: &'static str) -> bool {
    let mut section = root.section(part);
    let enabled = section.boolean("enabled").is_none_or(|read| read.value);
    section.finish();
    enabled
}

/// What is known of all ports so far.
pub(super) struct Ports {
    insecure: bool,
    issues: Vec<String>,
    taken: BTreeMap<SocketAddr, String>,
}

impl Ports {
    /// Two of one daemon cannot share a port, and one that others reach needs a word that this is meant.
    pub(super) fn check(&mut self, section: &Section, read: &Read<SocketAddr>) {
        let address = read.value;
        if !address.ip().is_loopback() && self.insecure {
            self.issues
                .push(format!("{} = {address} is open to others without TLS (insecure = true)", read.key));
        } else if !address.ip().is_loopback() {
            let rule = "is open to others without TLS: bind to loopback, or say coordinator.insecure = true";
            section.problem_with(read, quoted(&address.to_string()), rule);
        }
        if address.port() == 0 {
            return;
        }
        if let Some(other) = self.taken.insert(address, read.key.clone()) {
            section.problem_with(
                read,
                quoted(&address.to_string()),
                format!("is the address of {other} too"),
            );
        }
    }
}

fn instances(
    root: &mut Section,
    state_dir: &Path,
    ports: &mut Ports,
) -> BTreeMap<InstanceName, InstanceConfig> {
    let sections = root.sections("instance");
    if sections.len() > INSTANCES_MAX {
        root.problem("instance", format!("must be at most {INSTANCES_MAX}, not {}", sections.len()));
    }
    let mut instances = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    for section in sections {
        instance::check(section, state_dir, ports, &mut instances, &mut endpoints);
    }
    instances
}

/// The rule of a bad name without its value, which is shown already.
pub(super) fn rule_of(error: baton_core::ids::BadName) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.clone(), |(_, rule)| rule.to_owned())
}

/// `host:port`; the host is not looked up, it may not be known yet.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let rule = || "must be HOST:PORT, such as \"10.0.0.1:6379\"".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(rule)?;
    let host_is_good = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        });
    let port_is_good = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host_is_good && port_is_good { Ok(Endpoint(text.into())) } else { Err(rule()) }
}

pub(super) fn path_read(section: &mut Section, key: &'static str) -> Option<Read<PathBuf>> {
    section.parsed(key, |text| {
        if text.starts_with('/') {
            Ok(PathBuf::from(text))
        } else {
            Err("must be an absolute path".to_owned())
        }
    })
}

pub(super) fn path(section: &mut Section, key: &'static str) -> Option<PathBuf> {
    path_read(section, key).map(|read| read.value)
}
