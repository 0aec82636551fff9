//! `batonctl top`: the cluster in a live view of the terminal. What is known is in [`view`], how it is drawn in [`draw`],
//! what a key does in [`keys`]; here they are kept going: asked once a second, and at once where a master changed. It
//! decides nothing about a replica set, and stays while nobody answers: that is when it is looked at.

mod details;
mod draw;
mod keys;
mod terminal;
mod view;

use crate::args::{Cli, TopArgs};
use crate::{Exit, Failure, Io, write_json};
use baton_client::{Client, ClientOptions, OperatorClient, OperatorError};
use keys::Next;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terminal::{Happened, Live};
use tokio::time::{Instant, MissedTickBehavior};
use view::{Known, Screen};

/// How often the cluster is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Of `--once`, where neither the terminal nor `COLUMNS` says it.
const COLUMNS: u16 = 120;
/// Most lines of `--once`.
const ROWS_MAX: usize = 2_000;

/// Runs the view, or shows it once: on `--once`, with `--json`, and where the output is no terminal.
pub(crate) async fn run(cli: &Cli, args: &TopArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let client = OperatorClient::new(cli.endpoint.iter().map(String::as_str), cli.request_timeout)?;
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.once || cli.json || !is_terminal {
        return once(cli, args, &client, io).await;
    }
    let follower = Client::start(ClientOptions::new(cli.endpoint.iter().map(String::as_str)))?;
    live(args, io.palette.color, client, follower).await?;
    Ok(Exit::Done)
}

async fn once(cli: &Cli, args: &TopArgs, client: &OperatorClient, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let known = ask(client).await?;
    if cli.json {
        let value = serde_json::json!({"status": known.status, "issues": known.issues});
        write_json(io, &value)?;
        return Ok(Exit::Done);
    }
    let mut screen = Screen::new(false, now_millis());
    screen.sort = args.sort;
    screen.answered(known, now_millis());
    write!(io.out, "{}", frame(&screen, columns(), rows_of(&screen)))?;
    Ok(Exit::Done)
}

fn columns() -> u16 {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let of_terminal = || {
        let is_terminal = std::io::stdout().is_terminal();
        is_terminal.then(ratatui::crossterm::terminal::size)?.ok().map(|(columns, _)| columns)
    };
    told.or_else(of_terminal).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// As many as the sets, the details of the first one and the frame around them take.
fn rows_of(screen: &Screen) -> u16 {
    let sets = screen.known.as_ref().map_or(0, |known| known.status.replicasets.len());
    u16::try_from((sets + draw::DETAILS_ROWS + 6).min(ROWS_MAX)).unwrap_or(u16::MAX)
}

/// One frame as plain text.
fn frame(screen: &Screen, columns: u16, rows: u16) -> String {
    // This terminal is memory: neither can fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(completed) = terminal.draw(|frame| draw::draw(frame, screen));
    let buffer = completed.buffer;
    let line = |y| {
        let text: String =
            (0..columns).filter_map(|x| buffer.cell((x, y))).map(|cell| cell.symbol()).collect();
        text.trim_end().to_owned()
    };
    let lines: Vec<String> = (0..rows).map(line).collect();
    let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines.into_iter().take(used).map(|line| line + "\n").collect()
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn ask(client: &OperatorClient) -> Result<Known, OperatorError> {
    let status = client.status().await?;
    // Where nobody is active the issues are not known; what the status says of them stays.
    let issues = client.issues().await.unwrap_or_default();
    Ok(Known { status, issues })
}

/// Until the person leaves. The terminal is given back whatever happens.
async fn live(
    args: &TopArgs,
    color: bool,
    client: OperatorClient,
    mut follower: Client,
) -> Result<(), Failure> {
    let mut screen = Screen::new(color, now_millis());
    screen.sort = args.sort;
    let mut terminal = Live::take()?;
    let mut ticks = tokio::time::interval_at(Instant::now(), EVERY);
    // A laptop that slept asks once, not a thousand times.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asking = Box::pin(ask(&client));
    // A change while a question is under way is asked about after it: many changes must not put off every answer.
    let (mut is_asking, mut again) = (true, false);
    loop {
        screen.now_millis = now_millis();
        terminal.draw(&screen)?;
        tokio::select! {
            happened = terminal.next() => match happened {
                Happened::Key(key) => if keys::press(&mut screen, key) == Next::Leave { return Ok(()) },
                Happened::Redraw => {}
                Happened::End => return Ok(()),
            },
            answer = &mut asking, if is_asking => {
                is_asking = false;
                match answer {
                    Ok(known) => screen.answered(known, now_millis()),
                    Err(error) => screen.unanswered(&error, now_millis()),
                }
            }
            () = follower.changed() => {
                screen.masters_changed(&follower.masters(), now_millis());
                again = true;
            }
            _ = ticks.tick() => again = true,
        }
        if again && !is_asking {
            (asking, is_asking, again) = (Box::pin(ask(&client)), true, false);
        }
    }
}

#[cfg(test)]
mod tests;
