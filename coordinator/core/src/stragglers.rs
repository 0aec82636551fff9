//! Members that may replicate from a master of theirs without anybody having heard from them (docs/protocol.md, P144). Where commits wait
//! for replicas, what such a member acknowledges counts as soon as one of these masters leads.
//!
//! It must not know how a member is heard, or which set it is in.

use crate::ids::{BadName, InstanceName};
use std::collections::{BTreeMap, BTreeSet};

/// Who may replicate unheard, and from which masters: it follows one of them, or nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stragglers(BTreeMap<InstanceName, BTreeSet<InstanceName>>);

impl Stragglers {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this member is one.
    #[must_use]
    pub fn contains(&self, member: &InstanceName) -> bool {
        self.0.contains_key(member)
    }

    /// All of them.
    pub fn members(&self) -> impl Iterator<Item = &InstanceName> {
        self.0.keys()
    }

    /// Each with those whom it may follow.
    pub fn iter(&self) -> impl Iterator<Item = (&InstanceName, &BTreeSet<InstanceName>)> {
        self.0.iter()
    }

    /// Who may follow this master.
    pub fn of<'a>(&'a self, master: &'a InstanceName) -> impl Iterator<Item = &'a InstanceName> {
        self.0.iter().filter(move |(_, masters)| masters.contains(master)).map(|(member, _)| member)
    }

    /// Nobody knows whom anybody follows, but the one who leads.
    pub fn all_of<'a>(members: impl IntoIterator<Item = &'a InstanceName>, leader: &'a InstanceName) -> Self {
        let members: BTreeSet<_> = members.into_iter().chain([leader]).collect();
        let mut stragglers = Self::default();
        for member in members.iter().filter(|member| **member != leader) {
            for other in members.iter().filter(|other| *other != member) {
                stragglers.add((*member).clone(), (*other).clone());
            }
        }
        stragglers
    }

    /// These too.
    pub fn extend(&mut self, others: Self) {
        for (member, masters) in others.0 {
            self.0.entry(member).or_default().extend(masters);
        }
    }

    /// It may follow this master too.
    pub fn add(&mut self, member: InstanceName, master: InstanceName) {
        self.0.entry(member).or_default().insert(master);
    }

    /// It was heard: whom it follows is known.
    pub fn found(&mut self, member: &InstanceName) {
        self.0.remove(member);
    }
}

/// As it is kept. A build that knows of one master for each member reads `first` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StragglerTexts {
    /// Each with one whom it may follow.
    pub first: BTreeMap<String, String>,
    /// And with whom besides, where there are others.
    pub also: BTreeMap<String, Vec<String>>,
}

impl From<&Stragglers> for StragglerTexts {
    fn from(stragglers: &Stragglers) -> Self {
        let mut texts = Self::default();
        for (member, masters) in stragglers.iter() {
            let mut masters = masters.iter().map(ToString::to_string);
            if let Some(first) = masters.next() {
                texts.first.insert(member.to_string(), first);
            }
            let also: Vec<_> = masters.collect();
            if !also.is_empty() {
                texts.also.insert(member.to_string(), also);
            }
        }
        texts
    }
}

impl TryFrom<StragglerTexts> for Stragglers {
    type Error = BadName;

    fn try_from(texts: StragglerTexts) -> Result<Self, BadName> {
        let also = texts.also.into_iter();
        let also = also.flat_map(|(member, masters)| masters.into_iter().map(move |it| (member.clone(), it)));
        let name = |(member, master): (String, String)| {
            Ok((InstanceName::parse(&member)?, InstanceName::parse(&master)?))
        };
        texts.first.into_iter().chain(also).map(name).collect()
    }
}

impl FromIterator<(InstanceName, InstanceName)> for Stragglers {
    fn from_iter<T: IntoIterator<Item = (InstanceName, InstanceName)>>(pairs: T) -> Self {
        let mut stragglers = Self::default();
        for (member, master) in pairs {
            stragglers.add(member, master);
        }
        stragglers
    }
}
