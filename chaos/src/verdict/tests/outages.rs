//! Outages and what is allowed for them.

use super::*;

#[test]
fn an_outage_over_the_budget_is_invalid() {
    let evidence = with(|evidence| {
        evidence.run.budgets_us.insert("silent".into(), 3_000_000);
    });
    assert_found(&evidence, "outages", Verdict::Invalid, "router-1 waited 3.210 s");
    assert_eq!(judge(&evidence).counts.over_budget, 1);
}

#[test]
fn what_no_replica_confirms_serves_nobody_where_commits_wait() {
    // The master goes on to acknowledge for five seconds, alone.
    let alone = |evidence: &mut Evidence| {
        let lonely = |operation: &Operation| {
            operation.op == crate::evidence::Asked::Confirm
                && (BACK..BACK + 5_000_000).contains(&operation.sent_us)
        };
        evidence.history.retain(|operation| !lonely(operation));
    };
    assert_found(&with(alone), "outages", Verdict::Invalid, "router-1 waited 8.2");
    let asynchronous = with(|evidence| {
        alone(evidence);
        evidence.run.mode = Mode::Async;
    });
    assert_eq!(finding(&asynchronous, "outages").verdict, Verdict::Valid);
}

#[test]
fn a_client_that_never_came_back_waited_to_the_end() {
    let evidence = with(|evidence| evidence.history.retain(|operation| operation.sent_us < BACK));
    assert_found(&evidence, "outages", Verdict::Invalid, "waited 8.2");
}

#[test]
fn where_nothing_may_be_interrupted_a_failover_is_over() {
    let late = |by_us| with(|evidence| evidence.faults[0].allowed = Allowed::Late { by_us });
    assert_eq!(finding(&late(60_000_000), "outages").verdict, Verdict::Valid);
    assert_found(&late(1), "outages", Verdict::Invalid, "on a line that is late");
    let evidence = with(|evidence| evidence.faults[0].allowed = Allowed::Nothing);
    assert_found(&evidence, "outages", Verdict::Invalid, "nothing may be interrupted");
}

#[test]
fn until_it_is_healed_means_its_length_and_the_budget() {
    let mut evidence = with(|evidence| {
        evidence.faults[0].allowed = Allowed::UntilHealed { class: "crashed".into() };
        evidence.faults[0].healed_us = Some(STRUCK + 1_000_000);
    });
    let outage = judge(&evidence).outages.remove(0);
    assert_eq!(outage.allowed_us, Some(3_600_000));
    evidence.faults[0].healed_us = Some(STRUCK + 500_000);
    assert_found(&evidence, "outages", Verdict::Invalid, "3.100 s are allowed");
}

#[test]
fn what_two_faults_allow_adds_up() {
    let evidence = with(|evidence| {
        evidence.run.budgets_us.insert("silent".into(), 2_000_000);
        evidence.faults.push(fault(2, "kill-arbiter", "host-b", STRUCK + 500_000, STRUCK + 1_000_000));
    });
    let judgement = judge(&evidence);
    assert_eq!(judgement.counts.over_budget, 0);
    assert_eq!(judgement.outages[1].allowed_us, Some(4_000_000));
}

#[test]
fn while_the_only_machine_of_the_provider_is_away_nobody_is_promised_a_successor() {
    let beside = |provider: &str, machine: &str| {
        with(|evidence| {
            provider.clone_into(&mut evidence.run.provider);
            evidence.run.budgets_us.insert("silent".into(), 2_000_000);
            let away = fault(2, "link-down", machine, STRUCK - 500_000, STRUCK + 1_000_000);
            evidence.faults.push(crate::evidence::Fault { allowed: Allowed::Nothing, ..away });
        })
    };
    let allowed = |evidence: &Evidence| judge(evidence).outages[0].allowed_us;
    // Two seconds for the master, a quarter for the provider; and as long as nobody could be appointed.
    assert_eq!(allowed(&beside("stateboard", "board")), Some(2_250_000 + 1_008_000));
    assert_eq!(allowed(&beside("etcd", "etcd-1")), Some(2_250_000));
    let mut alone = beside("stateboard", "board");
    alone.faults.remove(0);
    assert_eq!(allowed(&alone), Some(250_000), "nothing else struck");
    let named = beside("etcd", "board");
    assert_eq!(allowed(&named), Some(2_250_000), "of that provider one machine can be spared");
    let mut first = beside("stateboard", "board");
    first.faults.reverse();
    assert_eq!(allowed(&first), Some(2_250_000 + 1_008_000), "whichever struck first");
    let mut long = beside("stateboard", "board");
    long.faults[1].healed_us = Some(BACK + 60_000_000);
    let outage = judge(&long).outages.remove(0);
    assert_eq!(outage.allowed_us, outage.took_us.map(|took| took + 2_250_000), "no longer than the silence");
}

#[test]
fn most_machines_of_a_provider_are_all_of_it() {
    for (machines, waits) in [(&["etcd-1"][..], false), (&["etcd-1", "etcd-3"], true)] {
        let evidence = with(|evidence| {
            "etcd".clone_into(&mut evidence.run.provider);
            evidence.run.budgets_us.insert("silent".into(), 2_000_000);
            let away = fault(2, "kill", machines[0], STRUCK - 500_000, STRUCK + 1_000_000);
            let targets = machines.iter().map(ToString::to_string).collect();
            evidence.faults.push(crate::evidence::Fault { allowed: Allowed::Nothing, targets, ..away });
        });
        let more = if waits { 1_008_000 } else { 0 };
        assert_eq!(judge(&evidence).outages[0].allowed_us, Some(2_250_000 + more), "{machines:?}");
    }
}

/// Without a grant a master goes on by the promise of every other member of its in-sync set.
#[test]
fn where_the_arbiter_reaches_no_provider_and_a_member_is_out_no_master_is_promised_to_go_on() {
    let beside = |name: &str, mode: Mode| {
        with(|evidence| {
            evidence.run.mode = mode;
            evidence.run.budgets_us.insert("silent".into(), 2_000_000);
            let away = fault(2, name, "host-x", STRUCK - 500_000, STRUCK + 1_000_000);
            evidence.faults.push(crate::evidence::Fault { allowed: Allowed::Nothing, ..away });
        })
    };
    let allowed = |evidence: &Evidence| judge(evidence).outages[0].allowed_us;
    let first = beside("cut-from-provider", Mode::Sync).faults[0].clone();
    let both = first.healed_us.unwrap_or(u64::MAX).min(STRUCK + 1_000_000) - first.injected_us;
    assert_eq!(allowed(&beside("cut-from-provider", Mode::Sync)), Some(2_250_000 + both));
    assert_eq!(allowed(&beside("lossy", Mode::Sync)), Some(2_250_000));
    let mut whole = beside("cut-from-provider", Mode::Sync);
    whole.faults[0].name = "lossy".to_owned();
    assert_eq!(allowed(&whole), Some(2_250_000), "every member is there");
}

#[test]
fn what_two_stretches_have_in_common_counts_once() {
    let evidence = with(|evidence| {
        "stateboard".clone_into(&mut evidence.run.provider);
        evidence.run.budgets_us.insert("silent".into(), 2_000_000);
        for (id, name, target) in [(2, "link-down", "board"), (3, "stop-engine", "b1")] {
            let away = fault(id, name, target, STRUCK - 500_000, STRUCK + 1_000_000);
            evidence.faults.push(crate::evidence::Fault { allowed: Allowed::Nothing, ..away });
        }
    });
    assert_eq!(judge(&evidence).outages[0].allowed_us, Some(2_500_000 + 1_008_000));
}

#[test]
fn who_helps_a_set_that_serves_nobody_finds_nothing_to_interrupt() {
    let evidence = |may_lose| {
        with(|evidence| {
            evidence.history.retain(|operation| operation.sent_us >= BACK);
            let help = crate::evidence::Fault { may_lose, ..forced(STRUCK + 1_000_000) };
            evidence.faults = vec![help];
        })
    };
    assert_eq!(finding(&evidence(true), "outages").verdict, Verdict::Valid);
    assert_found(&evidence(false), "outages", Verdict::Unknown, "nothing to interrupt");
}

#[test]
fn while_two_members_are_out_nobody_is_promised_a_successor_where_commits_wait() {
    let beside = |name: &str, member: &str| {
        with(|evidence| {
            evidence.run.budgets_us.insert("silent".into(), 2_000_000);
            let away = fault(2, name, member, STRUCK - 500_000, STRUCK + 1_000_000);
            evidence.faults.push(crate::evidence::Fault { allowed: Allowed::Nothing, ..away });
        })
    };
    let allowed = |evidence: &Evidence| judge(evidence).outages[0].allowed_us;
    let first = beside("link-down", "b1").faults[0].clone();
    let both = first.healed_us.unwrap_or(u64::MAX).min(STRUCK + 1_000_000) - first.injected_us;
    assert!(both > 0);
    assert_eq!(allowed(&beside("stop-engine", "b1")), Some(2_250_000 + both));
    assert_eq!(allowed(&beside("lossy", "b1")), Some(2_250_000), "it is there");
    assert_eq!(allowed(&beside("stop-engine", &first.targets[0])), Some(2_250_000), "it is the same one");
    let mut asynchronous = beside("stop-engine", "b1");
    asynchronous.run.mode = Mode::Async;
    assert_eq!(allowed(&asynchronous), Some(2_250_000));
}

#[test]
fn without_a_bound_nothing_is_over() {
    let evidence =
        with(|evidence| evidence.faults[0].allowed = Allowed::Unbounded { why: "all died".into() });
    assert_eq!(finding(&evidence, "outages").verdict, Verdict::Valid);
    assert_eq!(judge(&evidence).outages[0].allowed_us, None);
}

#[test]
fn a_silence_outside_of_all_faults_is_nobodys_outage() {
    let evidence = with(|evidence| {
        evidence.history.retain(|operation| !(9_000_000..9_500_000).contains(&operation.sent_us));
    });
    assert_eq!(finding(&evidence, "outages").verdict, Verdict::Valid);
}

#[test]
fn without_writes_before_the_fault_or_a_class_in_the_timing_it_is_unknown() {
    let thin = with(|evidence| {
        evidence.history.retain(|operation| operation.sent_us > STRUCK);
    });
    assert_found(&thin, "outages", Verdict::Unknown, "nothing to interrupt");
    let foreign = with(|evidence| evidence.faults[0].allowed = Allowed::Class { class: "moon".into() });
    assert_found(&foreign, "outages", Verdict::Unknown, "names no class moon");
}
