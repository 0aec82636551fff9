//! What guards ask each other, to protobuf and back, with the same care as the rest of the link's messages.

use super::orders::{grant_from_wire, grant_to_wire};
use super::{
    Malformed, beat_from_wire, beat_to_wire, epoch, epoch_out, hello_from_wire, hello_to_wire, incarnation,
    incarnation_out, term,
};
use crate::config::Config;
use baton_core::ids::{CoordinatorName, Epoch, InstanceName};
use baton_core::message::{Ask, Beat, Grant, Hello, PeerAnswer, Promise, PromiseRefusal};
use baton_core::time::{Span, Time};
use baton_proto::v1;

/// A request as it came in: who asks whom, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The guard that is asked.
    pub instance: InstanceName,
    /// The master's guard.
    pub hello: Hello,
    /// Its request.
    pub ask: Ask,
}

/// A relayed beat as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Who passes it on.
    pub by: InstanceName,
    /// The guard that beats.
    pub hello: Hello,
    /// Its beat.
    pub beat: Beat,
}

/// What an arbiter answers a relay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAnswer {
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether it gives full leases.
    pub well: bool,
    /// Its grant.
    pub grant: Option<Grant>,
}

/// Out.
#[must_use]
pub fn ask_to_wire(config: &Config, to: &InstanceName, hello: &Hello, ask: &Ask) -> v1::PromiseRequest {
    v1::PromiseRequest {
        cluster: config.identity.cluster.to_string(),
        identity: config.identity.secret_hash.to_vec(),
        instance: to.to_string(),
        guard: Some(hello_to_wire(hello)),
        coordinator: hello.coordinator.to_string(),
        beat: Some(beat_to_wire(&ask.beat)),
        term: ask.term.0,
        ttl_us: ask.ttl.0,
    }
}

/// In.
///
/// # Errors
/// [`Malformed`].
pub fn ask_from_wire(request: v1::PromiseRequest) -> Result<Asked, Malformed> {
    let coordinator = CoordinatorName::parse(&request.coordinator)?;
    let beat = beat_from_wire(request.beat.ok_or(Malformed::Missing("beat"))?)?;
    Ok(Asked {
        instance: InstanceName::parse(&request.instance)?,
        hello: hello_from_wire(request.guard.ok_or(Malformed::Missing("guard"))?, &coordinator)?,
        ask: Ask { beat: Box::new(beat), term: term(request.term)?, ttl: Span(request.ttl_us) },
    })
}

/// Out.
#[must_use]
pub fn answer_to_wire(instance: &InstanceName, answer: &PeerAnswer) -> v1::PromiseResponse {
    use v1::promise_refused::Reason;
    use v1::promise_response::Answer;
    let answer = match answer {
        PeerAnswer::Promise(promise) => Answer::Promise(v1::PromiseGiven {
            incarnation: incarnation_out(promise.incarnation),
            asked_at: promise.asked_at.0,
            term: promise.term.0,
            ttl_us: promise.ttl.0,
        }),
        PeerAnswer::Relayed(grant) => Answer::Relayed(grant_to_wire(instance, grant)),
        PeerAnswer::Refused(why) => {
            let (reason, term) = match why {
                PromiseRefusal::Starting => (Reason::Starting, 0),
                PromiseRefusal::HigherTerm(term) => (Reason::HigherTerm, term.0),
                PromiseRefusal::Severed => (Reason::Severed, 0),
                PromiseRefusal::Stopping => (Reason::Stopping, 0),
                PromiseRefusal::InContact => (Reason::InContact, 0),
            };
            Answer::Refused(v1::PromiseRefused { reason: reason.into(), term })
        }
    };
    v1::PromiseResponse { answer: Some(answer) }
}

/// In. A reason of a later version counts as the plainest refusal.
///
/// # Errors
/// [`Malformed`].
pub fn answer_from_wire(response: v1::PromiseResponse) -> Result<PeerAnswer, Malformed> {
    use v1::promise_refused::Reason;
    use v1::promise_response::Answer;
    Ok(match response.answer.ok_or(Malformed::Missing("answer"))? {
        Answer::Promise(promise) => PeerAnswer::Promise(Promise {
            incarnation: incarnation(promise.incarnation)?,
            asked_at: Time(promise.asked_at),
            term: term(promise.term)?,
            ttl: Span(promise.ttl_us),
        }),
        Answer::Relayed(grant) => PeerAnswer::Relayed(grant_from_wire(grant)?.1),
        Answer::Refused(refused) => PeerAnswer::Refused(match Reason::try_from(refused.reason) {
            Ok(Reason::Starting) => PromiseRefusal::Starting,
            Ok(Reason::HigherTerm) => PromiseRefusal::HigherTerm(term(refused.term)?),
            Ok(Reason::InContact) => PromiseRefusal::InContact,
            Ok(Reason::Stopping | Reason::Other) | Err(_) => PromiseRefusal::Stopping,
            Ok(Reason::Severed) => PromiseRefusal::Severed,
        }),
    })
}

/// Out.
#[must_use]
pub fn relay_to_wire(config: &Config, by: &InstanceName, hello: &Hello, beat: &Beat) -> v1::RelayRequest {
    v1::RelayRequest {
        cluster: config.identity.cluster.to_string(),
        identity: config.identity.secret_hash.to_vec(),
        by: by.to_string(),
        guard: Some(hello_to_wire(hello)),
        coordinator: hello.coordinator.to_string(),
        beat: Some(beat_to_wire(beat)),
    }
}

/// In.
///
/// # Errors
/// [`Malformed`].
pub fn relay_from_wire(request: v1::RelayRequest) -> Result<Relayed, Malformed> {
    let coordinator = CoordinatorName::parse(&request.coordinator)?;
    Ok(Relayed {
        by: InstanceName::parse(&request.by)?,
        hello: hello_from_wire(request.guard.ok_or(Malformed::Missing("guard"))?, &coordinator)?,
        beat: beat_from_wire(request.beat.ok_or(Malformed::Missing("beat"))?)?,
    })
}

/// Out. `of`: whose beat was relayed.
#[must_use]
pub fn relay_answer_to_wire(of: &InstanceName, answer: &RelayAnswer) -> v1::RelayResponse {
    v1::RelayResponse {
        epoch: epoch_out(answer.epoch),
        well: answer.well,
        grant: answer.grant.as_ref().map(|grant| grant_to_wire(of, grant)),
    }
}

/// In.
///
/// # Errors
/// [`Malformed`].
pub fn relay_answer_from_wire(response: v1::RelayResponse) -> Result<RelayAnswer, Malformed> {
    let grant = response.grant.map(grant_from_wire).transpose()?;
    Ok(RelayAnswer {
        epoch: epoch(response.epoch)?,
        well: response.well,
        grant: grant.map(|(_, grant)| grant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::{Incarnation, Term};

    fn grant() -> Grant {
        let incarnation = Incarnation { home: 1, boot: 2, run: 3 };
        let epoch = Epoch { generation: 1, number: 7 };
        Grant {
            beat: Time(5),
            incarnation,
            epoch,
            term: Term(2),
            ttl: Span(9),
            lease: Span(10),
            pinned: None,
        }
    }

    #[test]
    fn answers_survive_the_way_there_and_back() {
        let incarnation = Incarnation { home: 1, boot: 2, run: 3 };
        let promise = Promise { incarnation, asked_at: Time(4), term: Term(2), ttl: Span(8) };
        let refusals = [
            PromiseRefusal::Starting,
            PromiseRefusal::HigherTerm(Term(9)),
            PromiseRefusal::Severed,
            PromiseRefusal::Stopping,
            PromiseRefusal::InContact,
        ];
        let mut answers = vec![PeerAnswer::Promise(promise), PeerAnswer::Relayed(grant())];
        answers.extend(refusals.map(PeerAnswer::Refused));
        let instance = InstanceName::parse("a1").expect("a name");
        for answer in answers {
            assert_eq!(answer_from_wire(answer_to_wire(&instance, &answer)), Ok(answer));
        }
    }

    #[test]
    fn relay_answers_survive_with_and_without_a_grant() {
        let of = InstanceName::parse("a1").expect("a name");
        for grant in [None, Some(grant())] {
            let answer = RelayAnswer { epoch: Epoch { generation: 1, number: 7 }, well: true, grant };
            assert_eq!(relay_answer_from_wire(relay_answer_to_wire(&of, &answer)), Ok(answer));
        }
    }

    #[test]
    fn a_request_that_says_nothing_is_refused() {
        assert!(ask_from_wire(v1::PromiseRequest::default()).is_err());
        assert!(relay_from_wire(v1::RelayRequest::default()).is_err());
        assert_eq!(answer_from_wire(v1::PromiseResponse::default()), Err(Malformed::Missing("answer")));
    }

    #[test]
    fn a_reason_of_a_later_version_is_a_refusal() {
        let refused = v1::PromiseRefused { reason: 99, term: 0 };
        let answer = Some(v1::promise_response::Answer::Refused(refused));
        let answer = answer_from_wire(v1::PromiseResponse { answer });
        assert_eq!(answer, Ok(PeerAnswer::Refused(PromiseRefusal::Stopping)));
    }
}
