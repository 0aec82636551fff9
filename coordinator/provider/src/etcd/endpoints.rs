//! The members of etcd: one connection each, which of them is asked, and how long. A member that does not answer is
//! passed over until a read through it, which needs a majority, is answered again.
//!
//! - A **read** goes on to the next member, until its time is over.
//! - A **write** is sent once. Only where it was surely not taken (no connection, no leader) another member is asked; an
//!   answer that does not come is unknown, since the write may still land.
//!
//! Every connection says that it wants members with a leader only, so one that is cut off refuses rather than answers.

use super::EtcdOptions;
use super::outcome::{Failure, of_error};
use crate::error::{FatalError, ProviderError};
use crate::files::Followed;
use crate::password::Password;
use crate::stateboard::Address;
use crate::stateboard::channel::{Stream, check_scheme, connect_one};
use crate::tls::TlsFiles;
use baton_core::rules::Rules;
use etcd_client::{Channel, Client, ConnectOptions, GetOptions};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::transport::{Endpoint, Uri};

/// How long a member may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// etcd ends connections that ping more often than every five seconds.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at a member that did not answer.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Between two rounds over all members.
const ROUND_PAUSE: Duration = Duration::from_millis(20);

/// What repeating a call could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing: a read, or a lease that nobody uses yet.
    Harmless,
    /// Something: sent once.
    Never,
}

pub(super) struct Endpoints {
    members: Vec<Arc<Member>>,
    /// The member that is asked first.
    preferred: AtomicUsize,
    timeout: Duration,
    rules: Rules,
}

struct Member {
    address: String,
    channel: tonic::transport::Channel,
    credentials: Option<(String, Followed<Password>)>,
    /// What a look at the member reads.
    probe_key: String,
    client: Mutex<Option<Client>>,
    suspect: AtomicBool,
}

impl Endpoints {
    /// Connects with the first call.
    ///
    /// # Errors
    /// [`FatalError::Config`] where an address is none, or the TLS files cannot be used.
    pub(super) fn new(options: &EtcdOptions, probe_key: String) -> Result<Self, FatalError> {
        let mut members = Vec::with_capacity(options.endpoints.len());
        for address in &options.endpoints {
            let channel = channel(address, options).map_err(FatalError::Config)?;
            let follow = |(name, password): &(String, Password)| Ok((name.clone(), password.follow()?));
            let credentials =
                options.credentials.as_ref().map(follow).transpose().map_err(FatalError::Config)?;
            members.push(Arc::new(Member {
                address: address.clone(),
                channel,
                credentials,
                probe_key: probe_key.clone(),
                client: Mutex::new(None),
                suspect: AtomicBool::new(false),
            }));
        }
        if members.is_empty() {
            return Err(FatalError::Config("no endpoint of etcd is given".to_owned()));
        }
        // Many coordinators must not all begin with the first member.
        let first = rand::random_range(0..members.len());
        Ok(Self {
            members,
            preferred: AtomicUsize::new(first),
            timeout: options.request_timeout,
            rules: options.rules,
        })
    }

    /// Which rules whoever asks keeps.
    pub(super) fn rules(&self) -> Rules {
        self.rules
    }

    /// How long one call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The members in the order in which they are asked: those that answer before those that did not.
    fn order(&self) -> Vec<usize> {
        let first = self.preferred.load(Ordering::Relaxed);
        let all = (0..self.members.len()).map(|step| (first + step) % self.members.len());
        let (good, suspect): (Vec<_>, Vec<_>) =
            all.partition(|index| !self.members[*index].suspect.load(Ordering::Relaxed));
        good.into_iter().chain(suspect).collect()
    }

    /// Asks a member, and others as far as `repeat` allows. Ends within the time for one call.
    pub(super) async fn call<T, F, Fut>(&self, repeat: Repeat, call: F) -> Result<T, ProviderError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        self.try_call(repeat, call).await.map_err(Failure::into_error)
    }

    /// The same, with the failure as it was.
    pub(super) async fn try_call<T, F, Fut>(&self, repeat: Repeat, call: F) -> Result<T, Failure>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + self.timeout;
        loop {
            let mut last = None;
            for index in self.order() {
                let patience = self.patience(repeat, deadline);
                let member = &self.members[index];
                let failure = match member.ask(&call, patience).await {
                    Ok(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                };
                let go_on = match &failure {
                    Failure::Elsewhere(_) => true,
                    Failure::Ended(ProviderError::Unknown(_)) => repeat == Repeat::Harmless,
                    Failure::Ended(_) | Failure::Stranger(_) | Failure::Compacted => return Err(failure),
                };
                if let Failure::Elsewhere(_) | Failure::Ended(ProviderError::Unknown(_)) = failure {
                    Member::suspect(member);
                }
                if !go_on || Instant::now() >= deadline {
                    return Err(failure);
                }
                last = Some(failure);
            }
            if Instant::now() + ROUND_PAUSE >= deadline {
                let nobody = || Failure::Elsewhere("no member of etcd was asked".to_owned());
                return Err(last.unwrap_or_else(nobody));
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// A call that may be repeated leaves time for the other members.
    fn patience(&self, repeat: Repeat, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        match repeat {
            Repeat::Never => left,
            Repeat::Harmless => {
                let share = self.timeout / u32::try_from(self.members.len()).unwrap_or(u32::MAX);
                left.min(share)
            }
        }
    }

    /// A connection for a stream (a watch, a keep-alive), and a handle by which its failure is told.
    pub(super) async fn stream(&self) -> Result<(Client, Line), ProviderError> {
        let mut last = None;
        for index in self.order() {
            let member = &self.members[index];
            match tokio::time::timeout(self.timeout, member.client()).await {
                Ok(Ok(client)) => return Ok((client, Line(Arc::clone(member)))),
                Ok(Err(failure)) => last = Some(failure.into_error()),
                Err(_) => last = Some(ProviderError::NotApplied(format!("{} is silent", member.address))),
            }
            Member::suspect(member);
        }
        Err(last.unwrap_or_else(|| ProviderError::NotApplied("no member of etcd was asked".to_owned())))
    }
}

/// Whose stream it is.
#[derive(Clone)]
pub(super) struct Line(Arc<Member>);

impl Line {
    /// The stream broke or fell silent: its member is not asked first any more.
    pub(super) fn failed(&self) {
        Member::suspect(&self.0);
    }
}

impl Member {
    async fn client(&self) -> Result<Client, Failure> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        // Without the client's own way to renew a token: it would show a password that has changed since.
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some((name, password)) = &self.credentials {
            options = options.with_user(name, password.current().reveal());
        }
        let channel = Channel::Tonic(self.channel.clone());
        let fresh = Client::from_channel(channel, Some(options)).await.map_err(|error| of_error(&error))?;
        *client = Some(fresh.clone());
        Ok(fresh)
    }

    async fn ask<T, F, Fut>(&self, call: &F, patience: Duration) -> Result<T, Failure>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + patience;
        let silent =
            || format!("{} did not answer within {}", self.address, humantime::format_duration(patience));
        let mut told = false;
        loop {
            // Until there is a client nothing of the call was sent.
            let client = match tokio::time::timeout_at(deadline, self.client()).await {
                Ok(client) => client?,
                Err(_) => return Err(Failure::Elsewhere(silent())),
            };
            let answer = match tokio::time::timeout_at(deadline, call(client)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Ended(ProviderError::Unknown(silent()))),
            };
            // Tokens run out, and are forgotten by a member that restarts. What was sent with one that is none was not
            // looked at, so it may be sent again after the next authentication; twice refused is refused.
            if !matches!(answer, Err(Failure::Stranger(_))) || std::mem::replace(&mut told, true) {
                return answer;
            }
            *self.client.lock().await = None;
        }
    }

    /// Passes the member over, and looks at it until it answers again.
    fn suspect(this: &Arc<Self>) {
        if this.suspect.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::info!(member = %this.address, "a member of etcd does not answer and is passed over");
        tokio::spawn(look_at(Arc::downgrade(this)));
    }
}

/// Looks at a member until it answers a read that needs a majority, or until nobody wants to know.
async fn look_at(member: Weak<Member>) {
    loop {
        tokio::time::sleep(PROBE_EVERY).await;
        let Some(member) = member.upgrade() else { return };
        let key = member.probe_key.clone();
        let look = |mut client: Client| {
            let key = key.clone();
            async move {
                let options = GetOptions::new().with_keys_only();
                client.get(key, Some(options)).await.map(|_| ()).map_err(|error| of_error(&error))
            }
        };
        match member.ask(&look, CONNECT_TIMEOUT).await {
            // A refusal is an answer too; whoever asks next is told it.
            Ok(()) | Err(Failure::Ended(ProviderError::Fatal(_)) | Failure::Compacted) => {
                member.suspect.store(false, Ordering::Relaxed);
                tracing::info!(member = %member.address, "a member of etcd answers again");
                return;
            }
            Err(Failure::Ended(_) | Failure::Elsewhere(_) | Failure::Stranger(_)) => {}
        }
    }
}

/// Where to connect, and how.
struct Target {
    address: Address,
    tls: Option<Followed<Arc<ClientConfig>>>,
}

fn channel(text: &str, options: &EtcdOptions) -> Result<tonic::transport::Channel, String> {
    let bad = |why: &str| format!("{text:?} is no endpoint of etcd: {why}");
    let address = Address::parse(text).map_err(|rule| bad(&rule))?;
    check_scheme(&address, options.tls.is_some()).map_err(bad)?;
    // TLS is the connector's: for the channel above it the connection is plain HTTP/2 in either case.
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|error| bad(&error.to_string()))?;
    let tls = options.tls.as_ref().map(TlsFiles::follow_client).transpose()?;
    let target = Arc::new(Target { address, tls });
    let connector = tower::service_fn(move |_: Uri| connect(Arc::clone(&target)));
    Ok(endpoint
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .connect_with_connector_lazy(connector))
}

async fn connect(target: Arc<Target>) -> io::Result<TokioIo<Stream>> {
    let Target { address, tls } = target.as_ref();
    match tokio::time::timeout(CONNECT_TIMEOUT, connect_one(address, tls.as_ref())).await {
        Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
        Ok(Err(error)) => Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
        Err(_) => {
            let text = format!("{address}: did not accept within {} s", CONNECT_TIMEOUT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoints: &[&str]) -> EtcdOptions {
        let cluster = baton_core::ids::ClusterName::parse("orders").expect("a name");
        let endpoints = endpoints.iter().map(|it| (*it).to_owned()).collect();
        EtcdOptions::new(endpoints, crate::identity_of(cluster, "open sesame"), Duration::from_millis(200))
    }

    #[tokio::test]
    async fn endpoints_are_checked() {
        for good in ["http://10.0.0.9:2379/", "etcd-1.local:2379", "http://[::1]:2379"] {
            assert!(channel(good, &options(&[])).is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.9", ":2379", "host:port", "https://10.0.0.9:2379", "http://h:1/v3"] {
            assert!(channel(bad, &options(&[])).is_err(), "{bad:?} was taken");
        }
        assert!(Endpoints::new(&options(&[]), String::new()).is_err(), "none at all");
    }

    #[tokio::test]
    async fn a_write_is_sent_once_and_a_read_goes_round() {
        let endpoints = Endpoints::new(&options(&["h1:1", "h2:1", "h3:1"]), "/p".into()).expect("good");
        let asked = AtomicUsize::new(0);
        let silent = |_: Client| async {
            asked.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Failure::Ended(ProviderError::Unknown("no answer".into())))
        };
        let error = endpoints.call(Repeat::Never, silent).await.expect_err("nobody answers");
        assert!(matches!(error, ProviderError::Unknown(_)), "{error}");
        assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
        let error = endpoints.call(Repeat::Harmless, silent).await.expect_err("nobody answers");
        assert!(matches!(error, ProviderError::Unknown(_)), "{error}");
        assert!(asked.swap(0, Ordering::Relaxed) >= 3);
        let nowhere = |_: Client| async {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            if before < 2 { Err(Failure::Elsewhere("not reached".into())) } else { Ok(()) }
        };
        assert_eq!(
            endpoints.call(Repeat::Never, nowhere).await,
            Ok(()),
            "what was never sent is sent elsewhere"
        );
    }

    #[tokio::test]
    async fn a_member_that_is_silent_is_asked_last() {
        let endpoints = Endpoints::new(&options(&["h1:1", "h2:1", "h3:1"]), "/p".into()).expect("good");
        let first = endpoints.order()[0];
        Member::suspect(&endpoints.members[first]);
        assert_eq!(endpoints.order()[2], first);
    }

    #[tokio::test]
    async fn a_call_ends_in_time_whatever_hangs() {
        let endpoints = Endpoints::new(&options(&["h1:1", "h2:1"]), "/p".into()).expect("good");
        let started = Instant::now();
        let hang = |_: Client| std::future::pending::<Result<(), Failure>>();
        for repeat in [Repeat::Harmless, Repeat::Never] {
            let error = endpoints.call(repeat, hang).await.expect_err("nobody answers");
            assert!(matches!(error, ProviderError::Unknown(_)), "{error}");
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
