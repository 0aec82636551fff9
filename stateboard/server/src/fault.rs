//! Every error that leaves this stateboard: a gRPC code, and a detail with a reason for programs, the facts, and what a
//! person can do. Decides nothing.

use baton_board::ForeignCluster;
use baton_proto::v1;
use baton_provider::wire::Malformed;
use prost::Message as _;
use tonic::{Code, Status};

/// One error with its detail.
pub(crate) fn error(
    code: Code,
    reason: &str,
    message: String,
    what_to_do: &str,
    facts: &[(&str, &str)],
) -> Status {
    let detail = v1::StateboardError {
        reason: reason.to_owned(),
        message: message.clone(),
        what_to_do: what_to_do.to_owned(),
        facts: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

/// What was received is no message of ours.
pub(crate) fn malformed(fault: Malformed) -> Status {
    let what_to_do = "use a client of this stateboard's version, or of the one before or after it";
    error(Code::InvalidArgument, "malformed", fault.to_string(), what_to_do, &[])
}

/// A limit, by the name that its setting has, and its value. `found` says what was too much.
pub(crate) fn limit(name: &str, value: u64, found: &str, what_to_do: &str) -> Status {
    let message = format!("{found}: the limit {name} is {value}");
    let value = value.to_string();
    let facts = [("limit", name), ("value", value.as_str())];
    error(Code::ResourceExhausted, "limit", message, what_to_do, &facts)
}

/// A watcher that did not keep up. Its client resumes after the last revision that it has.
pub(crate) fn slow_watcher(behind: u64, allowed: u64) -> Status {
    let message = format!(
        "this watch is {behind} updates behind: the limit watcher_lag is {allowed}, and nothing is kept for slow readers"
    );
    let what_to_do = "watch again after the last revision that was received, and read faster";
    let (behind, allowed) = (behind.to_string(), allowed.to_string());
    let facts = [("limit", "watcher_lag"), ("value", allowed.as_str()), ("behind", behind.as_str())];
    error(Code::ResourceExhausted, "slow_watcher", message, what_to_do, &facts)
}

/// The state was moved to another provider.
pub(crate) fn moving(why: &str) -> Status {
    let what_to_do = "use that provider: name it in [provider], or in [provider.next] beside this one";
    error(Code::FailedPrecondition, "moving", why.to_owned(), what_to_do, &[])
}

/// The stateboard is going.
pub(crate) fn stopping() -> Status {
    let message = "this stateboard is stopping".to_owned();
    error(
        Code::Unavailable,
        "stopping",
        message,
        "connect again: it is back soon, or another takes over",
        &[],
    )
}

/// Everything was replaced by a backup while a watch was open.
pub(crate) fn restored() -> Status {
    let message = "this stateboard was restored from a backup".to_owned();
    error(Code::Aborted, "restored", message, "watch again, from a snapshot", &[])
}

/// There is no room for a change.
pub(crate) fn disk_full() -> Status {
    let message = "there is no room on the stateboard's disk: nothing was changed".to_owned();
    let what_to_do = "make room on it; then changes are taken again by themselves";
    error(Code::ResourceExhausted, "disk_full", message, what_to_do, &[])
}

/// A request that did not arrive wholly, or was not answered, in time.
pub(crate) fn late(seconds: u64) -> Status {
    let message = format!("the request was not complete and answered within {seconds} s");
    let value = seconds.to_string();
    let what_to_do = "what it would have changed is unknown: read it back, then ask again";
    error(Code::DeadlineExceeded, "late", message, what_to_do, &[("value", value.as_str())])
}

/// Another cluster, or another secret.
pub(crate) fn foreign(foreign: &ForeignCluster) -> Status {
    let message = foreign.to_string();
    match foreign {
        ForeignCluster::Name { ours, theirs } => {
            let what_to_do =
                "give each cluster a stateboard of its own, or set cluster.name to the same value";
            let facts = [("ours", ours.as_str()), ("theirs", theirs.as_str())];
            error(Code::FailedPrecondition, "foreign_cluster", message, what_to_do, &facts)
        }
        ForeignCluster::Secret { cluster } => {
            let what_to_do = "use the same secret_file on every host of the cluster";
            error(Code::Unauthenticated, "wrong_secret", message, what_to_do, &[("cluster", cluster)])
        }
    }
}

/// No password, or a wrong one. Does not repeat what was shown.
pub(crate) fn unauthenticated(shown: bool) -> Status {
    let what_to_do = "set provider.password_file of the coordinator to a file with the stateboard's password in its first line";
    if shown {
        let message = "the password is wrong".to_owned();
        error(Code::Unauthenticated, "wrong_password", message, what_to_do, &[])
    } else {
        let message = "this stateboard asks for a password, and none was shown".to_owned();
        error(Code::Unauthenticated, "no_password", message, what_to_do, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_carries_its_reason_and_what_to_do() {
        let name = ForeignCluster::Name { ours: "orders".into(), theirs: "billing".into() };
        let secret = ForeignCluster::Secret { cluster: "orders".into() };
        for (status, reason) in [
            (foreign(&name), "foreign_cluster"),
            (foreign(&secret), "wrong_secret"),
            (unauthenticated(true), "wrong_password"),
            (unauthenticated(false), "no_password"),
            (stopping(), "stopping"),
            (late(30), "late"),
            (restored(), "restored"),
            (disk_full(), "disk_full"),
            (limit("watchers", 7, "one more watch", "ask less"), "limit"),
            (slow_watcher(9, 7), "slow_watcher"),
            (malformed(Malformed::Missing("record")), "malformed"),
        ] {
            let detail = v1::StateboardError::decode(status.details()).expect("a detail of ours");
            assert_eq!(detail.reason, reason);
            assert!(!detail.what_to_do.is_empty(), "{reason} does not say what to do");
        }
    }
}
