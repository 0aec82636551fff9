//! What a coordinator and a deadman say to each other: one JSON value a line over the deadman's unix socket. It does not
//! know who reads or writes it.
//!
//! Every request carries a number and is answered once, with that number; events are pushed between the answers. A
//! deadline is a moment of CLOCK_BOOTTIME in microseconds, which both sides read on the same machine.

use serde::{Deserialize, Serialize};

/// The version of this protocol; raised where an old deadman would misunderstand a new coordinator.
pub const PROTOCOL: u32 = 1;

/// Longest line, in bytes (an engine's command line and environment must fit).
pub const LINE_BYTES_MAX: usize = 512 * 1024;

/// What a coordinator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// First on every connection. From then on this connection is the one that is served.
    Hello {
        /// [`PROTOCOL`] of the coordinator.
        protocol: u32,
    },
    /// How things are.
    Status,
    /// Start an engine. Refused while another is held that has not wholly ended.
    Start {
        /// How.
        engine: EngineProcess,
    },
    /// Hold an engine that runs already. A weaker promise: it outlives the deadman, and only the one process is held.
    Adopt {
        /// Its main process.
        pid: u32,
    },
    /// Kill the engine, all its processes. Answered at once; [`Event::EngineEnded`] follows when none is left.
    Kill,
    /// Kill the engine at this moment, whatever becomes of the coordinator. Replaces an earlier deadline.
    Arm {
        /// The run of the engine that is meant ([`Status::run`]); another one is not touched.
        run: u64,
        /// When, in microseconds of CLOCK_BOOTTIME.
        deadline_us: u64,
    },
    /// Forget the deadline: the engine is known to be read-only.
    Disarm,
    /// Whether this process belongs to the engine that is held.
    Holds {
        /// The process.
        pid: u32,
    },
    /// End, and the engine with you.
    Stop,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the answer.
    pub id: u64,
    /// What.
    #[serde(flatten)]
    pub ask: Ask,
}

/// An engine to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineProcess {
    /// Program and arguments; already the fenced ones.
    pub argv: Vec<String>,
    /// Variables added to, or replacing, the environment of the deadman. (Of that, `BATON_…` and what a service manager
    /// set are not passed on.)
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Where it is started; the deadman's own directory (`/`) if not given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Where its standard output and standard error go; an absolute path.
    pub log_file: String,
    /// At this size the log file is moved to `FILE.1` (and that to `FILE.2`), in bytes; 0: 16 MiB.
    #[serde(default)]
    pub log_bytes_max: u64,
}

/// What a deadman says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Say {
    /// The answer to a request.
    Answer {
        /// Of which request.
        id: u64,
        /// What.
        #[serde(flatten)]
        answer: Answer,
    },
    /// Something happened.
    Event {
        /// What.
        #[serde(flatten)]
        event: Event,
    },
}

/// Answers, by request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To `Hello` and `Status`.
    Status {
        /// How things are.
        status: Status,
    },
    /// To `Start` and `Adopt`.
    Started {
        /// The main process.
        pid: u32,
        /// The number of this run.
        run: u64,
    },
    /// To `Kill`: signals are out. The end is an event.
    Killing,
    /// To `Arm`: set, and the kernel's timer with it, before this answer was written.
    Armed {
        /// The deadline that holds now.
        deadline_us: u64,
    },
    /// To `Disarm`.
    Disarmed,
    /// To `Holds`.
    Holds {
        /// Whether it does.
        held: bool,
    },
    /// To `Stop`.
    Stopping,
    /// Nothing was changed.
    Refused {
        /// Why.
        reason: Refusal,
        /// In words.
        what: String,
    },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The request cannot be read, or came before `Hello`.
    BadRequest,
    /// Coordinator and deadman do not speak the same version.
    Protocol,
    /// An engine is held already.
    EngineHeld,
    /// No engine is held.
    NoEngine,
    /// Another run of the engine than the one named is held.
    OtherRun,
    /// The deadline of `Arm` is past. An earlier deadline stays.
    DeadlinePassed,
    /// The system would not start, or find, the engine.
    System,
}

/// What happens without being asked for. Sent to the connected coordinator only: a new one asks for the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An engine runs.
    EngineStarted {
        /// Its main process.
        pid: u32,
        /// The number of its run.
        run: u64,
    },
    /// The main process has ended, but others of the engine are still there. They are being killed.
    EngineEnding {
        /// The number of its run.
        run: u64,
        /// How the main process ended.
        exit: Exit,
    },
    /// No process of the engine is left.
    EngineEnded {
        /// How.
        ended: Ended,
    },
    /// A newer coordinator has connected; this connection is closed.
    Superseded,
}

/// The end of one run of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The number of the run.
    pub run: u64,
    /// The main process.
    pub pid: u32,
    /// How that ended.
    pub exit: Exit,
    /// Who ended it.
    pub cause: Cause,
    /// When the last process was found gone, in microseconds of CLOCK_BOOTTIME.
    pub at_us: u64,
    /// Whether it is known that no process is left. False only for an adopted engine, where one process is watched.
    pub wholly: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Not known (an adopted process is not the deadman's child).
    Unknown,
}

/// Who ended an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It ended by itself, or by somebody's hand.
    Itself,
    /// The coordinator asked for it.
    Asked,
    /// The deadline passed.
    Deadline,
}

/// How things are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`PROTOCOL`] of the deadman.
    pub protocol: u32,
    /// The deadman's own process.
    pub deadman_pid: u32,
    /// The engine that is held, if one is.
    pub engine: Option<Held>,
    /// When it will be killed, in microseconds of CLOCK_BOOTTIME.
    pub armed_us: Option<u64>,
    /// How the last engine ended, if none is held.
    pub last_ended: Option<Ended>,
    /// Whether no engine is held and it is sure that no process of an earlier one is left, not even of one that an
    /// earlier deadman held.
    pub clean: bool,
    /// What of the deadman's protection could not be had, in words (memory not locked, no cgroup, …).
    pub weaknesses: Vec<String>,
}

/// An engine that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The number of this run: counted from 1 by each deadman.
    pub run: u64,
    /// The main process.
    pub pid: u32,
    /// When it was started or adopted, in microseconds of CLOCK_BOOTTIME.
    pub started_us: u64,
    /// How it is held.
    pub hold: Hold,
    /// Whether it has been killed and is on its way out.
    pub killing: bool,
}

/// How an engine is held, from strong to weak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// In a cgroup of its own: all its processes end at once, wherever they moved in the process tree.
    Cgroup {
        /// The directory of the group.
        path: String,
    },
    /// As the deadman's descendants.
    ProcessTree,
    /// As one process that the deadman did not start.
    Adopted,
}
