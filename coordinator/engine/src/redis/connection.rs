//! One connection to one Redis: the greeting, and each command as one pipelined round trip that ends with a probe on the
//! same connection. It knows how Redis does things, not when they may be done.

use super::info::{Info, is_at_least};
use super::mark::{self, Memory, Sight};
use super::resp::{Reply, encode, read_reply};
use super::{NOWHERE_HOST, NOWHERE_PORT, VERSION_MIN};
use crate::mark::Mark;
use crate::{About, ConnectError, EngineConnection, WriteCheck};
use async_trait::async_trait;
use baton_core::engine::{EngineCommand, EngineOutcome, Probe};
use baton_core::ids::{EngineRun, Term};
use baton_core::position::Position;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// After how long without an acknowledgement by the peer's kernel a connection is given up, in milliseconds. Commands
/// have deadlines of their own; this only keeps dead connections from lying about.
const USER_TIMEOUT_MS: u32 = 10_000;

/// Writes the mark over itself, in one atomic step: a plain `SET` from here could put back an older term between a
/// promotion's write and its answer. `ARGV[1]` is what a removed mark is put back to.
const CHECK_SCRIPT: &[u8] = b"local mark = redis.call('GET', KEYS[1]) \
    if not mark or mark == '' then mark = ARGV[1] end \
    if mark == '' then return redis.error_reply('NOMARK the data was never marked') end \
    redis.call('SET', KEYS[1], mark) \
    return 1";

/// How long a write is waited for in one go: far less than a fence has, which may come next.
const WAIT_MILLIS: &str = "5";

/// The requests of a probe; [`probe_of`] reads their replies.
const PROBE: [&[&[u8]]; 5] = [
    &[b"INFO", b"server"],
    &[b"INFO", b"persistence"],
    &[b"INFO", b"replication"],
    &[b"INFO", b"keyspace"],
    &[b"GET", mark::KEY],
];

type Stream = BufReader<TcpStream>;

/// See the module.
pub(super) struct RedisConnection {
    /// `None` while a command is under way and for ever after one that was not answered: a caller that gives up
    /// halfway (timeout, dropped future) leaves a connection that can't be used by mistake.
    stream: Option<Stream>,
    run: EngineRun,
    process_id: Option<u32>,
    password: Option<String>,
    about: About,
    memory: Arc<Mutex<Memory>>,
    /// For how many replicas a write of ours is still waited for, and of which round it is.
    awaited: Mutex<Option<(u32, u64)>>,
}

/// Connects, logs in, and makes sure that this is an engine that can be driven.
pub(super) async fn open(
    endpoint: &str,
    password: Option<String>,
    memory: Arc<Mutex<Memory>>,
) -> Result<RedisConnection, ConnectError> {
    let missing =
        |error: &io::Error| ConnectError::Missing { endpoint: endpoint.to_owned(), what: error.to_string() };
    let stream = TcpStream::connect(endpoint).await.map_err(|error| missing(&error))?;
    tune(&stream);
    let mut stream = BufReader::new(stream);
    let mut requests: Vec<Vec<&[u8]>> = Vec::new();
    if let Some(password) = &password {
        requests.push(vec![b"AUTH", password.as_bytes()]);
    }
    requests.extend(PROBE.iter().map(|words| words.to_vec()));
    let mut replies = exchange(&mut stream, &requests).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            ConnectError::NotThisKind { endpoint: endpoint.to_owned(), what: error.to_string() }
        }
        _ => missing(&error),
    })?;
    if password.is_some() {
        let login = replies.remove(0);
        if let Reply::Error(what) = login {
            return Err(refused_login(endpoint, what));
        }
    }
    let info = greeting(endpoint, &replies)?;
    let process_id = info.number("process_id").and_then(|pid| u32::try_from(pid).ok());
    let run = EngineRun(Arc::from(info.text("run_id").unwrap_or_default()));
    let config_file = info.text("config_file").filter(|file| !file.is_empty());
    let about = About {
        version: info.text("redis_version").map(str::to_owned),
        config_file: config_file.map(PathBuf::from),
    };
    Ok(RedisConnection {
        stream: Some(stream),
        run,
        process_id,
        password,
        about,
        memory,
        awaited: Mutex::new(None),
    })
}

fn tune(stream: &TcpStream) {
    use rustix::net::sockopt;
    // Each of these is an improvement only; a kernel without one of them is no reason not to connect.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, Duration::from_secs(5));
    let _ = sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2));
}

fn refused_login(endpoint: &str, what: String) -> ConnectError {
    let endpoint = endpoint.to_owned();
    match what.split(' ').next() {
        Some("NOPERM" | "DENIED") => ConnectError::Forbidden { endpoint, what },
        _ => ConnectError::PasswordRefused { endpoint, what },
    }
}

/// Judges the replies to the first probe.
fn greeting(endpoint: &str, replies: &[Reply]) -> Result<Info, ConnectError> {
    let endpoint = endpoint.to_owned();
    let mut info = Info::default();
    let mut strange = None;
    for reply in replies {
        match reply {
            Reply::Error(what) => match what.split(' ').next() {
                Some("NOAUTH") => return Err(ConnectError::PasswordNeeded { endpoint }),
                Some("NOPERM" | "DENIED") => {
                    return Err(ConnectError::Forbidden { endpoint, what: what.clone() });
                }
                Some("LOADING") => return Err(ConnectError::Loading { endpoint }),
                // The key may be of another type, or stale data be denied: the probe will say so.
                Some("WRONGTYPE" | "MASTERDOWN") => {}
                // Judged after the mode: a cluster node refuses the key with words of its own.
                _ => strange = Some(what.clone()),
            },
            Reply::Text(text) => info.add(&String::from_utf8_lossy(text)),
            Reply::Nil | Reply::Number(_) | Reply::Array(_) => {}
        }
    }
    let found = info.text("redis_version").unwrap_or_default().to_owned();
    if info.text("run_id").is_none() || found.is_empty() {
        let what = strange.unwrap_or_else(|| "INFO has no run_id or no redis_version".into());
        return Err(ConnectError::NotThisKind { endpoint, what });
    }
    if !is_at_least(&found, VERSION_MIN) {
        return Err(ConnectError::TooOld { endpoint, found, minimum: VERSION_MIN });
    }
    match info.text("redis_mode") {
        None | Some("standalone") => {}
        Some(mode) => return Err(ConnectError::WrongMode { endpoint, mode: mode.to_owned() }),
    }
    if let Some(what) = strange {
        return Err(ConnectError::NotThisKind { endpoint, what });
    }
    if info.text("loading") == Some("1") {
        return Err(ConnectError::Loading { endpoint });
    }
    Ok(info)
}

/// Sends all requests in one write and reads as many replies.
async fn exchange(stream: &mut Stream, requests: &[Vec<&[u8]>]) -> io::Result<Vec<Reply>> {
    let mut bytes = Vec::with_capacity(512);
    for request in requests {
        encode(&mut bytes, request);
    }
    stream.get_mut().write_all(&bytes).await?;
    let mut replies = Vec::with_capacity(requests.len());
    for _ in requests {
        replies.push(read_reply(stream).await?);
    }
    Ok(replies)
}

/// The first reply that is an error.
fn first_error(replies: &[Reply]) -> Option<String> {
    replies.iter().find_map(|reply| match reply {
        Reply::Error(what) => Some(what.clone()),
        Reply::Text(_) | Reply::Nil | Reply::Number(_) | Reply::Array(_) => None,
    })
}

impl RedisConnection {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, Option<(u32, u64)>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `requests` and a probe after them. `Err`: no answer.
    async fn run_with_probe(
        &self,
        stream: &mut Stream,
        requests: &[Vec<&[u8]>],
    ) -> io::Result<(Vec<Reply>, Result<Probe, String>)> {
        let all: Vec<Vec<&[u8]>> =
            requests.iter().cloned().chain(PROBE.iter().map(|words| words.to_vec())).collect();
        let mut replies = exchange(stream, &all).await?;
        let probe_replies = replies.split_off(requests.len());
        Ok((replies, self.probe_of(&probe_replies)))
    }

    /// Reads a probe. `Err`: the engine answered that it does not tell.
    fn probe_of(&self, replies: &[Reply]) -> Result<Probe, String> {
        let mut info = Info::default();
        for reply in replies.iter().take(PROBE.len() - 1) {
            match reply {
                Reply::Text(text) => info.add(&String::from_utf8_lossy(text)),
                other => return Err(format!("INFO answered {other:?}")),
            }
        }
        let read = match replies.last() {
            Some(Reply::Error(what)) if what.starts_with("LOADING") || what.starts_with("WRONGTYPE") => None,
            Some(Reply::Error(what)) => return Err(what.clone()),
            Some(reply) => reply.text().and_then(|text| Mark::parse(&text)),
            None => None,
        };
        let follows = info.follows();
        let offset = info.offset();
        let data = self.memory().judge(
            Sight {
                run: &self.run,
                replication_id: info.text("master_replid").unwrap_or_default(),
                is_master: info.is_master(),
                is_following: follows.is_some() || offset.is_none(),
                // While a full copy comes in, what was there is about to go, and what comes is not there yet.
                is_empty: info.is_empty() || offset.is_none(),
            },
            read.filter(|_| offset.is_some()),
        );
        let term = match &data {
            baton_core::engine::DataState::Marked { term, .. } => *term,
            baton_core::engine::DataState::Empty | baton_core::engine::DataState::Unmarked => Term(0),
        };
        Ok(Probe {
            run: self.run.clone(),
            writable: info.is_writable(),
            link_up: follows.is_some() && info.is_link_up(),
            follows,
            position: offset.map_or(Position::Unknown, |offset| Position::At { term, offset }),
            data,
            replicas_caught_up: offset.map_or(0, |offset| info.replicas_caught_up(offset)),
        })
    }

    async fn look(&self, stream: &mut Stream) -> io::Result<EngineOutcome> {
        let (_, probe) = self.run_with_probe(stream, &[]).await?;
        Ok(outcome(probe))
    }

    async fn fence(&self, stream: &mut Stream) -> io::Result<EngineOutcome> {
        // The options go first, but what they answer does not matter: an engine where CONFIG is forbidden is fenced if
        // it says afterwards that it takes no writes.
        let requests = [
            words(&["CONFIG", "SET", "replica-read-only", "yes"]),
            words(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]),
            words(&["REPLICAOF", NOWHERE_HOST, NOWHERE_PORT]),
        ];
        let (replies, probe) = self.run_with_probe(stream, &requests).await?;
        if let Some(Reply::Error(what)) = replies.last() {
            return Ok(EngineOutcome::Refused(what.clone()));
        }
        match probe {
            Ok(probe) if probe.writable => Ok(EngineOutcome::Refused(format!(
                "it still takes writes; {}",
                first_error(&replies).unwrap_or_else(|| "no error was reported".into())
            ))),
            other => Ok(outcome(other)),
        }
    }

    async fn promote(&self, stream: &mut Stream, mark: &Mark) -> io::Result<EngineOutcome> {
        let text = mark.to_text();
        let requests = [
            // Only a convenience where the option is not set anyway (see the folder's page), so its error is none.
            words(&["CONFIG", "SET", "repl-backlog-ttl", "0"]),
            words(&["REPLICAOF", "NO", "ONE"]),
            vec![b"SET".as_slice(), mark::KEY, text.as_bytes()],
        ];
        let (mut replies, probe) = self.run_with_probe(stream, &requests).await?;
        replies.remove(0);
        match (first_error(&replies), probe) {
            (None, Ok(probe)) if probe.writable => Ok(EngineOutcome::Done(probe)),
            (error, probe) => {
                // A master without its mark must not stay one: its data would claim the last term.
                let why = error.or(probe.err()).unwrap_or_else(|| "it takes no writes afterwards".into());
                match self.fence(stream).await? {
                    EngineOutcome::Done(_) => Ok(EngineOutcome::Refused(why)),
                    EngineOutcome::Refused(undo) | EngineOutcome::Unknown(undo) => {
                        Err(io::Error::other(format!("{why}; and it could not be fenced again: {undo}")))
                    }
                }
            }
        }
    }

    async fn follow(&self, stream: &mut Stream, master: &str) -> io::Result<EngineOutcome> {
        let Some((host, port)) = master.rsplit_once(':') else {
            return Ok(EngineOutcome::Refused(format!("{master:?} is no host:port")));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut requests = Vec::new();
        if let Some(password) = &self.password {
            requests.push(words(&["CONFIG", "SET", "masterauth", password]));
        }
        requests.push(words(&["CONFIG", "SET", "replica-read-only", "yes"]));
        requests.push(words(&["REPLICAOF", host, port]));
        let (replies, probe) = self.run_with_probe(stream, &requests).await?;
        match replies.last() {
            Some(Reply::Error(what)) => Ok(EngineOutcome::Refused(what.clone())),
            _ => Ok(outcome(probe)),
        }
    }

    /// Redis has no number for how many replicas a commit waits: each client says it with `WAIT`. So there is nothing to
    /// apply; what is asked for is how many replicas hold all that was written so far. A write of ours is waited for, and
    /// not for long, since whatever comes next on this connection waits with it: where the time is too short, the next
    /// call goes on waiting for the same write.
    async fn quorum(&self, stream: &mut Stream, ack_quorum: u32, round: u64) -> io::Result<EngineOutcome> {
        if ack_quorum == 0 {
            return self.look(stream).await;
        }
        let asked = Some((ack_quorum, round));
        if *self.awaited() != asked {
            if let Reply::Error(what) = self.write_once(stream).await? {
                return Ok(EngineOutcome::Refused(what));
            }
            *self.awaited() = asked;
        }
        let wanted = ack_quorum.to_string();
        let (replies, probe) = self.run_with_probe(stream, &[words(&["WAIT", &wanted, WAIT_MILLIS])]).await?;
        let held = match replies.first() {
            Some(Reply::Number(held)) => u32::try_from(*held).unwrap_or(0),
            Some(Reply::Error(what)) => return Ok(EngineOutcome::Refused(what.clone())),
            _ => 0,
        };
        Ok(outcome(
            probe.map(|probe| Probe { replicas_caught_up: probe.replicas_caught_up.max(held), ..probe }),
        ))
    }

    async fn carry_out(&self, stream: &mut Stream, command: &EngineCommand) -> io::Result<EngineOutcome> {
        match command {
            EngineCommand::Probe => self.look(stream).await,
            EngineCommand::Fence => self.fence(stream).await,
            EngineCommand::Quorum { ack_quorum, round } => self.quorum(stream, *ack_quorum, *round).await,
            EngineCommand::Promote { term, data_id, .. } => {
                self.promote(stream, &Mark { id: data_id.clone(), term: *term }).await
            }
            EngineCommand::Follow { endpoint } => self.follow(stream, &endpoint.0).await,
        }
    }

    async fn write_once(&self, stream: &mut Stream) -> io::Result<Reply> {
        let mark = self.memory().mark_of(&self.run).map(Mark::to_text).unwrap_or_default();
        let request = vec![b"EVAL".as_slice(), CHECK_SCRIPT, b"1", mark::KEY, mark.as_bytes()];
        let mut replies = exchange(stream, &[request]).await?;
        replies.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A Sentinel among the clients of `CLIENT LIST`.
fn sentinel_in(clients: &str) -> Option<String> {
    let is_one = |line: &&str| line.split(' ').any(|field| field.starts_with("name=sentinel-"));
    let sentinel = clients.lines().find(is_one)?;
    let from =
        sentinel.split(' ').find_map(|field| field.strip_prefix("addr=")).unwrap_or("an unknown address");
    Some(format!("a Redis Sentinel watches it (from {from}) and may change its master"))
}

fn words<'a>(text: &[&'a str]) -> Vec<&'a [u8]> {
    text.iter().map(|word| word.as_bytes()).collect()
}

fn outcome(probe: Result<Probe, String>) -> EngineOutcome {
    probe.map_or_else(EngineOutcome::Refused, EngineOutcome::Done)
}

const CLOSED: &str = "an earlier command on this connection was not answered";

#[async_trait]
impl EngineConnection for RedisConnection {
    fn run(&self) -> &EngineRun {
        &self.run
    }

    fn process_id(&self) -> Option<u32> {
        self.process_id
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    async fn execute(&mut self, command: &EngineCommand, timeout: Duration) -> EngineOutcome {
        let Some(mut stream) = self.stream.take() else { return EngineOutcome::Unknown(CLOSED.into()) };
        match tokio::time::timeout(timeout, self.carry_out(&mut stream, command)).await {
            Ok(Ok(outcome)) => {
                self.stream = Some(stream);
                outcome
            }
            Ok(Err(error)) => EngineOutcome::Unknown(error.to_string()),
            Err(_) => EngineOutcome::Unknown(format!("no answer within {timeout:?}")),
        }
    }

    async fn check_write(&mut self, timeout: Duration) -> WriteCheck {
        let Some(mut stream) = self.stream.take() else { return WriteCheck::Unknown(CLOSED.into()) };
        let start = Instant::now();
        match tokio::time::timeout(timeout, self.write_once(&mut stream)).await {
            Ok(Ok(reply)) => {
                self.stream = Some(stream);
                match reply {
                    Reply::Error(what) => WriteCheck::Refused(what),
                    _ => WriteCheck::Done(start.elapsed()),
                }
            }
            Ok(Err(error)) => WriteCheck::Unknown(error.to_string()),
            Err(_) => WriteCheck::Unknown(format!("no answer within {timeout:?}")),
        }
    }

    async fn other_manager(&mut self, timeout: Duration) -> Option<String> {
        let mut stream = self.stream.take()?;
        // Each Sentinel that watches a server listens there under such a name, so the short list is enough.
        let request = [words(&["CLIENT", "LIST", "TYPE", "pubsub"])];
        let mut replies = tokio::time::timeout(timeout, exchange(&mut stream, &request)).await.ok()?.ok()?;
        self.stream = Some(stream);
        let reply = replies.pop()?;
        sentinel_in(&reply.text()?)
    }

    fn is_closed(&self) -> bool {
        self.stream.is_none()
    }
}
