//! Every checker with a history that it must fail, one that it must pass, and one that is too thin to tell.

use super::*;
use crate::evidence::samples::{
    BACK, STRUCK, append, confirm, direct, failover, fault, register, run, sighting, unanswered,
};
use crate::evidence::{Allowed, Bite, Evidence, Mode, Note, Operation, Outcome, Source};

fn with(change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut evidence = failover();
    change(&mut evidence);
    evidence.history.sort_by_key(|operation| operation.sent_us);
    evidence
}

fn finding(evidence: &Evidence, checker: &str) -> Finding {
    let found = judge(evidence).findings.into_iter().find(|finding| finding.checker == checker);
    found.expect("there is such a checker")
}

/// The checker says so, for a reason that names this, and so does the whole run.
fn assert_found(evidence: &Evidence, checker: &str, verdict: Verdict, because: &str) {
    let found = finding(evidence, checker);
    assert_eq!(found.verdict, verdict, "{found:#?}");
    assert!(found.because.iter().any(|reason| reason.contains(because)), "{found:#?}");
    assert!(judge(evidence).verdict >= verdict);
}

fn lists(evidence: &mut Evidence) -> Vec<&mut Vec<u64>> {
    let ending = evidence.ending.as_mut().expect("it ended");
    ending.instances.iter_mut().flat_map(|instance| instance.keys.values_mut()).collect()
}

fn forget(evidence: &mut Evidence, value: u64) {
    for list in lists(evidence) {
        list.retain(|held| *held != value);
    }
}

/// A person forced a failover then.
fn forced(at_us: u64) -> crate::evidence::Fault {
    let strike = fault(2, "forced-failover", "orders", at_us, at_us + 1_000);
    crate::evidence::Fault { allowed: Allowed::Nothing, may_lose: true, ..strike }
}

#[test]
fn a_good_failover_is_valid() {
    let judgement = judge(&failover());
    for finding in &judgement.findings {
        assert_eq!(finding.verdict, Verdict::Valid, "{finding:#?}");
    }
    assert_eq!(judgement.verdict, Verdict::Valid);
    let counts = judgement.counts;
    assert_eq!((counts.faults, counts.term_changes, counts.lost_writes, counts.stale_writes), (1, 1, 0, 0));
    let outage = &judgement.outages[0];
    assert_eq!((outage.from_us, outage.took_us), (1_992_000, Some(BACK - STRUCK + 10_000)));
    assert_eq!(outage.allowed_us, Some(4_000_000));
}

#[test]
fn false_wins_over_unknown() {
    let thin = with(|evidence| evidence.notes.push(Note::NotEnded));
    assert_eq!(judge(&thin).verdict, Verdict::Unknown);
    let both = with(|evidence| {
        evidence.notes.push(Note::NotEnded);
        forget(evidence, 7);
    });
    assert_eq!(judge(&both).verdict, Verdict::Invalid);
}

#[test]
fn each_verdict_has_an_exit_code_of_its_own() {
    assert_eq!([Verdict::Valid, Verdict::Invalid, Verdict::Unknown].map(Verdict::exit_code), [0, 1, 3]);
}

#[test]
fn the_line_is_that_of_the_contract() {
    let evidence = failover();
    let line = serde_json::to_string(&Line::new(&evidence, &judge(&evidence))).expect("plain values");
    assert_eq!(
        line,
        "{\"scenario\":\"kill-master-host\",\"engine\":\"redis\",\"provider\":\"stateboard\",\"verdict\":\"valid\",\
         \"faults\":1,\"stale_writes\":0,\"woken_writes\":0,\"lost_writes\":0,\"over_budget\":0,\"seconds\":10.2}"
    );
}

mod lost {
    use super::*;

    #[test]
    fn a_confirmed_write_that_is_gone_is_invalid() {
        let evidence = with(|evidence| forget(evidence, 7));
        assert_found(&evidence, "lost", Verdict::Invalid, "value 7,");
        assert_eq!(judge(&evidence).counts.lost_writes, 1);
    }

    #[test]
    fn an_unconfirmed_or_unanswered_one_may_go() {
        let evidence = with(|evidence| {
            evidence.history.push(append(6_000, "a1", 1, STRUCK - 5_000, STRUCK - 4_000));
        });
        assert_eq!(judge(&evidence).verdict, Verdict::Valid);
        assert_eq!(judge(&evidence).counts.unconfirmed_lost_writes, 1);
    }

    #[test]
    fn a_confirmation_covers_all_before_it_and_no_other_connection() {
        let evidence = with(|evidence| {
            evidence.history.push(append(6_000, "a1", 1, STRUCK - 9_000, STRUCK - 8_000));
            evidence.history.push(confirm(6_001, "a1", 1, STRUCK - 7_000, STRUCK - 6_000));
        });
        assert_found(&evidence, "lost", Verdict::Invalid, "value 6000,");
        let other = with(|evidence| {
            evidence.history.push(append(6_000, "a1", 1, STRUCK - 9_000, STRUCK - 8_000));
            let of_other = confirm(6_001, "a1", 1, STRUCK - 7_000, STRUCK - 6_000);
            evidence.history.push(Operation { session: 77, ..of_other });
        });
        assert_eq!(finding(&other, "lost").verdict, Verdict::Valid);
    }

    #[test]
    fn without_final_reads_or_confirmations_it_is_unknown() {
        let unread = with(|evidence| evidence.ending = None);
        assert_found(&unread, "lost", Verdict::Unknown, "not read");
        let unpromised = with(|evidence| {
            evidence.history.retain(|operation| operation.op != crate::evidence::Asked::Confirm)
        });
        assert_found(&unpromised, "lost", Verdict::Unknown, "no replica ever confirmed");
    }

    /// Seed 8026: the recorded master had lost its disk, and a replica that held everything waited for a person.
    #[test]
    fn without_a_master_in_the_end_what_anybody_holds_is_not_lost() {
        let waits = |evidence: &mut Evidence| {
            let ending = evidence.ending.as_mut().expect("it ended");
            let master = ending.instances.iter_mut().find(|it| Some(&it.name) == ending.master.as_ref());
            let master = master.expect("it was read");
            master.writable = false;
            master.keys.clear();
        };
        let held = with(waits);
        assert_found(&held, "lost", Verdict::Unknown, "takes no writes in the end");
        assert_eq!(judge(&held).counts.lost_writes, 0);
        let gone = with(|evidence| {
            waits(evidence);
            forget(evidence, 7);
        });
        assert_found(&gone, "lost", Verdict::Invalid, "value 7,");
        // PostgreSQL after a failover by force: nobody could be asked, and everything seemed to be gone.
        let unasked = with(|evidence| {
            waits(evidence);
            forget(evidence, 7);
            evidence.ending.as_mut().expect("it ended").instances[0].reachable = false;
        });
        assert_found(&unasked, "lost", Verdict::Unknown, "not read in the end");
        assert_eq!(judge(&unasked).counts.lost_writes, 0);
    }
}

mod reported;

mod contents {
    use super::*;

    #[test]
    fn what_nobody_sent_was_refused_or_is_there_twice_is_invalid() {
        let stranger = with(|evidence| lists(evidence).into_iter().for_each(|list| list.push(99_999)));
        assert_found(&stranger, "contents", Verdict::Invalid, "99999, which nobody sent");
        let refused = with(|evidence| {
            let refused = append(6_000, "a1", 1, STRUCK + 10, STRUCK + 20);
            evidence.history.push(Operation {
                outcome: Outcome::Failed,
                error: Some("READONLY".into()),
                ..refused
            });
            lists(evidence).into_iter().for_each(|list| list.push(6_000));
        });
        assert_found(&refused, "contents", Verdict::Invalid, "had refused");
        let twice = with(|evidence| lists(evidence).into_iter().for_each(|list| list.push(7)));
        assert_found(&twice, "contents", Verdict::Invalid, "holds 7 twice");
    }

    #[test]
    fn an_unanswered_append_may_be_there() {
        let late = with(|evidence| lists(evidence).into_iter().for_each(|list| list.insert(190, 5_000)));
        assert_eq!(judge(&late).verdict, Verdict::Valid);
    }

    #[test]
    fn an_order_other_than_that_of_the_acknowledgements_is_invalid() {
        let swapped = with(|evidence| lists(evidence).into_iter().for_each(|list| list.swap(3, 4)));
        assert_found(&swapped, "contents", Verdict::Invalid, "acknowledged first");
    }

    #[test]
    fn a_replica_with_other_data_is_invalid() {
        let other = with(|evidence| {
            let ending = evidence.ending.as_mut().expect("it ended");
            ending.instances[2].keys.clear();
        });
        assert_found(&other, "contents", Verdict::Invalid, "is not the same on b1");
    }

    #[test]
    fn without_reads_or_with_a_torn_history_it_is_unknown() {
        let unread = with(|evidence| evidence.ending.as_mut().expect("it ended").instances.clear());
        assert_found(&unread, "contents", Verdict::Unknown, "not read");
        let torn = with(|evidence| {
            evidence.notes.push(Note::Torn("history/router-1.jsonl".into()));
            lists(evidence).into_iter().for_each(|list| list.push(99_999));
        });
        assert_found(&torn, "contents", Verdict::Unknown, "nobody sent");
    }
}

mod stale {
    use super::*;

    fn old_master_accepts() -> Operation {
        direct(7_000, "a1", BACK + 1_000_000, BACK + 1_000_200, Outcome::Ok)
    }

    #[test]
    fn an_old_master_that_still_accepts_is_invalid() {
        let evidence = with(|evidence| evidence.history.push(old_master_accepts()));
        assert_found(&evidence, "stale", Verdict::Invalid, "a1 acknowledged");
        assert_eq!(judge(&evidence).counts.stale_writes, 1);
    }

    #[test]
    fn from_the_queue_of_a_frozen_engine_it_is_woken_and_no_breach() {
        let evidence = with(|evidence| {
            evidence.history.push(old_master_accepts());
            evidence.faults[0].froze = vec!["a1".into()];
            evidence.faults[0].healed_us = Some(BACK + 1_500_000);
        });
        let judgement = judge(&evidence);
        assert_eq!((judgement.counts.stale_writes, judgement.counts.woken_writes), (0, 1));
        assert_eq!(finding(&evidence, "stale").verdict, Verdict::Valid);
    }

    #[test]
    fn what_a_person_opened_by_hand_is_excused_only_until_it_has_to_be_fenced() {
        let opened = |until| {
            with(|evidence| {
                evidence.history.push(old_master_accepts());
                evidence.faults[0].opened = vec!["a1".into()];
                evidence.faults[0].healed_us = Some(until);
            })
        };
        assert_eq!(finding(&opened(BACK + 1_500_000), "stale").verdict, Verdict::Valid);
        assert_found(&opened(BACK + 900_000), "stale", Verdict::Invalid, "a1 acknowledged");
    }

    #[test]
    fn what_the_old_master_took_before_the_new_one_spoke_is_no_breach() {
        let evidence = with(|evidence| {
            evidence.history.push(direct(7_000, "a1", BACK - 100, BACK + 900_000, Outcome::Ok));
        });
        assert_eq!(finding(&evidence, "stale").verdict, Verdict::Valid);
    }

    #[test]
    fn a_wall_clock_that_jumped_accuses_nobody() {
        let evidence = with(|evidence| {
            evidence.masters.push(sighting(3, "a1", BACK + 2_000_000));
            let jumped = evidence.masters.last_mut().expect("just pushed");
            jumped.recorded_us = Some(0);
        });
        assert_eq!(finding(&evidence, "stale").verdict, Verdict::Valid);
    }

    #[test]
    fn a_term_whose_begin_nobody_recorded_accuses_nobody_and_leaves_it_open() {
        let evidence = with(|evidence| {
            for sighting in &mut evidence.masters {
                sighting.recorded_us = None;
                // Heard of long after it led.
                sighting.seen_us += 5_000_000;
            }
        });
        assert_found(&evidence, "stale", Verdict::Unknown, "no record says when term 2 began");
    }

    #[test]
    fn without_a_word_of_who_was_master_it_is_unknown() {
        let evidence = with(|evidence| {
            evidence.masters.clear();
        });
        assert_found(&evidence, "stale", Verdict::Unknown, "nobody said who was master");
    }
}

mod registers {
    use super::*;

    #[test]
    fn a_read_of_what_was_overwritten_is_invalid() {
        let evidence = with(|evidence| evidence.history.push(register(1, false, "a1", 1, BACK + 1_000_000)));
        assert_found(&evidence, "registers", Verdict::Invalid, "register-1");
    }

    #[test]
    fn an_unanswered_write_may_be_read_or_not_and_a_refused_one_may_not() {
        let unknown = unanswered(register(8_000, true, "a1", 1, STRUCK - 2_500));
        let read = register(8_000, false, "b1", 2, BACK - 7_000);
        let may = with(|evidence| evidence.history.extend([unknown.clone(), read.clone()]));
        assert_eq!(finding(&may, "registers").verdict, Verdict::Valid);
        let need_not = with(|evidence| evidence.history.push(unknown));
        assert_eq!(finding(&need_not, "registers").verdict, Verdict::Valid);
        let refused = register(8_000, true, "b1", 2, BACK + 5_000);
        let refused = Operation { outcome: Outcome::Failed, error: Some("READONLY".into()), ..refused };
        let both = with(|evidence| {
            evidence.history.extend([refused, register(8_000, false, "b1", 2, BACK + 8_000)]);
        });
        assert_found(
            &both,
            "registers",
            Verdict::Invalid,
            "w8000 was read at 5.211 s, and b1 had refused it",
        );
        let stranger = with(|evidence| evidence.history.push(register(8_000, false, "b1", 2, BACK + 8_000)));
        assert_found(&stranger, "registers", Verdict::Invalid, "nobody wrote it");
    }

    #[test]
    fn behind_an_accepted_loss_what_was_left_is_read_and_one_value_only() {
        let between = STRUCK + 1_000_000;
        let read = |value, at| register(value, false, "b1", 2, at);
        let left = |reads: Vec<Operation>| {
            with(|evidence| {
                evidence.faults.push(forced(between));
                evidence.history.extend(reads);
            })
        };
        let again = left(vec![read(100, BACK - 20_000), read(100, BACK - 10_000)]);
        assert_eq!(finding(&again, "registers").verdict, Verdict::Valid);
        let mut unaccepted = again.clone();
        unaccepted.faults.pop();
        assert_found(&unaccepted, "registers", Verdict::Invalid, "register-1");
        let two = left(vec![read(100, BACK - 20_000), read(120, BACK - 10_000)]);
        assert_found(&two, "registers", Verdict::Invalid, "held both");
        let late = left(vec![read(100, BACK + 1_000_000)]);
        assert_found(&late, "registers", Verdict::Invalid, "register-1");
        let before = left(vec![register(1, false, "a1", 1, STRUCK - 100_000)]);
        assert_found(&before, "registers", Verdict::Invalid, "register-1");
    }

    #[test]
    fn without_reads_it_is_unknown_and_without_confirmations_not_asked() {
        let thin = with(|evidence| evidence.history.retain(|operation| operation.read.is_none()));
        assert_found(&thin, "registers", Verdict::Unknown, "only 0 confirmed reads");
        let asynchronous = with(|evidence| {
            evidence.run.mode = Mode::Async;
            evidence.history.push(register(1, false, "a1", 1, BACK + 1_000_000));
        });
        assert_eq!(finding(&asynchronous, "registers").verdict, Verdict::Valid);
    }
}

mod terms {
    use super::*;

    #[test]
    fn two_masters_at_one_term_are_invalid() {
        let evidence = with(|evidence| evidence.masters.push(sighting(2, "c1", BACK)));
        assert_found(&evidence, "terms", Verdict::Invalid, "two masters: b1");
    }

    #[test]
    fn a_term_that_comes_after_a_higher_one_is_invalid() {
        let evidence = with(|evidence| {
            let mut late = sighting(7, "c1", 1_000_000);
            late.source = Source::Directory;
            evidence.masters.push(late);
            evidence.ending.as_mut().expect("it ended").term = 7;
        });
        assert_found(&evidence, "terms", Verdict::Invalid, "term 2 for the first time");
    }

    #[test]
    fn an_end_at_a_lower_term_or_a_client_that_goes_back_is_invalid() {
        let end = with(|evidence| evidence.ending.as_mut().expect("it ended").term = 1);
        assert_found(&end, "terms", Verdict::Invalid, "in the end the term was 1");
        let client = with(|evidence| {
            let back = append(6_000, "a1", 1, BACK + 4_000_000, BACK + 4_000_400);
            evidence.history.push(Operation { session: 9, outcome: Outcome::Failed, ..back });
        });
        assert_found(&client, "terms", Verdict::Invalid, "had used term 2 since");
    }

    #[test]
    fn a_term_that_only_the_history_knows_is_no_breach_and_none_at_all_is_unknown() {
        let short = with(|evidence| {
            evidence.masters[1].term = 3;
            for sighting in &mut evidence.masters {
                if sighting.term == 2 {
                    sighting.term = 3;
                }
            }
            let mut skipped = sighting(2, "c1", 10_100_000);
            skipped.recorded_us = Some(BACK - 60_000);
            evidence.masters.push(skipped);
            evidence.masters[1].instance = "a1".into();
            evidence.masters[1].term = 1;
            evidence.ending.as_mut().expect("it ended").term = 3;
        });
        assert_eq!(finding(&short, "terms").verdict, Verdict::Valid, "{:#?}", finding(&short, "terms"));
        let none = with(|evidence| evidence.masters.clear());
        assert_found(&none, "terms", Verdict::Unknown, "nobody said");
    }
}

mod outages;

mod healthy {
    use super::*;
    use crate::evidence::Ending;

    fn ended(change: impl FnOnce(&mut Ending)) -> Evidence {
        with(|evidence| change(evidence.ending.as_mut().expect("it ended")))
    }

    #[test]
    fn anything_that_is_not_well_in_the_end_is_invalid() {
        let ill = ended(|ending| {
            ending.healthy = false;
            ending.issues = vec!["c1 is not in sync".into()];
        });
        assert_found(&ill, "healthy", Verdict::Invalid, "c1 is not in sync");
        assert_found(&ended(|ending| ending.master = None), "healthy", Verdict::Invalid, "no master");
        let second = ended(|ending| ending.instances[2].writable = true);
        assert_found(&second, "healthy", Verdict::Invalid, "c1 accepts writes");
        let fenced = ended(|ending| ending.instances[1].writable = false);
        assert_found(&fenced, "healthy", Verdict::Invalid, "b1 does not accept writes");
        let away = ended(|ending| ending.instances[0].reachable = false);
        assert_found(&away, "healthy", Verdict::Invalid, "a1 does not answer");
    }

    #[test]
    fn where_nobody_looked_it_is_unknown() {
        let partly = ended(|ending| ending.instances.truncate(2));
        assert_found(&partly, "healthy", Verdict::Unknown, "nobody looked at c1");
        let unended = with(|evidence| evidence.ending = None);
        assert_found(&unended, "healthy", Verdict::Unknown, "nobody looked in the end");
    }
}

mod worth {
    use super::*;

    #[test]
    fn a_run_that_could_not_have_shown_a_flaw_is_unknown() {
        let thin = with(|evidence| evidence.history.retain(|operation| operation.sent_us < 500_000));
        assert_found(&thin, "worth", Verdict::Unknown, "acknowledged writes, fewer than 100");
        let missed = with(|evidence| {
            evidence.faults[0].bite = Some(Bite { bit: false, how: "no packet was dropped".into() });
        });
        assert_found(&missed, "worth", Verdict::Unknown, "did not bite: no packet was dropped");
        let unlooked = with(|evidence| evidence.faults[0].bite = None);
        assert_found(&unlooked, "worth", Verdict::Unknown, "nobody looked whether it bit");
        let still = with(|evidence| evidence.run.expected_changes = 2);
        assert_found(&still, "worth", Verdict::Unknown, "2 changes of master, and 1 happened");
        let before = with(|evidence| evidence.faults[0].injected_us = BACK);
        assert_found(
            &before,
            "worth",
            Verdict::Unknown,
            "1 changes of master, and 0 happened since its first fault",
        );
        assert_found(&with(|evidence| evidence.faults.clear()), "worth", Verdict::Unknown, "no fault struck");
    }

    #[test]
    fn an_instance_that_no_client_tried_directly_makes_it_unknown() {
        let blind = with(|evidence| {
            evidence.history.retain(|operation| operation.client != "direct" || operation.instance != "a1");
        });
        assert_found(&blind, "worth", Verdict::Unknown, "no client tried a1 directly");
    }

    #[test]
    fn an_instance_that_was_dead_to_the_end_need_not_be_tried() {
        let killed = |name: &str, healed_us| {
            with(|evidence| {
                evidence
                    .history
                    .retain(|it| it.client != "direct" || it.instance != "a1" || it.end() < STRUCK);
                let mut kill = fault(1, name, "a1", STRUCK, BACK);
                kill.healed_us = healed_us;
                evidence.faults = vec![kill];
            })
        };
        for name in ["kill", "kill-engine", "power-off"] {
            let because = finding(&killed(name, None), "worth").because;
            assert!(!because.iter().any(|it| it.contains("directly")), "{name}: {because:?}");
            assert_found(&killed(name, Some(BACK)), "worth", Verdict::Unknown, "no client tried a1 directly");
        }
        // Its engine may have gone on.
        assert_found(&killed("kill-sidecar", None), "worth", Verdict::Unknown, "no client tried a1 directly");
        assert_found(&killed("isolate", None), "worth", Verdict::Unknown, "no client tried a1 directly");
    }

    #[test]
    fn a_run_that_did_not_end_is_unknown() {
        let cut_off = with(|evidence| {
            evidence.ending = None;
            evidence.notes.push(Note::NotEnded);
        });
        assert_found(&cut_off, "worth", Verdict::Unknown, "did not come to its end");
    }

    #[test]
    fn an_empty_run_is_unknown() {
        let empty = Evidence {
            run: run(),
            history: Vec::new(),
            faults: Vec::new(),
            masters: Vec::new(),
            decisions: Vec::new(),
            health: Vec::new(),
            ending: None,
            notes: vec![Note::NotEnded],
        };
        assert_eq!(judge(&empty).verdict, Verdict::Unknown);
    }
}
