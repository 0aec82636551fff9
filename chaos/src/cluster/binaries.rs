//! Finds the programs that a cluster is made of, and says what to do where one is missing.

use std::path::{Path, PathBuf};

use super::engine::Server;
use crate::cli::{EngineKind, ProviderKind};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `baton-coordinator`.
    pub coordinator: PathBuf,
    /// `baton-stateboard`.
    pub stateboard: PathBuf,
    /// `batonctl`.
    pub ctl: PathBuf,
    /// The engine's server.
    pub server: Server,
    /// `etcd`, where it is the provider.
    pub etcd: Option<PathBuf>,
}

impl Binaries {
    /// Baton's programs lie beside this one (one build makes them all); engine and etcd are found as a shell would, and where Debian puts them.
    ///
    /// # Errors
    /// Names every program that is missing and how to get it.
    pub fn find(engine: EngineKind, provider: ProviderKind) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own.parent().unwrap_or(Path::new("."));
        let mut search = std::env::var_os("PATH").unwrap_or_default();
        if engine == EngineKind::Postgres {
            // Not in PATH on Debian, since several versions may stand beside each other; the last one counts.
            let debian = postgres_folders(Path::new("/usr/lib/postgresql"));
            let others = std::env::split_paths(&search).collect::<Vec<_>>();
            search = std::env::join_paths(debian.into_iter().chain(others))?;
        }
        Self::find_in(folder, &search, engine, provider)
    }

    /// What the engine is.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        match self.server {
            Server::Redis(_) => EngineKind::Redis,
            Server::Postgres(_) => EngineKind::Postgres,
        }
    }

    /// The same with the coordinator and the stateboard of an earlier build, which lie in this folder.
    ///
    /// # Errors
    /// One is not there.
    pub fn before(&self, folder: &Path) -> anyhow::Result<Self> {
        let [coordinator, stateboard] =
            ["baton-coordinator", "baton-stateboard"].map(|name| folder.join(name));
        for program in [&coordinator, &stateboard] {
            anyhow::ensure!(
                program.is_file(),
                "--previous: {} is not there; it is the folder with the programs of an earlier build",
                program.display()
            );
        }
        Ok(Self { coordinator, stateboard, ..self.clone() })
    }

    fn find_in(
        folder: &Path,
        search: &std::ffi::OsStr,
        engine: EngineKind,
        provider: ProviderKind,
    ) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        let mut ours = |name: &str| {
            let path = folder.join(name);
            if !path.is_file() {
                missing.push(format!("{} is not there; build it: cargo build --release", path.display()));
            }
            path
        };
        let (coordinator, stateboard) = (ours("baton-coordinator"), ours("baton-stateboard"));
        let ctl = ours("batonctl");
        let mut installed = |name: &str, package: &str| {
            let found =
                std::env::split_paths(search).map(|folder| folder.join(name)).find(|path| path.is_file());
            if found.is_none() {
                missing.push(format!("{name} is not in PATH; install it: apt-get install {package}"));
            }
            found
        };
        let server = match engine {
            EngineKind::Redis => installed("redis-server", "redis-server").map(Server::Redis),
            EngineKind::Postgres => installed("postgres", "postgresql").map(Server::Postgres),
        };
        let etcd = match provider {
            ProviderKind::Stateboard => None,
            ProviderKind::Etcd => installed("etcd", "etcd-server"),
        };
        match server {
            Some(server) if missing.is_empty() => Ok(Self { coordinator, stateboard, ctl, server, etcd }),
            Some(_) | None => anyhow::bail!("{}", missing.join("\n")),
        }
    }
}

/// Where Debian has the servers' programs, the latest version first.
fn postgres_folders(root: &Path) -> Vec<PathBuf> {
    let versions = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once_with_its_remedy() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("baton-stateboard"), "").expect("writable");
        let missing = |provider| {
            Binaries::find_in(folder.path(), "/no/such/folder".as_ref(), EngineKind::Redis, provider)
                .expect_err("missing")
                .to_string()
        };
        let text = missing(ProviderKind::Stateboard);
        assert!(text.contains("baton-coordinator") && text.contains("cargo build"), "{text}");
        assert!(text.contains("apt-get install redis-server"), "{text}");
        assert!(!text.contains("baton-stateboard is not there") && !text.contains("etcd"), "{text}");
        let text = missing(ProviderKind::Etcd);
        assert!(text.contains("apt-get install etcd-server"), "{text}");
    }
}
