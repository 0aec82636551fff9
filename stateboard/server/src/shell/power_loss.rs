//! The shell and its storage on a disk that loses power: whatever was answered is there afterwards, each commit is there
//! wholly or not at all, and the file always opens. The board's own machine says what each revision holds.

use super::{Event, Keeper, Queued, now};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::storage::disk::{Disk, Syncs};
use crate::storage::{CommitError, Storage};
use baton_board::{
    Action, Board, Candidate, Durable, Identity, Input, Limits, LockSecret, LockToken, Persist, Reply,
    Request, RequestId, Resume, SessionId, SessionMessage,
};
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, InstanceName, ReplicaSetName, TaskId, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Change, Member, Record, Settings};
use baton_core::task::StoredTask;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tokio::sync::{mpsc, oneshot};

/// Losses of power in the test: chains of them on one disk, each from its own seed.
const CHAINS: u64 = 200;
const LOSSES: u64 = 40;
/// Writes and syncs that the power lasts for, at most.
const POWER_MAX: u64 = 60;
const BATCHES: usize = 30;
const EVENTS_MAX: usize = 12;
const SETS: u64 = 8;
const DECISION_BYTES_MAX: usize = 3_000;

fn identity() -> Identity {
    Identity { cluster: ClusterName::parse("orders").expect("a name"), secret_hash: [7; 32] }
}

fn candidate() -> Candidate {
    Candidate {
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        address: Endpoint(Arc::from("10.0.0.1:4402")),
    }
}

fn set(number: u64) -> ReplicaSetName {
    ReplicaSetName::parse(&format!("set-{number}")).expect("a name")
}

fn instance() -> InstanceName {
    InstanceName::parse("a1").expect("a name")
}

fn change(board: &Durable, number: u64, token: LockToken, decision: usize) -> Change {
    let before = board.records.get(&set(number));
    let term = before.map_or(1, |record| record.term.0 + 1);
    let record = Record {
        replicaset: set(number),
        term: Term(term),
        version: Version(term),
        master: Some(instance()),
        endpoint: None,
        incarnation: None,
        start: Position::at(term, 9),
        in_sync: [instance()].into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "a test".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch: token.epoch,
        term_generation: 1,
        at_unix_millis: 0,
    };
    let expected = before.map(|record| record.version);
    Change { expected, record, decision: "x".repeat(decision) }
}

fn member(number: u64, priority: u32) -> Member {
    Member {
        instance: instance(),
        replicaset: set(number),
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        endpoint: Endpoint(Arc::from("10.0.0.1:6379")),
        zone: None,
        priority,
        electable: true,
        bootstrap_members: 1,
        version: Version(0),
    }
}

/// What the disk should hold, from the machine itself: it takes the same inputs and its writes are applied to a value.
struct Twin {
    board: Board,
    durable: Durable,
    replies: Vec<Reply>,
    granted: Option<LockToken>,
}

impl Twin {
    fn new(durable: Durable) -> Self {
        let board = Board::new(now(), durable.clone(), Limits::default());
        Self { board, durable, replies: Vec::new(), granted: None }
    }

    fn step(&mut self, input: Input) {
        self.board.step(now(), input);
        while let Some(action) = self.board.pop_action() {
            match action {
                Action::Persist(Persist { op, revision, writes }) => {
                    self.durable.revision = revision;
                    writes.into_iter().for_each(|write| self.durable.apply(write));
                    self.board.step(now(), Input::Persisted(op));
                }
                Action::Reply { reply, .. } => self.replies.push(reply),
                Action::Session { message: SessionMessage::Granted { token, .. }, .. } => {
                    self.granted = Some(token);
                }
                Action::Session { .. } | Action::Publish(_) => {}
            }
        }
    }
}

/// What clients know: the state of which they were told, and the one that a commit under way would have made.
struct Known {
    answered: Durable,
    under_way: Option<Durable>,
}

impl Known {
    /// What is wrong with what the disk gave back.
    fn check(&self, found: &Durable) -> Result<(), String> {
        if *found == self.answered || Some(found) == self.under_way.as_ref() {
            return Ok(());
        }
        Err(format!(
            "the disk gave back revision {} in epoch {}, answered was revision {} in epoch {}",
            found.revision, found.lock.epoch, self.answered.revision, self.answered.lock.epoch
        ))
    }
}

/// What a client of this run waits for.
struct Asked {
    reply: oneshot::Receiver<Result<Reply, super::Rejected>>,
    expected: Reply,
    /// Nothing of its batch was changed before it, so it waits for no commit.
    at_once: bool,
}

struct Run<'a> {
    keeper: Keeper,
    twin: Twin,
    random: &'a mut StdRng,
    session: u64,
    token: Option<LockToken>,
}

impl Run<'_> {
    /// Batches until the power goes.
    fn load(&mut self, known: &mut Known) -> Result<(), String> {
        for _ in 0..BATCHES {
            let (events, queue) = sync_channel::<Queued>(EVENTS_MAX + 1);
            let mut asked = Vec::new();
            let mut messages = self.campaign(&events);
            let resumed = self.twin.durable.revision == known.answered.revision;
            let mut first = messages.is_some().then(|| queue.try_recv().expect("it was just sent").0);
            for _ in 0..self.random.random_range(1..EVENTS_MAX) {
                let (event, mut waits) = self.ask();
                waits.at_once = self.twin.durable.revision == known.answered.revision;
                asked.push(waits);
                match first {
                    None => first = Some(event),
                    Some(_) => events.try_send((event, None)).expect("there is room"),
                }
            }
            known.under_way = Some(self.twin.durable.clone());
            let committed = self.keeper.batch(first.expect("there is one event"), &queue);
            let answers: Vec<_> = asked.iter_mut().map(|asked| asked.reply.try_recv().ok()).collect();
            if !committed {
                let told = messages.as_mut().is_some_and(|messages| messages.try_recv().is_ok());
                let mut answered = asked.iter().zip(&answers).filter(|(_, answer)| answer.is_some());
                let early = (told && !resumed) || answered.any(|(asked, _)| !asked.at_once);
                return if early { Err("answered although the commit failed".into()) } else { Ok(()) };
            }
            known.answered = self.twin.durable.clone();
            known.under_way = None;
            for (asked, answer) in asked.iter().zip(answers) {
                match answer {
                    Some(Ok(reply)) if reply == asked.expected => {}
                    other => return Err(format!("{other:?} was answered, not {:?}", asked.expected)),
                }
            }
        }
        Ok(())
    }

    /// Takes the lock in the first batch: resumed where it was held, or anew.
    fn campaign(
        &mut self,
        events: &std::sync::mpsc::SyncSender<Queued>,
    ) -> Option<mpsc::Receiver<SessionMessage>> {
        if self.token.is_some() {
            return None;
        }
        self.session += 1;
        let held = self.twin.durable.lock.holder.as_ref();
        let epoch = self.twin.durable.lock.epoch;
        let resume =
            held.map(|(_, secret)| Resume { token: LockToken { epoch, secret: *secret }, only: false });
        let input = Input::Campaign {
            session: SessionId(self.session),
            candidate: candidate(),
            resume,
            secret: LockSecret(self.random.random()),
        };
        let (sender, messages) = mpsc::channel(4);
        let event = Event::Open { session: SessionId(self.session), messages: sender, input: input.clone() };
        events.try_send((event, None)).expect("there is room");
        self.twin.step(input);
        self.token = self.twin.granted;
        Some(messages)
    }

    fn ask(&mut self) -> (Event, Asked) {
        let token = self.token.expect("the lock was taken first");
        let request = match self.random.random_range(0..20_u32) {
            0 => Request::Read,
            1 => Request::PutMember { token, member: Box::new(member(self.random.random_range(0..SETS), 7)) },
            2 => {
                let replicaset = set(SETS);
                Request::RemoveMember { token, replicaset, instance: instance() }
            }
            3 => {
                let settings = self.twin.durable.settings.clone();
                Request::PutSettings { expected: settings.version, settings: Box::new(settings) }
            }
            5 => {
                let id = TaskId(self.random.random_range(1..4));
                let expected = self.twin.durable.tasks.get(&id).map(|task| task.version);
                let task = StoredTask { id, body: "{}".into(), version: Version(0) };
                Request::PutTask { token, expected, task: Box::new(task) }
            }
            6 => Request::RemoveTask { token, id: TaskId(self.random.random_range(1..4)) },
            4 => Request::PutMember { token, member: Box::new(member(SETS, 9)) },
            _ => {
                let first = self.random.random_range(0..SETS);
                let sets = first..(first + self.random.random_range(1..4)).min(SETS);
                let changes = sets.map(|number| {
                    let decision = self.random.random_range(0..DECISION_BYTES_MAX);
                    change(&self.twin.durable, number, token, decision)
                });
                Request::Appoint { token, changes: changes.collect() }
            }
        };
        self.twin.replies.clear();
        self.twin.step(Input::Request { id: RequestId(1), request: request.clone() });
        let expected = self.twin.replies.pop().expect("every request is answered");
        let (sender, reply) = oneshot::channel();
        (Event::Ask { request, reply: sender }, Asked { reply, expected, at_once: false })
    }
}

/// Nothing is done about it: what comes after the loss of power is another process.
fn lost(_: &CommitError) {}

/// Losses of power, one after the other, on one disk. How many there were while something was under way.
fn chain(seed: u64, image: &[u8], genesis: &Durable, syncs: Syncs) -> Result<u64, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut known = Known { answered: genesis.clone(), under_way: None };
    let mut image = image.to_vec();
    let mut in_the_middle = 0;
    for _ in 0..LOSSES {
        let disk = Disk::new(image, random.random_range(1..POWER_MAX), syncs);
        match Storage::on(&disk, &identity()) {
            // While it was repaired: the next start sees to it.
            Err(_) if disk.is_off() => {}
            Err(error) => return Err(format!("the file is refused: {error}")),
            Ok((storage, durable)) => {
                known.check(&durable)?;
                known = Known { answered: durable.clone(), under_way: None };
                let twin = Twin::new(durable.clone());
                let metrics = Arc::new(Metrics::new());
                let feed = Feed::new(durable.revision, 64);
                let keeper = Keeper::new(durable, Limits::default(), storage, metrics, feed, lost);
                let mut run = Run { keeper, twin, random: &mut random, session: 0, token: None };
                run.load(&mut known)?;
                in_the_middle += u64::from(known.under_way.is_some());
                // The process is gone with the power: nothing more is written when its values are dropped.
                disk.cut_power();
            }
        }
        image = disk.after_power_loss(random.random());
    }
    Ok(in_the_middle)
}

fn genesis() -> (Vec<u8>, Durable) {
    let durable = Durable::genesis(identity(), Settings::default());
    (Disk::holding(&durable), durable)
}

#[test]
fn eight_thousand_losses_of_power_lose_no_answered_change() {
    let (image, durable) = genesis();
    let mut in_the_middle = 0;
    for seed in 0..CHAINS {
        in_the_middle += chain(seed, &image, &durable, Syncs::Honest)
            .unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
    const { assert!(CHAINS * LOSSES >= 8_000) };
    assert!(in_the_middle >= CHAINS * LOSSES / 2, "only {in_the_middle} were in the middle of a commit");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_caught_by_the_same_check() {
    let (image, durable) = genesis();
    let caught = (0..20).filter(|seed| chain(*seed, &image, &durable, Syncs::Lies).is_err()).count();
    assert_eq!(caught, 20, "a chain of {LOSSES} losses always meets one that matters");
}

#[test]
fn after_a_sync_that_failed_nothing_is_answered_and_the_file_is_of_no_more_use() {
    let (image, genesis) = genesis();
    let mut ended_by_it = 0;
    for after in 1..12 {
        let disk = Disk::new(image.clone(), u64::MAX, Syncs::Fails(after));
        let Ok((storage, durable)) = Storage::on(&disk, &identity()) else {
            // The sync that failed was one of the opening: refused, and the next start finds what there was.
            continue;
        };
        assert_eq!(durable, genesis);
        let mut random = StdRng::seed_from_u64(u64::from(after));
        let mut known = Known { answered: durable.clone(), under_way: None };
        let twin = Twin::new(durable.clone());
        let feed = Feed::new(durable.revision, 64);
        let metrics = Arc::new(Metrics::new());
        let keeper = Keeper::new(durable, Limits::default(), storage, metrics, feed, lost);
        let mut run = Run { keeper, twin, random: &mut random, session: 0, token: None };
        run.load(&mut known).expect("nothing is answered that was not committed");
        assert!(known.under_way.is_some(), "the sync after {after} failed and nobody noticed");
        // Whoever went on all the same would be refused: what a later sync says would not be true.
        assert!(run.keeper.storage.commit(&[]).is_err());
        ended_by_it += 1;
        disk.cut_power();
        drop(run);
        let after_restart = Disk::new(disk.after_power_loss(0), u64::MAX, Syncs::Honest);
        let (_storage, found) = Storage::on(&after_restart, &identity()).expect("it opens");
        known.check(&found).expect("what was answered is there");
    }
    assert!(ended_by_it >= 8, "only {ended_by_it} runs came to the sync that fails");
}
