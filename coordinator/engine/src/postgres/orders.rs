//! What is asked of a server, step by step. Each ends with a look over the same connection.

use super::Options;
use super::connection::Session;
use super::control::Control;
use super::mark::Memory;
use super::place::{Order, OrderedWay, Place};
use super::probe::Look;
use super::reunite;
use super::slots;
use super::start;
use super::text::{Upstream, literal};
use super::timelines::{self, Own, Way};
use crate::ConnectError;
use crate::mark::Mark;
use baton_core::engine::{EngineCommand, Probe};
use baton_core::position::Position;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;

/// How often is looked whether an order has taken effect.
const AGAIN: Duration = Duration::from_millis(1);

/// After so long a standby that receives nothing is told anew whom to follow.
const IN_VAIN: Duration = Duration::from_secs(10);

/// After so long a connection is one.
const STEADY: Duration = Duration::from_secs(2);

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered that it would not.
    Refused(String),
    /// There was no answer.
    Broken(String),
}

impl Failure {
    pub(super) fn system(what: &str, error: &std::io::Error) -> Self {
        Self::Refused(format!("{what}: {error}"))
    }

    /// Of another server than the one that an order is for: that one was not asked anything yet.
    fn of_another(self) -> Self {
        let (Self::Refused(what) | Self::Broken(what)) = self;
        Self::Refused(format!("the master: {what}"))
    }
}

/// What one connection has to remember of its orders.
pub(super) struct Orders {
    options: Arc<Options>,
    password: Option<String>,
    /// No other connection of ours can carry out an order any more.
    alone: bool,
    /// The data that was replaced is being removed.
    old_is_dropped: bool,
    /// The round of the last question about a quorum, and what the replicas were to hold then.
    awaited: Option<(u32, u64, u64)>,
    link: LinkWatch,
}

/// Whether a standby is connected for long enough to count. One whose log reaches beyond the master's is let in and sent away for ever.
#[derive(Debug, Default)]
struct LinkWatch {
    /// Since when it was not connected, or not for long enough.
    nothing_since: Option<Instant>,
    streaming_since: Option<Instant>,
}

impl LinkWatch {
    fn is_in_vain(&mut self, now: Instant, streaming: bool) -> bool {
        if !streaming {
            self.streaming_since = None;
        } else if now - *self.streaming_since.get_or_insert(now) > STEADY {
            self.nothing_since = None;
            return false;
        }
        now - *self.nothing_since.get_or_insert(now) > IN_VAIN
    }
}

impl Orders {
    pub(super) fn new(options: Arc<Options>, password: Option<String>) -> Self {
        Self {
            options,
            password,
            alone: false,
            old_is_dropped: false,
            awaited: None,
            link: LinkWatch::default(),
        }
    }

    pub(super) async fn carry_out(
        &mut self,
        session: &Session,
        command: &EngineCommand,
        memory: &Arc<Mutex<Memory>>,
        timeout: Duration,
    ) -> Result<Probe, Failure> {
        match command {
            EngineCommand::Probe => {}
            EngineCommand::Fence => {
                let look = session.look().await?;
                if !look.standby {
                    return self.shut_down(session, &look, memory).await;
                }
                self.cut(session).await?;
            }
            EngineCommand::Quorum { ack_quorum, round } => {
                return self.quorum(session, *ack_quorum, *round, memory).await;
            }
            EngineCommand::Promote { term, data_id, ack_quorum } => {
                let mark = Mark { id: data_id.clone(), term: *term };
                self.promote(session, &mark, *ack_quorum, memory).await?;
            }
            EngineCommand::Follow { endpoint } => self.follow(session, &endpoint.0, timeout / 2).await?,
        }
        let mut look = loop {
            let look = session.look().await?;
            if !matches!(command, EngineCommand::Fence) || look.is_cut() {
                break look;
            }
            tokio::time::sleep(AGAIN).await;
        };
        if self.follows_in_vain(&look, command) {
            // The guard orders it to follow then, and it is looked why.
            look.conninfo.clear();
        }
        if look.standby && look.streaming {
            self.drop_old();
        }
        probe(session, &look, memory).await
    }

    /// Whether it has been told for long whom to follow, and nothing comes: the log that it needs may be gone there, or its slot.
    fn follows_in_vain(&mut self, look: &Look, command: &EngineCommand) -> bool {
        let told = look.standby && !look.conninfo.is_empty();
        if !told || matches!(command, EngineCommand::Follow { .. }) {
            self.link = LinkWatch::default();
            return false;
        }
        self.link.is_in_vain(Instant::now(), look.streaming)
    }

    /// What was replaced has been kept for the case that the new data would not do; it replicates, so it does. Beside everything else,
    /// since it may be large.
    fn drop_old(&mut self) {
        if !std::mem::replace(&mut self.old_is_dropped, true) {
            let place = Place::of(&self.options.data_dir);
            // What cannot be removed now is tried again over the next connection.
            tokio::task::spawn_blocking(move || place.drop_old());
        }
    }

    /// Ends earlier connections that may still carry out an order; see the folder's page.
    async fn be_alone(&mut self, session: &Session) -> Result<(), Failure> {
        if self.alone {
            return Ok(());
        }
        let name = literal(&format!("baton orders {}", self.options.name));
        session.run(&format!("SET application_name = {name}")).await?;
        let others = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = {name} AND usename = current_user AND pid <> pg_backend_pid()"
        );
        while rows(&session.run(&others).await?) > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        self.alone = true;
        Ok(())
    }

    /// Sets a parameter for now and for every later start, and waits until it counts here.
    async fn set(&self, session: &Session, name: &str, value: &str) -> Result<(), Failure> {
        // A statement of its own: it is refused in any transaction, and several statements are one.
        session.run(&format!("ALTER SYSTEM SET {name} TO {}", literal(value))).await?;
        session.run("SELECT pg_reload_conf()").await?;
        until(session, &format!("SELECT WHERE current_setting('{name}') = {}", literal(value))).await
    }

    /// For how many standbys a commit waits. Each change is synced to disk, so one that is none is spared: it is none where it counts now
    /// and the file, which an order before us may have written without having it read, says so too.
    async fn set_quorum(&self, session: &Session, ack_quorum: u32) -> Result<(), Failure> {
        const NAME: &str = "synchronous_standby_names";
        let value = standby_names(ack_quorum);
        let counts = format!("SELECT WHERE current_setting('{NAME}') = {}", literal(&value));
        let path = self.options.data_dir.join("postgresql.auto.conf");
        let file = on_disk(move || std::fs::read_to_string(path)).await;
        let written = file.is_ok_and(|file| last_setting(&file, NAME).is_none_or(|there| there == value));
        if written && rows(&session.run(&counts).await?) > 0 {
            return Ok(());
        }
        self.set(session, NAME, &value).await
    }

    /// Stops replication, and waits until everything that came is replayed: only then does the mark say whose it is.
    async fn cut(&mut self, session: &Session) -> Result<(), Failure> {
        self.be_alone(session).await?;
        self.set(session, "primary_conninfo", "").await?;
        // Cheaper to ask than the whole look, which is what counts in the end.
        until(session, CUT).await
    }

    /// Ends a primary, in order; its standbys get all of its log first. `Refused`: it cannot be ended from here.
    async fn shut_down(
        &self,
        session: &Session,
        look: &Look,
        memory: &Arc<Mutex<Memory>>,
    ) -> Result<Probe, Failure> {
        let last = probe(session, look, memory).await?;
        let server = tell_to_end(look.backend)?;
        while !session.is_closed() || is_running(server) {
            tokio::time::sleep(AGAIN).await;
        }
        let data = self.options.data_dir.clone();
        let control = on_disk(move || Control::read(&data))
            .await
            .map_err(|error| Failure::Broken(format!("its control file cannot be read: {error}")))?;
        if !control.clean {
            return Err(Failure::Broken("it did not end in order".to_owned()));
        }
        // Whoever starts it next, it comes up as a standby.
        let data = self.options.data_dir.clone();
        on_disk(move || start::fence(&data))
            .await
            .map_err(|error| Failure::Broken(format!("it cannot be made a standby: {error}")))?;
        let position = match last.position {
            Position::At { term, .. } => Position::At { term, offset: control.checkpoint },
            Position::Unknown => Position::Unknown,
        };
        Ok(Probe { writable: false, position, replicas_caught_up: 0, ..last })
    }

    async fn promote(
        &mut self,
        session: &Session,
        mark: &Mark,
        ack_quorum: u32,
        memory: &Arc<Mutex<Memory>>,
    ) -> Result<(), Failure> {
        if rows(&session.run("SELECT WHERE pg_is_in_recovery()").await?) == 0 {
            return Err(Failure::Refused("it is a primary already, and was not fenced".to_owned()));
        }
        self.be_alone(session).await?;
        self.set_quorum(session, ack_quorum).await?;
        session.run("SELECT pg_promote(false)").await?;
        until(session, "SELECT WHERE NOT pg_is_in_recovery()").await?;
        let why = match session.run_as_one(&mark.write()).await {
            Ok(_) => return Ok(()),
            Err(Failure::Refused(why)) => why,
            Err(broken) => return Err(broken),
        };
        // A master without its mark must not stay one: its data would claim the last term.
        let look = session.look().await?;
        match self.shut_down(session, &look, memory).await {
            Ok(_) => Err(Failure::Broken(why)),
            Err(Failure::Refused(undo) | Failure::Broken(undo)) => {
                Err(Failure::Broken(format!("{why}; and it could not be ended: {undo}")))
            }
        }
    }

    /// Every connected replica counts, as everywhere where an engine cannot be told who: the guard cuts off who must not.
    async fn quorum(
        &mut self,
        session: &Session,
        ack_quorum: u32,
        round: u64,
        memory: &Arc<Mutex<Memory>>,
    ) -> Result<Probe, Failure> {
        self.be_alone(session).await?;
        self.set_quorum(session, ack_quorum).await?;
        let look = session.look().await?;
        let target = match self.awaited {
            Some((asked, of, target)) if (asked, of) == (ack_quorum, round) => target,
            _ => look.offset(),
        };
        self.awaited = Some((ack_quorum, round, target));
        let holding = format!(
            "SELECT FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn - '0/0'::pg_lsn >= {target}"
        );
        let held = rows(&session.run(&holding).await?);
        let seen = probe(session, &look, memory).await?;
        Ok(Probe { replicas_caught_up: seen.replicas_caught_up.max(held), ..seen })
    }

    /// Has it follow `master`, if its data is a beginning of the master's. Where it is not, the next start has to make it one: that is
    /// ordered, the server ends, and the answer is `Refused`.
    async fn follow(&mut self, session: &Session, master: &str, patience: Duration) -> Result<(), Failure> {
        let Some((host, port)) = master.rsplit_once(':') else {
            return Err(Failure::Refused(format!("{master:?} is no host:port")));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let until = Instant::now() + patience;
        let look = loop {
            let look = session.look().await?;
            if !look.standby {
                return Err(Failure::Refused("it is a primary, and has to be fenced first".to_owned()));
            }
            if look.knows_its_end() {
                break look;
            }
            // After a crash it answers before it has replayed its log, which may reach beyond the master's.
            if Instant::now() > until {
                return Err(Failure::Refused("it has not replayed yet what it has".to_owned()));
            }
            tokio::time::sleep(AGAIN).await;
        };
        self.be_alone(session).await?;
        let place = Place::of(&self.options.data_dir);
        let passfile = self.write_passfile(place.clone()).await?;
        let term = session.mark(&look).await?.map_or(0, |mark| mark.term.0);
        let own = reunite::own(session, &look, term, &self.options.data_dir).await?;
        let asked = tokio::time::timeout(patience, self.ask(master, &own, look.segment));
        let (way, claimed) = asked.await.unwrap_or_else(|_| {
            Err(Failure::Refused(format!("the master did not answer within {patience:?}")))
        })?;
        let (ordered, fork, why) = match way {
            Way::Follow => {
                let upstream = Upstream {
                    host,
                    port,
                    user: &self.options.user,
                    passfile: passfile.as_deref(),
                    name: &self.options.name,
                };
                self.use_slot(session, claimed).await?;
                return self.set(session, "primary_conninfo", &upstream.to_conninfo()).await;
            }
            Way::Refuse(why) => return Err(Failure::Refused(why.to_owned())),
            Way::Rewind { fork } => (OrderedWay::Rewind, fork, "it holds what the master does not"),
            Way::Clone(why) => (OrderedWay::Clone, own.end, why),
        };
        let order = Order {
            way: ordered,
            host: host.to_owned(),
            port: port.to_owned(),
            user: self.options.user.clone(),
            database: self.options.database.clone(),
            timeline: own.timeline.unwrap_or_default(),
            end: own.end,
            fork,
            why: why.to_owned(),
        };
        on_disk(move || place.give_order(&order))
            .await
            .map_err(|error| Failure::system("the next start cannot be ordered", &error))?;
        tell_to_end(look.backend)?;
        Err(Failure::Refused(format!("it cannot follow as it is: {why}; its next start sees to it")))
    }

    /// Asks the master, over a connection of its own, and whether there is a slot for this server at it. What goes wrong there is no
    /// failure of this server.
    async fn ask(&self, master: &str, own: &Own, segment: u64) -> Result<(Way, bool), Failure> {
        let session = self.session_to(master).await.map_err(|error| Failure::Refused(error.to_string()))?;
        let asked = reunite::master(&session).await.map_err(Failure::of_another)?;
        let way = timelines::way(own, &asked.master);
        let needed = match way {
            Way::Follow => own.end,
            Way::Rewind { fork } => fork,
            Way::Clone(_) | Way::Refuse(_) => return Ok((way, false)),
        };
        if !reunite::log_reaches(&session, needed, segment).await.map_err(Failure::of_another)? {
            return Ok((Way::Clone("the master's log does not reach back to where it is"), false));
        }
        if way == Way::Follow {
            let name = slots::name_of(&self.options.name);
            let claimed = slots::claim(&session, &name).await.map_err(Failure::of_another)?;
            return Ok((way, claimed));
        }
        if !asked.is_checkpointed {
            session.run("CHECKPOINT").await.map_err(Failure::of_another)?;
        }
        Ok((way, false))
    }

    /// Without a slot at the master none may be named: the server would be refused there.
    async fn use_slot(&self, session: &Session, claimed: bool) -> Result<(), Failure> {
        const NAME: &str = "primary_slot_name";
        let slot = if claimed { slots::name_of(&self.options.name) } else { String::new() };
        let counts = format!("SELECT WHERE current_setting('{NAME}') = {}", literal(&slot));
        if rows(&session.run(&counts).await?) > 0 {
            return Ok(());
        }
        match self.set(session, NAME, &slot).await {
            // A role from before slots were used may not: it goes on without.
            Err(Failure::Refused(_)) if claimed => Ok(()),
            other => other,
        }
    }

    async fn session_to(&self, endpoint: &str) -> Result<Session, ConnectError> {
        Session::open(&self.options, self.password.as_deref(), endpoint).await
    }

    /// The server reads the password itself, and nobody else may.
    async fn write_passfile(&self, place: Place) -> Result<Option<PathBuf>, Failure> {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        let line = |password| format!("*:*:*:{}:{}\n", escaped(&self.options.user), escaped(password));
        let line = self.password.as_deref().map(line);
        let written = on_disk(move || {
            place.make()?;
            let Some(line) = line else { return Ok(None) };
            let file = place.passfile();
            if !std::fs::read_to_string(&file).is_ok_and(|there| there == line) {
                place.write(&file, &line)?;
            }
            Ok(Some(file))
        });
        let failed = |error| Failure::system("the password file for the server cannot be written", &error);
        written.await.map_err(failed)
    }
}

/// Works on files, on a thread that may block: a disk that hangs must hold nobody else.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// Tells the server of this process to end, fast and in order.
fn tell_to_end(backend: u32) -> Result<u32, Failure> {
    let server = parent_of(backend)
        .ok_or_else(|| Failure::Refused("its main process is not to be seen from here".to_owned()))?;
    let pid = i32::try_from(server).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::Refused("its main process has no number".to_owned()))?;
    kill_process(pid, Signal::INT)
        .map_err(|error| Failure::system("its main process cannot be told to end", &error.into()))?;
    Ok(server)
}

/// Whether nothing is received any more, and everything that was is replayed, or is nothing that could be.
const CUT: &str = "SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_wal_receiver) \
    AND (pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() \
        OR EXISTS (SELECT FROM pg_stat_activity \
            WHERE backend_type = 'startup' AND wait_event = 'RecoveryRetrieveRetryInterval'))";

/// Asks until there is a row.
async fn until(session: &Session, asked: &str) -> Result<(), Failure> {
    while rows(&session.run(asked).await?) == 0 {
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

/// What a file of settings says of one, as the server writes it: `name = 'value'`; the last line counts.
fn last_setting(file: &str, name: &str) -> Option<String> {
    let quoted =
        file.lines().rev().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
    let text = quoted.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    Some(text.replace("''", "'"))
}

fn standby_names(ack_quorum: u32) -> String {
    if ack_quorum == 0 { String::new() } else { format!("ANY {ack_quorum} (*)") }
}

fn rows(messages: &[SimpleQueryMessage]) -> u32 {
    let count = messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

async fn probe(session: &Session, look: &Look, memory: &Arc<Mutex<Memory>>) -> Result<Probe, Failure> {
    let mark = session.mark(look).await?;
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(look.to_probe(mark, &mut memory))
}

/// The fields of `/proc/PID/stat` behind the name, which may hold anything.
fn stat_of(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.to_owned())
}

/// The process that a server's process came from: its main one.
pub(super) fn parent_of(backend: u32) -> Option<u32> {
    let parent = stat_of(backend)?.split(' ').nth(1)?.parse().ok()?;
    (parent > 1).then_some(parent)
}

/// Whether a process has not ended; one that nobody has waited for yet has.
fn is_running(pid: u32) -> bool {
    stat_of(pid).is_some_and(|fields| !fields.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_wait_for_nobody_or_for_any() {
        assert_eq!(standby_names(0), "");
        assert_eq!(standby_names(2), "ANY 2 (*)");
    }

    #[test]
    fn whoever_is_sent_away_again_and_again_follows_in_vain() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut watch = LinkWatch::default();
        let steady = (0..200).any(|look| watch.is_in_vain(at(look * 100), look > 5));
        assert!(!steady, "it is connected after a moment");
        let mut watch = LinkWatch::default();
        let found = (0..200).find(|look| watch.is_in_vain(at(look * 100), look % 5 == 0));
        assert_eq!(found, Some(101));
        let mut watch = LinkWatch::default();
        assert_eq!((0..200).find(|look| watch.is_in_vain(at(look * 100), false)), Some(101));
    }

    #[test]
    fn the_last_line_of_a_setting_counts() {
        let file = "# by ALTER SYSTEM\nsync = 'ANY 1 (*)'\nsync_more = 'x'\nsync = 'it''s'\nother = ''\n";
        assert_eq!(last_setting(file, "sync").as_deref(), Some("it's"));
        assert_eq!(last_setting(file, "other").as_deref(), Some(""));
        assert_eq!(last_setting(file, "none"), None);
        assert_eq!(last_setting("sync", "sync"), None);
    }

    #[test]
    fn a_process_and_its_parent_are_found() {
        let own = std::process::id();
        assert!(is_running(own));
        assert_eq!(parent_of(own), Some(std::os::unix::process::parent_id()).filter(|parent| *parent > 1));
        assert!(!is_running(u32::MAX));
    }
}
