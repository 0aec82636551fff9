//! The terminal: taken, and given back as it was, also after a panic or a signal. Its keys are read by a thread, since
//! reading them blocks.

use super::draw;
use super::view::Screen;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Keys that wait; more than a person types.
const KEYS_MAX: usize = 64;
/// How often the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// What the terminal, or the system, wants.
#[derive(Debug)]
pub(super) enum Happened {
    Key(KeyEvent),
    /// The size changed.
    Redraw,
    /// A signal, or the terminal is gone.
    End,
}

/// The terminal while it is ours.
pub(super) struct Live {
    terminal: DefaultTerminal,
    events: mpsc::Receiver<Event>,
    signals: [Signal; 3],
}

impl Live {
    /// Takes it over.
    ///
    /// # Errors
    /// The system's; the terminal is as it was then.
    pub(super) fn take() -> io::Result<Self> {
        let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        let [terminate, interrupt, hangup] = signals;
        let signals = [terminate?, interrupt?, hangup?];
        // It sets a hook too, by which a panic gives the terminal back before it is told.
        let terminal = ratatui::try_init()?;
        let (told, events) = mpsc::channel(KEYS_MAX);
        std::thread::spawn(move || read(&told));
        Ok(Self { terminal, events, signals })
    }

    pub(super) fn draw(&mut self, screen: &Screen) -> io::Result<()> {
        self.terminal.draw(|frame| draw::draw(frame, screen)).map(|_| ())
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Happened {
        let [terminate, interrupt, hangup] = &mut self.signals;
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
                _ = hangup.recv() => None,
            };
            match event {
                None => return Happened::End,
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => return Happened::Key(key),
                Some(Event::Resize(_, _)) => return Happened::Redraw,
                Some(_) => {}
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn read(told: &mpsc::Sender<Event>) {
    while !told.is_closed() {
        match event::poll(LOOK) {
            Ok(false) => {}
            Ok(true) => {
                let Ok(event) = event::read() else { return };
                if told.blocking_send(event).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
