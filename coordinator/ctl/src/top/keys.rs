//! What a key does to the screen. Pure: a key and a screen in, the screen changed.

use super::view::{Page, Screen};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// How many lines a page key moves.
const PAGE: usize = 10;
/// Longest text that is searched for.
const SEARCH_MAX: usize = 63;

/// Whether the view goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Leave,
}

pub(super) fn press(screen: &mut Screen, key: KeyEvent) -> Next {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if matches!(key.code, KeyCode::Char('c' | 'd')) { Next::Leave } else { Next::Stay };
    }
    if screen.is_searching {
        search(screen, key.code);
        return Next::Stay;
    }
    match key.code {
        KeyCode::Char('q') => return Next::Leave,
        KeyCode::Down | KeyCode::Char('j') => step(screen, 1),
        KeyCode::Up | KeyCode::Char('k') => step(screen, -1),
        KeyCode::PageDown => step(screen, PAGE.cast_signed()),
        KeyCode::PageUp => step(screen, -PAGE.cast_signed()),
        KeyCode::Home | KeyCode::Char('g') => step(screen, isize::MIN),
        KeyCode::End | KeyCode::Char('G') => step(screen, isize::MAX),
        KeyCode::Enter => {
            screen.page = if screen.page == Page::Details { Page::Sets } else { Page::Details };
            screen.scroll = 0;
        }
        KeyCode::Char('i') => {
            screen.page = if screen.page == Page::Issues { Page::Sets } else { Page::Issues };
            screen.scroll = 0;
        }
        KeyCode::Char('s') => screen.sort = screen.sort.next(),
        KeyCode::Char('/') => {
            screen.is_searching = true;
            screen.page = Page::Sets;
        }
        KeyCode::Esc if screen.page != Page::Sets => screen.page = Page::Sets,
        KeyCode::Esc => screen.search.clear(),
        _ => {}
    }
    Next::Stay
}

/// On the page of sets the choice moves, elsewhere the text.
fn step(screen: &mut Screen, by: isize) {
    match screen.page {
        Page::Sets => screen.choose(by),
        Page::Details | Page::Issues => {
            screen.scroll = screen.scroll.saturating_add_signed(by).min(screen.longest())
        }
    }
}

fn search(screen: &mut Screen, code: KeyCode) {
    match code {
        KeyCode::Enter => screen.is_searching = false,
        KeyCode::Esc => {
            screen.is_searching = false;
            screen.search.clear();
        }
        KeyCode::Backspace => drop(screen.search.pop()),
        KeyCode::Char(sign) if screen.search.len() < SEARCH_MAX => screen.search.push(sign),
        _ => {}
    }
}
