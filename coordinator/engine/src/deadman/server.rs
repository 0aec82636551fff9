//! The deadman's loop: one engine, one deadline, one coordinator. It waits in one place, and whatever wakes it, the
//! deadline is looked at first.

use super::connection::{Connection, Incoming};
use super::held::{Engine, Starter, reap};
use super::log::Writers;
use super::protocol::{
    Answer, Ask, Cause, Ended, EngineProcess, Event, Exit, PROTOCOL, Refusal, Request, Say, Status,
};
use super::{boottime_us, leftovers, socket_path, startup};
use crate::files;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;

/// What it exits with where another deadman holds the instance.
pub const EXIT_HELD: u8 = 3;
/// How long it lives without an engine and without a coordinator, in microseconds.
const LINGER_US: u64 = 60_000_000;
/// How often a kill is repeated and its end looked for: for so long after the kill, so often, both in microseconds. (The
/// kernel tells of a cgroup's end too, but at most every 10 ms.) What takes longest hangs in the kernel.
const KILL_INTERVALS_US: [(u64, u64); 3] = [(20_000, 300), (1_000_000, 2_000), (u64::MAX, 50_000)];

/// Runs a deadman: `--instance NAME --dir DIR [--linger-ms N] [--cgroup auto|never] -- ARGUMENT…`, where `ARGUMENT…`
/// makes this binary run [`super::exec::main`]. Blocks until it was told to stop, or nobody needs it.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started =
        parse(arguments.into_iter()).and_then(|options| Deadman::new(options).map_err(|e| e.to_string()));
    match started {
        Ok(Some(mut deadman)) => match deadman.run() {
            Ok(()) => ExitCode::SUCCESS,
            // Its death kills the engine (rule 4), which is what must happen if it can't wait for a deadline.
            Err(error) => fail(&format!("the loop ended: {error}")),
        },
        Ok(None) => ExitCode::from(EXIT_HELD),
        Err(what) => fail(&what),
    }
}

fn fail(what: &str) -> ExitCode {
    eprintln!("baton deadman: {what}");
    ExitCode::FAILURE
}

#[derive(Debug)]
struct Options {
    instance: String,
    dir: PathBuf,
    linger_us: u64,
    use_cgroup: bool,
    exec_arguments: Vec<String>,
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options {
        instance: String::new(),
        dir: PathBuf::new(),
        linger_us: LINGER_US,
        use_cgroup: true,
        exec_arguments: Vec::new(),
    };
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let value = words.next().ok_or_else(|| format!("{} has no value", word.display()))?;
        let text = value.to_string_lossy().into_owned();
        match word.to_str() {
            Some("--instance") => options.instance = text,
            Some("--dir") => options.dir = value.into(),
            Some("--cgroup") => options.use_cgroup = text != "never",
            Some("--linger-ms") => {
                let millis: u64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
                options.linger_us = millis.saturating_mul(1_000);
            }
            _ => return Err(format!("{} is no option of the deadman", word.display())),
        }
    }
    options.exec_arguments = words.map(|word| word.to_string_lossy().into_owned()).collect();
    if options.instance.is_empty() || options.dir.as_os_str().is_empty() {
        return Err("--instance and --dir are needed".into());
    }
    Ok(options)
}

struct Deadman {
    dir: PathBuf,
    linger_us: u64,
    starter: Starter,
    listener: UnixListener,
    timer: OwnedFd,
    children: UnixStream,
    /// The coordinator that is served.
    coordinator: Option<Connection>,
    /// One that has connected and not said hello yet.
    newcomer: Option<Connection>,
    engine: Option<Engine>,
    runs: u64,
    armed_us: Option<u64>,
    /// When the engine was first killed.
    killed_us: u64,
    ending_told: bool,
    last_ended: Option<Ended>,
    /// Why it is not sure that nothing of an earlier engine is left.
    unclean: Option<String>,
    weaknesses: Vec<String>,
    stopping: bool,
    /// When there was last an engine or a coordinator.
    needed_us: u64,
    _lock: fs::File,
}

/// What woke the loop.
#[derive(Debug, Default)]
struct Woken {
    listener: bool,
    coordinator: bool,
    newcomer: bool,
}

impl Deadman {
    /// `None`: another one holds this directory.
    fn new(options: Options) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let Some(lock) = files::try_lock(&options.dir.join("deadman.lock"))? else { return Ok(None) };
        let children = startup::signals()?;
        let unclean = leftovers::clear(&options.dir).err();
        let protection = startup::protect();
        let socket = socket_path(&options.dir);
        // Only the holder of the lock gets here, so a socket that is there is a dead one's.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let starter = Starter {
            exec_arguments: options.exec_arguments,
            group: options.use_cgroup.then(|| {
                format!("baton-{}-{:08x}", options.instance, fold(options.dir.as_os_str().as_encoded_bytes()))
            }),
            nice: protection.nice,
            oom: protection.oom,
            writers: Writers::default(),
        };
        Ok(Some(Self {
            dir: options.dir,
            linger_us: options.linger_us,
            starter,
            listener,
            timer,
            children,
            coordinator: None,
            newcomer: None,
            engine: None,
            runs: 0,
            armed_us: None,
            killed_us: 0,
            ending_told: false,
            last_ended: None,
            unclean,
            weaknesses: protection.weaknesses,
            stopping: false,
            needed_us: boottime_us(),
            _lock: lock,
        }))
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            self.check_deadline();
            self.check_engine();
            let idle = self.engine.is_none() && self.coordinator.is_none();
            let now = boottime_us();
            if !idle {
                self.needed_us = now;
            }
            let gone = self.needed_us.saturating_add(self.linger_us);
            if self.engine.is_none() && (self.stopping || (idle && now >= gone)) {
                let _ = fs::remove_file(socket_path(&self.dir));
                return Ok(());
            }
            let wait_us = match &self.engine {
                Some(engine) if engine.is_killed() => Some(self.kill_interval(now)),
                _ if idle => Some(gone.saturating_sub(now)),
                _ => None,
            };
            let woken = self.wait(wait_us)?;
            // Before any request is read: one of them may have waited since before this process was frozen.
            self.check_deadline();
            self.serve(&woken);
        }
    }

    fn kill_interval(&self, now: u64) -> u64 {
        let since = now.saturating_sub(self.killed_us);
        let stage = KILL_INTERVALS_US.iter().find(|(until, _)| since < *until);
        stage.map_or(KILL_INTERVALS_US[2].1, |(_, interval)| *interval)
    }

    fn check_deadline(&mut self) {
        if self.armed_us.is_some_and(|deadline| boottime_us() >= deadline) {
            self.kill(Cause::Deadline);
        }
    }

    fn kill(&mut self, cause: Cause) {
        if let Some(engine) = &mut self.engine {
            if !engine.is_killed() {
                self.killed_us = boottime_us();
            }
            engine.kill(cause);
        }
    }

    /// Notices ends, and drives a kill on until nothing is left.
    fn check_engine(&mut self) {
        let _ = (&self.children).read(&mut [0_u8; 64]);
        let children_left = reap(&mut self.engine);
        let Some(engine) = &mut self.engine else { return };
        if engine.has_ended(children_left) {
            if let Some(engine) = self.engine.take() {
                self.engine_ended(engine);
            }
        } else if engine.is_killed() {
            self.kill(Cause::Itself);
        } else if let Some(exit) = engine.exit() {
            self.main_process_ended(exit);
        }
    }

    fn main_process_ended(&mut self, exit: Exit) {
        let Some(run) = self.engine.as_ref().map(Engine::run) else { return };
        self.kill(Cause::Itself);
        if !self.ending_told {
            self.ending_told = true;
            self.tell(Event::EngineEnding { run, exit });
        }
    }

    fn engine_ended(&mut self, engine: Engine) {
        let ended = engine.ended();
        self.armed_us = None;
        self.last_ended = Some(ended.clone());
        // First of all: a failover waits for this line.
        self.tell(Event::EngineEnded { ended });
        self.disarm();
        engine.let_go();
        // Last, since it is the only step here that may wait for a disk.
        leftovers::forget(&self.dir);
    }

    fn tell(&mut self, event: Event) {
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.send(&Say::Event { event });
        }
    }

    fn wait(&self, wait_us: Option<u64>) -> io::Result<Woken> {
        // Once the engine is being killed the timer has nothing more to say, yet it stays readable: waiting for it would be
        // a busy loop at real-time priority, in which what was killed gets no processor to end on.
        let killing = self.engine.as_ref().is_some_and(Engine::is_killed);
        let mut fds = vec![
            PollFd::new(&self.timer, if killing { PollFlags::empty() } else { PollFlags::IN }),
            PollFd::new(&self.children, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        let connection = |connection: &Connection| {
            if connection.wants_to_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
        };
        let mut at = [None, None];
        for (at, peer) in at.iter_mut().zip([&self.coordinator, &self.newcomer]) {
            if let Some(peer) = peer {
                *at = Some(fds.len());
                fds.push(PollFd::from_borrowed_fd(peer.fd(), connection(peer)));
            }
        }
        if let Some((fd, exception)) = self.engine.as_ref().and_then(Engine::watch) {
            fds.push(PollFd::from_borrowed_fd(fd, if exception { PollFlags::PRI } else { PollFlags::IN }));
        }
        let timeout = wait_us.map(timespec);
        // Not poll's own timeout alone: the deadline is the timer's, which counts suspension.
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready =
            |at: Option<usize>| at.and_then(|at| fds.get(at)).is_some_and(|fd| !fd.revents().is_empty());
        let [coordinator, newcomer] = at;
        Ok(Woken { listener: ready(Some(2)), coordinator: ready(coordinator), newcomer: ready(newcomer) })
    }

    fn serve(&mut self, woken: &Woken) {
        if woken.coordinator
            && let Some(mut coordinator) = self.coordinator.take()
        {
            coordinator.flush();
            let incoming = coordinator.receive();
            self.coordinator = Some(coordinator);
            for incoming in incoming {
                self.incoming(incoming);
            }
        }
        if woken.newcomer
            && let Some(mut newcomer) = self.newcomer.take()
        {
            self.greet(newcomer.receive(), newcomer);
        }
        if woken.listener
            && let Ok((stream, _)) = self.listener.accept()
        {
            // An earlier one that never said hello gives way.
            self.newcomer = Connection::new(stream).ok();
        }
        for peer in [&mut self.coordinator, &mut self.newcomer] {
            if peer.as_ref().is_some_and(Connection::is_closed) {
                *peer = None;
            }
        }
    }

    /// A newcomer's first lines: with a hello it takes the coordinator's place.
    fn greet(&mut self, incoming: Vec<Incoming>, mut newcomer: Connection) {
        let mut incoming = incoming.into_iter();
        match incoming.next() {
            None => self.newcomer = Some(newcomer),
            Some(Incoming::Request(Request { id, ask: Ask::Hello { protocol } })) if protocol == PROTOCOL => {
                self.tell(Event::Superseded);
                let answer = Answer::Status { status: self.status() };
                newcomer.send(&Say::Answer { id, answer });
                self.coordinator = Some(newcomer);
                for incoming in incoming {
                    self.incoming(incoming);
                }
            }
            Some(other) => {
                let (id, answer) = match other {
                    Incoming::Request(Request { id, ask: Ask::Hello { protocol } }) => {
                        let what = format!("this deadman speaks version {PROTOCOL}, not {protocol}");
                        (id, refused(Refusal::Protocol, what))
                    }
                    Incoming::Request(Request { id, .. }) => {
                        (id, refused(Refusal::BadRequest, "the first request must be a hello"))
                    }
                    Incoming::Bad(what) => (0, refused(Refusal::BadRequest, what)),
                };
                newcomer.send(&Say::Answer { id, answer });
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        let (id, answer) = match incoming {
            Incoming::Request(request) => (request.id, self.answer(request.ask)),
            Incoming::Bad(what) => (0, refused(Refusal::BadRequest, what)),
        };
        let started = match &answer {
            Answer::Started { pid, run } => Some(Event::EngineStarted { pid: *pid, run: *run }),
            _ => None,
        };
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.send(&Say::Answer { id, answer });
        }
        if let Some(event) = started {
            self.tell(event);
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Hello { .. } | Ask::Status => Answer::Status { status: self.status() },
            Ask::Start { engine } => self.start(&engine),
            Ask::Adopt { pid } => self.adopt(pid),
            Ask::Kill if self.engine.is_none() => refused(Refusal::NoEngine, "no engine is held"),
            Ask::Kill => {
                self.kill(Cause::Asked);
                Answer::Killing
            }
            Ask::Arm { run, deadline_us } => self.arm(run, deadline_us),
            Ask::Disarm => {
                self.disarm();
                Answer::Disarmed
            }
            Ask::Holds { pid } => {
                Answer::Holds { held: self.engine.as_ref().is_some_and(|engine| engine.contains(pid)) }
            }
            Ask::Stop => {
                self.stopping = true;
                self.kill(Cause::Asked);
                Answer::Stopping
            }
        }
    }

    /// Why no engine can be taken now.
    fn busy(&mut self) -> Option<Answer> {
        if self.stopping {
            return Some(refused(Refusal::EngineHeld, "this deadman is about to end"));
        }
        if let Some(engine) = &self.engine {
            return Some(refused(Refusal::EngineHeld, format!("process {} is held", engine.pid())));
        }
        if self.unclean.is_some() {
            self.unclean = leftovers::clear(&self.dir).err();
        }
        self.unclean.clone().map(|what| refused(Refusal::EngineHeld, what))
    }

    fn start(&mut self, process: &EngineProcess) -> Answer {
        if let Some(answer) = self.busy() {
            return answer;
        }
        match self.starter.start(self.runs + 1, process) {
            Ok((engine, weakness)) => {
                if let Some(what) = weakness {
                    self.weakness(format!("the engine has no cgroup of its own: {what}"));
                }
                if let Err(error) = leftovers::note(&self.dir, &engine) {
                    self.weakness(format!("a successor will not know this engine: {error}"));
                }
                self.hold(engine)
            }
            Err(error) => refused(Refusal::System, error.to_string()),
        }
    }

    fn adopt(&mut self, pid: u32) -> Answer {
        if let Some(answer) = self.busy() {
            return answer;
        }
        match Engine::adopt(self.runs + 1, pid) {
            Ok(engine) => {
                self.weakness(
                    "the engine was adopted: it outlives this process, and only one of its own is held"
                        .into(),
                );
                self.hold(engine)
            }
            Err(error) => refused(Refusal::System, format!("cannot hold process {pid}: {error}")),
        }
    }

    fn hold(&mut self, engine: Engine) -> Answer {
        self.runs = engine.run();
        self.ending_told = false;
        let answer = Answer::Started { pid: engine.pid(), run: engine.run() };
        self.engine = Some(engine);
        answer
    }

    fn weakness(&mut self, what: String) {
        if !self.weaknesses.contains(&what) {
            self.weaknesses.push(what);
        }
    }

    fn arm(&mut self, run: u64, deadline_us: u64) -> Answer {
        match &self.engine {
            None => return refused(Refusal::NoEngine, "no engine is held"),
            Some(engine) if engine.is_killed() || engine.exit().is_some() => {
                return refused(Refusal::NoEngine, "the engine is on its way out");
            }
            Some(engine) if engine.run() != run => {
                return refused(Refusal::OtherRun, format!("run {} is held", engine.run()));
            }
            Some(_) => {}
        }
        if boottime_us() >= deadline_us {
            return refused(Refusal::DeadlinePassed, "that moment is past");
        }
        // The timer first: an answer says that the kernel knows.
        match self.set_timer(deadline_us) {
            Ok(()) => {
                self.armed_us = Some(deadline_us);
                Answer::Armed { deadline_us }
            }
            Err(error) => refused(Refusal::System, error.to_string()),
        }
    }

    fn disarm(&mut self) {
        self.armed_us = None;
        // A timer that could not be stopped only wakes the loop once.
        let _ = self.set_timer(0);
    }

    /// 0 stops it.
    fn set_timer(&self, deadline_us: u64) -> io::Result<()> {
        let spec = Itimerspec { it_interval: timespec(0), it_value: timespec(deadline_us) };
        timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            protocol: PROTOCOL,
            deadman_pid: std::process::id(),
            engine: self.engine.as_ref().map(Engine::status),
            armed_us: self.armed_us,
            last_ended: self.last_ended.clone(),
            clean: self.engine.is_none() && self.unclean.is_none(),
            weaknesses: self.weaknesses.clone(),
        }
    }
}

fn refused(reason: Refusal, what: impl Into<String>) -> Answer {
    Answer::Refused { reason, what: what.into() }
}

fn timespec(micros: u64) -> Timespec {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::try_from(micros % 1_000_000).unwrap_or(0) * 1_000 }
}

/// FNV-1a, folded to 32 bits: tells the groups of two instances of one name in two directories apart.
fn fold(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash >> 32) ^ hash) as u32
}
