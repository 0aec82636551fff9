//! A move of the cluster's state to another provider: this end is left, serves nobody, and after a while the other one is there
//! under its name.
//!
//! It must not know who asks for a move, or how its ends are reached.

use super::World;
use super::provider::BOARD;
use baton_board::{Input, Request};
use baton_core::ids::Version;
use baton_core::record::{Move, MovePhase};

/// Of the one move that a world has at a time.
const MOVE: u64 = 1;

impl World {
    /// The state is to be somewhere else: all steps at the end that is left. Whether it was there to be asked.
    pub(crate) fn leave_provider(&mut self) -> bool {
        let lock = self.provider.durable.lock.longest_ttl;
        let mut version = self.provider.durable.settings.version;
        for phase in [MovePhase::Announced, MovePhase::Frozen, MovePhase::Moved] {
            // Where other settings are under way to the disk it is refused, and so is all that follows.
            let moving = Move { id: MOVE, phase, other: "the other end".to_owned(), lock };
            self.step_of_move(version, Some(moving));
            version = version.next();
        }
        self.provider.is_up()
    }

    /// The other end has what was here, and is opened. A move whose last step this end's disk has lost is taken back, and after a
    /// restore there is none.
    pub(crate) fn arrive_at_provider(&mut self) {
        self.stop_provider();
        let left = self.provider.durable.clone();
        if let (Some(MovePhase::Moved), Some(moving)) = (left.settings.phase(), left.settings.moving.clone())
        {
            self.say(BOARD, "its state has arrived at the other end");
            self.provider.durable = left.arriving_over(None, moving);
        }
        self.start_provider();
        if self.provider.durable.settings.moving.is_some() {
            self.step_of_move(self.provider.durable.settings.version, None);
        }
        self.spread_settings();
        self.spread_lock();
    }

    fn step_of_move(&mut self, expected: Version, moving: Option<Move>) {
        let id = self.provider.next_id();
        self.board_step(Input::Request { id, request: Request::PutMove { expected, moving } });
    }
}
