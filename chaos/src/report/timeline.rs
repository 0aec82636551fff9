//! Tells one attempt as a story: what happened when, the decision with its reason and phases, and what it came to.

use std::fmt::Write;
use std::time::Duration;

use baton_client::decision::{CHOSEN, DecisionRecord, ELIGIBLE, Phase};

use crate::cli::ProviderKind;
use crate::demo::attempt::{Attempt, Event};
use crate::demo::stage::Stage;
use crate::workload::history::Moment;

/// Who and what is on the stage.
#[must_use]
pub fn opening(stage: &Stage) -> String {
    let hosts = stage.cluster.hosts.iter().map(|host| format!("{} {}", host.instance, host.endpoint));
    let hosts: Vec<String> = hosts.collect();
    let provider = match stage.cluster.provider.kind() {
        ProviderKind::Stateboard => "a stateboard",
        ProviderKind::Etcd => "three members of etcd",
    };
    format!(
        "{provider} and three {} with their sidecars ({}), lease_ttl {}",
        stage.cluster.engine().called(),
        hosts.join(", "),
        humantime::format_duration(stage.lease_ttl)
    )
}

/// A span as people read it: tenths below a second.
#[must_use]
pub fn span(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1_000.0;
    if millis < 1_000.0 { format!("{millis:.1} ms") } else { format!("{:.2} s", millis / 1_000.0) }
}

fn since_fault(fault: Moment, at: Moment) -> String {
    if at < fault { format!("-{}", span(fault.since(at))) } else { span(at.since(fault)) }
}

/// One of several attempts: the whole story where something is wrong, otherwise one line.
#[must_use]
pub fn tell_one_of(attempt: &Attempt, number: u32, of: u32, colours: bool) -> String {
    if of == 1 || !attempt.problems.is_empty() {
        return tell(attempt, number, of, colours);
    }
    let counts = &attempt.counts;
    let gap = counts.gap.map_or_else(|| "?".to_owned(), span);
    format!(
        "{:<24} {number:>3}/{of}  gap {gap:>9} of {:>9}  {} at term {} to {} at term {}, {} woken, {} unconfirmed lost",
        attempt.step.name(),
        span(counts.budget),
        counts.before.0,
        counts.before.1,
        counts.after.0,
        counts.after.1,
        counts.woken,
        counts.unconfirmed_lost
    )
}

/// The whole attempt.
#[must_use]
pub fn tell(attempt: &Attempt, number: u32, of: u32, colours: bool) -> String {
    let paint =
        |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    let count = if of > 1 { format!(" {number}/{of}") } else { String::new() };
    let before = &attempt.before;
    let head = format!("{}{count}", attempt.step);
    // Writing to a string cannot fail; the results below are dropped for that reason.
    let _ = writeln!(
        text,
        "\n{} · master {} at term {} · arbiter on {}",
        paint("1", &head),
        before.master,
        before.term,
        before.arbiter
    );
    for event in attempt.events.iter().filter(|event| worth_telling(event, attempt)) {
        let _ = writeln!(
            text,
            "  {:>10}  {:<9}  {}",
            since_fault(attempt.fault, event.at),
            event.who,
            event.what
        );
    }
    if let Some(decision) = &attempt.decision {
        text.push_str(&tell_decision(decision));
    }
    let counts = &attempt.counts;
    let gap = counts.gap.map_or_else(|| "no gap measured".to_owned(), |gap| format!("gap {}", span(gap)));
    let _ = writeln!(
        text,
        "  {} of {} allowed · {} writes, {} failed · {} lost ({} unconfirmed), {} stale, {} woken",
        paint("1", &gap),
        span(counts.budget),
        counts.writes,
        counts.failed,
        counts.lost,
        counts.unconfirmed_lost,
        counts.stale,
        counts.woken
    );
    if attempt.problems.is_empty() {
        let _ = write!(text, "  {}", paint("32", "ok"));
    } else {
        let _ = write!(text, "  {}: {}", paint("31", "not ok"), attempt.problems.join("; "));
    }
    text
}

/// What came before the fault belongs to the attempt before.
fn worth_telling(event: &Event, attempt: &Attempt) -> bool {
    event.at >= attempt.fault
}

fn tell_decision(decision: &DecisionRecord) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  decided by {} in epoch {}: {} ({})",
        decision.decided_by, decision.epoch, decision.rule, decision.class
    );
    for member in &decision.ranking {
        let verdict = match member.verdict.as_str() {
            CHOSEN => "chosen".to_owned(),
            ELIGIBLE => "could have been".to_owned(),
            refusal => format!("not: {refusal}"),
        };
        let position = decision.observed.iter().find(|seen| seen.instance == member.instance);
        let position = position.map_or_else(String::new, |seen| format!(" at {}", seen.position));
        let _ = writeln!(text, "    {}{position}: {verdict}", member.instance);
    }
    if !decision.phases.is_empty() {
        let phases: Vec<String> = decision.phases.iter().map(tell_phase).collect();
        let _ = writeln!(text, "    {}", phases.join(" · "));
    }
    text
}

fn tell_phase(phase: &Phase) -> String {
    let took = span(Duration::from_micros(phase.took_us));
    match phase.budget_us {
        Some(budget) => format!("{} {took} of {}", phase.name, span(Duration::from_micros(budget))),
        None => format!("{} {took}", phase.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::stage::Standing;
    use crate::demo::step::Step;
    use crate::demo::verdict::Counts;

    fn attempt() -> Attempt {
        let event = |at, who, what: &str| Event { at: Moment(at), who, what: what.to_owned() };
        Attempt {
            step: Step::KillEngine,
            before: Standing { master: "a1".to_owned(), term: 3, arbiter: "host-b".to_owned() },
            fault: Moment(1_000_000),
            counts: Counts {
                writes: 512,
                gap: Some(Duration::from_micros(8_140)),
                budget: Duration::from_millis(2_625),
                ..Counts::default()
            },
            gap: None,
            problems: Vec::new(),
            events: vec![
                event(900_000, "directory", "old news"),
                event(1_000_050, "fault", "SIGKILL to the Redis of a1"),
                event(1_006_200, "client", "first write acknowledged by b1"),
            ],
            decision: Some(DecisionRecord {
                rule: "the engine of a1 ended".to_owned(),
                class: "crashed".to_owned(),
                phases: vec![Phase { name: "sever".to_owned(), took_us: 900, budget_us: Some(250_000) }],
                ..DecisionRecord::default()
            }),
            broken: false,
        }
    }

    #[test]
    fn a_story_has_its_times_its_reason_and_its_end() {
        let text = tell(&attempt(), 1, 1, false);
        for piece in [
            "kill_engine · master a1 at term 3",
            "0.1 ms  fault",
            "6.2 ms  client",
            "the engine of a1 ended (crashed)",
            "sever 0.9 ms of 250.0 ms",
            "gap 8.1 ms of 2.62 s allowed",
        ] {
            assert!(text.contains(piece), "{piece:?} is not in:\n{text}");
        }
        assert!(text.ends_with("  ok") && !text.contains("old news") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn one_of_many_is_a_line_unless_something_is_wrong() {
        assert_eq!(tell_one_of(&attempt(), 2, 10, false).lines().count(), 1);
        assert!(tell_one_of(&attempt(), 1, 1, false).lines().count() > 5);
        let wrong = Attempt { problems: vec!["3 stale writes".to_owned()], ..attempt() };
        assert!(tell_one_of(&wrong, 2, 10, false).contains("3 stale writes"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = tell(&Attempt { problems: vec!["3 stale writes".to_owned()], ..attempt() }, 2, 10, true);
        assert!(
            text.contains("kill_engine 2/10") && text.ends_with("not ok\x1b[0m: 3 stale writes"),
            "{text}"
        );
    }
}
