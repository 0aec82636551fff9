//! What the clients of a world were promised, as the oracle's I5 remembers it. It is a part of the state, since what a state
//! leads to rests on what was acknowledged before.
//!
//! It must not know how a write was replicated.

use crate::engine::Did;
use crate::state::{instance, set_name};
use baton_core::engine::DataState;
use baton_core::ids::Epoch;
use baton_core::position::Position;
use baton_core::record::Record;
use baton_oracle::i5::I5;
use baton_oracle::{Event, Moment, Property, Seen};

/// The oracle and its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    property: I5,
    /// An acknowledged write is not in the data of a later master.
    pub broke: bool,
}

impl Watch {
    fn tell(&mut self, seen: Seen) {
        self.broke |= self.property.observe(&Event { at: Moment::default(), seen }).is_err();
    }

    /// A record is durable.
    pub fn recorded(&mut self, record: &Record) {
        let current = Epoch::default();
        self.tell(Seen::Recorded { record: Box::new(record.clone()), current });
    }

    /// The engine of a host has done something.
    pub fn saw(&mut self, host: usize, did: Did) {
        let (replicaset, by) = (set_name(), instance(host));
        self.tell(match did {
            Did::Acknowledged(write) => {
                let at = Position::Unknown;
                Seen::Acknowledged { replicaset, write, by, at }
            }
            Did::Promoted(term, holds) => {
                Seen::Writable { replicaset, instance: by, term, found: DataState::Empty, holds }
            }
        });
    }
}
