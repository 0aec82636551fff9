//! One frame: the header, the sets with the troubled first, the chosen one, what happened, the keys. Pure: a screen in, cells
//! out. What is wrong is a word before it is a colour.

use super::details;
use super::view::{Known, Page, Screen, Trouble, age, last_change, worst_lag};
use crate::render::bytes;
use baton_client::status::{IssueStatus, ReplicaSetStatus};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState, Wrap};

/// What the details of one set take below the list.
pub(super) const DETAILS_ROWS: usize = 16;
/// Below so many rows the list has the terminal for itself.
const ROWS_FOR_DETAILS: u16 = 24;
/// Widths from which more columns are shown.
const MEDIUM: u16 = 60;
const WIDE: u16 = 100;

/// The colours, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    fn colored(self, color: Color) -> Style {
        if self.0 { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn bad(self) -> Style {
        self.colored(Color::Red)
    }

    pub(super) fn doubtful(self) -> Style {
        self.colored(Color::Yellow)
    }

    pub(super) fn good(self) -> Style {
        self.colored(Color::Green)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn severity(self, word: &str) -> Style {
        match word {
            "critical" => self.bad(),
            "warning" => self.doubtful(),
            _ => Style::new(),
        }
    }
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let paint = Paint(screen.color);
    let head = header(screen, paint);
    let is_tall = frame.area().height >= ROWS_FOR_DETAILS;
    let events = if is_tall && screen.events.len() > 1 { 2 } else { 1 };
    // A long line of the header may need a second row where the terminal is narrow.
    let width = usize::from(frame.area().width.max(1));
    let head_rows: usize = head.iter().map(|line| line.width().div_ceil(width).max(1)).sum();
    let head_rows = u16::try_from(head_rows.min(6)).unwrap_or(6);
    let [top, middle, seen, bottom] = Layout::vertical([
        Constraint::Length(head_rows),
        Constraint::Min(1),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head).wrap(Wrap { trim: false }), top);
    match (&screen.known, screen.page) {
        (None, _) => {
            let text = if screen.away.is_some() { "" } else { "asking …" };
            frame.render_widget(Paragraph::new(text), middle);
        }
        (Some(known), Page::Sets) => sets(frame, middle, screen, known, paint),
        (Some(known), Page::Details) => {
            let rows = screen.rows();
            let lines = match rows.get(screen.chosen_row(&rows)) {
                Some(set) => details::of(set, known, screen.now_millis, paint),
                None => vec![Line::raw("no replica set")],
            };
            text(frame, middle, screen, lines);
        }
        (Some(known), Page::Issues) => text(frame, middle, screen, details::issues(&known.issues, paint)),
    }
    frame.render_widget(Paragraph::new(happened(screen, usize::from(events))), seen);
    frame.render_widget(Paragraph::new(help(screen, frame.area().width)), bottom);
}

/// A page of lines that can be moved.
fn text(frame: &mut Frame<'_>, area: Rect, screen: &Screen, lines: Vec<Line<'_>>) {
    let below = lines.len().saturating_sub(usize::from(area.height));
    let from = u16::try_from(screen.scroll.min(below)).unwrap_or(u16::MAX);
    let page = Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((from, 0)).style(dimmed(screen));
    frame.render_widget(page, area);
}

/// What may be old is shown so.
fn dimmed(screen: &Screen) -> Style {
    if screen.is_old() { Style::new().add_modifier(Modifier::DIM) } else { Style::new() }
}

fn header<'a>(screen: &'a Screen, paint: Paint) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    if let Some(known) = &screen.known {
        let arbiter = &known.status.arbiter;
        let (healthy, all) = (known.healthy(), known.status.replicasets.len());
        let mut spans = vec![Span::styled(known.status.cluster.as_str(), paint.strong())];
        spans.push(match (&arbiter.coordinator, &arbiter.epoch) {
            (Some(name), Some(epoch)) => Span::raw(format!("  arbiter {name}, epoch {epoch}")),
            (Some(name), None) => Span::raw(format!("  arbiter {name}")),
            (None, _) => Span::styled("  arbiter: none is known", paint.bad()),
        });
        let style = if healthy == all { paint.good() } else { paint.doubtful() };
        spans.push(Span::styled(format!("  {healthy}/{all} sets healthy"), style));
        spans.extend(severities(&known.issues, paint));
        lines.push(Line::from(spans));
    }
    if let Some(cause) = &screen.away {
        let since = screen.away_since();
        let ago = age(screen.now_millis.saturating_sub(since));
        let what = if screen.known.is_some() { "; below is what was seen last" } else { "" };
        let text = format!("NO ANSWER since {} ({ago}){what}. {cause}", clock(since));
        lines.push(Line::styled(text, paint.bad().add_modifier(Modifier::BOLD)));
    } else if let Some(late) = screen.late_millis() {
        let text = format!("no answer for {}, asking on; below is what was seen last", age(late));
        lines.push(Line::styled(text, paint.doubtful()));
    } else if let Some(known) = screen.known.as_ref().filter(|_| screen.is_old()) {
        let text = format!(
            "THE ARBITER DOES NOT ANSWER; below is what {} knows by itself: it may be old and lacks members",
            known.status.answered_by
        );
        lines.push(Line::styled(text, paint.bad().add_modifier(Modifier::BOLD)));
    }
    lines
}

fn severities<'a>(issues: &[IssueStatus], paint: Paint) -> Vec<Span<'a>> {
    let mut spans = Vec::new();
    for severity in ["critical", "warning", "notice"] {
        let count = issues.iter().filter(|issue| issue.severity == severity).count();
        if count > 0 {
            // "2 critical", "2 warnings".
            let plural = if count > 1 && severity != "critical" { "s" } else { "" };
            spans.push(Span::styled(format!("  {count} {severity}{plural}"), paint.severity(severity)));
        }
    }
    if issues.is_empty() {
        spans.push(Span::raw("  no issues"));
    }
    spans
}

fn sets(frame: &mut Frame<'_>, area: Rect, screen: &Screen, known: &Known, paint: Paint) {
    let rows = screen.rows();
    let has_details = area.height >= ROWS_FOR_DETAILS - 4 && !rows.is_empty();
    let below = if has_details { area.height * 2 / 5 } else { 0 };
    let needed = u16::try_from(rows.len() + 1).unwrap_or(u16::MAX);
    let list = needed.min(area.height - below);
    let [upper, gap, lower] =
        Layout::vertical([Constraint::Length(list), Constraint::Length(below.min(1)), Constraint::Min(0)])
            .areas(area);
    let width = area.width;
    let chosen = screen.chosen_row(&rows);
    let mut state = TableState::default().with_selected((!rows.is_empty()).then_some(chosen));
    let cells = rows.iter().map(|set| row(set, known, screen, width, paint));
    let table = Table::new(cells, widths(width, &rows))
        .header(Row::new(columns(width)).style(paint.strong()))
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .style(dimmed(screen));
    frame.render_stateful_widget(table, upper, &mut state);
    if has_details && let Some(set) = rows.get(chosen) {
        frame.render_widget(Line::raw("─".repeat(usize::from(width))), gap);
        let lines = details::of(set, known, screen.now_millis, paint);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).style(dimmed(screen)), lower);
    }
}

fn columns(width: u16) -> Vec<&'static str> {
    match width {
        0..MEDIUM => vec!["SET", "MASTER", "STATE"],
        MEDIUM..WIDE => vec!["SET", "TERM", "MASTER", "STATE", "SYNC", "LAG", "CHANGED"],
        _ => vec!["SET", "TERM", "MASTER", "STATE", "SYNC", "LAG", "CHANGED", "ISSUE"],
    }
}

/// As wide as what stands there, within reason; the last column has the rest.
fn widths(width: u16, rows: &[&ReplicaSetStatus]) -> Vec<Constraint> {
    use Constraint::{Fill, Length};
    let longest = |of: fn(&ReplicaSetStatus) -> &str, least: usize, most: usize| {
        let longest = rows.iter().map(|set| of(set).chars().count()).max().unwrap_or(0);
        Length(u16::try_from(longest.clamp(least, most)).unwrap_or(u16::MAX))
    };
    let name = |most| longest(|set| &set.replicaset, 4, most);
    let master = |most| longest(|set| set.master.as_deref().unwrap_or_default(), 6, most);
    match width {
        0..MEDIUM => vec![name(18), master(8), Fill(1)],
        MEDIUM..WIDE => {
            vec![name(18), Length(4), master(10), Length(14), Length(4), Length(8), Fill(1)]
        }
        _ => {
            vec![name(30), Length(5), master(20), Length(18), Length(4), Length(8), Length(22), Fill(1)]
        }
    }
}

fn row<'a>(
    set: &'a ReplicaSetStatus,
    known: &'a Known,
    screen: &Screen,
    width: u16,
    paint: Paint,
) -> Row<'a> {
    let (state, style) = state(set, known.trouble(set), paint);
    let master = Cell::from(set.master.as_deref().unwrap_or("-"));
    let name = Cell::from(set.replicaset.as_str());
    if width < MEDIUM {
        return Row::new(vec![name, master, Cell::from(state).style(style)]);
    }
    let in_sync = set.members.iter().filter(|member| member.in_sync).count();
    let (sync, lag) = match set.members.len() {
        0 => ("-".to_owned(), "-".to_owned()),
        all => (format!("{in_sync}/{all}"), worst_lag(set).map_or("-".to_owned(), bytes)),
    };
    let sync_style = if in_sync < set.members.len() { paint.doubtful() } else { Style::new() };
    let changed = last_change(set)
        .map_or("-".to_owned(), |(at, why)| format!("{} {why}", age(screen.now_millis.saturating_sub(at))));
    let mut cells = vec![
        name,
        Cell::from(set.term.to_string()),
        master,
        Cell::from(state).style(style),
        Cell::from(sync).style(sync_style),
        Cell::from(lag),
        Cell::from(changed),
    ];
    if width >= WIDE {
        let issue = known.issues_of(set).next();
        let style = issue.map_or(Style::new(), |issue| paint.severity(&issue.severity));
        let text = issue.map(|issue| issue.text.as_str()).or(set.issues.first().map(String::as_str));
        cells.push(Cell::from(text.unwrap_or_default()).style(style));
    }
    Row::new(cells)
}

/// One word or two: what the set is, or what is being done with it.
fn state(set: &ReplicaSetStatus, trouble: Trouble, paint: Paint) -> (String, Style) {
    let phase = set.phase.as_str();
    let is_busy = !matches!(phase, "" | "steady");
    match (set.state.as_str(), trouble) {
        (_, Trouble::NoMaster) if is_busy => (format!("NONE: {phase}"), paint.bad()),
        (_, Trouble::NoMaster) => ("NO MASTER".to_owned(), paint.bad()),
        (_, _) if is_busy => (phase.to_owned(), paint.doubtful()),
        ("active", _) => ("active".to_owned(), paint.good()),
        (other, _) => (other.to_owned(), paint.doubtful()),
    }
}

/// The last changes of masters that were seen, newest first.
fn happened(screen: &Screen, rows: usize) -> Vec<Line<'_>> {
    if screen.events.is_empty() {
        return vec![Line::styled("no change of master seen yet", Style::new().add_modifier(Modifier::DIM))];
    }
    let shown = screen.events.iter().take(rows);
    shown.map(|event| Line::raw(format!("{}  {}", clock(event.at_millis), event.text))).collect()
}

fn help(screen: &Screen, width: u16) -> Line<'_> {
    if screen.is_searching {
        return Line::raw(format!("/{}_   enter keeps it, esc drops it", screen.search));
    }
    let search = if screen.search.is_empty() {
        String::new()
    } else {
        format!("  showing only {:?} (esc)", screen.search)
    };
    let text = match (screen.page, width) {
        (Page::Sets, 0..MEDIUM) => format!("↑↓ enter / s i q{search}"),
        (Page::Sets, _) => format!(
            "↑↓ choose  enter details  / find  s sort ({})  i issues  q quit{search}",
            screen.sort.name()
        ),
        (Page::Details | Page::Issues, _) => "↑↓ move  esc back  q quit".to_owned(),
    };
    Line::styled(text, Style::new().add_modifier(Modifier::DIM))
}

/// `08:12:03`, UTC as everywhere in Baton.
pub(super) fn clock(millis: u64) -> String {
    let text = baton_client::status::rfc3339(millis);
    let time = text.split('T').nth(1).unwrap_or_default();
    format!("{}Z", time.get(..8).unwrap_or_default())
}
