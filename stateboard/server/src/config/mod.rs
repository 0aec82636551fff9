//! The configuration of a stateboard: raw to checked, all problems at once with file, line and key. Reads no file but
//! the secret's; what the values are for is not known here.

pub mod layers;
pub mod seed;

use baton_core::ids::ClusterName;
use clap::Args;
use layers::{Layers, Problems};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the file is looked for.
pub const DEFAULT_FILE: &str = "/etc/baton/stateboard.toml";
const DEFAULT_LISTEN: &str = "127.0.0.1:4401";
const DEFAULT_HTTP_LISTEN: &str = "127.0.0.1:4411";
const DEFAULT_DATA_DIR: &str = "/var/lib/baton/stateboard";

const KNOWN: [&str; 6] = [
    "cluster.name",
    "cluster.secret_file",
    "stateboard.listen",
    "stateboard.http_listen",
    "stateboard.data_dir",
    "stateboard.insecure",
];

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose stateboard it is.
    pub cluster: ClusterName,
    /// The cluster's secret; empty where no file is given.
    pub secret: String,
    /// gRPC.
    pub listen: SocketAddr,
    /// Health and metrics; `None` if switched off.
    pub http_listen: Option<SocketAddr>,
    /// Where the file is kept.
    pub data_dir: PathBuf,
}

/// Flags that override the environment and the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Settings that override the environment and the file")]
pub struct Overrides {
    /// The cluster's name (cluster.name)
    #[arg(long, value_name = "NAME", global = true)]
    pub cluster: Option<String>,
    /// The file with the cluster's secret (cluster.secret_file)
    #[arg(long, value_name = "FILE", global = true)]
    pub secret_file: Option<String>,
    /// gRPC address (stateboard.listen), 127.0.0.1:4401 if not set
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub listen: Option<String>,
    /// Address of health and metrics (stateboard.http_listen), 127.0.0.1:4411 if not set; `off` for none
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub http_listen: Option<String>,
    /// Where the state is kept (stateboard.data_dir), /var/lib/baton/stateboard if not set
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
    /// Listen on addresses that others reach although there is no TLS (stateboard.insecure)
    #[arg(long, global = true)]
    pub insecure: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is no address such as 127.0.0.1:4401".to_owned())
}

fn optional_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" { Ok(None) } else { address(text).map(Some) }
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "is neither true nor false".to_owned())
}

fn cluster_name(text: &str) -> Result<ClusterName, String> {
    ClusterName::parse(text).map_err(|error| error.to_string())
}

fn secret(path: &str) -> Result<String, String> {
    let secret = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    if secret.trim().is_empty() {
        return Err("is empty: put a line of random characters into it".to_owned());
    }
    Ok(secret)
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
        let mut layers = Layers::of_file(file, text);
        layers.set_from_environment(&["cluster", "stateboard"], environment);
        layers.set_from_flag("--cluster", "cluster.name", overrides.cluster.clone());
        layers.set_from_flag("--secret-file", "cluster.secret_file", overrides.secret_file.clone());
        layers.set_from_flag("--listen", "stateboard.listen", overrides.listen.clone());
        layers.set_from_flag("--http-listen", "stateboard.http_listen", overrides.http_listen.clone());
        layers.set_from_flag("--data-dir", "stateboard.data_dir", overrides.data_dir.clone());
        let insecure = overrides.insecure.then(|| "true".to_owned());
        layers.set_from_flag("--insecure", "stateboard.insecure", insecure);
        Self::check(layers)
    }

    fn check(mut layers: Layers) -> Result<Self, Problems> {
        let default = |text: &str| address(text).expect("a default is an address");
        let named = layers.keys_below("cluster.").iter().any(|key| key == "name");
        let cluster = layers.take("cluster.name", cluster_name);
        if !named {
            let rule = "is missing: set cluster.name, or give --cluster NAME";
            layers.problem("cluster.name", rule.to_owned());
        }
        let secret = layers.take("cluster.secret_file", secret).unwrap_or_default();
        let listen = layers.take("stateboard.listen", address).unwrap_or_else(|| default(DEFAULT_LISTEN));
        let http_listen = layers
            .take("stateboard.http_listen", optional_address)
            .unwrap_or_else(|| Some(default(DEFAULT_HTTP_LISTEN)));
        let data_dir = layers
            .take("stateboard.data_dir", |text| Ok(PathBuf::from(text)))
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let insecure = layers.take("stateboard.insecure", flag).unwrap_or(false);
        let open = [("stateboard.listen", Some(listen)), ("stateboard.http_listen", http_listen)];
        for (key, address) in open {
            if let Some(address) = address.filter(|address| !insecure && !address.ip().is_loopback()) {
                let rule = format!(
                    "{address} is open to others without TLS: set stateboard.insecure = true if so meant"
                );
                layers.problem(key, rule);
            }
        }
        if http_listen.is_some_and(|http| http.port() != 0 && http == listen) {
            layers.problem("stateboard.http_listen", format!("{listen} is stateboard.listen already"));
        }
        layers.finish(&KNOWN)?;
        let cluster = cluster.expect("its absence is a problem, which ended this above");
        Ok(Self { cluster, secret, listen, http_listen, data_dir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "[cluster]\nname = \"orders\"\n";

    fn load(text: &str) -> Result<Config, Problems> {
        Config::load("stateboard.toml", text, Vec::new(), &Overrides::default())
    }

    #[test]
    fn a_name_is_enough() {
        let config = load(MINIMAL).expect("nothing else is needed");
        assert_eq!(config.listen.to_string(), DEFAULT_LISTEN);
        assert_eq!(config.http_listen.map(|it| it.to_string()).as_deref(), Some(DEFAULT_HTTP_LISTEN));
        assert_eq!(config.data_dir, PathBuf::from(DEFAULT_DATA_DIR));
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let text =
            format!("{MINIMAL}[stateboard]\nlisten = \"127.0.0.1:1\"\nhttp_listen = \"127.0.0.1:2\"\n");
        let environment = [
            ("BATON_STATEBOARD__LISTEN".to_owned(), "127.0.0.1:3".to_owned()),
            ("BATON_STATEBOARD__HTTP_LISTEN".to_owned(), "127.0.0.1:4".to_owned()),
            ("BATON_PROVIDER__KIND".to_owned(), "another program's".to_owned()),
        ];
        let overrides = Overrides { http_listen: Some("off".into()), ..Overrides::default() };
        let config = Config::load("stateboard.toml", &text, environment, &overrides).expect("all is fine");
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.http_listen, None);
    }

    #[test]
    fn all_problems_come_at_once_with_their_places() {
        let text = "[cluster]\nnam = \"orders\"\n[stateboard]\nlisten = \"everywhere\"\nhttp_listen = \"0.0.0.0:1\"\n";
        let environment = [("BATON_STATEBOARD__INSECURE".to_owned(), "perhaps".to_owned())];
        let problems = Config::load("f.toml", text, environment, &Overrides::default());
        let problems = problems.expect_err("five things are wrong").to_string();
        for part in [
            "f.toml:2: cluster.nam: is not known; did you mean cluster.name?",
            "f.toml: cluster.name: is missing",
            "f.toml:4: stateboard.listen: \"everywhere\": is no address",
            "f.toml: stateboard.http_listen: 0.0.0.0:1 is open to others without TLS",
            "environment BATON_STATEBOARD__INSECURE: stateboard.insecure: \"perhaps\"",
        ] {
            assert!(problems.contains(part), "{part:?} is not in\n{problems}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let problems = load("[cluster]\nname = orders\n").expect_err("the quotes are missing").to_string();
        assert!(problems.starts_with("stateboard.toml:2: "), "{problems}");
    }
}
