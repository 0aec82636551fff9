//! The engines of a cluster on loopback: their files, and the command that a coordinator starts each with.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::config;
use super::process::run_tool;

/// The server's program, by what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// `redis-server`.
    Redis(PathBuf),
    /// `postgres`.
    Postgres(PathBuf),
}

impl Server {
    /// Its file.
    #[must_use]
    pub fn program(&self) -> &Path {
        match self {
            Self::Redis(program) | Self::Postgres(program) => program,
        }
    }
}

/// What a coordinator is told of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Writes what the engine of a host needs into the host's folder.
///
/// # Errors
/// A file cannot be written.
pub fn prepare(server: &Server, listen: SocketAddrV4, folder: &Path) -> anyhow::Result<Prepared> {
    match server {
        Server::Redis(program) => {
            let (data_dir, file) = (folder.join("data"), folder.join("redis.conf"));
            std::fs::create_dir_all(&data_dir)?;
            std::fs::write(&file, config::redis(listen, &data_dir))?;
            let command = [program, &file].map(|word| word.display().to_string()).to_vec();
            Ok(Prepared { data_dir, command })
        }
        Server::Postgres(program) => postgres(program, listen, folder),
    }
}

/// A PostgreSQL refuses to run as root: there it runs as `postgres`, which its package brings, in a folder of that user's. It makes
/// its data itself at the first start.
fn postgres(program: &Path, listen: SocketAddrV4, folder: &Path) -> anyhow::Result<Prepared> {
    for passed in [folder.parent(), Some(folder)].into_iter().flatten() {
        std::fs::set_permissions(passed, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    }
    postgres_in(program, listen, &folder.join("postgres"))
}

/// The same in a folder of its own, the way to which is open.
///
/// # Errors
/// There is no such user, or the folder cannot be made.
pub fn postgres_in(program: &Path, listen: SocketAddrV4, own: &Path) -> anyhow::Result<Prepared> {
    std::fs::create_dir_all(own)?;
    let mut command = Vec::new();
    if rustix::process::geteuid().is_root() {
        let mut chown = Command::new("chown");
        chown.arg("postgres:").arg(own);
        run_tool(chown, "").context("give a folder to the user postgres, who comes with the package")?;
        command
            .extend(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned));
    }
    let data_dir = own.join("data");
    command.extend([program.display().to_string(), "-D".to_owned(), data_dir.display().to_string()]);
    for setting in [
        format!("listen_addresses={}", listen.ip()),
        format!("port={}", listen.port()),
        "unix_socket_directories=".to_owned(),
    ] {
        command.extend(["-c".to_owned(), setting]);
    }
    Ok(Prepared { data_dir, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_told_where_it_listens_and_keeps_its_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = "127.0.0.1:7001".parse().expect("an address");
        let redis =
            prepare(&Server::Redis("/bin/redis-server".into()), listen, folder.path()).expect("written");
        let file = std::fs::read_to_string(&redis.command[1]).expect("readable");
        assert!(file.contains("port 7001") && file.contains(&redis.data_dir.display().to_string()));
        let postgres =
            prepare(&Server::Postgres("/bin/postgres".into()), listen, folder.path()).expect("written");
        assert!(postgres.command.contains(&"/bin/postgres".to_owned()));
        assert!(postgres.command.contains(&"port=7001".to_owned()));
    }
}
