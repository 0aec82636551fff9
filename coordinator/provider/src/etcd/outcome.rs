//! From an error of etcd to one of the three endings. What is not surely "not applied" is unknown.

use crate::error::{FatalError, ProviderError};
use crate::status::{text_of, was_never_sent};
use etcd_client::Error;
use tonic::{Code, Status};

/// What the caller can do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// How the call ended.
    Ended(ProviderError),
    /// Surely not applied by this member, and worth another one: it was not reached, or has no leader.
    Elsewhere(String),
    /// Our token is none any more: authenticate again. Nothing was applied.
    Stranger(String),
    /// A read asked for a revision that is no longer kept.
    Compacted,
}

impl Failure {
    /// The ending where nothing else is tried.
    pub(super) fn into_error(self) -> ProviderError {
        match self {
            Self::Ended(error) => error,
            Self::Elsewhere(text) | Self::Stranger(text) => ProviderError::NotApplied(text),
            Self::Compacted => ProviderError::NotApplied("the revision is no longer kept".to_owned()),
        }
    }
}

/// What an error of the client stands for.
pub(super) fn of_error(error: &Error) -> Failure {
    match error {
        Error::GRpcStatus(status) => of_status(status),
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::EndpointError(_) => {
            Failure::Ended(FatalError::Config(error.to_string()).into())
        }
        _ => Failure::Ended(ProviderError::Unknown(error.to_string())),
    }
}

/// Sentences of etcd that say that it did nothing, with what they mean to us. All of them are in 3.4 and later; a
/// sentence that is not here is judged by its code.
const SENTENCES: [(&str, Meaning); 15] = [
    ("etcdserver: no leader", Meaning::Elsewhere),
    ("etcdserver: not leader", Meaning::Elsewhere),
    ("etcdserver: server stopped", Meaning::Unknown),
    ("etcdserver: too many requests", Meaning::NotApplied),
    ("etcdserver: mvcc: database space exceeded", Meaning::NotApplied),
    ("etcdserver: requested lease not found", Meaning::NotApplied),
    ("etcdserver: lease already exists", Meaning::NotApplied),
    ("etcdserver: invalid auth token", Meaning::Stranger),
    ("etcdserver: revision of auth store is old", Meaning::Stranger),
    ("etcdserver: user name is empty", Meaning::Credentials),
    ("etcdserver: user name not found", Meaning::Credentials),
    ("etcdserver: permission denied", Meaning::Credentials),
    ("etcdserver: authentication failed, invalid user ID or password", Meaning::Credentials),
    ("etcdserver: authentication is not enabled", Meaning::Credentials),
    ("etcdserver: mvcc: required revision has been compacted", Meaning::Compacted),
];

#[derive(Clone, Copy)]
enum Meaning {
    Elsewhere,
    NotApplied,
    Stranger,
    Credentials,
    Compacted,
    Unknown,
}

fn of_status(status: &Status) -> Failure {
    let text = text_of(status);
    if was_never_sent(status) {
        return Failure::Elsewhere(text);
    }
    let known = SENTENCES.iter().find(|(sentence, _)| *sentence == status.message());
    match (known.map(|(_, meaning)| *meaning), status.code()) {
        (Some(Meaning::Elsewhere), _) => Failure::Elsewhere(text),
        (Some(Meaning::NotApplied), _) => Failure::Ended(ProviderError::NotApplied(text)),
        (Some(Meaning::Stranger), _) | (None, Code::Unauthenticated) => Failure::Stranger(text),
        (Some(Meaning::Credentials), _) | (None, Code::PermissionDenied) => {
            Failure::Ended(FatalError::Unauthenticated(text).into())
        }
        (Some(Meaning::Compacted), _) => Failure::Compacted,
        // Said before anything was proposed: a request that etcd takes for none (too large, too many operations).
        (None, Code::InvalidArgument) => Failure::Ended(ProviderError::NotApplied(text)),
        (None, Code::Unimplemented) => Failure::Ended(FatalError::Protocol(text).into()),
        (Some(Meaning::Unknown) | None, _) => Failure::Ended(ProviderError::Unknown(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> Failure {
        of_error(&Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn only_what_says_so_is_not_applied() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Cancelled, ""),
            (Code::DeadlineExceeded, ""),
            (Code::Internal, ""),
            (Code::Unknown, "news"),
        ] {
            let failure = of(code, message);
            assert!(matches!(failure, Failure::Ended(ProviderError::Unknown(_))), "{message}: {failure:?}");
        }
        let no_leader = of(Code::Unavailable, "etcdserver: no leader");
        assert!(matches!(no_leader, Failure::Elsewhere(_)), "{no_leader:?}");
        let full = of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert!(matches!(full, Failure::Ended(ProviderError::NotApplied(_))), "{full:?}");
    }

    #[test]
    fn who_is_not_let_in_is_told_so() {
        for (code, message) in [
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
            (Code::InvalidArgument, "etcdserver: user name is empty"),
            (Code::PermissionDenied, "etcdserver: permission denied"),
        ] {
            let failure = of(code, message);
            let fatal = Failure::Ended(FatalError::Unauthenticated(String::new()).into());
            assert_eq!(std::mem::discriminant(&failure), std::mem::discriminant(&fatal), "{failure:?}");
            assert!(matches!(failure.into_error(), ProviderError::Fatal(FatalError::Unauthenticated(_))));
        }
        assert!(matches!(of(Code::Unauthenticated, "etcdserver: invalid auth token"), Failure::Stranger(_)));
        let old = of(Code::InvalidArgument, "etcdserver: revision of auth store is old");
        assert!(matches!(old, Failure::Stranger(_)), "{old:?}");
    }
}
