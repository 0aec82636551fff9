//! Which coordinator is asked next, and when nobody is asked again: a redirect first, then the others; what may have happened
//! already is not asked for twice. It must not know what is asked.

use super::reaching::Reaching;
use super::{OperatorClient, OperatorError};
use crate::{endpoint, refusal};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Longest chain of redirects.
const REDIRECTS_MAX: usize = 4;

/// Whether the same request may be sent to another coordinator when an answer stays out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing.
    Safe,
    /// It may have been carried out.
    Never,
}

impl OperatorClient {
    /// Asks one coordinator after another, each redirect next, until one answers.
    pub(super) async fn call<T, F>(
        &self,
        repeat: Repeat,
        send: impl Fn(Channel) -> F,
    ) -> Result<T, OperatorError>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut reaching = Reaching::new(&self.endpoints, self.connect_timeout);
        let mut redirects = 0;
        let mut nobody = None;
        while let Some((address, channel)) = reaching.next().await {
            let status = match tokio::time::timeout(self.timeout, send(channel)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {:?}", self.timeout)),
            };
            match redirect_or_end(&status, repeat, &address) {
                Next::Redirect(target) if redirects < REDIRECTS_MAX => {
                    redirects += 1;
                    reaching.tried.push((address, format!("it is not the active arbiter, {target} is")));
                    reaching.first(target);
                }
                Next::Redirect(target) => {
                    reaching.tried.push((address, format!("redirected once more, to {target}")));
                }
                Next::Elsewhere(error) => {
                    reaching.tried.push((address, status.message().to_owned()));
                    nobody = Some(*error);
                }
                Next::Another => reaching.tried.push((address, status.message().to_owned())),
                Next::End(error) => return Err(*error),
            }
        }
        let tried = reaching.tried;
        Err(nobody.unwrap_or(OperatorError::Unreachable { tried }))
    }
}

enum Next {
    Redirect(String),
    /// It is not the arbiter and knows of none; its refusal is the answer if nobody knows more.
    Elsewhere(Box<OperatorError>),
    Another,
    End(Box<OperatorError>),
}

fn redirect_or_end(status: &Status, repeat: Repeat, address: &str) -> Next {
    if let Some(target) = refusal::redirect_of(status).and_then(|target| endpoint::normalize(&target).ok()) {
        return Next::Redirect(target);
    }
    let refusal = refusal::of_status(status).map(Box::new);
    // Not the one, and it knows of none: another coordinator may know more.
    if refusal.as_ref().is_some_and(|refusal| refusal.reason == refusal::NOT_ACTIVE_ARBITER) {
        let message = status.message().to_owned();
        return Next::Elsewhere(Box::new(OperatorError::Refused { code: status.code(), message, refusal }));
    }
    let silent = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
    );
    // Only a detail proves that a coordinator spoke; without one, such a code may be the transport's own.
    if silent && refusal.is_none() {
        return match repeat {
            Repeat::Safe => Next::Another,
            Repeat::Never => Next::End(Box::new(OperatorError::OutcomeUnknown {
                address: address.to_owned(),
                cause: status.message().to_owned(),
            })),
        };
    }
    let message = status.message().to_owned();
    Next::End(Box::new(OperatorError::Refused { code: status.code(), message, refusal }))
}
