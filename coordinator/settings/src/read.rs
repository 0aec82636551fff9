//! From a document to settings: every problem at once, each with its place.

use baton_config::value::{duration, quoted};
use baton_config::{Document, Problems, Section};
use baton_core::ids::{InstanceName, ReplicaSetName, Zone};
use baton_core::record::Settings;
use baton_core::settings::{LossPolicy, MemberSettings, SetSettings, ZonePolicy};
use baton_core::time::Span;

/// Parses and checks, the timing included. `file` is the file's name for people; an empty `text` gives the defaults.
///
/// # Errors
/// All problems at once.
pub fn parse(file: &str, text: &str) -> Result<Settings, Problems> {
    let document = Document::parse(file, text);
    let settings = read(&document, None);
    let problems = document.into_problems();
    if problems.is_empty() { Ok(settings) } else { Err(Problems(problems)) }
}

/// Reads a parsed document; problems are left in it. `lease` is what `lease_ttl` must be, and is where it is not given:
/// the lease and who wants it, for people.
pub fn read(document: &Document, lease: Option<(Span, String)>) -> Settings {
    let mut root = document.root();
    let mut settings = Settings::default();
    let lease_ttl = root.parsed("lease_ttl", span);
    if let (Some(read), Some((wanted, why))) = (&lease_ttl, &lease)
        && read.value != *wanted
    {
        let rule = format!("must be {wanted} {why}; give one of the two");
        root.problem_with(read, quoted(&read.value.to_string()), rule);
    }
    let lease_ttl = lease_ttl.map(|read| read.value).or(lease.map(|(lease, _)| lease));
    put(&mut settings.lease_ttl, lease_ttl);
    settings.longest_lease = settings.lease_ttl;
    settings.stall_timeout = root.parsed("stall_timeout", span).map(|read| read.value);
    let max = root.number("max_failovers_per_minute", 1..=u32::MAX);
    settings.max_failovers_per_minute = max.map(|read| read.value);
    put(&mut settings.failsafe, root.boolean("failsafe").map(|read| read.value));
    settings.fence_command = root.parsed("fence_command", command).map(|read| read.value);
    put(&mut settings.clock_drift_ppm, root.number("clock_drift_ppm", 0..=u32::MAX).map(|read| read.value));
    for zone in root.list("drained").map(|read| read.value).unwrap_or_default() {
        match Zone::parse(&zone.value) {
            Ok(name) => drop(settings.drained.insert(name)),
            Err(error) => root.problem_with(&zone, quoted(&zone.value), error.to_string()),
        }
    }
    let of_all = of_set(&mut root);
    spread(&mut settings, of_all);
    for (name, mut own) in root.named_sections("replicaset") {
        match ReplicaSetName::parse(&name) {
            Ok(set) => drop(settings.overrides.insert(set, of_set(&mut own))),
            Err(error) => own.problem_here(error.to_string()),
        }
        own.finish();
    }
    for (name, mut own) in root.named_sections("member") {
        match InstanceName::parse(&name) {
            Ok(instance) => drop(settings.members.insert(instance, of_member(&mut own))),
            Err(error) => own.problem_here(error.to_string()),
        }
        own.finish();
    }
    settings.overrides.retain(|_, own| *own != SetSettings::default());
    settings.members.retain(|_, own| *own != MemberSettings::default());
    // A lease out of range says so by itself; the rest of the timing can be judged only within it.
    if let Err(error) = settings.check() {
        root.problem_here(error.to_string());
    }
    root.finish();
    settings
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn span(text: &str) -> Result<Span, String> {
    duration(text).map(Span::from_duration)
}

fn command(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.contains(['\n', '\0']) {
        true => Err("must be one line with a program, and its arguments".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// One of the words that `all` has.
fn word<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| {
        let names: Vec<_> = all.iter().map(|it| name(*it)).collect();
        let found = all.iter().find(|it| name(**it) == text);
        found.copied().ok_or_else(|| format!("must be one of: {}", names.join(", ")))
    }
}

fn of_set(own: &mut Section) -> SetSettings {
    SetSettings {
        max_lag_bytes: own.number64("max_lag", 0..=u64::MAX).map(|read| read.value),
        loss_policy: own
            .parsed("loss_policy", word(&LossPolicy::ALL, LossPolicy::name))
            .map(|read| read.value),
        ack_quorum: own.number("ack_quorum", 0..=u32::MAX).map(|read| read.value),
        zone_policy: own
            .parsed("zone_policy", word(&ZonePolicy::ALL, ZonePolicy::name))
            .map(|read| read.value),
        autoreturn: own.boolean("autoreturn").map(|read| read.value),
        autoreturn_delay: own.parsed("autoreturn_delay", span).map(|read| read.value),
        immunity: own.parsed("immunity", span).map(|read| read.value),
        suppress_threshold: own.number("suppress_threshold", 0..=u32::MAX).map(|read| read.value),
        suppress_window: own.parsed("suppress_window", span).map(|read| read.value),
        check_identity: own.boolean("check_identity").map(|read| read.value),
    }
}

/// What was said without naming a set is the cluster's.
fn spread(settings: &mut Settings, of_all: SetSettings) {
    settings.max_lag_bytes = of_all.max_lag_bytes;
    put(&mut settings.loss_policy, of_all.loss_policy);
    put(&mut settings.ack_quorum, of_all.ack_quorum);
    put(&mut settings.zone_policy, of_all.zone_policy);
    put(&mut settings.autoreturn, of_all.autoreturn);
    put(&mut settings.autoreturn_delay, of_all.autoreturn_delay);
    put(&mut settings.immunity, of_all.immunity);
    put(&mut settings.suppress_threshold, of_all.suppress_threshold);
    put(&mut settings.suppress_window, of_all.suppress_window);
    put(&mut settings.check_identity, of_all.check_identity);
}

fn of_member(own: &mut Section) -> MemberSettings {
    MemberSettings {
        electable: own.boolean("electable").map(|read| read.value),
        priority: own.number("priority", 0..=u32::MAX).map(|read| read.value),
        maintenance_until: own.parsed("maintenance_until", moment).map(|read| read.value),
        expelled: own.boolean("expelled").is_some_and(|read| read.value),
    }
}

fn moment(text: &str) -> Result<u64, String> {
    let rule = "must be a time such as \"2026-11-22T10:00:00Z\"";
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| rule.to_owned())?;
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).map_err(|_| rule.to_owned())?;
    u64::try_from(since.as_millis()).map_err(|_| rule.to_owned())
}
