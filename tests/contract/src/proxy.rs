//! A road between a client and a server that can be cut, held, slowed down, or broken exactly where a request or its answer
//! passes. It carries bytes; of what they say it knows only where a message begins.

use crate::frames::Frames;
use crate::ports;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// One way of a road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Answers,
}

/// What happens to the next message of its kind, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// The request leaves its client, and the connection ends before any of it arrives.
    RequestLost,
    /// The request leaves its client and waits on the road, as does all that follows, until the road is opened or cut.
    RequestHeld,
    /// The request arrives, and the connection ends at once.
    RequestLeft,
    /// The answer leaves the server, and the connection ends before any of it arrives.
    AnswerLost,
    /// The answer leaves the server and waits on the road, as does all that follows, until the road is opened or cut.
    AnswerHeld,
}

impl Trap {
    fn direction(self) -> Direction {
        match self {
            Self::RequestLost | Self::RequestHeld | Self::RequestLeft => Direction::Requests,
            Self::AnswerLost | Self::AnswerHeld => Direction::Answers,
        }
    }
}

/// A trap that is set.
#[derive(Debug)]
struct Armed {
    trap: Trap,
    /// How many messages it lets pass.
    skip: usize,
    sprung: oneshot::Sender<()>,
}

/// A trap that several roads share: it springs on whichever carries what it waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traps(Arc<Mutex<Option<Armed>>>);

impl Traps {
    /// For the message after the next `skip`. The answer comes when it has sprung.
    pub(crate) fn set(&self, trap: Trap, skip: usize) -> oneshot::Receiver<()> {
        let (sprung, springs) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Armed { trap, skip, sprung });
        springs
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn spring(&self, direction: Direction) -> Option<Armed> {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = armed.as_mut().filter(|armed| armed.trap.direction() == direction)?;
        if waits.skip > 0 {
            waits.skip -= 1;
            return None;
        }
        armed.take()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rules {
    /// Nobody listens.
    closed: bool,
    hold_requests: bool,
    hold_answers: bool,
    delay: Duration,
    /// Connections of an earlier one are ended.
    generation: u64,
}

impl Rules {
    fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::Requests => self.hold_requests,
            Direction::Answers => self.hold_answers,
        }
    }
}

/// The road to one server. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    rules: Arc<watch::Sender<Rules>>,
    task: AbortHandle,
}

impl Proxy {
    /// A road to `server`, open.
    pub(crate) async fn to(server: SocketAddr, traps: Traps) -> Self {
        let address = ports::free();
        let listener = ports::listen(address).await;
        let rules = Arc::new(watch::Sender::new(Rules::default()));
        let task = tokio::spawn(listen(listener, server, Arc::clone(&rules), traps)).abort_handle();
        Self { address, rules, task }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends what is connected.
    pub(crate) fn cut(&self) {
        self.rules.send_modify(|rules| rules.generation += 1);
    }

    /// Ends what is connected, and refuses what comes, until it is opened.
    pub(crate) fn close(&self) {
        self.rules.send_modify(|rules| {
            rules.generation += 1;
            rules.closed = true;
        });
    }

    /// What is under way in this direction waits, as on a network that loses everything: TCP sends it again later.
    pub(crate) fn hold(&self, direction: Direction) {
        self.rules.send_modify(|rules| match direction {
            Direction::Requests => rules.hold_requests = true,
            Direction::Answers => rules.hold_answers = true,
        });
    }

    /// Everything takes so much longer, each way.
    pub(crate) fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    /// Takes [`Proxy::close`], [`Proxy::hold`] and [`Proxy::delay`] back.
    pub(crate) fn open(&self) {
        self.rules.send_modify(|rules| {
            *rules = Rules { generation: rules.generation, ..Rules::default() };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, server: SocketAddr, rules: Arc<watch::Sender<Rules>>, traps: Traps) {
    let address = listener.local_addr().expect("it is bound");
    let mut listener = Some(listener);
    let mut changed = rules.subscribe();
    loop {
        if changed.borrow_and_update().closed {
            // A listener that nobody accepts from would let connections in; the port itself must refuse.
            listener = None;
            if changed.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => ports::listen(address).await,
        };
        tokio::select! {
            biased;
            changed = changed.changed() => if changed.is_err() { return },
            accepted = open.accept() => if let Ok((client, _)) = accepted {
                tokio::spawn(carry(client, server, Arc::clone(&rules), traps.clone()));
            }
        }
        listener = Some(open);
    }
}

/// Carries one connection until either side ends it.
async fn carry(client: TcpStream, server: SocketAddr, rules: Arc<watch::Sender<Rules>>, traps: Traps) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let generation = rules.borrow().generation;
    let pump = |direction| Pump { direction, generation, rules: Arc::clone(&rules), traps: traps.clone() };
    tokio::select! {
        () = pump(Direction::Requests).run(from_client, to_server, Frames::of_client()) => {}
        () = pump(Direction::Answers).run(from_server, to_client, Frames::of_server()) => {}
    }
}

struct Pump {
    direction: Direction,
    generation: u64,
    rules: Arc<watch::Sender<Rules>>,
    traps: Traps,
}

impl Pump {
    async fn run(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frames: Frames) {
        let mut changed = self.rules.subscribe();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let is_cut = changed.wait_for(|rules| rules.generation != self.generation);
            let read = tokio::select! {
                biased;
                _ = is_cut => return,
                read = from.read(&mut buffer) => read,
            };
            let Some(bytes) = read.ok().and_then(|length| buffer.get(..length)).filter(|it| !it.is_empty())
            else {
                return;
            };
            let sprung = if frames.begin_in(bytes) { self.traps.spring(self.direction) } else { None };
            // Told only when it has had its effect: whoever mends the road then must not be followed by it.
            let mut left = None;
            if let Some(Armed { trap, sprung, .. }) = sprung {
                match trap {
                    Trap::RequestLost | Trap::AnswerLost => return self.cut(sprung),
                    Trap::RequestLeft => left = Some(sprung),
                    Trap::RequestHeld | Trap::AnswerHeld => {
                        self.rules.send_modify(|rules| match self.direction {
                            Direction::Requests => rules.hold_requests = true,
                            Direction::Answers => rules.hold_answers = true,
                        });
                        // Whoever set it need not wait for it.
                        let _ = sprung.send(());
                    }
                }
            }
            let passes = |rules: &Rules| rules.generation != self.generation || !rules.holds(self.direction);
            let Ok(rules) = changed.wait_for(passes).await.map(|rules| *rules) else { return };
            if rules.generation != self.generation {
                return;
            }
            if !rules.delay.is_zero() {
                tokio::time::sleep(rules.delay).await; // tidy: waits because a slow road is what it stands for
            }
            if to.write_all(bytes).await.is_err() {
                return;
            }
            if let Some(sprung) = left {
                return self.cut(sprung);
            }
        }
    }

    fn cut(&self, sprung: oneshot::Sender<()>) {
        self.rules.send_modify(|rules| rules.generation += 1);
        // Whoever set it need not wait for it.
        let _ = sprung.send(());
    }
}
