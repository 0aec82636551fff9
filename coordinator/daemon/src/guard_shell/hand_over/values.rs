//! The core's values as they lie in a file: one [`Kept`] for each, field by field, so that a field that is added to a value
//! does not compile until it is kept too. Every time is in microseconds of CLOCK_BOOTTIME, every span in microseconds.

use baton_core::engine::{DataState, Probe};
use baton_core::guard::{
    FollowOrder, HandOver, HandedEngine, Kept as KeptPromise, Lead, Promised, Promotion, Proposal, Quorum,
    Reckoned, Saved, Severance, Unpin,
};
use baton_core::ids::{
    DataId, Endpoint, EngineRun, Epoch, Incarnation, InstanceName, ReplicaSetName, Stamp, Term, Version,
};
use baton_core::message::{Honoured, Relinquished, Severed};
use baton_core::position::Position;
use baton_core::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A value that can be kept in a file.
pub(super) trait Kept: Sized {
    /// What lies in the file.
    type Entry;
    fn keep(&self) -> Self::Entry;
    /// `None` where the entry is no such value.
    fn restore(entry: Self::Entry) -> Option<Self>;
}

macro_rules! as_it_is {
    ($($type:ty),*) => { $(
        impl Kept for $type {
            type Entry = Self;
            fn keep(&self) -> Self { *self }
            fn restore(entry: Self) -> Option<Self> { Some(entry) }
        }
    )* };
}
as_it_is!(u64, u32, bool);

macro_rules! number {
    ($($type:ident),*) => { $(
        impl Kept for $type {
            type Entry = u64;
            fn keep(&self) -> u64 { self.0 }
            fn restore(entry: u64) -> Option<Self> { Some(Self(entry)) }
        }
    )* };
}
number!(Term, Version, Time, Span);

macro_rules! name {
    ($($type:ident),*) => { $(
        impl Kept for $type {
            type Entry = String;
            fn keep(&self) -> String { self.to_string() }
            fn restore(entry: String) -> Option<Self> { Self::parse(&entry).ok() }
        }
    )* };
}
name!(InstanceName, ReplicaSetName);

macro_rules! text {
    ($($type:ident),*) => { $(
        impl Kept for $type {
            type Entry = String;
            fn keep(&self) -> String { self.0.to_string() }
            fn restore(entry: String) -> Option<Self> { Some(Self(entry.into())) }
        }
    )* };
}
text!(EngineRun, DataId, Endpoint);

impl<T: Kept> Kept for Option<T> {
    type Entry = Option<T::Entry>;
    fn keep(&self) -> Self::Entry {
        self.as_ref().map(T::keep)
    }
    fn restore(entry: Self::Entry) -> Option<Self> {
        match entry {
            None => Some(None),
            Some(entry) => T::restore(entry).map(Some),
        }
    }
}

impl<A: Kept, B: Kept> Kept for (A, B) {
    type Entry = (A::Entry, B::Entry);
    fn keep(&self) -> Self::Entry {
        (self.0.keep(), self.1.keep())
    }
    fn restore((first, second): Self::Entry) -> Option<Self> {
        Some((A::restore(first)?, B::restore(second)?))
    }
}

impl<T: Kept + Ord> Kept for BTreeSet<T> {
    type Entry = Vec<T::Entry>;
    fn keep(&self) -> Self::Entry {
        self.iter().map(T::keep).collect()
    }
    fn restore(entry: Self::Entry) -> Option<Self> {
        entry.into_iter().map(T::restore).collect()
    }
}

impl<K: Kept + Ord, V: Kept> Kept for BTreeMap<K, V> {
    type Entry = Vec<(K::Entry, V::Entry)>;
    fn keep(&self) -> Self::Entry {
        self.iter().map(|(key, value)| (key.keep(), value.keep())).collect()
    }
    fn restore(entry: Self::Entry) -> Option<Self> {
        entry.into_iter().map(|(key, value)| Some((K::restore(key)?, V::restore(value)?))).collect()
    }
}

/// A struct of the core, field by field; those after `but` are not kept and begin anew.
macro_rules! fields {
    ($entry:ident of $core:ident { $($field:ident: $type:ty),* $(,)? } $(but $($left_out:ident),*)?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $entry { $($field: <$type as Kept>::Entry),* }

        impl Kept for $core {
            type Entry = $entry;
            fn keep(&self) -> $entry {
                let Self { $($field),* $(, $($left_out: _),*)? } = self;
                $entry { $($field: $field.keep()),* }
            }
            fn restore(entry: $entry) -> Option<Self> {
                Some(Self {
                    $($field: <$type as Kept>::restore(entry.$field)?),*
                    $(, $($left_out: Default::default()),*)?
                })
            }
        }
    };
}

fields!(StampEntry of Stamp { generation: u64, version: Version });
fields!(EpochEntry of Epoch { generation: u64, number: u64 });
fields!(IncarnationEntry of Incarnation { home: u64, boot: u64, run: u64 });
fields!(PromisedEntry of Promised { term: Term, until: Time });
fields!(SavedEntry of Saved {
    highest_term: Term,
    known_master: Option<(Term, InstanceName)>,
    highest_epoch: Epoch,
    severed: Option<Stamp>,
    promised: Option<Promised>,
} but whole);
fields!(ReckonedEntry of Reckoned { kill: Span, fence: Span });
fields!(PromiseEntry of KeptPromise { end: Time, ttl: Span });
fields!(QuorumEntry of Quorum {
    wanted: u32,
    told: Option<u32>,
    sure: u32,
    raised: Option<(Epoch, Stamp)>,
});
fields!(LeadEntry of Lead {
    term: Term,
    data_id: DataId,
    in_sync: BTreeSet<InstanceName>,
    right: Option<Time>,
    pinned_until: Option<Time>,
    reckoned: Reckoned,
    pace: Option<Span>,
    promotion: Promotion,
    quorum: Quorum,
    promises: BTreeMap<InstanceName, KeptPromise>,
    on_promises: bool,
} but refusals);
fields!(RelinquishedEntry of Relinquished { term: Term, position: Position, ended: bool });
fields!(SeveredEntry of Severed { stamp: Stamp, position: Position, run: Option<EngineRun>, whole: bool });
fields!(SeveranceEntry of Severance { stamp: Stamp, reach: Option<Position>, report: Option<Severed> });
fields!(FollowEntry of FollowOrder {
    endpoint: Endpoint,
    data_id: DataId,
    start: Position,
    reach: Option<Position>,
});
fields!(HonouredEntry of Honoured {
    stamp: Stamp,
    epoch: Option<Epoch>,
    members: BTreeSet<InstanceName>,
    dropped: Option<InstanceName>,
    ack_quorum: Option<u32>,
});
fields!(UnpinEntry of Unpin { epoch: Epoch, stamp: Stamp, done: bool });
fields!(ProbeEntry of Probe {
    run: EngineRun,
    writable: bool,
    follows: Option<Endpoint>,
    link_up: bool,
    position: Position,
    data: DataState,
    replicas_caught_up: u32,
});
fields!(EngineEntry of HandedEngine {
    probe: Option<Probe>,
    may_write: bool,
    order_lost: bool,
    quorum_lost: Option<u32>,
    stalled: bool,
    found_writable: bool,
    fenced_for: Option<Stamp>,
    whole: Option<EngineRun>,
    told_foreign: bool,
});
fields!(HandOverEntry of HandOver {
    instance: InstanceName,
    replicaset: ReplicaSetName,
    incarnation: Incarnation,
    supervised: bool,
    taken: u64,
    saved: Saved,
    floor: Term,
    hold_until: Time,
    seen: Stamp,
    lead: Option<Lead>,
    relinquished: Option<Relinquished>,
    severance: Option<Severance>,
    follow: Option<FollowOrder>,
    proposal: Option<Proposal>,
    honoured: Option<Honoured>,
    unpin: Option<Unpin>,
    armed: Option<Time>,
    engine: HandedEngine,
});

/// See [`Position`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum PositionEntry {
    Unknown,
    At { term: u64, offset: u64 },
}

impl Kept for Position {
    type Entry = PositionEntry;
    fn keep(&self) -> PositionEntry {
        match *self {
            Self::Unknown => PositionEntry::Unknown,
            Self::At { term: Term(term), offset } => PositionEntry::At { term, offset },
        }
    }
    fn restore(entry: PositionEntry) -> Option<Self> {
        Some(match entry {
            PositionEntry::Unknown => Self::Unknown,
            PositionEntry::At { term, offset } => Self::At { term: Term(term), offset },
        })
    }
}

/// See [`DataState`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum DataEntry {
    Empty,
    Unmarked,
    Marked { id: String, term: u64 },
}

impl Kept for DataState {
    type Entry = DataEntry;
    fn keep(&self) -> DataEntry {
        match self {
            Self::Empty => DataEntry::Empty,
            Self::Unmarked => DataEntry::Unmarked,
            Self::Marked { id, term } => DataEntry::Marked { id: id.keep(), term: term.keep() },
        }
    }
    fn restore(entry: DataEntry) -> Option<Self> {
        Some(match entry {
            DataEntry::Empty => Self::Empty,
            DataEntry::Unmarked => Self::Unmarked,
            DataEntry::Marked { id, term } => {
                Self::Marked { id: DataId::restore(id)?, term: Term::restore(term)? }
            }
        })
    }
}

/// See [`Promotion`]; one that is under way is never handed over.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PromotionEntry {
    NotAsked,
    Asked,
    Confirmed,
}

impl Kept for Promotion {
    type Entry = PromotionEntry;
    fn keep(&self) -> PromotionEntry {
        match self {
            Self::NotAsked => PromotionEntry::NotAsked,
            Self::Asked => PromotionEntry::Asked,
            Self::Confirmed => PromotionEntry::Confirmed,
        }
    }
    fn restore(entry: PromotionEntry) -> Option<Self> {
        match entry {
            PromotionEntry::NotAsked => Some(Self::NotAsked),
            PromotionEntry::Asked => None,
            PromotionEntry::Confirmed => Some(Self::Confirmed),
        }
    }
}

/// See [`Proposal`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ProposalEntry {
    Grow { stamp: StampEntry, epoch: Option<EpochEntry>, member: String },
    Shrink { stamp: StampEntry, epoch: Option<EpochEntry>, member: String, ack_quorum: u32 },
    Quorum { stamp: StampEntry, epoch: EpochEntry, ack_quorum: u32 },
}

/// A file of an older build does not say who proposed: nobody who can be answered, and who proposes again.
fn whose(epoch: Option<EpochEntry>) -> Option<Epoch> {
    epoch.map_or(Some(Epoch::default()), Epoch::restore)
}

impl Kept for Proposal {
    type Entry = ProposalEntry;
    fn keep(&self) -> ProposalEntry {
        match self {
            Self::Grow { stamp, epoch, member } => {
                ProposalEntry::Grow { stamp: stamp.keep(), epoch: Some(epoch.keep()), member: member.keep() }
            }
            Self::Shrink { stamp, epoch, member, ack_quorum } => ProposalEntry::Shrink {
                stamp: stamp.keep(),
                epoch: Some(epoch.keep()),
                member: member.keep(),
                ack_quorum: *ack_quorum,
            },
            Self::Quorum { stamp, epoch, ack_quorum } => {
                ProposalEntry::Quorum { stamp: stamp.keep(), epoch: epoch.keep(), ack_quorum: *ack_quorum }
            }
        }
    }
    fn restore(entry: ProposalEntry) -> Option<Self> {
        Some(match entry {
            ProposalEntry::Grow { stamp, epoch, member } => Self::Grow {
                stamp: Stamp::restore(stamp)?,
                epoch: whose(epoch)?,
                member: InstanceName::restore(member)?,
            },
            ProposalEntry::Shrink { stamp, epoch, member, ack_quorum } => Self::Shrink {
                stamp: Stamp::restore(stamp)?,
                epoch: whose(epoch)?,
                member: InstanceName::restore(member)?,
                ack_quorum,
            },
            ProposalEntry::Quorum { stamp, epoch, ack_quorum } => {
                Self::Quorum { stamp: Stamp::restore(stamp)?, epoch: Epoch::restore(epoch)?, ack_quorum }
            }
        })
    }
}
