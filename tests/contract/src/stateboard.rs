//! A real stateboard process, as it is shipped.

use crate::process::Process;
use crate::world::Plan;
use crate::{ports, world};
use baton_core::record::Settings;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A stateboard with its folder.
pub(crate) struct Stateboard {
    folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) process: Option<Process>,
}

impl Stateboard {
    pub(crate) async fn new(settings: &Settings, plan: &Plan) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("secret"), world::SECRET).expect("writable");
        let seed = format!("lease_ttl = \"{}ms\"\n", settings.lease_ttl.as_millis());
        std::fs::write(folder.path().join("settings.toml"), seed).expect("writable");
        let mut config = format!("[stateboard]\ncheck_identity = {}\n", plan.check_identity);
        if let Some(password) = plan.password {
            std::fs::write(folder.path().join("password"), password).expect("writable");
            config += &format!("password_file = \"{}\"\n", folder.path().join("password").display());
        }
        config += &format!("[limits]\ncandidates = {}\n", plan.candidates);
        std::fs::write(folder.path().join("config.toml"), config).expect("writable");
        let mut stateboard = Self { folder, address: ports::free(), process: None };
        stateboard.start().await;
        stateboard
    }

    /// Starts it, again with the same data, and waits until it listens.
    pub(crate) async fn start(&mut self) {
        let folder = self.folder.path();
        let mut arguments: Vec<OsString> =
            ["--cluster", world::CLUSTER, "--http-listen", "off"].map(OsString::from).into();
        let mut add = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        add("--listen", self.address.to_string().into());
        add("--config", folder.join("config.toml").into());
        add("--secret-file", folder.join("secret").into());
        add("--data-dir", folder.join("data").into());
        add("--seed-settings", folder.join("settings.toml").into());
        let log = folder.join("log");
        self.process = Some(Process::start(&program(), &arguments, &log));
        world::until(&format!("the stateboard of {}", log.display()), async || {
            tokio::net::TcpStream::connect(self.address).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

/// It lies where this test's own folder does.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a file");
    let folder = own.ancestors().nth(2).expect("test programs lie in deps, below the programs");
    let path = folder.join("baton-stateboard");
    assert!(path.is_file(), "{} is not there: build it first (scripts/test contract does)", path.display());
    path
}
