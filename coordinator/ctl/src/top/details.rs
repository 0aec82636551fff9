//! The chosen set in lines: its members, its last decision against its budget, its issues with what to do. Pure.

use super::draw::{Paint, clock};
use super::view::{Known, age, worst_lag};
use crate::render::{self, Palette, bytes};
use baton_client::decision::DecisionRecord;
use baton_client::status::{IssueStatus, MemberStatus, ReplicaSetStatus};
use baton_core::time::Span;
use ratatui::style::Style;
use ratatui::text::{Line, Span as Piece};

/// All there is to say of a set.
pub(super) fn of<'a>(
    set: &'a ReplicaSetStatus,
    known: &'a Known,
    now_millis: u64,
    paint: Paint,
) -> Vec<Line<'a>> {
    let mut lines = vec![headline(set, paint)];
    let own: Vec<&IssueStatus> = known.issues_of(set).collect();
    // The most urgent one with what to do stands above the members, the others below what fits first.
    let (first, others) = own.split_at(own.len().min(1));
    lines.extend(first.iter().flat_map(|issue| issue_lines(issue, false, paint)));
    // Coordinators of older builds tell texts only.
    if own.is_empty() {
        lines.extend(set.issues.iter().map(|text| Line::styled(format!("! {text}"), paint.doubtful())));
    }
    lines.extend(members(set, paint));
    if let Some(decision) = &set.last_decision {
        lines.extend(decided(decision, now_millis, paint));
    }
    if let Some(last) = &set.last_drill {
        lines.push(Line::raw(render::last_drill(last, Palette { color: false })));
    }
    lines.extend(others.iter().flat_map(|issue| issue_lines(issue, false, paint)));
    lines
}

fn headline<'a>(set: &'a ReplicaSetStatus, paint: Paint) -> Line<'a> {
    let mut pieces = vec![Piece::styled(set.replicaset.as_str(), paint.strong())];
    pieces.push(Piece::raw(format!("  term {}", set.term)));
    match (&set.master, &set.endpoint) {
        (Some(master), Some(endpoint)) => pieces.push(Piece::raw(format!("  {master} at {endpoint}"))),
        (Some(master), None) => pieces.push(Piece::raw(format!("  {master}"))),
        (None, _) => pieces.push(Piece::styled("  no master", paint.bad())),
    }
    if !matches!(set.phase.as_str(), "" | "steady") {
        pieces.push(Piece::styled(format!("  now: {}", set.phase), paint.doubtful()));
    }
    if let Some(lag) = worst_lag(set).filter(|lag| *lag > 0) {
        pieces.push(Piece::raw(format!("  {} behind", bytes(lag))));
    }
    Line::from(pieces)
}

fn members<'a>(set: &'a ReplicaSetStatus, paint: Paint) -> Vec<Line<'a>> {
    let width = set.members.iter().map(|member| member.instance.chars().count()).max().unwrap_or(0).max(8);
    let mut lines = Vec::new();
    if !set.members.is_empty() {
        let head = format!(
            "{:width$}  {:9}  {:8}  {:7}  {:>8}  {:>6}  {:8}  COORDINATOR",
            "INSTANCE", "ROLE", "HEALTH", "IN SYNC", "LAG", "BEAT", "ZONE"
        );
        lines.push(Line::styled(head, paint.strong()));
    }
    lines.extend(set.members.iter().map(|member| member_line(member, width, paint)));
    lines
}

fn member_line<'a>(member: &'a MemberStatus, width: usize, paint: Paint) -> Line<'a> {
    let word = |text: &str| match text {
        "up" | "master" => paint.good(),
        "down" | "stalled" | "fenced" => paint.bad(),
        "unknown" | "candidate" | "starting" => paint.doubtful(),
        _ => Style::new(),
    };
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let beat = member.beat_age_ms.map_or("never".to_owned(), |age| match age {
        0..1_000 => format!("{age}ms"),
        _ => self::age(age),
    });
    let sync =
        if member.in_sync { Piece::raw("yes    ") } else { Piece::styled("no     ", paint.doubtful()) };
    let more = if member.electable { "" } else { "  (not electable)" };
    Line::from(vec![
        Piece::raw(format!("{:width$}  ", member.instance)),
        Piece::styled(format!("{:9}  ", member.role), word(&member.role)),
        Piece::styled(format!("{:8}  ", member.health), word(&member.health)),
        sync,
        Piece::raw(format!(
            "  {:>8}  {beat:>6}  {:8}  {}{more}",
            member.lag_bytes.map_or("-".to_owned(), bytes),
            dash(&member.zone),
            dash(&member.coordinator),
        )),
    ])
}

fn decided<'a>(decision: &'a DecisionRecord, now_millis: u64, paint: Paint) -> Vec<Line<'a>> {
    let ago = age(now_millis.saturating_sub(decision.at_unix_millis));
    let terms = if decision.term_after == decision.term_before {
        format!("term {} stays", decision.term_before)
    } else {
        format!("term {} → {}", decision.term_before, decision.term_after)
    };
    let mut lines = vec![Line::from(vec![
        Piece::styled("last decision ", paint.strong()),
        Piece::raw(format!(
            "{ago} ago ({}), {}: {}; {terms}",
            clock(decision.at_unix_millis),
            decision.class,
            decision.rule
        )),
    ])];
    if decision.phases.is_empty() {
        return lines;
    }
    let mut pieces = Vec::new();
    for phase in &decision.phases {
        let over = phase.budget_us.is_some_and(|budget| phase.took_us > budget);
        let of = phase.budget_us.map(|budget| format!(" of {}", Span(budget))).unwrap_or_default();
        let mark = if over { " OVER" } else { "" };
        let text = format!("{} {}{of}{mark}", phase.name, Span(phase.took_us));
        if !pieces.is_empty() {
            pieces.push(Piece::raw(", "));
        }
        pieces.push(Piece::styled(text, if over { paint.bad() } else { Style::new() }));
    }
    let took: Span = decision.phases.iter().map(|phase| Span(phase.took_us)).sum();
    pieces.insert(0, Piece::raw(format!("  took {took}: ")));
    lines.push(Line::from(pieces));
    lines
}

/// Every issue, the most urgent first.
pub(super) fn issues<'a>(issues: &'a [IssueStatus], paint: Paint) -> Vec<Line<'a>> {
    if issues.is_empty() {
        return vec![Line::styled("nothing to look at", paint.good())];
    }
    issues.iter().flat_map(|issue| issue_lines(issue, true, paint)).collect()
}

fn issue_lines<'a>(issue: &'a IssueStatus, named: bool, paint: Paint) -> Vec<Line<'a>> {
    let place = match (&issue.replicaset, named) {
        (Some(set), true) => format!("  {set}"),
        (None, true) => "  cluster".to_owned(),
        (_, false) => String::new(),
    };
    let mut lines = vec![Line::from(vec![
        Piece::styled(issue.severity.as_str(), paint.severity(&issue.severity)),
        Piece::styled(place, paint.strong()),
        Piece::raw(format!("  {}", issue.text)),
    ])];
    if !issue.suggestion.is_empty() {
        lines.push(Line::raw(format!("  {}", issue.suggestion)));
    }
    if !issue.command.is_empty() {
        lines.push(Line::raw(format!("  $ {}", issue.command)));
    }
    lines
}
