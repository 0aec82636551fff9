//! Clocks: what a lease rests on is that the clocks of running hosts advance at nearly the same rate, and that they go on
//! while a machine is suspended. How far the wall clocks of two hosts are apart matters to nobody but readers of logs;
//! the drift between two hosts is not measured here, since that takes longer than a person waits.

use super::{Finding, Times, Verdict, tool};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long the kernel's correction of the clock is watched.
const WATCH: Duration = Duration::from_secs(1);
/// Sources whose rate is known well and that are read without leaving the processor.
const GOOD: [&str; 5] = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"];

pub(super) async fn check(times: Option<&Times>) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let source = judge_source(
        read(&format!("{folder}/current_clocksource")),
        read(&format!("{folder}/available_clocksource")),
    );
    let machine = Machine {
        hypervisor: fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| has_hypervisor(&text))
            || Path::new("/sys/hypervisor/type").exists(),
        product: read("/sys/class/dmi/id/product_name"),
        generation_id: entries("/sys/bus/acpi/devices").iter().any(|name| name.starts_with("VMGENCTR")),
        host_clock: entries("/sys/class/ptp").iter().any(|name| {
            read(&format!("/sys/class/ptp/{name}/clock_name")).is_some_and(|name| name.contains("KVM"))
        }),
    };
    let asked = tool::say(Path::new("timedatectl"), &["show", "-p", "NTPSynchronized", "--value"]).await;
    vec![source, judge_machine(&machine), rate(times).await, judge_synchronized(asked.as_deref())]
}

fn entries(folder: &str) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn judge_source(current: Option<String>, available: Option<String>) -> Finding {
    const CHECK: &str = "clock-source";
    let Some(current) = current else { return Finding::skipped(CHECK, "the kernel does not tell") };
    if GOOD.contains(&current.as_str()) {
        return Finding::ok(CHECK, current);
    }
    let others: Vec<&str> = available.as_deref().unwrap_or_default().split_whitespace().collect();
    let better = GOOD.iter().find(|good| others.contains(good));
    let advice = match better {
        Some(better) => {
            format!(
                "find out why the kernel gave up {better} (dmesg | grep -i clocksource): a lease trusts this rate"
            )
        }
        None => "a lease trusts this clock's rate: prefer a host with tsc, kvm-clock or arch_sys_counter"
            .to_owned(),
    };
    Finding::new(CHECK, Verdict::Warning, format!("{current} (of: {})", others.join(", ")), advice)
}

/// What can be seen of the machine below.
#[derive(Debug, Default)]
struct Machine {
    hypervisor: bool,
    product: Option<String>,
    /// A device by which the host tells that this machine was restored or copied.
    generation_id: bool,
    /// The host's own clock, to compare with.
    host_clock: bool,
}

/// Whether one of the `flags` lines of `/proc/cpuinfo` names a hypervisor.
fn has_hypervisor(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| line.split_whitespace().any(|word| word == "hypervisor"))
}

fn judge_machine(machine: &Machine) -> Finding {
    const CHECK: &str = "virtual-machine";
    if !machine.hypervisor {
        return Finding::ok(CHECK, "no: real hardware, as far as can be seen");
    }
    let there = |is: bool| if is { "there" } else { "not there" };
    let evidence = format!(
        "yes{}; VM generation id {}, clock of the host (ptp_kvm) {}",
        machine.product.as_ref().map(|product| format!(", {product}")).unwrap_or_default(),
        there(machine.generation_id),
        there(machine.host_clock)
    );
    let advice = "a machine whose clock stands still while it is paused wakes with its whole lease: never pause, snapshot or \
                  migrate it live while it leads, or replicate synchronously (ack_quorum)";
    Finding::new(CHECK, Verdict::Notice, evidence, advice)
}

/// How much the kernel corrects the rate of all its clocks, found by comparing them with the one that it does not correct.
async fn rate(times: Option<&Times>) -> Finding {
    let Some(times) = times else { return Finding::skipped("clock-rate", "there are no timings") };
    let before = pair();
    tokio::time::sleep(WATCH).await;
    match correction_ppm(before, pair()) {
        Some(ppm) => judge_rate(ppm, times.clock_drift_ppm),
        None => Finding::skipped("clock-rate", "the clocks could not be compared"),
    }
}

/// CLOCK_MONOTONIC and CLOCK_MONOTONIC_RAW at one moment, in nanoseconds.
fn pair() -> (i128, i128) {
    let read = |clock| {
        let now = clock_gettime(clock);
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    };
    // The middle of two readings, since the process may be interrupted between them.
    let first = read(ClockId::Monotonic);
    let raw = read(ClockId::MonotonicRaw);
    (i128::midpoint(first, read(ClockId::Monotonic)), raw)
}

fn correction_ppm(before: (i128, i128), after: (i128, i128)) -> Option<f64> {
    let (corrected, raw) = (after.0 - before.0, after.1 - before.1);
    (raw > 0 && corrected > 0).then(|| (corrected - raw) as f64 * 1e6 / raw as f64)
}

fn judge_rate(ppm: f64, bound_ppm: u32) -> Finding {
    let evidence = format!("the kernel corrects it by {ppm:+.1} ppm; clock_drift allows {bound_ppm}");
    let bound = f64::from(bound_ppm);
    if ppm.abs() > bound {
        let advice =
            "the clock is off by more than leases allow for: repair it, or stop what slews it so fast";
        return Finding::new("clock-rate", Verdict::Problem, evidence, advice);
    }
    // Two hosts may be off in opposite directions.
    if ppm.abs() > bound / 2.0 {
        let advice = "more than half of what two hosts may differ by: look at the time daemon's log";
        return Finding::new("clock-rate", Verdict::Warning, evidence, advice);
    }
    Finding::ok("clock-rate", evidence)
}

/// `asked`: what `timedatectl` says.
fn judge_synchronized(asked: Option<&str>) -> Finding {
    const CHECK: &str = "time-synchronized";
    match asked {
        Some("yes") => Finding::ok(CHECK, "yes, says timedatectl"),
        Some("no") => Finding::new(
            CHECK,
            Verdict::Warning,
            "no, says timedatectl",
            "run chrony or systemd-timesyncd: leases need no common time, but logs and histories are read by it",
        ),
        Some(_) | None => Finding::skipped(CHECK, "timedatectl does not tell"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_clock_source_is_a_warning_that_names_the_better_one() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(judge_source(some("tsc"), some("tsc kvm-clock")).verdict, Verdict::Ok);
        let slow = judge_source(some("hpet"), some("hpet acpi_pm tsc"));
        assert_eq!(slow.verdict, Verdict::Warning);
        assert!(slow.advice.contains("gave up tsc"), "{slow:?}");
        assert_eq!(judge_source(some("jiffies"), None).verdict, Verdict::Warning);
        assert_eq!(judge_source(None, None).verdict, Verdict::Skipped);
    }

    #[test]
    fn a_virtual_machine_is_told_by_the_processor() {
        assert!(has_hypervisor("processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"));
        assert!(!has_hypervisor("processor : 0\nmodel name : hypervisor\nflags : fpu vme\n"));
        let machine = Machine { hypervisor: true, generation_id: true, ..Machine::default() };
        let said = judge_machine(&machine);
        assert_eq!(said.verdict, Verdict::Notice);
        assert_eq!(said.evidence, "yes; VM generation id there, clock of the host (ptp_kvm) not there");
        assert_eq!(judge_machine(&Machine::default()).verdict, Verdict::Ok);
    }

    #[test]
    fn a_correction_is_measured_and_held_against_the_bound() {
        let second = 1_000_000_000;
        let ppm = correction_ppm((5, 0), (5 + second + 500_000, second)).expect("time went on");
        assert!((ppm - 500.0).abs() < 0.001, "{ppm}");
        assert_eq!(correction_ppm((5, 7), (5, 7)), None);
        assert_eq!(judge_rate(500.0, 5_000).verdict, Verdict::Ok);
        assert_eq!(judge_rate(-2_600.0, 5_000).verdict, Verdict::Warning);
        assert_eq!(judge_rate(-5_001.0, 5_000).verdict, Verdict::Problem);
    }

    #[test]
    fn an_unsynchronized_host_is_a_warning_and_silence_is_no_answer() {
        assert_eq!(judge_synchronized(Some("yes")).verdict, Verdict::Ok);
        assert_eq!(judge_synchronized(Some("no")).verdict, Verdict::Warning);
        assert_eq!(judge_synchronized(None).verdict, Verdict::Skipped);
    }
}
