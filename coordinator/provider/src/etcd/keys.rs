//! Where everything is kept in etcd: names of keys from and to what they are about. What stands under a key is not
//! known here.

use baton_core::ids::{ClusterName, Epoch, InstanceName, ReplicaSetName, TaskId, Term};
use baton_core::task::TASK_ID_END;

/// The keys of one cluster, all below `PREFIX/CLUSTER/`.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// With a slash at its end.
    base: String,
}

/// What a key is about, as far as a reader of the state cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Identity,
    Epoch,
    Lock,
    Bid,
    Settings,
    Record(ReplicaSetName),
    Member(ReplicaSetName, InstanceName),
    Task(TaskId),
    /// The history, what an arbiter that resigned left, keys of newer versions, and what is none of ours.
    Other,
}

impl Keys {
    /// # Errors
    /// The rule that the prefix breaks.
    pub(super) fn new(prefix: &str, cluster: &ClusterName) -> Result<Self, &'static str> {
        check_prefix(prefix)?;
        Ok(Self { base: format!("{prefix}/{cluster}/") })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn identity(&self) -> String {
        format!("{}identity", self.base)
    }

    pub(super) fn epoch(&self) -> String {
        format!("{}epoch", self.base)
    }

    pub(super) fn lock(&self) -> String {
        format!("{}lock", self.base)
    }

    /// What stands beside the lock: a call or a bid.
    pub(super) fn bid(&self) -> String {
        format!("{}bid", self.base)
    }

    pub(super) fn settings(&self) -> String {
        format!("{}settings", self.base)
    }

    /// The folder of what arbiters that resigned left behind.
    pub(super) fn released_folder(&self) -> String {
        format!("{}released/", self.base)
    }

    pub(super) fn released(&self, epoch: Epoch) -> String {
        format!("{}released/{epoch}", self.base)
    }

    /// The folder of all sets.
    pub(super) fn sets(&self) -> String {
        format!("{}replicasets/", self.base)
    }

    pub(super) fn record(&self, set: &ReplicaSetName) -> String {
        format!("{}replicasets/{set}/record", self.base)
    }

    pub(super) fn members(&self, set: &ReplicaSetName) -> String {
        format!("{}replicasets/{set}/members/", self.base)
    }

    pub(super) fn member(&self, set: &ReplicaSetName, instance: &InstanceName) -> String {
        format!("{}replicasets/{set}/members/{instance}", self.base)
    }

    pub(super) fn history(&self, set: &ReplicaSetName) -> String {
        format!("{}replicasets/{set}/history/", self.base)
    }

    pub(super) fn history_line(&self, set: &ReplicaSetName, term: Term) -> String {
        format!("{}replicasets/{set}/history/{term}", self.base)
    }

    /// The folder of all tasks.
    pub(super) fn tasks(&self) -> String {
        format!("{}tasks/", self.base)
    }

    pub(super) fn task(&self, id: TaskId) -> String {
        format!("{}tasks/{id}", self.base)
    }

    /// What a key is about.
    pub(super) fn parse(&self, key: &str) -> Key {
        let Some(rest) = key.strip_prefix(&self.base) else { return Key::Other };
        let parts: Vec<&str> = rest.split('/').collect();
        let set = |text: &str| ReplicaSetName::parse(text).ok();
        let parsed = match parts.as_slice() {
            ["identity"] => Some(Key::Identity),
            ["epoch"] => Some(Key::Epoch),
            ["lock"] => Some(Key::Lock),
            ["bid"] => Some(Key::Bid),
            ["settings"] => Some(Key::Settings),
            ["tasks", id] => task_id(id).map(Key::Task),
            ["replicasets", name, "record"] => set(name).map(Key::Record),
            ["replicasets", name, "members", instance] => {
                set(name).zip(InstanceName::parse(instance).ok()).map(|(set, it)| Key::Member(set, it))
            }
            _ => None,
        };
        parsed.unwrap_or(Key::Other)
    }
}

/// As it is written here, and not otherwise: `007` would be another key for the same task.
fn task_id(text: &str) -> Option<TaskId> {
    let id: u64 = text.parse().ok().filter(|id| (1..TASK_ID_END).contains(id))?;
    (id.to_string() == text).then_some(TaskId(id))
}

/// Whether a text can be the prefix of all keys.
///
/// # Errors
/// The rule that it breaks.
pub fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    const RULE: &str = "is written /NAME or /NAME/NAME, of letters, digits, '-', '_' and '.'";
    let Some(rest) = prefix.strip_prefix('/') else { return Err(RULE) };
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if prefix.len() <= 255 && rest.split('/').all(good) { Ok(()) } else { Err(RULE) }
}

/// The end of the range of all keys that begin with `folder`.
pub(super) fn end_of(folder: &str) -> Vec<u8> {
    let mut end = folder.as_bytes().to_vec();
    // A folder ends with a slash, and '0' is the byte after it.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_again() {
        let keys = Keys::new("/baton", &ClusterName::parse("orders").expect("a name")).expect("good");
        let set = ReplicaSetName::parse("orders-1").expect("a name");
        let a1 = InstanceName::parse("a1").expect("a name");
        assert_eq!(keys.record(&set), "/baton/orders/replicasets/orders-1/record");
        assert_eq!(keys.history_line(&set, Term(7)), "/baton/orders/replicasets/orders-1/history/7");
        for (text, key) in [
            (keys.identity(), Key::Identity),
            (keys.epoch(), Key::Epoch),
            (keys.lock(), Key::Lock),
            (keys.settings(), Key::Settings),
            (keys.record(&set), Key::Record(set.clone())),
            (keys.member(&set, &a1), Key::Member(set.clone(), a1)),
            (keys.task(TaskId(9)), Key::Task(TaskId(9))),
            ("/baton/orders/tasks/09".to_owned(), Key::Other),
            (keys.history_line(&set, Term(7)), Key::Other),
            (keys.released(Epoch { generation: 1, number: 12 }), Key::Other),
            ("/baton/orders/replicasets/a b/record".to_owned(), Key::Other),
            ("/baton/billing/lock".to_owned(), Key::Other),
        ] {
            assert_eq!(keys.parse(&text), key, "{text}");
        }
    }

    #[test]
    fn one_cluster_never_reads_another() {
        let cluster = |name| Keys::new("/baton", &ClusterName::parse(name).expect("a name")).expect("good");
        let end = end_of(cluster("orders").base());
        assert_eq!(end, b"/baton/orders0");
        assert!(!cluster("orders-2").lock().starts_with(cluster("orders").base()));
    }

    #[test]
    fn prefixes_are_checked() {
        for good in ["/baton", "/a/b.c", "/x-1"] {
            assert_eq!(check_prefix(good), Ok(()), "{good}");
        }
        for bad in ["", "/", "baton", "/baton/", "//baton", "/a b"] {
            assert!(check_prefix(bad).is_err(), "{bad:?} was taken");
        }
    }
}
