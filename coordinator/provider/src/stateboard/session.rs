//! The lock's connection: waits in line, renews, and takes the epoch up again when the stateboard was away. One task
//! owns the stream; the session that the arbiter holds only talks to it.

use super::backoff::Backoff;
use super::outcome::{is_limit, malformed, of_status};
use super::{Client, StateboardProvider};
use crate::error::{FatalError, ProviderError};
use crate::{LockGrant, LockSession, Renewal, wire};
use async_trait::async_trait;
use baton_board::{Candidate, Identity, LockToken};
use baton_core::ids::Epoch;
use baton_core::time::Span;
use baton_proto::v1;
use std::collections::VecDeque;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use v1::campaign_request::Message as Out;
use v1::campaign_response::Message as In;

/// Messages that wait for the stream to take them. One renewal at a time is the rule.
const OUT_QUEUE: usize = 16;

/// What is needed to get in line, again and again.
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) identity: Identity,
    pub(super) candidate: Candidate,
}

/// One stream.
struct Stream {
    out: mpsc::Sender<v1::CampaignRequest>,
    messages: Streaming<v1::CampaignResponse>,
}

/// What became of a message.
enum Sent {
    Taken,
    Broken,
    Stuck,
}

/// Why there is no message.
enum Ended {
    /// A limit of the stateboard: a person may have to look, so the caller is told.
    Refused(ProviderError),
    /// Whatever else; the way may be there again.
    Broken(ProviderError),
}

impl Ended {
    fn by(status: &Status) -> Self {
        if is_limit(status) { Self::Refused(of_status(status)) } else { Self::Broken(of_status(status)) }
    }

    fn error(self) -> ProviderError {
        match self {
            Self::Refused(error) | Self::Broken(error) => error,
        }
    }
}

/// What a candidate is told, checked.
enum Told {
    Granted(LockGrant),
    Renewed(Span),
    Lost(Epoch),
    Resigned,
}

impl Line {
    async fn connect(&mut self, resume: Option<LockToken>, resume_only: bool) -> Result<Stream, Ended> {
        let (out, queue) = mpsc::channel(OUT_QUEUE);
        let campaign = v1::Campaign {
            identity: Some(wire::identity_to_wire(&self.identity)),
            candidate: Some(wire::candidate_to_wire(&self.candidate)),
            resume: resume.map(wire::token_to_wire),
            resume_only,
        };
        let first = v1::CampaignRequest { message: Some(Out::Campaign(campaign)) };
        let closed = |_| Ended::Broken(ProviderError::NotApplied("the queue is closed".into()));
        out.try_send(first).map_err(closed)?;
        let response = self.client.campaign(ReceiverStream::new(queue)).await;
        let messages = response.map_err(|status| Ended::by(&status))?.into_inner();
        Ok(Stream { out, messages })
    }
}

impl Stream {
    /// What became of it. A full queue means a stream that is stuck, a closed one that it broke; `next` tells.
    fn send(&self, message: Out) -> Sent {
        match self.out.try_send(v1::CampaignRequest { message: Some(message) }) {
            Ok(()) => Sent::Taken,
            Err(TrySendError::Closed(_)) => Sent::Broken,
            Err(TrySendError::Full(_)) => Sent::Stuck,
        }
    }

    async fn next(&mut self) -> Result<Told, Ended> {
        let broken = |error| Ended::Broken(error);
        loop {
            let response = self.messages.message().await.map_err(|status| Ended::by(&status))?;
            let closed = || broken(ProviderError::Unknown("the stateboard closed the stream".into()));
            let response = response.ok_or_else(closed)?;
            // One without a message that is known here comes from a newer stateboard.
            if let Some(message) = response.message {
                return told(message).map_err(|error| broken(malformed(&error)));
            }
        }
    }
}

fn told(message: In) -> Result<Told, wire::Malformed> {
    Ok(match message {
        In::Granted(granted) => Told::Granted(LockGrant {
            token: wire::token_from_wire(granted.token)?,
            ttl: Span(granted.ttl_us),
            predecessor_bound: Span(granted.predecessor_bound_us),
            resumed: granted.resumed,
        }),
        In::Renewed(renewed) => Told::Renewed(Span(renewed.ttl_us)),
        In::Lost(lost) => Told::Lost(wire::epoch_from_wire(lost.current)?),
        In::Resigned(_) => Told::Resigned,
    })
}

/// Waits in line until the lock is ours.
pub(super) async fn campaign(
    mut line: Line,
    resume: Option<LockToken>,
) -> Result<Box<dyn LockSession>, ProviderError> {
    let mut backoff = Backoff::new();
    loop {
        match wait_in_line(&mut line, resume, &mut backoff).await {
            Ok((grant, stream)) => {
                let (commands, queue) = mpsc::channel(OUT_QUEUE);
                tokio::spawn(hold(line, grant.token, stream, queue));
                return Ok(Box::new(StateboardSession { grant, commands }));
            }
            Err(Ended::Broken(ProviderError::Fatal(error))) => return Err(error.into()),
            Err(Ended::Refused(error)) => return Err(error),
            Err(Ended::Broken(error)) => {
                tracing::debug!(%error, "the place in line was lost, trying again");
                backoff.pause().await;
            }
        }
    }
}

async fn wait_in_line(
    line: &mut Line,
    resume: Option<LockToken>,
    backoff: &mut Backoff,
) -> Result<(LockGrant, Stream), Ended> {
    let mut stream = line.connect(resume, false).await?;
    backoff.reset();
    loop {
        match stream.next().await? {
            Told::Granted(grant) => return Ok((grant, stream)),
            Told::Renewed(_) | Told::Lost(_) | Told::Resigned => {}
        }
    }
}

enum Command {
    Renew(oneshot::Sender<Result<Renewal, ProviderError>>),
    Resign(Span, oneshot::Sender<Result<(), ProviderError>>),
}

struct StateboardSession {
    grant: LockGrant,
    /// Dropping it ends the task that holds the stream, and with it the stream.
    commands: mpsc::Sender<Command>,
}

fn ended() -> ProviderError {
    ProviderError::Fatal(FatalError::Protocol("the lock's session has ended".into()))
}

#[async_trait]
impl LockSession for StateboardSession {
    fn grant(&self) -> LockGrant {
        self.grant
    }

    async fn renew(&mut self) -> Result<Renewal, ProviderError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Renew(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ProviderError::Unknown("the lock's connection takes no renewal".into()))?
    }

    async fn resign(self: Box<Self>, last_grant_remaining: Span) -> Result<(), ProviderError> {
        let (answer, answered) = oneshot::channel();
        let resign = Command::Resign(last_grant_remaining, answer);
        self.commands.send(resign).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ProviderError::Unknown("the session ended while resigning".into()))?
    }
}

/// What the task owes.
#[derive(Default)]
struct Owed {
    renewals: VecDeque<oneshot::Sender<Result<Renewal, ProviderError>>>,
    resignation: Option<(Span, oneshot::Sender<Result<(), ProviderError>>)>,
}

impl Owed {
    /// Answers are matched by their order. What a broken stream did not take is the last that is owed, and sent again by the
    /// next stream; what a stuck one did not take is never sent, and dropping it tells the caller.
    fn renewal(&mut self, answer: oneshot::Sender<Result<Renewal, ProviderError>>, sent: Sent) {
        match sent {
            Sent::Taken => self.renewals.push_back(answer),
            Sent::Broken if self.renewals.len() < OUT_QUEUE => self.renewals.push_back(answer),
            Sent::Broken | Sent::Stuck => {}
        }
    }

    fn answer_all(&mut self, answer: &Result<Renewal, ProviderError>) {
        for waiting in self.renewals.drain(..) {
            // Whoever gave up waiting needs no answer.
            let _ = waiting.send(answer.clone());
        }
    }

    fn resigned(&mut self, answer: Result<(), ProviderError>) {
        if let Some((_, waiting)) = self.resignation.take() {
            let _ = waiting.send(answer);
        }
    }
}

/// Holds the lock until the session is dropped, the lock is lost or resigned, or nothing helps any more.
async fn hold(mut line: Line, token: LockToken, mut stream: Stream, mut commands: mpsc::Receiver<Command>) {
    let mut owed = Owed::default();
    loop {
        let broken = match serve(&mut stream, &mut commands, &mut owed).await {
            Served::Ended => return,
            Served::Lost(current) => return refuse_all(current, commands, owed).await,
            Served::Broken(error) => error,
        };
        tracing::debug!(error = %broken, "the lock's connection broke, taking the epoch up again");
        // First of all: a stateboard that is stopping waits for its streams, and this one is of no more use. The board
        // knows us by the token, not by the stream.
        drop(stream);
        match reconnect(&mut line, token, &mut commands, &mut owed).await {
            Some(Ok(next)) => stream = next,
            Some(Err(error)) => {
                owed.answer_all(&Err(error.clone()));
                owed.resigned(Err(error));
                return;
            }
            None => return,
        }
        // What was asked on the broken stream may not have arrived. Renewing twice does no harm, and counts from an
        // earlier moment than the board's.
        owed.renewals.retain(|waiting| !waiting.is_closed());
        for answer in std::mem::take(&mut owed.renewals) {
            owed.renewal(answer, stream.send(Out::Renew(v1::Renew {})));
        }
        if let Some((remaining, _)) = &owed.resignation {
            let _ = stream.send(Out::Resign(v1::Resign { last_grant_remaining_us: remaining.0 }));
        }
    }
}

enum Served {
    /// Nobody holds the session any more, or it was resigned.
    Ended,
    Lost(Epoch),
    Broken(ProviderError),
}

async fn serve(stream: &mut Stream, commands: &mut mpsc::Receiver<Command>, owed: &mut Owed) -> Served {
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Renew(answer)) => owed.renewal(answer, stream.send(Out::Renew(v1::Renew {}))),
                Some(Command::Resign(remaining, answer)) => {
                    owed.resignation = Some((remaining, answer));
                    let _ = stream.send(Out::Resign(v1::Resign { last_grant_remaining_us: remaining.0 }));
                }
                // The session is gone. A resignation that is under way is waited for; otherwise the end of the
                // stream is what frees the lock, now.
                None if owed.resignation.is_none() => return Served::Ended,
                None => return finish_resignation(stream, owed).await,
            },
            told = stream.next() => match told {
                Ok(Told::Renewed(ttl)) => {
                    if let Some(waiting) = owed.renewals.pop_front() {
                        let _ = waiting.send(Ok(Renewal::Granted { ttl }));
                    }
                }
                Ok(Told::Lost(current)) => return Served::Lost(current),
                Ok(Told::Resigned) => {
                    owed.resigned(Ok(()));
                    return Served::Ended;
                }
                Ok(Told::Granted(_)) => {}
                Err(ended) => return Served::Broken(ended.error()),
            },
        }
    }
}

/// `resign` consumes the session, so its commands end while the answer is still on its way.
async fn finish_resignation(stream: &mut Stream, owed: &mut Owed) -> Served {
    loop {
        match stream.next().await {
            Ok(Told::Resigned) => owed.resigned(Ok(())),
            Ok(Told::Lost(_)) => owed.resigned(Ok(())),
            Ok(Told::Granted(_) | Told::Renewed(_)) => continue,
            Err(ended) => owed.resigned(Err(ended.error())),
        }
        return Served::Ended;
    }
}

/// `None` where the session was dropped meanwhile. An error is one that no repetition helps against.
async fn reconnect(
    line: &mut Line,
    token: LockToken,
    commands: &mut mpsc::Receiver<Command>,
    owed: &mut Owed,
) -> Option<Result<Stream, ProviderError>> {
    let mut backoff = Backoff::new();
    loop {
        let attempt = async {
            match line.connect(Some(token), true).await.map_err(Ended::error) {
                Err(ProviderError::NotApplied(_) | ProviderError::Unknown(_)) => {
                    backoff.pause().await;
                    None
                }
                Err(error @ ProviderError::Fatal(_)) => Some(Err(error)),
                Ok(stream) => Some(Ok(stream)),
            }
        };
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Renew(answer)) => owed.renewals.push_back(answer),
                    Some(Command::Resign(remaining, answer)) => {
                        owed.resignation = Some((remaining, answer));
                    }
                    // The board, once back, keeps the lock for us until our ttl is over; nobody is here to resign.
                    None => {
                        owed.resigned(Err(ProviderError::Unknown("the stateboard is not reached".into())));
                        return None;
                    }
                },
                done = &mut attempt => match done {
                    Some(result) => return Some(result),
                    None => break,
                },
            }
        }
    }
}

/// The lock is another's: says so to everybody who still asks.
async fn refuse_all(current: Epoch, mut commands: mpsc::Receiver<Command>, mut owed: Owed) {
    let lost = Ok(Renewal::Lost { current });
    owed.answer_all(&lost);
    owed.resigned(Ok(()));
    while let Some(command) = commands.recv().await {
        match command {
            Command::Renew(answer) => {
                let _ = answer.send(lost.clone());
            }
            Command::Resign(_, answer) => {
                let _ = answer.send(Ok(()));
            }
        }
    }
}

impl std::fmt::Debug for StateboardProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateboardProvider")
            .field("endpoints", &self.options.endpoints)
            .finish_non_exhaustive()
    }
}
