//! Which of the attached hosts reach the provider that an announced move leads to. Kept for whoever makes the move: nothing
//! is decided from it here.

use baton_client::status::{IssueStatus, MovingHost, MovingStatus};
use baton_core::arbiter::{SessionId, Severity};
use baton_core::ids::CoordinatorName;
use baton_core::message::Hello;
use baton_core::record::MovePhase;
use baton_provider::switching::MovingView;
use std::collections::BTreeMap;

/// What the hosts said.
#[derive(Default)]
pub(super) struct Hosts(BTreeMap<SessionId, Host>);

struct Host {
    coordinator: Option<CoordinatorName>,
    /// Of which move, and what is wrong.
    said: Option<(u64, String)>,
}

impl Hosts {
    pub(super) fn add(&mut self, session: SessionId, guards: &[Hello]) {
        let coordinator = guards.first().map(|hello| hello.coordinator.clone());
        self.0.insert(session, Host { coordinator, said: None });
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.0.remove(&session);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn said(&mut self, session: SessionId, move_id: u64, problem: String) {
        if let Some(host) = self.0.get_mut(&session) {
            host.said = Some((move_id, problem));
        }
    }

    /// As people see it; `None` where the state is not being moved.
    pub(super) fn status(&self, view: &MovingView) -> Option<MovingStatus> {
        let moving = view.moving.as_ref()?;
        let hosts = self.0.values().map(|host| MovingHost {
            coordinator: host.coordinator.as_ref().map(ToString::to_string).unwrap_or_default(),
            problem: match &host.said {
                Some((id, problem)) if *id == moving.id => Some(problem.clone()).filter(|it| !it.is_empty()),
                Some(_) | None => Some("it has not said whether it reaches it".to_owned()),
            },
        });
        Some(MovingStatus {
            id: format!("{:016x}", moving.id),
            phase: match moving.phase {
                MovePhase::Announced => "announced",
                MovePhase::Frozen => "frozen",
                MovePhase::Moved => "moved",
                MovePhase::Arriving => "arriving",
            }
            .to_owned(),
            to: moving.other.clone(),
            hosts: hosts.collect(),
        })
    }
}

/// What of a move a person has to know.
pub(super) fn issues(view: &MovingView) -> Vec<IssueStatus> {
    let mut issues = Vec::new();
    let mut issue = |code: &str, severity: Severity, text: String, suggestion: &str, command: &str| {
        issues.push(IssueStatus {
            code: code.to_owned(),
            severity: severity.name().to_owned(),
            text,
            suggestion: suggestion.to_owned(),
            command: command.to_owned(),
            ..IssueStatus::default()
        });
    };
    if let Some(moving) = &view.moving {
        let problem = match &view.next {
            Some((_, Err(problem))) => format!("; the arbiter's coordinator does not follow it: {problem}"),
            Some((_, Ok(()))) | None => String::new(),
        };
        issue(
            "provider_moving",
            Severity::Notice,
            format!("the cluster's state is being moved to {}{problem}", moving.other),
            "if the command that moves it was cut off, run it again: it completes the move or takes it back",
            "batonctl status --json",
        );
    }
    if view.on_next {
        issue(
            "provider_moved",
            Severity::Warning,
            "the provider in use is that of [provider.next]".to_owned(),
            "name it in [provider] of the coordinators' files, and keep the old provider until all are changed",
            "baton-coordinator check-config",
        );
    }
    issues
}
