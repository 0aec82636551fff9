//! From a gRPC error to one of the three endings. What is not surely "not applied" is unknown.

use crate::error::{FatalError, ProviderError};
use crate::status::{text_of, was_never_sent};
use crate::wire::Malformed;
use baton_board::ForeignCluster;
use baton_proto::v1;
use tonic::{Code, Status};

pub(super) fn malformed(error: &Malformed) -> ProviderError {
    FatalError::Protocol(error.to_string()).into()
}

/// The ending that an error stands for.
pub(super) fn of_status(status: &Status) -> ProviderError {
    if let Some(detail) = detail_of(status) {
        return of_detail(&detail);
    }
    if was_never_sent(status) {
        return ProviderError::NotApplied(text_of(status));
    }
    match status.code() {
        // Said by the server's framework before any of our code ran.
        Code::Unimplemented => FatalError::Protocol(text_of(status)).into(),
        _ => ProviderError::Unknown(text_of(status)),
    }
}

/// Whether the stateboard is at one of its limits, where asking again at once would only keep it there, or was left.
pub(super) fn is_limit(status: &Status) -> bool {
    detail_of(status).is_some_and(|detail| detail.reason == "limit" || detail.reason == "moving")
}

fn of_detail(detail: &v1::StateboardError) -> ProviderError {
    let fact = |name: &str| detail.facts.get(name).cloned().unwrap_or_default();
    match detail.reason.as_str() {
        "foreign_cluster" => {
            FatalError::from(ForeignCluster::Name { ours: fact("ours"), theirs: fact("theirs") }).into()
        }
        "wrong_secret" => FatalError::from(ForeignCluster::Secret { cluster: fact("cluster") }).into(),
        "no_password" | "wrong_password" => {
            FatalError::Unauthenticated(format!("{} ({})", detail.message, detail.what_to_do)).into()
        }
        "malformed" => FatalError::Protocol(detail.message.clone()).into(),
        // A stateboard that is stopping, or one that is at a limit, has not looked at the request; the others say that
        // they changed nothing.
        "stopping" | "moving" | "limit" | "disk_full" | "not_empty" | "bad_backup" => {
            ProviderError::NotApplied(detail.message.clone())
        }
        _ => ProviderError::Unknown(detail.message.clone()),
    }
}

fn detail_of(status: &Status) -> Option<v1::StateboardError> {
    if status.details().is_empty() {
        return None;
    }
    prost::Message::decode(status.details()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_reason(reason: &str) -> Status {
        let detail = v1::StateboardError { reason: reason.into(), ..v1::StateboardError::default() };
        Status::with_details(Code::FailedPrecondition, "", prost::Message::encode_to_vec(&detail).into())
    }

    #[test]
    fn only_what_says_so_is_not_applied() {
        assert!(matches!(of_status(&with_reason("stopping")), ProviderError::NotApplied(_)));
        assert!(matches!(of_status(&with_reason("news")), ProviderError::Unknown(_)));
        for fatal in ["wrong_secret", "wrong_password", "no_password"] {
            assert!(matches!(of_status(&with_reason(fatal)), ProviderError::Fatal(_)), "{fatal}");
        }
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Internal] {
            assert!(matches!(of_status(&Status::new(code, "")), ProviderError::Unknown(_)), "{code:?}");
        }
    }
}
