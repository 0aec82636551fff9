//! Messages as the bytes that leave: made once, and sent to everybody who is told the same. Knows the framing of gRPC and
//! none of the messages.

use crate::RESPONSE_BYTES_MAX;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Frame, SizeHint};
use prost::Message;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic::codegen::Bytes;
use tonic::{Status, Streaming};

/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// What is set aside for a request before it is known how long it is. Most are shorter; a buffer grows.
const REQUEST_BYTES: usize = 256;

/// A message with its prefix, ready to be sent any number of times.
///
/// # Errors
/// It is longer than what one answer may be.
pub(crate) fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let announced = u32::try_from(length).ok().filter(|_| length <= RESPONSE_BYTES_MAX);
    let announced = announced.ok_or_else(|| {
        Status::out_of_range(format!("an answer of {length} bytes, and {RESPONSE_BYTES_MAX} is the most"))
    })?;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.push(0);
    bytes.extend_from_slice(&announced.to_be_bytes());
    message.encode_raw(&mut bytes);
    Ok(bytes.into())
}

/// The one message of a request.
///
/// # Errors
/// As the framework tells them.
pub(crate) async fn asked<M: Message + Default + 'static>(body: Body, limit: usize) -> Result<M, Status> {
    let mut messages = Streaming::new_request(Asked(PhantomData), body, None, Some(limit));
    let message = messages.message().await?;
    let message = message.ok_or_else(|| Status::internal("a request without its message"))?;
    // To its end: a stream that is left before is reset.
    messages.trailers().await?;
    Ok(message)
}

struct Asked<M>(PhantomData<M>);

impl<M: Message + Default> Decoder for Asked<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(REQUEST_BYTES, REQUEST_BYTES)
    }
}

/// The answer that is these messages, one after the other, or the reason why there is none.
pub(crate) fn answer<S>(messages: Result<S, Status>) -> Response<Body>
where
    S: Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
{
    let messages = match messages {
        Ok(messages) => messages,
        Err(status) => return status.into_http(),
    };
    let mut response = Response::new(Body::new(Messages { messages, is_over: false }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

struct Messages<S> {
    messages: S,
    is_over: bool,
}

impl<S: Stream<Item = Result<Bytes, Status>> + Unpin> http_body::Body for Messages<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let status = match ready!(Pin::new(&mut this.messages).poll_next(cx)) {
            Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        this.is_over = true;
        let mut trailers = HeaderMap::with_capacity(1);
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_proto::v1;

    #[tokio::test]
    async fn what_is_framed_is_what_is_asked() {
        let request = v1::JoinRequest {
            identity: Some(v1::ClusterIdentity { cluster: "orders".into(), ..Default::default() }),
        };
        let body = || {
            let bytes = framed(&request).expect("short");
            Body::new(Messages { messages: tokio_stream::once(Ok(bytes)), is_over: false })
        };
        assert_eq!(asked::<v1::JoinRequest>(body(), 100).await.expect("whole"), request);
        let status = asked::<v1::JoinRequest>(body(), 3).await.expect_err("too long");
        assert!(crate::gate::is_too_long(&status), "{status}");
        assert!(asked::<v1::JoinRequest>(Body::empty(), 3).await.is_err());
    }
}
