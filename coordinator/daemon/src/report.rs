//! The only place where a reason of the core becomes a line of the log, a metric or JSON. It changes no meaning.

use crate::metrics::Metrics;
use baton_client::decision::{CHOSEN, DecisionRecord, ELIGIBLE, Observed, Phase, Ranked};
use baton_client::replay::Inputs;
use baton_core::decision::{Class, Decision, Verdict};
use baton_core::guard::Note;
use baton_core::ids::{CoordinatorName, InstanceName, ReplicaSetName};
use baton_core::message::{Health, Stand};
use baton_core::time::Span;
use baton_core::timing::FailureClass;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a guard says, as one line.
pub fn note(instance: &InstanceName, replicaset: &ReplicaSetName, note: &Note) {
    match note {
        Note::Read { floor } => {
            tracing::info!(%instance, %replicaset, %floor, "the provider was read; only later terms can be led");
        }
        Note::Candidate(term) => tracing::info!(%instance, %replicaset, %term, "directed to lead"),
        Note::Writable(term) => {
            tracing::info!(%instance, %replicaset, %term, "master: the engine accepts writes")
        }
        Note::GivingUp { term, why } => {
            tracing::warn!(%instance, %replicaset, %term, "giving the mastership up: {}", why.text());
        }
        Note::Relinquished { term, position } => {
            tracing::warn!(%instance, %replicaset, %term, %position, "relinquished: the engine accepts no writes");
        }
        Note::OnPromises(term) => tracing::warn!(
            %instance, %replicaset, %term,
            "store-blind: no arbiter extends the lease; the promises of the other in-sync members do"
        ),
        Note::OnGrants(term) => {
            tracing::info!(%instance, %replicaset, %term, "an arbiter extends the lease again");
        }
        Note::Promised { to, term } => {
            tracing::info!(%instance, %replicaset, %term, master = %to, "no arbiter answers: promised to lead nothing");
        }
        Note::PromiseRefused { by, why } => {
            tracing::warn!(%instance, %replicaset, member = %by, "no promise: {}", why.text());
        }
        Note::Severed { version, position } => {
            tracing::info!(%instance, %replicaset, %version, %position, "severed: replication is stopped");
        }
        Note::Intruder => {
            tracing::warn!(%instance, %replicaset, "the engine was found writable without a right: fencing it");
        }
        Note::Follows { endpoint } => tracing::info!(%instance, %replicaset, %endpoint, "told to follow"),
        Note::Beyond { own, start } => tracing::warn!(
            %instance, %replicaset, %own, %start,
            "this engine holds writes beyond the new history's start; they are lost as it follows"
        ),
        Note::Foreign => {
            tracing::error!(%instance, %replicaset, "the engine holds another data set: it does not follow");
        }
        Note::Killed(why) => tracing::warn!(%instance, %replicaset, "killing the engine: {}", why.text()),
        Note::EngineEnded { restart_in: Some(span) } => {
            tracing::info!(%instance, %replicaset, "the engine does not run; it is started in {span}");
        }
        Note::EngineEnded { restart_in: None } => {
            tracing::warn!(%instance, %replicaset, "the engine does not run, and is not ours to start");
        }
    }
}

/// A decision, or why there is none: a line, and its metrics.
pub fn decided(decision: &Decision, metrics: &Metrics) {
    let set = &decision.replicaset;
    if decision.appointed.is_none() {
        metrics.decision_refused(set);
        if decision.class == Class::FirstAppointment {
            tracing::info!(replicaset = %set, "{}", decision.sentence());
            return;
        }
        tracing::warn!(replicaset = %set, ranking = %ranking(decision), "{}", decision.sentence());
        return;
    }
    let phases: Vec<(&'static str, Span)> =
        decision.phases.iter().map(|phase| (phase.name, phase.took)).collect();
    let shown: Vec<String> = phases.iter().map(|(name, took)| format!("{name} {took}")).collect();
    tracing::info!(
        replicaset = %set, class = decision.class.name(), phases = %shown.join(", "), ranking = %ranking(decision),
        "{}", decision.sentence()
    );
    if let Some(class) = failure_class(decision.class) {
        metrics.failed_over(set, class, &phases);
    }
}

fn failure_class(class: Class) -> Option<FailureClass> {
    match class {
        Class::FirstAppointment | Class::Restored => None,
        Class::Crashed | Class::DrillCrashed => Some(FailureClass::Crashed),
        Class::Silent | Class::Lapsed => Some(FailureClass::Silent),
        Class::Stalled => Some(FailureClass::Stalled),
        Class::Switchover | Class::Forced | Class::Autoreturn | Class::Drain | Class::DrillSwitchover => {
            Some(FailureClass::Switchover)
        }
    }
}

fn ranking(decision: &Decision) -> String {
    let ranked =
        decision.ranking.iter().map(|ranked| format!("{}: {}", ranked.instance, verdict(&ranked.verdict)));
    ranked.collect::<Vec<_>>().join("; ")
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Chosen => CHOSEN.to_owned(),
        Verdict::Eligible => ELIGIBLE.to_owned(),
        Verdict::Refused(refusal) => refusal.to_string(),
    }
}

/// Most of a decision that is kept, with room for what else the line has.
const KEPT_BYTES_MAX: usize = 15 * 1_024;

/// The decision in the shape that programs read.
#[must_use]
pub fn decision_record(decision: &Decision, decided_by: &CoordinatorName) -> DecisionRecord {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let term_before = decision.term_before.0;
    let rule = match (&decision.evidence, &decision.missing) {
        (_, Some(missing)) => missing.clone(),
        (Some(evidence), None) => {
            let master = decision.old_master.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{master} may be replaced: {evidence}")
        }
        (None, None) => "the set has no master yet".to_owned(),
    };
    let effects = decision.appointed.iter().flat_map(|(master, term)| {
        let severed = "the others stop replicating and report their final positions".to_owned();
        [
            (decision.class != Class::FirstAppointment).then_some(severed),
            Some(format!("record {master} as master at term {term}")),
            Some(format!("promote {master}; the others follow once it is writable")),
        ]
        .into_iter()
        .flatten()
    });
    let record = DecisionRecord {
        replicaset: decision.replicaset.to_string(),
        term_before,
        term_after: decision.appointed.as_ref().map_or(term_before, |(_, term)| term.0),
        class: decision.class.name().to_owned(),
        rule,
        observed: decision.observed.iter().map(observed).collect(),
        ranking: decision
            .ranking
            .iter()
            .map(|ranked| Ranked { instance: ranked.instance.to_string(), verdict: verdict(&ranked.verdict) })
            .collect(),
        effects: effects.collect(),
        accepted: decision.accepted.clone(),
        inputs: decision.question.as_deref().map(Inputs::from),
        phases: decision
            .phases
            .iter()
            .map(|phase| Phase {
                name: phase.name.to_owned(),
                took_us: phase.took.0,
                budget_us: Some(phase.budget.0),
            })
            .collect(),
        at_unix_millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        decided_by: decided_by.to_string(),
        epoch: decision.epoch.to_string(),
    };
    // The provider keeps so much of a decision; of a very large set the inputs are what can be done without.
    if record.to_json().len() > KEPT_BYTES_MAX { DecisionRecord { inputs: None, ..record } } else { record }
}

fn observed(observed: &baton_core::decision::Observed) -> Observed {
    Observed {
        instance: observed.instance.to_string(),
        seen_ago_ms: observed.seen_ago.map(Span::as_millis),
        health: match observed.health {
            None => "unknown",
            Some(Health::Up) => "up",
            Some(Health::Down) => "down",
            Some(Health::Stalled) => "stalled",
        }
        .to_owned(),
        position: observed.position.to_string(),
        in_sync: observed.in_sync,
        stand: match observed.stand {
            None => "unheard".to_owned(),
            Some(Stand::Starting) => "starting".to_owned(),
            Some(Stand::Standby) => "standby".to_owned(),
            Some(Stand::Candidate(term)) => format!("candidate at term {term}"),
            Some(Stand::Leading { term, writable: true }) => format!("leading at term {term}"),
            Some(Stand::Leading { term, writable: false }) => format!("about to lead at term {term}"),
        },
    }
}
