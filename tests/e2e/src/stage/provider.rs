//! The state providers of a stage: its stateboard, its etcd, and the way from one to the other.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Command;

use super::Stage;
use crate::host::Host;
use crate::{files, http, net, poll, ports};

impl Stage {
    /// One more of the settings with which the cluster begins (`ack_quorum = 1`); before the state provider is started.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn seed(&self, line: &str) {
        let path = self.path().join("settings.toml");
        let known = std::fs::read_to_string(&path).expect("the stage has written it");
        std::fs::write(path, format!("{known}{line}\n")).expect("writable");
    }

    /// Starts the stateboard, again with the same data.
    pub fn start_board(&mut self) {
        let folder = self.path();
        let board = self.board_address();
        let listen = SocketAddrV4::new(files::listen_on(*board.ip()), board.port());
        let mut command = Command::new(Self::program("baton-stateboard"));
        command.args(["--cluster", files::CLUSTER, "--insecure", "--listen", &listen.to_string()]);
        command.args(["--http-listen", "off"]);
        command.arg("--secret-file").arg(folder.join("secret"));
        command.arg("--data-dir").arg(folder.join("board"));
        command.arg("--seed-settings").arg(folder.join("settings.toml"));
        let node = self.network.as_ref().map(|wires| &wires.board);
        let daemon = self.spawn(node, &mut command, "board.log");
        poll::until("the stateboard listens", || {
            net::on(node, || TcpStream::connect(("127.0.0.1", board.port())))
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        self.board = Some(daemon);
    }

    /// Starts an etcd of one member; hosts that are prepared from now on have it in `[provider.next]`.
    pub fn start_etcd(&mut self) {
        let (clients, peers) = (ports::free(), ports::free());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.path().join("etcd"));
        command.args(["--name", "n0", "--initial-cluster", &format!("n0={}", url(peers))]);
        command.args(["--listen-client-urls", &url(clients), "--advertise-client-urls", &url(clients)]);
        command.args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)]);
        let etcd = self.spawn(None, &mut command, "etcd.output");
        poll::until("etcd leads itself", || match http::get(clients, "/health")? {
            (200, body) if body["health"] == "true" => Ok(()),
            other => Err(format!("{other:?}")),
        });
        self.etcd = Some((clients, etcd));
    }

    /// Where the etcd is.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd.as_ref().expect("an etcd was started").0)
    }

    /// Where the stateboard is.
    #[must_use]
    pub fn board_url(&self) -> String {
        format!("http://{}", self.board_address())
    }

    /// `batonctl provider migrate`, ready to be run.
    #[must_use]
    pub fn migrate(&self, from: &str, to: &str) -> Command {
        let reached = |host: &Host| format!("{}:{}", host.ports.address, host.ports.grpc);
        let endpoints: Vec<String> = self.hosts.iter().map(reached).collect();
        let mut command = Command::new(Self::program("batonctl"));
        command.args(["--json", "--endpoint", &endpoints.join(",")]);
        command.args(["provider", "migrate", "--cluster", files::CLUSTER, "--secret-file"]);
        command.arg(self.path().join("secret")).args(["--from", from, "--to", to]);
        command
    }

    pub(super) fn board_address(&self) -> SocketAddrV4 {
        let address = self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, |wires| wires.board.address());
        SocketAddrV4::new(address, self.board_port)
    }

    /// SIGKILL to the stateboard, and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_board(&mut self) {
        let mut board = self.board.take().expect("the stateboard runs");
        board.process().kill();
        board.ended_within(poll::PATIENCE);
    }
}
