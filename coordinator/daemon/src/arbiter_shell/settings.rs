//! Settings that change while the arbiter decides: from the watch of this host, or from its own read after a takeover,
//! whichever is newer.

use super::{Shell, writes};
use crate::live::Live;
use baton_core::arbiter::Input;
use baton_core::ids::Version;
use baton_core::record::Settings;
use std::sync::Arc;

/// What the machine has, and by what it is ordered.
pub(super) struct Known {
    pub(super) settings: Settings,
    stamp: (u64, Version),
}

impl Known {
    pub(super) fn new(live: &Live) -> Self {
        Self { settings: live.settings.clone(), stamp: live.stamp() }
    }
}

impl Shell {
    /// What the watch says now, where it is newer than what the machine has.
    pub(super) fn learn(&mut self) {
        let live = Arc::clone(&self.parts.live.borrow());
        if live.stamp() > self.known.stamp {
            self.known = Known::new(&live);
            let settings = Box::new(live.settings.clone());
            self.step(Input::Settings { settings, unix_millis: writes::unix_millis() });
        }
    }

    /// The machine is about to be told what was read after the takeover. The watch may be ahead of that read.
    pub(super) fn has_read(&mut self, generation: u64, settings: &Settings) {
        self.known = Known { settings: settings.clone(), stamp: (generation, settings.version) };
    }
}
