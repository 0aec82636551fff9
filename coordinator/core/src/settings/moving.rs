//! Where one end stands in a move of the cluster's state from one provider to another.

use super::Settings;
use crate::time::Span;

/// One end of a move of the cluster's state from one provider to another, as that end keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// Drawn for each run of the move: both ends of one move have the same.
    pub id: u64,
    /// How far it has come, at this end.
    pub phase: MovePhase,
    /// The other end, in the words of the configuration, for people: `etcd http://10.0.0.1:2379`.
    pub other: String,
    /// How long a lock of the end that is left can be believed in after its last renewal, at most.
    pub lock: Span,
}

/// How far a move has come, at one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MovePhase {
    /// This end is to be left. Nothing is different yet.
    Announced,
    /// It is being copied: nothing changes here and the lock changes no hands; whoever holds it keeps it.
    Frozen,
    /// It was left: nothing changes here any more, and nobody has the lock.
    Moved,
    /// The state comes here, and is no state yet: nobody has the lock.
    Arriving,
}

impl Settings {
    /// Why records and members cannot be changed at this end now; `None` where they can.
    #[must_use]
    pub fn standstill(&self) -> Option<String> {
        let Move { phase, other, .. } = self.moving.as_ref()?;
        match phase {
            MovePhase::Announced => None,
            MovePhase::Frozen => {
                Some(format!("the cluster's state is being moved to {other}; nothing changes meanwhile"))
            }
            MovePhase::Moved => Some(format!("the cluster's state was moved to {other}")),
            MovePhase::Arriving => Some(format!("the cluster's state has not arrived here yet from {other}")),
        }
    }

    /// How far a move has come here, if there is one.
    #[must_use]
    pub fn phase(&self) -> Option<MovePhase> {
        self.moving.as_ref().map(|it| it.phase)
    }
}

impl MovePhase {
    /// Whether an end in phase `before` of a move may go on to `after`, `same` where both are of the same move. An end that
    /// was left comes back by being filled anew, never by a step; and only what has come may be opened.
    #[must_use]
    pub fn may_step(before: Option<Self>, after: Option<Self>, same: bool) -> bool {
        match (before, after) {
            (None | Some(Self::Announced), Some(Self::Announced))
            | (Some(Self::Announced | Self::Frozen | Self::Arriving), None) => true,
            (Some(Self::Announced), Some(Self::Frozen)) | (Some(Self::Frozen), Some(Self::Moved)) => same,
            (None, None)
            | (None, Some(Self::Frozen | Self::Moved | Self::Arriving))
            | (Some(Self::Announced), Some(Self::Moved | Self::Arriving))
            | (Some(Self::Frozen), Some(Self::Announced | Self::Frozen | Self::Arriving))
            | (Some(Self::Moved), _)
            | (Some(Self::Arriving), Some(_)) => false,
        }
    }
}
