//! A hand-over through its file: the whole of it, once, and nothing that is not surely it.

use super::super::disk;
use super::*;
use baton_core::engine::{DataState, Probe};
use baton_core::guard::{
    FollowOrder, HandedEngine, Kept, Lead, Promised, Promotion, Proposal, Quorum, Reckoned, Saved, Severance,
    Unpin,
};
use baton_core::ids::{DataId, Endpoint, EngineRun, Epoch, Incarnation, Stamp, Term, Version};
use baton_core::message::{Honoured, Relinquished, Severed};
use baton_core::position::Position;
use baton_core::time::{Span, Time};
use std::fs;

const STAMP: Stamp = Stamp { generation: 2, version: Version(7) };
const EPOCH: Epoch = Epoch { generation: 2, number: 5 };

fn name(text: &str) -> InstanceName {
    InstanceName::parse(text).expect("a good name")
}

fn owner() -> Owner {
    Owner {
        cluster: ClusterName::parse("orders").expect("a good name"),
        instance: name("a1"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        supervised: true,
    }
}

fn lead() -> Lead {
    Lead {
        term: Term(3),
        data_id: DataId("d".into()),
        in_sync: [name("a1"), name("a2")].into(),
        right: Some(Time(u64::MAX / 2)),
        pinned_until: Some(Time(8)),
        reckoned: Reckoned { kill: Span(3), fence: Span(4) },
        pace: Some(Span(1_000)),
        promotion: Promotion::Confirmed,
        quorum: Quorum { wanted: 2, told: Some(2), sure: 1, raised: Some((EPOCH, STAMP)) },
        promises: [(name("a2"), Kept { end: Time(12), ttl: Span(13) })].into(),
        refusals: Default::default(),
        on_promises: true,
    }
}

/// With something in every field.
fn handed(incarnation: Incarnation, taken: u64, saved: Saved) -> HandOver {
    let run = EngineRun("a1.1".into());
    let probe = Probe {
        run: run.clone(),
        writable: true,
        follows: Some(Endpoint("h:1".into())),
        link_up: true,
        position: Position::at(3, 9),
        data: DataState::Marked { id: DataId("d".into()), term: Term(3) },
        replicas_caught_up: 1,
    };
    HandOver {
        instance: name("a1"),
        replicaset: owner().replicaset,
        incarnation,
        supervised: true,
        taken,
        saved,
        floor: Term(2),
        hold_until: Time(4),
        seen: STAMP,
        lead: Some(lead()),
        relinquished: Some(Relinquished { term: Term(2), position: Position::Unknown, ended: true }),
        severance: Some(Severance {
            stamp: STAMP,
            reach: Some(Position::at(1, 2)),
            report: Some(Severed {
                stamp: STAMP,
                position: Position::at(1, 2),
                run: Some(run.clone()),
                whole: true,
            }),
        }),
        follow: Some(FollowOrder {
            endpoint: Endpoint("h:2".into()),
            data_id: DataId("d".into()),
            start: Position::at(1, 1),
            reach: None,
        }),
        proposal: Some(Proposal::Shrink { stamp: STAMP, epoch: EPOCH, member: name("a3"), ack_quorum: 1 }),
        honoured: Some(Honoured {
            stamp: STAMP,
            epoch: Some(EPOCH),
            members: [name("a2")].into(),
            dropped: Some(name("a3")),
            ack_quorum: Some(1),
        }),
        unpin: Some(Unpin { epoch: EPOCH, stamp: STAMP, done: true }),
        armed: Some(Time(99)),
        engine: HandedEngine {
            probe: Some(probe),
            may_write: true,
            order_lost: true,
            quorum_lost: Some(0),
            stalled: true,
            found_writable: true,
            fenced_for: Some(STAMP),
            whole: Some(run),
            told_foreign: true,
        },
    }
}

fn saved() -> Saved {
    Saved {
        highest_term: Term(3),
        known_master: Some((Term(3), name("a1"))),
        highest_epoch: EPOCH,
        severed: Some(STAMP),
        promised: Some(Promised { term: Term(2), until: Time(77) }),
        whole: Some(EngineRun("a1.1".into())),
    }
}

fn left(handed: HandOver) -> Left {
    let engine = Some(LeftEngine { run: 4, pid: 11, started_us: 12 });
    Left { handed, behind: LeftBehind { deadman_pid: 10, engine, armed_us: Some(99) } }
}

fn home(handed: &HandOver) -> Home {
    Home {
        instance: handed.instance.clone(),
        replicaset: handed.replicaset.clone(),
        supervised: handed.supervised,
        incarnation: handed.incarnation,
        taken: handed.taken,
        saved: handed.saved.clone(),
    }
}

const RUN: Incarnation = Incarnation { home: u64::MAX, boot: 2, run: 3 };

#[test]
fn everything_goes_through_the_file_and_the_file_is_gone_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = InstanceDir::lock(folder.path(), "a1").expect("free");
    let shrink = left(handed(RUN, 1, saved()));
    let mut grow = shrink.clone();
    grow.handed.proposal = Some(Proposal::Grow { stamp: STAMP, epoch: EPOCH, member: name("a3") });
    grow.handed.lead = Some(Lead { promotion: Promotion::NotAsked, right: None, ..lead() });
    let mut raise = shrink.clone();
    raise.handed.proposal = Some(Proposal::Quorum { stamp: STAMP, epoch: EPOCH, ack_quorum: 2 });
    let mut bare = left(handed(RUN, 1, Saved::default()));
    bare.behind.engine = None;
    bare.handed.lead = None;
    bare.handed.engine.probe = None;
    for written in [shrink, grow, raise, bare] {
        write(&dir, &owner(), &written).expect("written");
        let taken = take(&dir, &owner(), &home(&written.handed)).expect("it can be removed");
        assert_eq!(taken.as_ref(), Some(&written));
        assert!(!dir.hand_over_file().exists());
        assert_eq!(take(&dir, &owner(), &home(&written.handed)).expect("nothing is no error"), None);
    }
}

/// It does not say which arbiter proposed and was answered: nobody's answer then.
#[test]
fn what_an_older_build_handed_over_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = InstanceDir::lock(folder.path(), "a1").expect("free");
    let mut good = left(handed(RUN, 1, saved()));
    write(&dir, &owner(), &good).expect("written");
    let text = fs::read_to_string(dir.hand_over_file()).expect("it was written");
    let (_, body) = text.split_once('\n').expect("two lines");
    let whose = format!(",\"epoch\":{{\"generation\":{},\"number\":{}}}", EPOCH.generation, EPOCH.number);
    let older = body.trim_end().replace(&whose, "");
    assert_eq!(body.matches(&whose).count(), 2, "of the proposal and of the answer: {body}");
    let older = format!("{MAGIC} {FORMAT} {:016x}\n{older}\n", sum(&older));
    let place = dir.path().display().to_string();
    good.handed.proposal =
        Some(Proposal::Shrink { stamp: STAMP, epoch: Epoch::default(), member: name("a3"), ack_quorum: 1 });
    // That is the state file's to say.
    good.handed.saved.whole = None;
    if let Some(honoured) = &mut good.handed.honoured {
        honoured.epoch = None;
    }
    assert_eq!(read(older.as_bytes(), &owner(), &place), Ok(good));
}

#[test]
fn what_is_damaged_or_of_another_version_cluster_or_place_is_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = InstanceDir::lock(folder.path(), "a1").expect("free");
    let good = left(handed(RUN, 1, saved()));
    write(&dir, &owner(), &good).expect("written");
    let text = fs::read_to_string(dir.hand_over_file()).expect("it was written");
    let place = dir.path().display().to_string();
    let refused = |bytes: &[u8], why: &str| {
        let error = read(bytes, &owner(), &place).expect_err(why);
        assert!(error.contains(why), "{why:?}: {error}");
    };
    assert!(read(text.as_bytes(), &owner(), &place).is_ok());
    for cut in [0, 5, 20, text.len() / 2, text.len() - 1] {
        refused(&text.as_bytes()[..cut], "damaged");
    }
    refused(text.replacen("\"floor\":2", "\"floor\":1", 1).as_bytes(), "damaged");
    refused(&[0xff; 40], "damaged");
    refused(text.replacen("baton-hand-over 1 ", "baton-hand-over 2 ", 1).as_bytes(), "format 2");
    let newer = text.split_once('\n').expect("two lines").1.trim_end().replacen('{', "{\"later\":1,", 1);
    let newer = format!("{MAGIC} {FORMAT} {:016x}\n{newer}\n", sum(&newer));
    refused(newer.as_bytes(), "later");
    let other = Owner { cluster: ClusterName::parse("stock").expect("a good name"), ..owner() };
    assert!(read(text.as_bytes(), &other, &place).expect_err("of another").contains("orders"));
    assert!(read(text.as_bytes(), &owner(), "/elsewhere").expect_err("elsewhere").contains(&place));
}

/// The machine boots anew, and the daemon is started twice before the guard has anything to write down.
#[test]
fn what_was_promised_on_another_boot_is_of_another_boot_however_often_a_guard_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = || {
        let dir = InstanceDir::lock(folder.path(), "a1").expect("free");
        (disk::begin(&dir, &owner()).expect("a good state"), dir)
    };
    let (first, dir) = begin();
    assert!(!first.same_boot, "there was no file");
    drop(dir);
    let (again, dir) = begin();
    assert!(!again.same_boot, "nothing was written on this boot yet");
    assert_eq!(again.incarnation.run, first.incarnation.run + 1);
    let path = dir.guard_file();
    let written = files::GuardFile::read(&path).expect("readable").expect("there");
    let promises = vec![files::PromiseEntry { term: 3, until_us: 1 << 50 }];
    let other = files::GuardFile { boot: 7, promises, ..written };
    other.write(&path).expect("writable");
    drop(dir);
    for _ in 0..2 {
        let (start, dir) = begin();
        assert!(!start.same_boot, "its promise is a moment of another boot");
        drop(dir);
    }
}

/// The whole way of a home: a run, a hand-over, the next process, and a copy that somebody put back.
#[test]
fn a_hand_over_keeps_the_run_and_a_copy_of_it_begins_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = || {
        let dir = InstanceDir::lock(folder.path(), "a1").expect("free");
        (disk::begin(&dir, &owner()).expect("a good state"), dir)
    };
    let (first, dir) = begin();
    assert!(first.left.is_none());
    let written = left(handed(first.incarnation, first.taken(), first.saved.clone()));
    write(&dir, &owner(), &written).expect("written");
    let copy = fs::read(dir.hand_over_file()).expect("it was written");
    drop(dir);
    let (second, dir) = begin();
    assert_eq!(second.left, Some(written));
    assert_eq!(second.incarnation, first.incarnation, "the same run goes on");
    fs::write(dir.hand_over_file(), &copy).expect("writable");
    drop(dir);
    let (third, dir) = begin();
    assert!(third.left.is_none(), "it was taken");
    assert_eq!(third.incarnation.run, first.incarnation.run + 1);
    fs::write(dir.hand_over_file(), &copy).expect("writable");
    drop(dir);
    let (fourth, _dir) = begin();
    assert!(fourth.left.is_none(), "and it is of a run before");
}
