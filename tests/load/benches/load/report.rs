//! What was measured, for people and for programs.

use crate::sizes::Sizes;
use anyhow::ensure;
use load::Seen;
use serde_json::json;
use std::time::Duration;

/// How long the replacement of all masters whose engines ended may take, and how much more than a lease that of silent ones.
const LIMIT: Duration = Duration::from_secs(2);

/// Everything of one run.
pub struct Run {
    pub sizes: Sizes,
    pub first_masters: Duration,
    pub rest: Rest,
    pub asked: [(&'static str, Duration); 2],
    pub silent: Blow,
    pub ended: Blow,
    /// The arbiter's at the end, in bytes.
    pub memory: u64,
    pub seen: Seen,
    /// Sets whose term did not rise with each blow that hit them.
    pub missing: usize,
    /// Sets whose term rose without a blow, too.
    pub lapsed: usize,
}

/// A cluster in which nothing happens.
pub struct Rest {
    pub beats_per_second: f64,
    pub arbiter_percent: f64,
    pub provider_percent: f64,
    pub players_percent: f64,
    pub arbiter_bytes: u64,
    pub provider_bytes: u64,
    pub changes_written: u64,
}

/// Many masters lost at one moment.
pub struct Blow {
    /// From that moment until the router knew the new master, sorted.
    pub after: Vec<Duration>,
    /// The arbiter's processor time meanwhile.
    pub cpu: Duration,
}

impl Blow {
    fn at(&self, percent: usize) -> Duration {
        let index = (self.after.len() * percent / 100).min(self.after.len().saturating_sub(1));
        self.after.get(index).copied().unwrap_or_default()
    }

    fn worst(&self) -> Duration {
        self.after.last().copied().unwrap_or_default()
    }

    /// From the first one that was replaced, or from the blow itself, to the last.
    fn per_second(&self, from: Duration) -> f64 {
        self.after.len() as f64 / self.worst().saturating_sub(from).as_secs_f64().max(0.001)
    }

    fn cpu_percent(&self) -> f64 {
        self.cpu.as_secs_f64() / self.worst().as_secs_f64().max(0.001) * 100.0
    }

    fn json(&self, per_second: f64) -> serde_json::Value {
        json!({
            "masters": self.after.len(),
            "median_ms": millis(self.at(50)),
            "p99_ms": millis(self.at(99)),
            "max_ms": millis(self.worst()),
            "decisions_per_second": per_second.round(),
            "arbiter_cpu_ms": millis(self.cpu),
        })
    }
}

impl Run {
    /// What must be right however slow the machine is.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.missing == 0, "{} sets have a lower term than what happened to them says", self.missing);
        ensure!(self.seen.two_writable == 0, "two engines of a set could be written: {:?}", self.seen);
        Ok(())
    }

    fn lease(&self) -> Duration {
        humantime::parse_duration(&self.sizes.lease_ttl).unwrap_or_default()
    }

    /// The first silent master's right ends about a lease after the blow; what comes behind it is the arbiter's work.
    fn silent_per_second(&self) -> f64 {
        self.silent.per_second(self.silent.at(0))
    }
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e5).round() / 100.0
}

fn mebibytes(bytes: u64) -> f64 {
    (bytes as f64 / 1_048_576.0 * 10.0).round() / 10.0
}

pub fn print(run: &Run) {
    if std::env::var_os("JSON").is_some_and(|value| value == "1") {
        println!("{}", as_json(run));
    } else {
        for_people(run);
    }
}

fn as_json(run: &Run) -> serde_json::Value {
    let (sizes, rest) = (&run.sizes, &run.rest);
    json!({
        "sets": sizes.sets, "instances": 3 * sizes.sets, "per_host": sizes.per_host, "provider": sizes.provider,
        "lease_ttl_ms": millis(run.lease()), "seed": sizes.seed,
        "first_masters_ms": millis(run.first_masters),
        "rest": {
            "beats_per_second": rest.beats_per_second.round(),
            "arbiter_cpu_percent": rest.arbiter_percent, "provider_cpu_percent": rest.provider_percent,
            "hosts_cpu_percent": rest.players_percent,
            "arbiter_mib": mebibytes(rest.arbiter_bytes), "provider_mib": mebibytes(rest.provider_bytes),
            "changes_written": rest.changes_written,
        },
        "status_ms": millis(run.asked[0].1), "masters_ms": millis(run.asked[1].1),
        "engines_ended": run.ended.json(run.ended.per_second(Duration::ZERO)),
        "hosts_silent": run.silent.json(run.silent_per_second()),
        "arbiter_mib_at_the_end": mebibytes(run.memory),
        "promises_asked": run.seen.promises_asked, "killed_by_deadman": run.seen.killed,
        "two_writable": run.seen.two_writable, "terms_missing": run.missing, "leases_lapsed": run.lapsed,
    })
}

fn for_people(run: &Run) {
    let (sizes, rest) = (&run.sizes, &run.rest);
    let line = |what: &str, value: String| println!("  {what:<44}{value}");
    println!(
        "{} replica sets, {} instances on {} hosts, one arbiter, {}, lease_ttl {}, seed {}",
        sizes.sets,
        3 * sizes.sets,
        3 * sizes.sets / sizes.per_host,
        sizes.provider,
        sizes.lease_ttl,
        sizes.seed
    );
    line("all masters appointed from nothing", format!("{:.2} s", run.first_masters.as_secs_f64()));
    println!("at rest");
    line("heartbeats a second", format!("{:.0}", rest.beats_per_second));
    line("arbiter, of one core", format!("{:.1} %", rest.arbiter_percent));
    line("arbiter, resident", format!("{:.1} MiB", mebibytes(rest.arbiter_bytes)));
    line("provider, of one core", format!("{:.1} %", rest.provider_percent));
    line("provider, resident", format!("{:.1} MiB", mebibytes(rest.provider_bytes)));
    line("changes that the provider wrote", format!("{}", rest.changes_written));
    line("all acted hosts together, of one core", format!("{:.0} %", rest.players_percent));
    for (what, took) in &run.asked {
        line(&format!("batonctl {what}"), format!("{:.0} ms", millis(*took)));
    }
    let lease = run.lease();
    blow(&run.ended, "masters whose engines ended at once", LIMIT, run.ended.per_second(Duration::ZERO));
    blow(&run.silent, "masters whose hosts stood still at once", lease + LIMIT, run.silent_per_second());
    println!("in all");
    line("arbiter, resident at the end", format!("{:.1} MiB", mebibytes(run.memory)));
    line("masters that asked for promises", format!("{}", run.seen.promises_asked));
    line("engines that a deadman killed", format!("{}", run.seen.killed));
    line("two engines of a set writable", format!("{}", run.seen.two_writable));
    line("sets whose lease ran out by itself", format!("{}", run.lapsed));
}

fn blow(blow: &Blow, what: &str, limit: Duration, per_second: f64) {
    let line = |what: &str, value: String| println!("  {what:<44}{value}");
    let verdict = if blow.worst() <= limit { "ok" } else { "MISSED" };
    println!("{} {what}: until a router knew the new one", blow.after.len());
    line("median", format!("{:.0} ms", millis(blow.at(50))));
    line("p99", format!("{:.0} ms", millis(blow.at(99))));
    line("all", format!("{:.0} ms  (at most {:.0} ms: {verdict})", millis(blow.worst()), millis(limit)));
    line("decisions a second", format!("{per_second:.0}"));
    line("arbiter, of one core", format!("{:.0} %", blow.cpu_percent()));
}
