//! The names and numbers of the protocol, each a type of its own, so that a term can never be passed for a version.
//! There is no `From<u64>`: a number becomes a term only where somebody wrote `Term(…)`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Why a text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {rule}")]
pub struct BadName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// Longest name, in bytes: it must fit a file name, a metric label and an etcd key together with its prefix.
pub const NAME_BYTES_MAX: usize = 63;

fn check_name(what: &'static str, text: &str) -> Result<(), BadName> {
    let bad = |rule| Err(BadName { what, text: text.chars().take(2 * NAME_BYTES_MAX).collect(), rule });
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return bad("it must have 1 to 63 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return bad("only letters, digits, '-', '_' and '.' are allowed");
    }
    if !text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
        return bad("it must start with a letter or a digit");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the rule for names: 1 to 63 of `[A-Za-z0-9._-]`, a letter or digit first.
            ///
            /// # Errors
            /// [`BadName`] says which part of the rule is broken.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                check_name($what, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // Ordered and compared as its text: a map by names can be asked for a text.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// A replica set: the instances that hold one copy each of the same data.
    ReplicaSetName, "replica set name"
);
name_type!(
    /// One engine of a replica set.
    InstanceName, "instance name"
);
name_type!(
    /// One coordinator daemon (a host's sidecar, or an arbiter that runs alone).
    CoordinatorName, "coordinator name"
);
name_type!(
    /// Where an instance stands; members of one zone are expected to fail together.
    Zone, "zone"
);
name_type!(
    /// All that shares one state provider and one arbiter.
    ClusterName, "cluster name"
);

/// The fencing token of a replica set: raised by every appointment, never reused, never lowered (I1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(pub u64);

/// Counts the changes of one record; every write of it is conditional on the version that was read (I6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// Counts the changes of everything that the state provider keeps; a watch resumes after one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// The fencing token of the arbiter's lock: `number` rises with each hand-over, `generation` with each restore of the
/// provider from a backup. Ordered by generation first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch {
    /// Raised by a restore.
    pub generation: u64,
    /// Raised by each hand-over of the lock.
    pub number: u64,
}

/// When a directive was given: the version of its record, comparable across restores of the provider too, which may set
/// versions back. Ordered by generation first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Of the epoch.
    pub generation: u64,
    /// Of the record.
    pub version: Version,
}

/// One run of a guard. Ordered only against runs of the same home and boot: a directory that was copied to another
/// host, or a clock that went back, must not make a stranger look like a successor (design, *Dead evidence* 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// Drawn at random when the state directory was made.
    pub home: u64,
    /// The kernel's boot id, folded to 64 bits.
    pub boot: u64,
    /// Counted up, durably, by each start in this home.
    pub run: u64,
}

impl Incarnation {
    /// Whether `self` is `older` itself or a later run of the same home on the same boot: only such a run holds the
    /// file lock of the instance and can know that the older guard and its engine are gone.
    #[must_use]
    pub fn is_or_succeeds(&self, older: &Self) -> bool {
        self.home == older.home && self.boot == older.boot && self.run >= older.run
    }
}

/// One run of an engine, as the engine names it (Redis: `run_id`). A position counts only within one run; of an engine that has
/// on disk whatever it confirms, within one life of its data, which stands before a `#` then: `DATA#RUN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineRun(pub Arc<str>);

impl EngineRun {
    /// A run on data that outlives it. `data` must be another one whenever the data is, and is not what its name says it was.
    #[must_use]
    pub fn of_durable(data: &str, run: &str) -> Self {
        Self(format!("{}#{run}", data.replace('#', "_")).into())
    }

    /// What ends together with anything that the engine confirmed: this run, or the life of its data.
    #[must_use]
    pub fn lineage(&self) -> Self {
        match self.0.split_once('#') {
            Some((data, _)) => Self(format!("{data}#").into()),
            None => self.clone(),
        }
    }

    /// Whether what it confirmed outlives it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.0.contains('#')
    }
}

/// The identity of a data set: chosen once, kept by the data itself, so that a foreign, empty or swapped instance is seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataId(pub Arc<str>);

/// Where clients reach an engine: `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(pub Arc<str>);

/// Matches the answer of an effect to the effect. Unique within one run of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// One task of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

macro_rules! number_display {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
number_display!(Term, Version, Revision, OpId, TaskId, EngineRun, DataId, Endpoint);

impl Term {
    /// The term of the next appointment.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Version {
    /// The version that a write conditional on this one makes.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.number)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{}", self.home, self.boot, self.run)
    }
}

impl std::str::FromStr for Epoch {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { what: "epoch", text: text.into(), rule: "it is written GENERATION.NUMBER" };
        let (generation, number) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self {
            generation: generation.parse().map_err(|_| bad())?,
            number: number.parse().map_err(|_| bad())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(InstanceName::parse("a1").is_ok());
        for bad in ["", "-a", "a b", "ä", "a/b", &"a".repeat(64)] {
            assert!(InstanceName::parse(bad).is_err(), "{bad:?} was taken");
        }
        let error = InstanceName::parse("a b").expect_err("a space is not allowed");
        assert_eq!(
            error.to_string(),
            "\"a b\" is no instance name: only letters, digits, '-', '_' and '.' are allowed"
        );
    }

    #[test]
    fn epochs_order_by_generation_first() {
        let restored = Epoch { generation: 2, number: 1 };
        assert!(restored > Epoch { generation: 1, number: 900 });
        assert_eq!("2.1".parse(), Ok(restored));
        assert!("2".parse::<Epoch>().is_err());
    }

    #[test]
    fn only_a_later_run_of_the_same_home_and_boot_succeeds() {
        let first = Incarnation { home: 1, boot: 7, run: 3 };
        assert!(first.is_or_succeeds(&first));
        assert!(Incarnation { run: 4, ..first }.is_or_succeeds(&first));
        assert!(!Incarnation { run: 2, ..first }.is_or_succeeds(&first));
        assert!(!Incarnation { home: 2, run: 9, ..first }.is_or_succeeds(&first));
        assert!(!Incarnation { boot: 8, run: 9, ..first }.is_or_succeeds(&first));
    }
}
