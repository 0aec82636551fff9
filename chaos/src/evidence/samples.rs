//! Evidence made by hand, for the tests of reader, checkers and report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{
    Allowed, Asked, Bite, Ending, Evidence, FORMAT, Fault, Folder, Health, InstanceEnding, Micros, Mode,
    Operation, Outcome, Run, Sighting, Source,
};

/// Writes it as clients and runner would have.
pub(crate) fn write(evidence: &Evidence, folder: &Path) {
    let mut writer = Folder::create(folder, &evidence.run).expect("a folder of its own");
    let clients: BTreeSet<&str> =
        evidence.history.iter().map(|operation| operation.client.as_str()).collect();
    for client in clients {
        let mut lines = writer.history(client).expect("it is writable");
        for operation in evidence.history.iter().filter(|operation| operation.client == client) {
            lines.write(operation).expect("it is writable");
        }
    }
    for fault in &evidence.faults {
        writer.faults.write(fault).expect("it is writable");
    }
    for sighting in &evidence.masters {
        writer.masters.write(sighting).expect("it is writable");
    }
    for decision in &evidence.decisions {
        writer.decisions.write(decision).expect("it is writable");
    }
    for health in &evidence.health {
        writer.health.write(health).expect("it is writable");
    }
    if let Some(ending) = &evidence.ending {
        writer.end(ending).expect("it is writable");
    }
}

/// What every made-up run is.
pub(crate) fn run() -> Run {
    Run {
        format: FORMAT,
        scenario: "kill-master-host".into(),
        story: "The master's host dies, and another instance takes over.".into(),
        engine: "redis".into(),
        provider: "stateboard".into(),
        mode: Mode::Sync,
        seed: 7,
        lease_ttl_ms: 3_000,
        version: "0.1.0".into(),
        started_unix_ms: 1_795_000_000_000,
        command: "chaos run kill-master-host --seed 7".into(),
        replicaset: "orders".into(),
        instances: vec!["a1".into(), "b1".into(), "c1".into()],
        budgets_us: BTreeMap::from([("silent".to_owned(), 4_000_000), ("crashed".to_owned(), 2_600_000)]),
        expected_changes: 1,
    }
}

/// An append by a router-like client to the master at a term, acknowledged.
pub(crate) fn append(value: u64, instance: &str, term: u64, sent: Micros, done: Micros) -> Operation {
    Operation {
        client: "router-1".into(),
        op: Asked::Append,
        key: "list-1".into(),
        value: Some(value),
        read: None,
        instance: instance.into(),
        term: Some(term),
        session: term,
        sent_us: sent,
        done_us: Some(done),
        outcome: Outcome::Ok,
        error: None,
        times: 1,
    }
}

/// The engine's word that a replica has all appends of the session up to this value.
pub(crate) fn confirm(value: u64, instance: &str, term: u64, sent: Micros, done: Micros) -> Operation {
    Operation { op: Asked::Confirm, ..append(value, instance, term, sent, done) }
}

/// A write by the client that tries every node.
pub(crate) fn direct(value: u64, instance: &str, sent: Micros, done: Micros, outcome: Outcome) -> Operation {
    Operation {
        client: "direct".into(),
        op: Asked::DirectWrite,
        key: format!("direct-{instance}"),
        term: None,
        session: 1,
        outcome,
        error: (outcome == Outcome::Failed).then(|| "READONLY".to_owned()),
        ..append(value, instance, 0, sent, done)
    }
}

/// The same operation without an answer.
pub(crate) fn unanswered(operation: Operation) -> Operation {
    Operation { done_us: None, outcome: Outcome::Unknown, error: Some("timed out".into()), ..operation }
}

/// The record named a master.
pub(crate) fn sighting(term: u64, instance: &str, at: Micros) -> Sighting {
    Sighting {
        set: "orders".into(),
        instance: instance.into(),
        term,
        source: Source::Record,
        seen_us: at,
        recorded_us: Some(at),
        active_us: Some(at),
        version: Some(term),
        reason: Some(if term == 1 { "bootstrap" } else { "silent" }.into()),
        decided_by: Some("host-b".into()),
    }
}

/// A fault that struck and bit.
pub(crate) fn fault(id: u64, name: &str, target: &str, injected: Micros, healed: Micros) -> Fault {
    Fault {
        id,
        name: name.into(),
        what: format!("{name} of {target}"),
        targets: vec![target.into()],
        allowed: Allowed::Class { class: "silent".into() },
        injected_us: injected,
        healed_us: Some(healed),
        froze: Vec::new(),
        opened: Vec::new(),
        bite: Some(Bite { bit: true, how: "its processes were seen dead".into() }),
        may_lose: false,
    }
}

/// An ending in which all is well and every instance holds these values.
pub(crate) fn ending(at: Micros, master: &str, term: u64, values: &[u64]) -> Ending {
    let instance = |name: &str| InstanceEnding {
        name: name.into(),
        reachable: true,
        writable: name == master,
        keys: BTreeMap::from([("list-1".to_owned(), values.to_vec())]),
    };
    Ending {
        ended_us: at,
        master: Some(master.into()),
        term,
        healthy: true,
        issues: Vec::new(),
        instances: ["a1", "b1", "c1"].map(instance).to_vec(),
    }
}

/// When the fault of [`failover`] strikes, and when the next master speaks for the first time.
pub(crate) const STRUCK: Micros = 2_000_000;
pub(crate) const BACK: Micros = 5_200_000;

/// A whole good run: `a1` leads at term 1 and dies with its host; `b1` leads at term 2 from [`BACK`] on. An append every 10 ms,
/// confirmed 2 ms later; a register that is written and read; every instance tried directly.
pub(crate) fn failover() -> Evidence {
    let mut history = Vec::new();
    let mut values = Vec::new();
    for (number, begin) in (0..1_000).map(|number| (number, 100_000 + number * 10_000)) {
        let (instance, term) = if begin < STRUCK { ("a1", 1) } else { ("b1", 2) };
        for name in ["a1", "b1", "c1"] {
            let gone = name == "a1" && (STRUCK..BACK).contains(&begin);
            let outcome = if name == instance && !gone && !(STRUCK..BACK).contains(&begin) {
                Outcome::Ok
            } else {
                Outcome::Failed
            };
            history.push(direct(number + 1, name, begin + 1_000, begin + 1_300, outcome));
        }
        if (STRUCK..BACK).contains(&begin) {
            continue;
        }
        let value = number + 1;
        values.push(value);
        history.push(append(value, instance, term, begin, begin + 400));
        history.push(confirm(value, instance, term, begin + 1_000, begin + 2_000));
        history.push(register(value, true, instance, term, begin));
        history.push(register(value, false, instance, term, begin + 4_000));
    }
    // On its way when the host died.
    history.push(unanswered(append(5_000, "a1", 1, STRUCK - 300, 0)));
    history.sort_by_key(|operation| operation.sent_us);
    let mut sightings = vec![sighting(1, "a1", 50_000), sighting(2, "b1", BACK - 30_000)];
    for (term, instance, at) in [(1, "a1", 60_000), (2, "b1", BACK - 10_000)] {
        let heard = Sighting {
            source: Source::Directory,
            recorded_us: None,
            version: None,
            ..sighting(term, instance, at)
        };
        sightings.push(heard);
    }
    sightings.sort_by_key(|sighting| sighting.seen_us);
    let health = (0..20).map(|number| Health {
        at_us: number * 500_000,
        healthy: !(STRUCK..BACK + 1_000_000).contains(&(number * 500_000)),
        arbiter: Some("host-b".into()),
        issues: Vec::new(),
    });
    Evidence {
        run: run(),
        history,
        faults: vec![fault(1, "kill-host", "a1", STRUCK, STRUCK + 4_000_000)],
        masters: sightings,
        decisions: Vec::new(),
        health: health.collect(),
        ending: Some(ending(10_200_000, "b1", 2, &values)),
        notes: Vec::new(),
    }
}

/// A register's write of this value, or a read that gives it.
pub(crate) fn register(value: u64, writes: bool, instance: &str, term: u64, sent: Micros) -> Operation {
    Operation {
        client: "registers".into(),
        op: if writes { Asked::Write } else { Asked::Read },
        key: "register-1".into(),
        value: writes.then_some(value),
        read: (!writes).then_some(value),
        ..append(value, instance, term, sent, sent + 3_000)
    }
}

/// A few lines of everything.
pub(crate) fn small() -> Evidence {
    let history = vec![
        append(1, "a1", 1, 1_000, 1_300),
        direct(1, "c1", 1_200, 1_250, Outcome::Failed),
        append(2, "a1", 1, 1_500, 1_800),
        confirm(2, "a1", 1, 1_850, 1_900),
        unanswered(append(3, "a1", 1, 1_950, 0)),
        append(4, "b1", 2, 8_000, 8_300),
    ];
    Evidence {
        run: run(),
        history,
        faults: vec![fault(1, "kill-host", "a1", 2_000, 9_000)],
        masters: vec![sighting(1, "a1", 10), sighting(2, "b1", 7_000)],
        decisions: Vec::new(),
        health: vec![Health {
            at_us: 500,
            healthy: true,
            arbiter: Some("host-b".into()),
            issues: Vec::new(),
        }],
        ending: Some(ending(10_000, "b1", 2, &[1, 2, 4])),
        notes: Vec::new(),
    }
}
