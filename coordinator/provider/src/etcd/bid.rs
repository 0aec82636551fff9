//! The call or the bid beside the lock: one key, written by whoever has seen what stands there.

use super::store::{ATTEMPTS, Store, revision};
use super::txn::{self, Do, Unchanged};
use super::values::{self, BidDoc};
use crate::error::ProviderError;
use baton_board::{WriteOutcome, rules};
use baton_core::contender::Bid;
use baton_core::ids::Epoch;

impl Store {
    pub(super) async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError> {
        let key = self.keys.bid();
        for _ in 0..ATTEMPTS {
            let head = self.head(Vec::new()).await?;
            head.open()?;
            let view = head.view();
            if view.epoch != epoch {
                return Ok(WriteOutcome::StaleEpoch(view.epoch));
            }
            if let Err(refusal) = rules::check_bid(&self.limits, view.bid.as_ref(), expected, bid.as_ref()) {
                return Ok(WriteOutcome::Refused(refusal));
            }
            let mut unchanged = head.same_lock(&self.keys);
            unchanged.push(Unchanged::new(key.as_str(), head.bid_modified));
            let change = match &bid {
                Some(bid) => {
                    let bid = Bid { number: expected.saturating_add(1), ..bid.clone() };
                    Do::put(key.clone(), values::write(&BidDoc::new(epoch, &bid)))
                }
                None => Do::Delete(key.clone()),
            };
            let answer = txn::write(&self.endpoints, &unchanged, &[change]).await?;
            if answer.done {
                return Ok(WriteOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(ProviderError::NotApplied("others bid at the same time, again and again".to_owned()))
    }
}
