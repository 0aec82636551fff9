//! Backups of the provider, taken while it serves and put back later by a person, as `docs/operations.md` tells them to. A
//! stateboard has commands for it. Of etcd all machines are copied at one moment, as a snapshot of their disks would be, and put
//! back together; then its generation has to be raised before any coordinator reaches it.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::Field;
use super::wire::Filter;
use crate::cli::ProviderKind;
use crate::cluster::config::CLUSTER;
use crate::cluster::process::run_tool;

/// The shortest lock in etcd. Whoever held one when it went down must not believe in it any more when it is back.
const LOCK_MIN: Duration = Duration::from_secs(2);
/// How long a restored etcd may take to have a leader, and one question to it.
const LEADER: Duration = Duration::from_secs(20);
const ASK: Duration = Duration::from_secs(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

impl Field {
    /// Whether a backup was taken.
    #[must_use]
    pub fn has_backup(&self) -> bool {
        self.backup().exists()
    }

    /// A file, or a folder with a copy of every machine's data.
    fn backup(&self) -> PathBuf {
        self.folder().join("provider.batonbak")
    }

    /// Takes one. Returns what it is, in words.
    ///
    /// # Errors
    /// The provider refuses, or there is no room.
    pub fn take_backup(&mut self) -> anyhow::Result<&'static str> {
        let backup = self.backup();
        match self.provider.kind() {
            ProviderKind::Stateboard => {
                self.provider.administer(&[OsStr::new("backup"), backup.as_os_str()])?;
                Ok("a backup of the stateboard")
            }
            ProviderKind::Etcd => {
                fs::create_dir(&backup)?;
                let members = self.provider.members();
                let frozen = members.iter().try_for_each(|member| member.machine.group.freeze());
                let copied = frozen.and_then(|()| {
                    members
                        .iter()
                        .try_for_each(|member| copy(&member.data(), &backup.join(&member.machine.name)))
                });
                let mut thawed = Ok(());
                for member in members {
                    thawed = thawed.and(member.machine.group.thaw());
                }
                copied?;
                thawed?;
                Ok("snapshots of the disks of all machines of etcd, at one moment")
            }
        }
    }

    /// Puts it back. Returns what that was, in words.
    ///
    /// # Errors
    /// The provider refuses, or does not come up with it.
    pub fn restore_backup(&mut self) -> anyhow::Result<String> {
        let backup = self.backup();
        self.restored += 1;
        match self.provider.kind() {
            ProviderKind::Stateboard => {
                self.provider.administer(&[
                    OsStr::new("restore"),
                    backup.as_os_str(),
                    OsStr::new("--force"),
                ])?;
                Ok("an older backup into the stateboard".to_owned())
            }
            ProviderKind::Etcd => {
                self.roll_etcd_back(&backup)?;
                Ok(format!(
                    "older disks into all machines of etcd, and raises its generation to {} before anybody reaches it",
                    self.generation()
                ))
            }
        }
    }

    fn roll_etcd_back(&mut self, backup: &Path) -> anyhow::Result<()> {
        self.provider.members().iter().try_for_each(|member| member.machine.group.kill())?;
        std::thread::sleep(LOCK_MIN.max(self.plan.lease_ttl * 5 / 4));
        for member in self.provider.members() {
            let data = member.data();
            fs::remove_dir_all(&data).with_context(|| format!("empty {}", data.display()))?;
            copy(&backup.join(&member.machine.name), &data)?;
        }
        let mut between = Vec::new();
        for host in &self.hosts {
            for member in self.provider.members() {
                let (host, member) = (host.machine.name.clone(), member.machine.name.clone());
                between.extend([(host.clone(), member.clone()), (member, host)]);
            }
        }
        let cut = self.wire.cut(&between, Filter::All)?;
        let off = self.off.clone();
        let raised = self.provider.start_what_is_down(&off).and_then(|()| self.raise_generation());
        self.wire.mend(&cut)?;
        raised
    }

    /// The generation of a cluster that was never restored is 1.
    fn generation(&self) -> u64 {
        1 + self.restored
    }

    fn epoch(&self) -> String {
        format!("{{\"format\":1,\"generation\":{}}}", self.generation())
    }

    fn raise_generation(&self) -> anyhow::Result<()> {
        let put = json!({ "key": base64(epoch_key().as_bytes()), "value": base64(self.epoch().as_bytes()) });
        let deadline = Instant::now() + LEADER;
        loop {
            match self.ask_etcd("/v3/kv/put", &put) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error.context("raise the generation")),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Whether the provider itself says that it was restored, and what it says.
    ///
    /// # Errors
    /// It does not answer.
    pub fn was_restored(&self) -> anyhow::Result<(bool, String)> {
        match self.provider.kind() {
            ProviderKind::Stateboard => {
                let said = self.provider.administer(&[OsStr::new("status"), OsStr::new("--json")])?;
                let status: Value = serde_json::from_str(&said).context("read the stateboard's status")?;
                let restored = &status["restored"];
                Ok((!restored.is_null(), format!("the stateboard says that it was restored: {restored}")))
            }
            ProviderKind::Etcd => {
                let range = json!({ "key": base64(epoch_key().as_bytes()) });
                let answer = self.ask_etcd("/v3/kv/range", &range)?;
                let raised = answer["kvs"][0]["value"] == base64(self.epoch().as_bytes());
                let how = if raised { "etcd holds" } else { "etcd does not hold" };
                Ok((raised, format!("{how} the generation {}", self.generation())))
            }
        }
    }

    /// The answer of the first machine of etcd that has one.
    fn ask_etcd(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut last = anyhow::anyhow!("etcd has no machines");
        for at in self.provider.clients() {
            match ask_gateway(at, path, &body.to_string()) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Where etcd keeps what every epoch is above of.
fn epoch_key() -> String {
    format!("/baton/{CLUSTER}/epoch")
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("cp");
    command.arg("-a").arg(from).arg(to);
    run_tool(command, "").with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Etcd's gateway for plain HTTP: what `etcdctl` asks, where that is not installed.
fn ask_gateway(at: SocketAddrV4, path: &str, body: &str) -> anyhow::Result<Value> {
    let mut connection = TcpStream::connect_timeout(&SocketAddr::V4(at), ASK)?;
    connection.set_read_timeout(Some(ASK))?;
    write!(connection, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200 "), "etcd says {status}: {}", body.trim());
    Ok(serde_json::from_str(body)?)
}

/// As etcd's gateway wants keys and values.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { '=' } else { char::from(sign) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_encoded_as_every_other_program_does_it() {
        let encoded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
