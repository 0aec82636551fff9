//! The rules of one `[[instance]]` and its engine, and of the instances among themselves.

use super::check::{NOT_YET, Ports, endpoint, path, rule_of};
use super::{EngineConfig, EngineKind, InstanceConfig};
use baton_config::value::{quoted, socket_address};
use baton_config::{Read, Section};
use baton_core::ids::{Endpoint, InstanceName, ReplicaSetName, Zone};
use std::collections::BTreeMap;
use std::path::Path;

const DEFAULT_PRIORITY: u32 = 100;

/// Reads one section into `instances`; `endpoints` knows whose engine is where.
pub(super) fn check(
    mut section: Section,
    state_dir: &Path,
    ports: &mut Ports,
    instances: &mut BTreeMap<InstanceName, InstanceConfig>,
    endpoints: &mut BTreeMap<Endpoint, String>,
) {
    let name = required(&mut section, "name", |text| InstanceName::parse(text).map_err(rule_of));
    let replicaset =
        required(&mut section, "replicaset", |text| ReplicaSetName::parse(text).map_err(rule_of));
    let zone = section.parsed("zone", |text| Zone::parse(text).map_err(rule_of));
    let priority = section.number("priority", 0..=1_000_000);
    let electable = section.boolean("electable");
    let bootstrap_members = section.number("bootstrap_members", 1..=100);
    let health_listen = section.parsed("health_listen", socket_address);
    if let Some(read) = &health_listen {
        ports.check(&section, read);
    }
    if !section.has("engine") {
        section.problem("engine", "must be given: a section [instance.engine] with kind and endpoint");
    }
    let default_log = name.as_ref().map(|name| state_dir.join(format!("{}.log", name.value)));
    let engine_given = section.has("engine");
    let engine = engine(section.section("engine"), engine_given, default_log, endpoints);
    if let Some(read) = &name
        && instances.contains_key(&read.value)
    {
        section.problem_with(read, quoted(read.value.as_str()), "is the name of another instance too");
    }
    section.finish();
    let (Some(name), Some(replicaset), Some(engine)) = (name, replicaset, engine) else { return };
    let instance = InstanceConfig {
        name: name.value.clone(),
        replicaset: replicaset.value,
        zone: zone.map(|read| read.value),
        priority: priority.map_or(DEFAULT_PRIORITY, |read| read.value),
        electable: electable.is_none_or(|read| read.value),
        bootstrap_members: bootstrap_members.map_or(1, |read| read.value),
        health_listen: health_listen.map(|read| read.value),
        engine,
    };
    instances.insert(name.value, instance);
}

fn required<T>(
    section: &mut Section,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<Read<T>> {
    if !section.has(key) {
        section.problem(key, "must be given");
    }
    section.parsed(key, parse)
}

fn engine(
    mut section: Section,
    given: bool,
    default_log: Option<std::path::PathBuf>,
    endpoints: &mut BTreeMap<Endpoint, String>,
) -> Option<EngineConfig> {
    if !given {
        return None;
    }
    let kind = kind(&mut section);
    if matches!(kind, Some(EngineKind::Postgres { .. })) && !section.has("command") {
        let rule =
            "must be given: a running PostgreSQL is fenced by ending it, so Baton has to be who starts it";
        section.problem("command", rule);
    }
    let public = required(&mut section, "endpoint", endpoint);
    let connect = section.parsed("connect", endpoint);
    if let Some(read) = &public
        && let Some(other) = endpoints.insert(read.value.clone(), read.key.clone())
    {
        section.problem_with(read, quoted(&read.value.to_string()), format!("is the address of {other} too"));
    }
    let password_file = path(&mut section, "password_file");
    if let Some(file) = &password_file
        && let Err(error) = std::fs::File::open(file)
    {
        section.problem("password_file", format!("{} cannot be read: {error}", file.display()));
    }
    let command_given = section.has("command");
    let command = section.list("command");
    if let Some(read) = command.as_ref().filter(|read| read.value.is_empty() && command_given) {
        let rule = "must name a program; leave it out for an engine that something else runs";
        section.problem_with(read, Some("[]".to_owned()), rule);
    }
    if matches!(kind, Some(EngineKind::Postgres { .. })) && !section.has("data_dir") {
        section.problem("data_dir", "must be given: how a PostgreSQL ended is read from its control file");
    }
    let data_dir = path(&mut section, "data_dir");
    let log_file = path(&mut section, "log_file").or(default_log);
    section.finish();
    let public = public?.value;
    Some(EngineConfig {
        kind: kind?,
        connect: connect.map_or_else(|| public.clone(), |read| read.value),
        endpoint: public,
        password_file,
        command: command
            .map(|read| read.value.into_iter().map(|part| part.value).collect())
            .unwrap_or_default(),
        data_dir,
        log_file: log_file?,
    })
}

/// What it is, and the keys that only such a one has.
fn kind(section: &mut Section) -> Option<EngineKind> {
    const KINDS: &str = "must be \"redis\" or \"postgres\"";
    let read = required(section, "kind", |text| match text {
        "redis" | "postgres" => Ok(text.to_owned()),
        "tarantool" | "mariadb" | "command" => Err(format!("{NOT_YET}; it {KINDS}")),
        _ => Err(KINDS.to_owned()),
    })?;
    if read.value == "redis" {
        return Some(EngineKind::Redis);
    }
    let mut name = |key, default: &str| {
        let read = section.parsed(key, |text| match text {
            "" => Err("must not be empty".to_owned()),
            name => Ok(name.to_owned()),
        });
        read.map_or_else(|| default.to_owned(), |read| read.value)
    };
    Some(EngineKind::Postgres { user: name("user", "baton"), database: name("database", "postgres") })
}
