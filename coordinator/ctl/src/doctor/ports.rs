//! Ports: free, or held by the coordinator that this configuration is of; and whether others would reach the address that
//! they are told.

use super::{Finding, Verdict};
use baton_client::OperatorClient;
use baton_coordinator::config::Config;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const CHECK: &str = "port";

/// The rows, and whether a coordinator with this configuration runs.
pub(super) async fn check(config: &Config, timeout: Duration) -> (Vec<Finding>, bool) {
    let mut findings = Vec::new();
    let tried = TcpListener::bind(config.listen).await;
    let running = match &tried {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => own(config, timeout).await,
        Ok(_) | Err(_) => Answer::Nobody,
    };
    let is_ours = running == Answer::Ours;
    let listener = match tried {
        Ok(listener) => {
            findings.push(free("listen", config.listen));
            Some(listener)
        }
        Err(error) => {
            findings.push(taken("listen", config.listen, &error, &running));
            None
        }
    };
    let mut others = vec![("http_listen".to_owned(), config.http_listen)];
    for instance in config.instances.values() {
        let health = instance.health_listen;
        others.extend(health.map(|health| (format!("{}.health_listen", instance.name), health)));
    }
    for (key, address) in others {
        findings.push(match TcpListener::bind(address).await {
            Ok(_) => free(&key, address),
            Err(error) => taken(&key, address, &error, &of_same_process(is_ours, config, address)),
        });
    }
    findings.push(advertised(config, listener, is_ours, timeout).await);
    (findings, is_ours)
}

/// Who holds a port that we wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Ours,
    /// Another coordinator.
    Other(String),
    Nobody,
}

async fn own(config: &Config, timeout: Duration) -> Answer {
    who(&reachable(config.listen).to_string(), config, timeout).await
}

async fn who(address: &str, config: &Config, timeout: Duration) -> Answer {
    let Ok(client) = OperatorClient::new([address], timeout) else { return Answer::Nobody };
    match client.own_status().await {
        Ok(status) => {
            let (cluster, name) = (config.identity.cluster.as_str(), config.name.as_str());
            if status.cluster == cluster && status.answered_by == name {
                Answer::Ours
            } else {
                Answer::Other(format!("coordinator {} of cluster {}", status.answered_by, status.cluster))
            }
        }
        Err(_) => Answer::Nobody,
    }
}

/// A port without a name to ask for: ours where the process is the one that has the gRPC port, or cannot be seen.
fn of_same_process(is_ours: bool, config: &Config, address: SocketAddr) -> Answer {
    let pid = |address| holder(address).map(|holder| holder.pid);
    if is_ours && (pid(address).is_none() || pid(address) == pid(config.listen)) {
        Answer::Ours
    } else {
        Answer::Nobody
    }
}

/// Where something that listens on every address can be asked.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

fn free(key: &str, address: SocketAddr) -> Finding {
    Finding::ok(CHECK, format!("{address} is free")).about(key)
}

fn taken(key: &str, address: SocketAddr, error: &io::Error, by: &Answer) -> Finding {
    let finding = match (error.kind(), by) {
        (io::ErrorKind::AddrInUse, Answer::Ours) => {
            Finding::ok(CHECK, format!("{address} is held by this host's coordinator, which runs"))
        }
        (io::ErrorKind::AddrInUse, other) => {
            let who = match (other, holder(address)) {
                (Answer::Other(who), _) => who.clone(),
                (_, Some(holder)) => format!("{} (process {})", holder.name, holder.pid),
                (_, None) => "a process that cannot be seen from here".to_owned(),
            };
            let advice = format!("stop it, or choose another address for {key}");
            Finding::new(CHECK, Verdict::Problem, format!("{address} is held by {who}"), advice)
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            let advice = format!("{key} must be an address of this host: see `ip address`");
            Finding::new(CHECK, Verdict::Problem, format!("{address}: no such address here"), advice)
        }
        _ => {
            let advice = format!("choose another address for {key}");
            Finding::new(CHECK, Verdict::Problem, format!("{address}: {error}"), advice)
        }
    };
    finding.about(key)
}

/// Connects to what others are told, and looks whether it ends here.
async fn advertised(
    config: &Config,
    listener: Option<TcpListener>,
    is_ours: bool,
    timeout: Duration,
) -> Finding {
    const CHECK: &str = "advertise";
    let told = config.advertised(config.listen);
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host(&told).await {
        Ok(found) => found.collect(),
        Err(error) => {
            let advice = "others are told this name: set coordinator.advertise to one that they know";
            return Finding::new(CHECK, Verdict::Problem, format!("{told}: {error}"), advice);
        }
    };
    let loopback = addresses.iter().any(|address| address.ip().is_loopback());
    let reached = match listener {
        Some(listener) => arrives(&told, listener, timeout).await,
        None if is_ours => match who(&told, config, timeout).await {
            Answer::Ours => Ok(()),
            Answer::Other(who) => Err(format!("{who} answers at {told}")),
            Answer::Nobody => Err(format!("no coordinator answers at {told}")),
        },
        None => return Finding::skipped(CHECK, "the port is not ours"),
    };
    match reached {
        Err(what) => {
            let advice = "check coordinator.advertise (where it is behind a translated address, ask from another host)";
            Finding::new(CHECK, Verdict::Warning, what, advice)
        }
        Ok(()) if loopback => {
            let advice = "good for a cluster on one host only: others cannot reach it";
            Finding::new(CHECK, Verdict::Notice, format!("{told} leads here, and is loopback"), advice)
        }
        Ok(()) => Finding::ok(CHECK, format!("{told} leads here")),
    }
}

/// Whether a connection to `told` arrives at `listener`.
async fn arrives(told: &str, listener: TcpListener, timeout: Duration) -> Result<(), String> {
    let connecting = async {
        let stream = TcpStream::connect(told).await.map_err(|error| format!("{told}: {error}"))?;
        let own = stream.local_addr().map_err(|error| error.to_string())?;
        loop {
            let (_, peer) = listener.accept().await.map_err(|error| error.to_string())?;
            if peer == own {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(timeout, connecting).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("a connection to {told} did not arrive here within {timeout:?}")),
    }
}

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    name: String,
}

/// Which process listens at an address, where this user may see it.
fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|path| inode_of(&fs::read_to_string(path).ok()?, address.port()))?;
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| link.as_os_str() == wanted.as_str())
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    Some(Holder { pid, name })
}

/// The inode of the socket that listens on `port`, in the text of `/proc/net/tcp`.
fn inode_of(table: &str, port: u16) -> Option<u64> {
    const LISTENS: &str = "0A";
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == LISTENS).then_some(())?;
        fields.get(9)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1132 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4711 1\n   \
        1: 0100007F:1132 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";

    #[test]
    fn the_socket_that_listens_is_found_in_the_kernels_table() {
        assert_eq!(inode_of(TABLE, 0x1132), Some(4712));
        assert_eq!(inode_of(TABLE, 0x1133), None);
        assert_eq!(inode_of("", 1), None);
    }

    #[test]
    fn this_process_is_found_as_the_holder_of_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        assert_eq!(holder(address).map(|holder| holder.pid), Some(std::process::id()));
    }

    #[tokio::test]
    async fn a_connection_that_arrives_elsewhere_is_told() {
        let here = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let told = here.local_addr().expect("bound").to_string();
        assert_eq!(arrives(&told, here, Duration::from_secs(20)).await, Ok(()));
        let other = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let here = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let told = other.local_addr().expect("bound").to_string();
        let said = arrives(&told, here, Duration::from_millis(50)).await;
        assert!(said.is_err_and(|said| said.contains("did not arrive here")));
    }
}
