//! A world as the checker sees it.

use crate::carry::Carrier;
use crate::moves::{Move, moves};
use crate::property::properties;
use crate::state::State;
use crate::world::{Start, World};
use stateright::{Model, Property};

/// A world under the checker.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The world.
    pub world: World,
}

/// How many steps without a fault a world may take to its steady state.
const WARM_UP_MOST: usize = 2_000;

impl Checked {
    /// Goes on without faults until a master serves, everybody else is in its in-sync set, and nothing is due.
    fn warm_up(&self) -> State {
        // Where clocks mean nothing nobody would ever come to rest.
        let timed = Self { world: World { timeless: false, ..self.world.clone() } };
        let mut state = State::first(&self.world);
        state.provider.timeless = false;
        let mut calm = 0;
        for _ in 0..WARM_UP_MOST {
            let mut out = Vec::new();
            moves(&timed.world, &state, &mut out);
            // Whatever is due comes before the clocks, and the slowest clock goes on first.
            let due = out.iter().find(|step| !matches!(step, Move::Advance(_))).copied();
            let slowest = out.iter().copied().min_by_key(|step| match step {
                Move::Advance(clock) => (state.clocks[*clock], *clock),
                _ => (baton_core::time::Time(u64::MAX), 0),
            });
            let Some(step) = due.or(slowest) else { break };
            let steady = state
                .provider
                .record
                .as_ref()
                .is_some_and(|record| record.in_sync.len() == self.world.host_clocks.len());
            let even = state.clocks.iter().all(|time| *time == state.clocks[0]);
            calm += usize::from(steady && even && due.is_none());
            if calm > 2 {
                state.provider.timeless = self.world.timeless;
                return state;
            }
            state = timed.carried(&state, step);
        }
        panic!("the world {} does not come to rest without faults", self.world.name)
    }

    fn carried(&self, state: &State, step: Move) -> State {
        let mut carrier = Carrier { world: &self.world, state: state.clone(), relayed: None };
        carrier.carry_out(step);
        carrier.state.fold(&self.world, Some(state));
        carrier.state
    }
}

impl Model for Checked {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        let mut state = match self.world.start {
            Start::Empty => {
                let mut state = State::first(&self.world);
                state.fold(&self.world, None);
                state
            }
            Start::Steady => self.warm_up(),
        };
        state.left = self.world.faults;
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        moves(&self.world, state, actions);
    }

    fn next_state(&self, state: &State, step: Move) -> Option<State> {
        Some(self.carried(state, step))
    }

    fn within_boundary(&self, state: &State) -> bool {
        let version = state.provider.record.as_ref().map_or(0, |record| record.version.0);
        self.world.versions_most.is_none_or(|most| version <= most)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(&self.world)
    }
}
