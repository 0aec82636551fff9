//! Connections to coordinators of which some are dead: one after the other, and none is waited for alone. The next is tried
//! beside one that does not come up at once, as browsers do with the addresses of a name. It must not know what is asked: only
//! connections are made beside each other, and each request is sent on one of them.

use super::endpoint;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// How long one address has for itself, before the next is tried beside it.
pub(super) const STAGGER: Duration = Duration::from_millis(200);

/// What is to be tried, what is under way, and what came of it.
pub(super) struct Reaching {
    timeout: Duration,
    queue: VecDeque<String>,
    begun: BTreeSet<String>,
    connecting: JoinSet<(String, Result<Channel, tonic::transport::Error>)>,
    /// Each address that is of no use, with the reason, in the order in which that was known.
    pub(super) tried: Vec<(String, String)>,
}

impl Reaching {
    pub(super) fn new(endpoints: &[String], timeout: Duration) -> Self {
        Self {
            timeout,
            queue: endpoints.iter().cloned().collect(),
            begun: BTreeSet::new(),
            connecting: JoinSet::new(),
            tried: Vec::new(),
        }
    }

    /// The next to be tried. One that is under way or was tried is not tried again.
    pub(super) fn first(&mut self, address: String) {
        self.queue.push_front(address);
    }

    /// The next coordinator that can be reached; `None`: there is no other.
    pub(super) async fn next(&mut self) -> Option<(String, Channel)> {
        loop {
            let begun = self.begin();
            if !begun && self.connecting.is_empty() {
                return None;
            }
            let more = !self.queue.is_empty();
            let ended = tokio::select! {
                biased;
                ended = self.connecting.join_next() => ended,
                () = tokio::time::sleep(STAGGER), if more => continue,
            };
            match ended {
                Some(Ok((address, Ok(channel)))) => return Some((address, channel)),
                Some(Ok((address, Err(error)))) => self.tried.push((address, innermost(&error))),
                // None of ours is aborted before the end, nor panics.
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Begins with the next address, if there is one.
    fn begin(&mut self) -> bool {
        while let Some(address) = self.queue.pop_front() {
            if self.begun.insert(address.clone()) {
                let timeout = self.timeout;
                self.connecting.spawn(async move {
                    let connected = endpoint::connect(&address, timeout).await;
                    (address, connected)
                });
                return true;
            }
        }
        false
    }
}

/// The cause at the bottom: tonic's own text is "transport error", which helps nobody.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::asking::Repeat;
    use super::super::{OperatorClient, OperatorError};
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;
    use tokio::net::TcpSocket;
    use tonic::{Response, Status};

    /// Longer than any test takes: whoever waits for it fails.
    const LONG: Duration = Duration::from_secs(60);

    fn local() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Nobody answers there: what comes is dropped, as by a host that lost power.
    struct Dead {
        address: String,
        _listener: tokio::net::TcpListener,
        _queued: Vec<TcpStream>,
    }

    fn dead() -> Dead {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(local()).expect("a port");
        let listener = socket.listen(0).expect("it listens");
        let address = listener.local_addr().expect("bound");
        // Until its queue is full.
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued = std::iter::from_fn(connect).take(16).collect();
        Dead { address: format!("http://{address}"), _listener: listener, _queued: queued }
    }

    fn alive() -> (TcpListener, String) {
        let listener = TcpListener::bind(local()).expect("a port");
        let address = listener.local_addr().expect("bound");
        (listener, format!("http://{address}"))
    }

    #[tokio::test]
    async fn a_dead_coordinator_costs_no_more_than_a_moment() {
        let (dead, (_listener, address)) = (dead(), alive());
        let began = Instant::now();
        let mut reaching = Reaching::new(&[dead.address.clone(), address.clone()], LONG);
        let reached = reaching.next().await.map(|(address, _)| address);
        assert_eq!(reached, Some(address));
        assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_is_away_costs_one_time_out_however_many_are_away() {
        let dead = [dead(), dead(), dead()];
        let addresses = dead.each_ref().map(|it| it.address.clone());
        let (timeout, began) = (Duration::from_secs(2), Instant::now());
        let mut reaching = Reaching::new(&addresses, timeout);
        assert!(reaching.next().await.is_none());
        assert_eq!(reaching.tried.len(), 3, "{:?}", reaching.tried);
        assert!(began.elapsed() < timeout * 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_change_is_sent_once_and_a_question_to_everybody() {
        let (dead, (_one, first), (_other, second)) = (dead(), alive(), alive());
        let endpoints = [dead.address.as_str(), &first, &second];
        let client = OperatorClient::new(endpoints, Duration::from_secs(2)).expect("good addresses");
        for (repeat, sent) in [(Repeat::Never, 1), (Repeat::Safe, 2)] {
            let count = AtomicUsize::new(0);
            let asked: Result<(), _> = client
                .call(repeat, |_channel| {
                    count.fetch_add(1, Ordering::SeqCst);
                    async { Err::<Response<()>, _>(Status::unavailable("the connection is gone")) }
                })
                .await;
            assert_eq!(count.load(Ordering::SeqCst), sent);
            match asked {
                Err(OperatorError::OutcomeUnknown { .. }) => assert!(repeat == Repeat::Never),
                Err(OperatorError::Unreachable { tried }) => {
                    assert!(repeat == Repeat::Safe);
                    assert_eq!(tried.len(), 3, "{tried:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn who_awaits_an_end_waits_no_longer_for_a_connection() {
        let client = OperatorClient::new(["127.0.0.1:1"], Duration::from_secs(5)).expect("a good address");
        let longer = OperatorClient { timeout: LONG, ..client };
        assert_eq!(longer.connect_timeout, Duration::from_secs(5));
    }
}
