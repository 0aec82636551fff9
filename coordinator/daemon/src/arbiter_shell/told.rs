//! What the attached hosts told that no decision reads: their notes, and what their wall clocks say. Kept here, outside the
//! machine, so that nothing can ever be decided from it.

use super::issues;
use crate::notes::Note;
use baton_client::status::IssueStatus;
use baton_core::arbiter::SessionId;
use baton_core::ids::{CoordinatorName, InstanceName};
use baton_core::message::Hello;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// How many messages of a host are compared: one that waited somewhere says nothing of a clock.
const CLOCKS_MAX: usize = 5;
/// How long a name that was used twice is told, or one that was turned away.
const TWICE_FOR: Duration = Duration::from_secs(600);
/// Most names that are remembered so.
const TWICE_MAX: usize = 64;

/// What a host's message says beside its beats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// How far the sender's wall clock was ahead when the message was read, in milliseconds; absent from older builds. It
    /// is too low by the time that the message took.
    pub clock_ahead_ms: Option<i64>,
    /// All notes of the host; absent where they are as before.
    pub notes: Option<Vec<Note>>,
}

#[derive(Debug)]
struct Host {
    coordinator: CoordinatorName,
    /// Its instances with their sets.
    instances: BTreeMap<String, String>,
    notes: Vec<Note>,
    clocks: VecDeque<i64>,
}

/// Everything that was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    hosts: BTreeMap<SessionId, Host>,
    twice: BTreeMap<InstanceName, Instant>,
    /// Who was expelled and told to go.
    away: BTreeMap<InstanceName, Instant>,
}

impl Told {
    pub(super) fn add(&mut self, session: SessionId, guards: &[Hello]) {
        // A host without guards has nothing that could be said of it.
        let Some(first) = guards.first() else { return };
        let set_of = |hello: &Hello| (hello.instance.to_string(), hello.replicaset.to_string());
        let host = Host {
            coordinator: first.coordinator.clone(),
            instances: guards.iter().map(set_of).collect(),
            notes: Vec::new(),
            clocks: VecDeque::new(),
        };
        self.hosts.insert(session, host);
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.hosts.remove(&session);
    }

    pub(super) fn clear(&mut self) {
        self.hosts.clear();
    }

    pub(super) fn said(&mut self, session: SessionId, aside: Aside) {
        let Some(host) = self.hosts.get_mut(&session) else { return };
        if let Some(notes) = aside.notes {
            host.notes = notes;
        }
        if let Some(ahead) = aside.clock_ahead_ms {
            host.clocks.push_front(ahead);
            host.clocks.truncate(CLOCKS_MAX);
        }
    }

    pub(super) fn used_twice(&mut self, instance: InstanceName, now: Instant) {
        if self.twice.len() < TWICE_MAX || self.twice.contains_key(&instance) {
            self.twice.insert(instance, now);
        }
    }

    pub(super) fn turned_away(&mut self, instance: InstanceName, now: Instant) {
        if self.away.len() < TWICE_MAX || self.away.contains_key(&instance) {
            self.away.insert(instance, now);
        }
    }

    /// What of it a person should look at.
    pub(super) fn issues(&mut self, now: Instant) -> Vec<IssueStatus> {
        self.twice.retain(|_, since| now.saturating_duration_since(*since) < TWICE_FOR);
        let mut found: Vec<IssueStatus> = self
            .twice
            .iter()
            .map(|(instance, since)| {
                issues::used_twice(instance.as_str(), now.saturating_duration_since(*since))
            })
            .collect();
        self.away.retain(|_, since| now.saturating_duration_since(*since) < TWICE_FOR);
        let away = self.away.iter();
        found.extend(away.map(|(instance, since)| {
            issues::turned_away(instance.as_str(), now.saturating_duration_since(*since))
        }));
        for host in self.hosts.values() {
            let coordinator = host.coordinator.as_str();
            // The one that differs least: it was on its way for the shortest time.
            let ahead = host.clocks.iter().copied().min_by_key(|ahead| ahead.unsigned_abs());
            found.extend(ahead.and_then(|ahead| issues::clock_difference(coordinator, ahead)));
            found.extend(host.notes.iter().map(|note| {
                let set = host.instances.get(&note.about).map(String::as_str);
                issues::of_note(coordinator, set, note)
            }));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notes;
    use baton_core::ids::{Endpoint, Incarnation, ReplicaSetName};

    const SESSION: SessionId = SessionId(7);

    fn told() -> Told {
        let hello = Hello {
            instance: InstanceName::parse("a1").expect("a good name"),
            replicaset: ReplicaSetName::parse("orders-1").expect("a good name"),
            incarnation: Incarnation::default(),
            coordinator: CoordinatorName::parse("host-a").expect("a good name"),
            endpoint: Endpoint("h:1".into()),
            zone: None,
            priority: 100,
            electable: true,
            bootstrap_members: 1,
            supervised: true,
        };
        let mut told = Told::default();
        told.add(SESSION, &[hello]);
        told
    }

    fn clock(ahead: i64) -> Aside {
        Aside { clock_ahead_ms: Some(ahead), notes: None }
    }

    fn codes(told: &mut Told) -> Vec<(String, String)> {
        let found = told.issues(Instant::now());
        found.into_iter().map(|issue| (issue.code, issue.severity)).collect()
    }

    #[test]
    fn a_clock_that_is_off_is_told_and_a_message_that_waited_is_not() {
        let mut told = told();
        told.said(SESSION, clock(-20));
        told.said(SESSION, clock(-9_000));
        assert_eq!(codes(&mut told), []);
        for _ in 0..CLOCKS_MAX {
            told.said(SESSION, clock(-9_000));
        }
        assert_eq!(codes(&mut told), [("clock_difference".to_owned(), "notice".to_owned())]);
        let text = told.issues(Instant::now()).remove(0).text;
        assert_eq!(text, "host-a: its wall clock is 9s behind the arbiter's");
        for _ in 0..CLOCKS_MAX {
            told.said(SESSION, clock(61_000));
        }
        assert_eq!(codes(&mut told), [("clock_difference".to_owned(), "warning".to_owned())]);
        told.remove(SESSION);
        assert_eq!(codes(&mut told), []);
    }

    #[test]
    fn a_note_is_an_issue_of_its_instance_until_it_is_gone() {
        let mut told = told();
        let note =
            |code: &str| Note { code: code.into(), about: "a1".into(), text: "a1: what is wrong".into() };
        told.said(SESSION, Aside { clock_ahead_ms: None, notes: Some(vec![note(notes::WRITABLE_BY_HAND)]) });
        let issue = told.issues(Instant::now()).remove(0);
        assert_eq!((issue.code.as_str(), issue.severity.as_str()), ("writable_by_hand", "warning"));
        assert_eq!((issue.replicaset.as_deref(), issue.instance.as_deref()), (Some("orders-1"), Some("a1")));
        assert!(!issue.suggestion.is_empty() && !issue.command.is_empty());
        // Absent is as before; a word of a newer build is told as it is.
        told.said(SESSION, Aside::default());
        assert_eq!(codes(&mut told).len(), 1);
        told.said(SESSION, Aside { clock_ahead_ms: None, notes: Some(vec![note("something_new")]) });
        assert_eq!(codes(&mut told), [("something_new".to_owned(), "notice".to_owned())]);
        told.said(SESSION, Aside { clock_ahead_ms: None, notes: Some(vec![]) });
        assert_eq!(codes(&mut told), []);
    }

    #[test]
    fn a_name_that_was_used_twice_is_told_for_a_while() {
        let (mut told, now) = (told(), Instant::now());
        told.used_twice(InstanceName::parse("a1").expect("a good name"), now);
        assert_eq!(codes(&mut told), [("name_used_twice".to_owned(), "warning".to_owned())]);
        assert_eq!(told.issues(now + TWICE_FOR), []);
    }

    #[test]
    fn who_was_turned_away_is_told_of_for_a_while() {
        let (mut told, now) = (told(), Instant::now());
        told.turned_away(InstanceName::parse("a1").expect("a good name"), now);
        assert_eq!(codes(&mut told), [("expelled".to_owned(), "notice".to_owned())]);
        assert_eq!(told.issues(now + TWICE_FOR), []);
    }
}
