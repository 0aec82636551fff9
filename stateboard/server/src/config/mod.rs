//! The configuration of a stateboard: raw to checked, all problems at once with file, line and key. Reads the files that
//! it names (secret, password, TLS) only to say what is wrong with them; what the values are for is not known here.

mod limits;
mod overrides;
pub mod seed;

pub use overrides::Overrides;

use crate::OuterLimits;
use baton_board::Identity;
use baton_config::value::{quoted, socket_address};
use baton_config::{Document, Origin, Problems, Read, Section};
use baton_core::ids::ClusterName;
use baton_provider::identity_of;
use baton_provider::password::{Accepted, Password};
use baton_provider::tls::TlsFiles;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the file is looked for.
pub const DEFAULT_FILE: &str = "/etc/baton/stateboard.toml";
const GRPC_PORT: u16 = 4401;
const HTTP_PORT: u16 = 4411;
const DATA_DIR: &str = "/var/lib/baton/stateboard";
/// Sections of the environment's overrides that are ours; others are another program's.
const SECTIONS: [&str; 4] = ["cluster", "stateboard", "tls", "limits"];

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose stateboard it is: the cluster's name and the hash of its secret.
    pub identity: Identity,
    /// gRPC.
    pub listen: SocketAddr,
    /// Health and metrics; `None` if switched off.
    pub http_listen: Option<SocketAddr>,
    /// Where the file is kept.
    pub data_dir: PathBuf,
    /// The passwords that are taken; `None` where none is asked for.
    pub passwords: Option<Accepted>,
    /// Whether clients of another cluster, or with another secret, are refused.
    pub check_identity: bool,
    /// The files for TLS; `None` without it.
    pub tls: Option<TlsFiles>,
    /// For how many seconds the lock of a holder that fell silent stays its own, in words of Cartridge.
    pub lock_delay: Option<u32>,
    /// How much is kept and taken.
    pub limits: OuterLimits,
    /// What is allowed but should be known, in words.
    pub issues: Vec<String>,
}

impl Config {
    /// Puts the layers together and checks them. `text` is the contents of `file`, empty where there is none.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(
        file: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Self, Problems> {
        let mut document = Document::parse(file, text);
        let prefix = baton_config::ENVIRONMENT_PREFIX;
        let ours = |(name, _): &(String, String)| {
            let section = name.strip_prefix(prefix).and_then(|rest| rest.split_once("__"));
            section.is_some_and(|(section, _)| SECTIONS.contains(&section.to_lowercase().as_str()))
        };
        document.set_from_environment(prefix, environment.into_iter().filter(ours));
        overrides.apply(&mut document);
        let config = check(&document);
        let problems = document.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }
}

/// Goes on after a problem, so that all are found.
fn check(document: &Document) -> Option<Config> {
    let mut root = document.root();
    let mut cluster = root.section("cluster");
    let identity = identity(&mut cluster);
    cluster.finish();
    let mut tls = root.section("tls");
    let tls_files = tls_files(&mut tls);
    tls.finish();
    let mut own = root.section("stateboard");
    let listen = address(&mut own, "listen", GRPC_PORT);
    let http_listen = http_address(&mut own);
    let data_dir = own.parsed("data_dir", |text| Ok::<_, String>(PathBuf::from(text)));
    let insecure = own.boolean("insecure").is_some_and(|read| read.value);
    let passwords = passwords(&mut own);
    let lock_delay = own.number("lock_delay", seed::LOCK_DELAY).map(|read| read.value);
    let check_identity = own.boolean("check_identity").is_none_or(|read| read.value);
    let mut issues = Vec::new();
    if !check_identity {
        issues.push(
            "clients of any cluster and with any secret are let in (check_identity = false)".to_owned(),
        );
    }
    let open = [(Some(&listen), tls_files.is_some()), (http_listen.as_ref(), false)];
    for (read, has_tls) in open.into_iter().filter_map(|(read, has_tls)| Some((read?, has_tls))) {
        if read.value.ip().is_loopback() || has_tls {
            continue;
        }
        let (key, shown) = (&read.key, read.value);
        if insecure {
            issues.push(format!("{key} = {shown} is open to others without TLS (insecure = true)"));
        } else {
            let rule = "is open to others without TLS: bind to loopback, give [tls] (gRPC only), or say stateboard.insecure = true";
            own.problem_with(read, quoted(&shown.to_string()), rule);
        }
    }
    let http_listen = http_listen.map(|read| {
        if read.value.port() != 0 && read.value == listen.value {
            own.problem_with(
                &read,
                quoted(&read.value.to_string()),
                "is the address of stateboard.listen too",
            );
        }
        read.value
    });
    own.finish();
    let mut section = root.section("limits");
    let limits = limits::read(&mut section);
    section.finish();
    root.finish();
    Some(Config {
        identity: identity?,
        listen: listen.value,
        http_listen,
        data_dir: data_dir.map_or_else(|| PathBuf::from(DATA_DIR), |read| read.value),
        passwords,
        check_identity,
        tls: tls_files,
        lock_delay,
        limits,
        issues,
    })
}

fn identity(cluster: &mut Section) -> Option<Identity> {
    if !cluster.has("name") {
        cluster.problem("name", "must be given: set cluster.name, or give --cluster NAME");
    }
    let name =
        cluster.parsed("name", |text| ClusterName::parse(text).map_err(|error| rule_of(&error.to_string())));
    let secret = cluster.parsed("secret_file", |path| {
        let secret = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        if secret.trim().is_empty() {
            return Err("is empty: put a line of random characters into it".to_owned());
        }
        Ok(secret)
    });
    // Without a secret the name alone is the identity: enough against a mistake, not against an attacker.
    let secret = secret.map(|read| read.value).unwrap_or_default();
    Some(identity_of(name?.value, &secret))
}

/// The rule of a bad name without its value, which is shown already.
fn rule_of(text: &str) -> String {
    text.rsplit_once(": ").map_or(text, |(_, rule)| rule).to_owned()
}

fn address(own: &mut Section, key: &'static str, port: u16) -> Read<SocketAddr> {
    own.parsed(key, socket_address).unwrap_or_else(|| default_address(own, key, port))
}

fn default_address(own: &Section, key: &'static str, port: u16) -> Read<SocketAddr> {
    Read {
        value: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        origin: own.origin().clone(),
        key: own.key(key),
    }
}

/// `None` where it is switched off.
fn http_address(own: &mut Section) -> Option<Read<SocketAddr>> {
    let optional = |text: &str| if text == "off" { Ok(None) } else { socket_address(text).map(Some) };
    match own.parsed("http_listen", optional) {
        None => Some(default_address(own, "http_listen", HTTP_PORT)),
        Some(read) => {
            let Read { value, origin, key } = read;
            value.map(|value| Read { value, origin, key })
        }
    }
}

/// From a file, or from the environment; a configuration file is read by too many for the password itself.
fn passwords(own: &mut Section) -> Option<Accepted> {
    let file = own.text("password_file");
    let given = own.secret("password");
    if let (Some(file), Some(_)) = (&file, &given) {
        own.problem_with(file, quoted(&file.value), "cannot be given together with stateboard.password");
    }
    if let Some(read) = given {
        if matches!(read.origin, Origin::File { .. }) {
            let rule = "belongs into a password_file, or into the environment (BATON_STATEBOARD__PASSWORD)";
            own.problem_with(&read, None, rule);
            return None;
        }
        return match Password::parse(&read.value) {
            Ok(password) => Some(Accepted::one(&password)),
            Err(rule) => {
                own.problem_with(&read, None, rule);
                None
            }
        };
    }
    let read = file?;
    match Accepted::read(Path::new(&read.value)) {
        Ok(accepted) => Some(accepted),
        Err(rule) => {
            own.problem_with(&read, quoted(&read.value), rule);
            None
        }
    }
}

/// The files of `[tls]`, tried here so that what is wrong with them is told with the rest.
fn tls_files(section: &mut Section) -> Option<TlsFiles> {
    let keys = ["cert_file", "key_file", "ca_file"];
    let reads = keys.map(|key| section.text(key));
    let path = |index: usize| reads.get(index)?.as_ref().map(|read| PathBuf::from(&read.value));
    let files = TlsFiles { cert_file: path(0), key_file: path(1), ca_file: path(2) };
    if files.is_empty() {
        return None;
    }
    if let Err(fault) = files.server() {
        let read =
            keys.iter().zip(&reads).find(|(key, _)| **key == fault.key).and_then(|(_, read)| read.as_ref());
        match read {
            Some(read) => section.problem_with(read, quoted(&read.value), fault.rule),
            None => section.problem(fault.key, fault.rule),
        }
    }
    Some(files)
}

#[cfg(test)]
mod tests;
