//! A lock of one of the two ends: lost as soon as the other one is in use.

use crate::error::ProviderError;
use crate::{LockGrant, LockSession, Renewal};
use async_trait::async_trait;
use baton_core::time::Span;
use tokio::sync::watch;

pub(super) struct SwitchingSession {
    inner: Box<dyn LockSession>,
    switches: watch::Receiver<usize>,
    at: usize,
}

impl SwitchingSession {
    pub(super) fn new(inner: Box<dyn LockSession>, switches: watch::Receiver<usize>, at: usize) -> Self {
        Self { inner, switches, at }
    }
}

#[async_trait]
impl LockSession for SwitchingSession {
    fn grant(&self) -> LockGrant {
        self.inner.grant()
    }

    async fn renew(&mut self) -> Result<Renewal, ProviderError> {
        let lost = Renewal::Lost { current: self.inner.grant().token.epoch };
        let at = self.at;
        let switched = async {
            // Where nobody can switch any more, this never was.
            if self.switches.wait_for(|now| *now != at).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = switched => Ok(lost),
            renewal = self.inner.renew() => renewal,
        }
    }

    async fn resign(self: Box<Self>, last_grant_remaining: Span) -> Result<(), ProviderError> {
        self.inner.resign(last_grant_remaining).await
    }
}
