//! A server's process, tied to this one: it is killed when its handle is dropped, and also when this process ends in any other
//! way, since a server that several tests share is dropped by nobody.

use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts the program in the background, says its number, and kills it as soon as standard input ends: that is when whoever
/// holds the other end drops it, or dies.
const TETHER: &str = r#"log=$1; shift
"$@" >>"$log" 2>&1 </dev/null & server=$!
echo $server
cat >/dev/null
kill -9 $server 2>/dev/null
wait $server 2>/dev/null
exit 0"#;

/// A process that runs, or ran.
#[derive(Debug)]
pub(crate) struct Process {
    tether: Child,
    number: Pid,
    /// Stays right when the number is used again.
    handle: OwnedFd,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub(crate) fn start(program: &Path, arguments: &[OsString], log: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", TETHER, "tether"]).arg(log).arg(program).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Whatever the machine's own environment configures is not what is tested.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["BATON_", "ETCD_", "ETCDCTL_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let mut tether = command.spawn().expect("there is a shell");
        let mut number = String::new();
        let output = tether.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut number).expect("the shell says a number");
        let number = number.trim().parse().ok().and_then(Pid::from_raw).expect("the shell says a number");
        let handle = rustix::process::pidfd_open(number, PidfdFlags::empty());
        Self { tether, number, handle: handle.expect("the shell has not waited for it") }
    }

    /// SIGSTOP, and waits until no thread runs any more: one that still did could answer for a frozen server.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.is_frozen() {
            assert!(Instant::now() < deadline, "SIGSTOP did not stop it");
            std::thread::yield_now();
        }
    }

    fn is_frozen(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.number.as_raw_nonzero()));
        threads.expect("it still runs").flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The name, in parentheses, may hold anything; the state follows it.
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        })
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.handle, signal).expect("the server still runs");
    }
}

impl Drop for Process {
    /// SIGKILL, and waits for the end.
    fn drop(&mut self) {
        drop(self.tether.stdin.take());
        // Nothing can be done about a shell that cannot be waited for.
        let _ = self.tether.wait();
    }
}
