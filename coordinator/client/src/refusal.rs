//! The typed detail of a refused call, on both ends: a [`Refusal`] inside the `google.rpc.Status` that gRPC tools expect
//! in `grpc-status-details-bin`, so that `grpcurl` shows it too.

use baton_proto::v1::Refusal;
use prost::Message;
use tonic::{Code, Status};

/// The reason of a call that only the active arbiter answers.
pub const NOT_ACTIVE_ARBITER: &str = "not_active_arbiter";
/// The reason of a call that names another cluster.
pub const FOREIGN_CLUSTER: &str = "foreign_cluster";

const TYPE_URL: &str = "type.googleapis.com/baton.v1.Refusal";

/// `google.rpc.Status`, as gRPC puts it into the trailer.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A refused call: the code and the sentence that every client shows, and the detail that ours read.
#[must_use]
pub fn to_status(code: Code, message: impl Into<String>, refusal: &Refusal) -> Status {
    let message = message.into();
    let detail = prost_types::Any { type_url: TYPE_URL.to_owned(), value: refusal.encode_to_vec() };
    let details = RpcStatus { code: code as i32, message: message.clone(), details: vec![detail] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The detail of a refused call, where the other side gave one that can be read.
#[must_use]
pub fn of_status(status: &Status) -> Option<Refusal> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let detail = details.into_iter().find(|detail| detail.type_url == TYPE_URL)?;
    Refusal::decode(detail.value.as_slice()).ok()
}

/// The address of the active arbiter, where the call was refused for not having reached it.
#[must_use]
pub fn redirect_of(status: &Status) -> Option<String> {
    if status.code() != Code::FailedPrecondition {
        return None;
    }
    of_status(status).map(|refusal| refusal.active_arbiter).filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_survives_the_trailer() {
        let refusal = Refusal {
            reason: NOT_ACTIVE_ARBITER.into(),
            active_arbiter: "10.0.0.2:4402".into(),
            ..Refusal::default()
        };
        let status = to_status(Code::FailedPrecondition, "host-a does not decide", &refusal);
        let headers = http_headers(&status);
        let back = Status::from_header_map(&headers).expect("it has a code");
        assert_eq!(of_status(&back), Some(refusal));
        assert_eq!(redirect_of(&back).as_deref(), Some("10.0.0.2:4402"));
    }

    fn http_headers(status: &Status) -> tonic::codegen::http::HeaderMap {
        let mut headers = tonic::codegen::http::HeaderMap::new();
        status.add_header(&mut headers).expect("the detail is base64 there");
        headers
    }

    #[test]
    fn garbage_is_no_detail() {
        let status = Status::with_details(Code::FailedPrecondition, "no", vec![0xff, 0x01, 0x7f].into());
        assert_eq!(of_status(&status), None);
        assert_eq!(redirect_of(&Status::unavailable("down")), None);
    }
}
