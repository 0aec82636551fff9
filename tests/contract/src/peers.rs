//! The roads between the members of an etcd, which can be cut for one member while all go on running. A member says who it is
//! in the head of each connection to another; nothing else of what they say is looked at.

use crate::ports;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// By which a member says who it is, in small letters.
const FROM: &str = "x-server-from:";

#[derive(Debug, Default)]
struct Cut {
    /// From everybody.
    wholly: bool,
    /// From these members, by their numbers in hexadecimal.
    from: BTreeSet<String>,
}

impl Cut {
    fn is_for(&self, from: Option<&str>) -> bool {
        self.wholly || from.is_some_and(|from| self.from.contains(from))
    }
}

/// The road from all others to one member. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct PeerRoad {
    pub(crate) address: SocketAddr,
    cut: Arc<watch::Sender<Cut>>,
    task: AbortHandle,
}

impl PeerRoad {
    /// A road to the member that listens there.
    pub(crate) async fn to(member: SocketAddr) -> Self {
        let address = ports::free();
        let listener = TcpListener::bind(address).await.expect("the port is ours");
        let cut = Arc::new(watch::Sender::new(Cut::default()));
        let task = tokio::spawn(listen(listener, member, Arc::clone(&cut))).abort_handle();
        Self { address, cut, task }
    }

    /// Nobody reaches it.
    pub(crate) fn cut_wholly(&self) {
        self.cut.send_modify(|cut| cut.wholly = true);
    }

    /// This member does not reach it.
    pub(crate) fn cut_from(&self, member: &str) {
        self.cut.send_modify(|cut| {
            cut.from.insert(member.to_owned());
        });
    }

    /// Everybody reaches it again.
    pub(crate) fn mend(&self) {
        self.cut.send_modify(|cut| *cut = Cut::default());
    }
}

impl Drop for PeerRoad {
    fn drop(&mut self) {
        self.cut_wholly();
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, member: SocketAddr, cut: Arc<watch::Sender<Cut>>) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(carry(connection, member, cut.subscribe()));
    }
}

/// Carries one connection until either side ends it, or it is cut.
async fn carry(mut connection: TcpStream, member: SocketAddr, mut cut: watch::Receiver<Cut>) {
    let Some(head) = head_of(&mut connection).await else { return };
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let from = text.lines().find_map(|line| line.strip_prefix(FROM)).map(str::trim);
    let is_cut = async { cut.wait_for(|cut| cut.is_for(from)).await.map(drop) };
    let carried = async {
        let mut server = TcpStream::connect(member).await?;
        server.write_all(&head).await?;
        tokio::io::copy_bidirectional(&mut connection, &mut server).await
    };
    tokio::select! {
        biased;
        _ = is_cut => {}
        // Whichever side ended it: the other learns it as this returns.
        _ = carried => {}
    }
}

/// Up to the end of the head of the first request, and what came with it.
async fn head_of(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut buffer = [0; 4_096];
        let length = connection.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(buffer.get(..length)?);
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    Some(head)
}
