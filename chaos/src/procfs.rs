//! What the kernel tells of a process: parents, command lines, memory and processor time, read from `/proc`. Decides
//! nothing, and knows nothing of Baton.
//!
//! A process can end between any two reads: every function answers "not there" by an `Option` or an empty list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A process as one read of `/proc/PID/stat` and `/proc/PID/cmdline` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessView {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// The kernel's state letter: `R`, `S`, `D`, `T` (stopped), `Z` (ended, not yet reaped), …
    pub state: char,
    /// When it started, in clock ticks since boot: with the number it names one process for good.
    pub started_ticks: u64,
    /// Processor time of user and kernel, in clock ticks.
    pub processor_ticks: u64,
    /// The command line, arguments joined by spaces.
    pub command: String,
}

impl ProcessView {
    /// Whether it still runs or could run again: not ended.
    #[must_use]
    pub fn alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Whether it is stopped by a signal.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.state == 'T'
    }
}

/// One process, if it is there.
#[must_use]
pub fn view(pid: i32) -> Option<ProcessView> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    parse_stat(&stat, &command)
}

/// The second field (the name in parentheses) may hold spaces and parentheses itself, so fields count from the last `)`.
fn parse_stat(stat: &str, command: &[u8]) -> Option<ProcessView> {
    let pid = stat.split_ascii_whitespace().next()?.parse().ok()?;
    let rest = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    Some(ProcessView {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        started_ticks: number(19)?,
        processor_ticks: number(11)? + number(12)?,
        command: words.join(" ").trim_end().to_owned(),
    })
}

/// All processes, by number.
#[must_use]
pub fn all() -> BTreeMap<i32, ProcessView> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, view(pid)?)))
        .collect()
}

/// Every process below `ancestor`, itself not included, ended ones neither.
#[must_use]
pub fn descendants(ancestor: i32) -> Vec<ProcessView> {
    below(ancestor, &all())
}

fn below(ancestor: i32, processes: &BTreeMap<i32, ProcessView>) -> Vec<ProcessView> {
    let mut family = BTreeSet::from([ancestor]);
    loop {
        let size = family.len();
        for process in processes.values() {
            if family.contains(&process.parent) {
                family.insert(process.pid);
            }
        }
        if family.len() == size {
            break;
        }
    }
    family.remove(&ancestor);
    family.iter().filter_map(|pid| processes.get(pid)).filter(|process| process.alive()).cloned().collect()
}

/// Resident memory in bytes.
#[must_use]
pub fn resident_bytes(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The directories of the version 2 control group that the process is in, below any mount of that hierarchy.
#[must_use]
pub fn control_group(pid: i32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let at = words.nth(1)?;
            (words.next()? == "cgroup2").then_some(at)
        })
        .next()?;
    Some(PathBuf::from(mount).join(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) T 7 42 42 0 -1 4194560 1 2 3 4 50 60 0 0 20 0 1 0 9876 1000 200";
        let process = parse_stat(stat, b"redis-server\x00127.0.0.1:7001\0").expect("a whole line");
        assert_eq!((process.pid, process.parent, process.state), (42, 7, 'T'));
        assert_eq!((process.processor_ticks, process.started_ticks), (110, 9876));
        assert_eq!(process.command, "redis-server 127.0.0.1:7001");
        assert!(process.stopped() && process.alive());
    }

    #[test]
    fn a_torn_line_is_no_process() {
        assert_eq!(parse_stat("42 (redis", b""), None);
        assert_eq!(parse_stat("42 (redis) S 1", b""), None);
    }

    #[test]
    fn descendants_are_found_over_generations_and_the_ended_are_left_out() {
        let process = |pid, parent, state| ProcessView {
            pid,
            parent,
            state,
            started_ticks: 1,
            processor_ticks: 0,
            command: String::new(),
        };
        let processes: BTreeMap<i32, ProcessView> = [
            process(30, 1, 'S'),
            process(20, 40, 'S'),
            process(40, 30, 'S'),
            process(50, 40, 'Z'),
            process(60, 1, 'S'),
        ]
        .into_iter()
        .map(|process| (process.pid, process))
        .collect();
        let found: Vec<i32> = below(30, &processes).iter().map(|process| process.pid).collect();
        assert_eq!(found, [20, 40]);
    }

    #[test]
    fn this_process_is_seen() {
        let own = i32::try_from(std::process::id()).expect("process numbers fit");
        assert!(view(own).expect("it runs").alive());
        assert!(resident_bytes(own).expect("it has memory") > 100_000);
    }
}
