//! One connection to one server: the greeting, what stands in its way, and the time limits. It knows how PostgreSQL answers, not
//! when anything may be asked.

use super::door;
use super::mark::{self, Memory};
use super::orders::{Failure, Orders};
use super::probe::{LOOK, Look, MARK};
use super::walsender::AsSender;
use super::{Options, VERSION_MIN, place};
use crate::mark::Mark;
use crate::{About, ConnectError, EngineConnection, WriteCheck};
use async_trait::async_trait;
use baton_core::engine::{EngineCommand, EngineOutcome};
use baton_core::ids::EngineRun;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// After how long without an acknowledgement by the peer's kernel a connection is given up. Commands have deadlines of their own; this
/// only keeps dead connections from lying about.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client and the task that carries its bytes.
pub(super) struct Session {
    client: Client,
    carrier: JoinHandle<()>,
    /// Of which life the data is; known of the own server only.
    life: Option<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// See the module.
pub(super) struct PostgresConnection {
    session: Option<Session>,
    orders: Orders,
    run: EngineRun,
    process_id: Option<u32>,
    about: About,
    options: Arc<Options>,
    memory: Arc<Mutex<Memory>>,
}

/// Connects, logs in, and makes sure that this is a server that can be driven.
pub(super) async fn open(
    options: Arc<Options>,
    memory: Arc<Mutex<Memory>>,
) -> Result<PostgresConnection, ConnectError> {
    let endpoint = &options.address;
    let password = crate::password::read(options.password_file.as_ref())?;
    let mut session = Session::open(&options, password.as_deref(), endpoint).await?;
    session.life = life_of(&options.data_dir).await;
    let look = session.look().await.map_err(|failure| match failure {
        Failure::Refused(what) => ConnectError::Forbidden { endpoint: endpoint.clone(), what },
        Failure::Broken(what) => ConnectError::NotThisKind { endpoint: endpoint.clone(), what },
    })?;
    check(endpoint, &look)?;
    Ok(PostgresConnection {
        session: Some(session),
        run: look.engine_run(),
        process_id: super::orders::parent_of(look.backend),
        about: About { version: Some(version_text(look.version)), config_file: None },
        orders: Orders::new(Arc::clone(&options), password),
        options,
        memory,
    })
}

/// See [`place::life`]. Where the disk does not tell, what is known of a run ends with it.
async fn life_of(data_dir: &Path) -> Option<String> {
    let data_dir = data_dir.to_owned();
    tokio::task::spawn_blocking(move || place::life(&data_dir)).await.ok()?.ok()
}

/// Has a server write all that changed to disk, however long that takes.
pub(super) async fn checkpoint(options: &Options) -> Result<(), String> {
    let password =
        crate::password::read(options.password_file.as_ref()).map_err(|error| error.to_string())?;
    let opened = Session::open(options, password.as_deref(), &options.address).await;
    let session = opened.map_err(|error| error.to_string())?;
    match session.run("CHECKPOINT").await {
        Ok(_) => Ok(()),
        Err(Failure::Refused(why) | Failure::Broken(why)) => Err(why),
    }
}

/// `15.18` of `150018`.
fn version_text(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

fn check(endpoint: &str, look: &Look) -> Result<(), ConnectError> {
    let endpoint = endpoint.to_owned();
    if look.version < VERSION_MIN {
        return Err(ConnectError::TooOld { endpoint, found: version_text(look.version), minimum: "13" });
    }
    if !look.plain_strings {
        return Err(ConnectError::WrongMode {
            endpoint,
            mode: "standard_conforming_strings = off".to_owned(),
        });
    }
    if look.overridden {
        let setting = "primary_conninfo".to_owned();
        return Err(ConnectError::Overridden { endpoint, setting });
    }
    Ok(())
}

/// An address without the brackets that set it apart from its port.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Why there is no connection, in the words of the engine's contract.
fn refusal(endpoint: &str, has_password: bool, error: &tokio_postgres::Error) -> ConnectError {
    let (endpoint, what) = (endpoint.to_owned(), sentence(error));
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match error.code() {
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => ConnectError::Loading { endpoint },
        Some(code)
            if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) =>
        {
            ConnectError::PasswordRefused { endpoint, what }
        }
        Some(_) => ConnectError::Forbidden { endpoint, what },
        // The server asks, and there is nothing to answer with; the client's library has no other sign of it.
        None if !has_password && what.contains("password missing") => {
            ConnectError::PasswordNeeded { endpoint }
        }
        None if system.is_some_and(|error| error.kind() != io::ErrorKind::InvalidData) => {
            ConnectError::Missing { endpoint, what }
        }
        None if error.is_closed() => ConnectError::Missing { endpoint, what },
        None => ConnectError::NotThisKind { endpoint, what },
    }
}

/// An error with what it came from.
fn sentence(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{}: {}", said.code().code(), said.message()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

impl Session {
    /// Connects to a server, this one or its master, and logs in: as one of its senders, where clients hold all of its connections.
    pub(super) async fn open(
        options: &Options,
        password: Option<&str>,
        endpoint: &str,
    ) -> Result<Self, ConnectError> {
        let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, "5432"));
        let port = port.parse().unwrap_or(5432);
        let mut config = Config::new();
        config
            .host(bare(host))
            .port(port)
            .user(&options.user)
            .dbname(&options.database)
            .application_name(format!("baton {}", options.name))
            // What is there already is no news for anybody's log.
            .options("-c client_min_messages=warning")
            .tcp_user_timeout(USER_TIMEOUT);
        if let Some(password) = password {
            config.password(password);
        }
        let refused = |error: &tokio_postgres::Error| refusal(endpoint, password.is_some(), error);
        // How a connection ended is told by every later call on the client.
        let (client, carrier) = match config.connect(NoTls).await {
            Ok((client, carrier)) => (client, tokio::spawn(async move { drop(carrier.await) })),
            Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                let stream = TcpStream::connect((bare(host), port)).await.map_err(|_| refused(&error))?;
                let sender = config.connect_raw(AsSender::new(stream), NoTls).await;
                let (client, carrier) = sender.map_err(|error| refused(&error))?;
                (client, tokio::spawn(async move { drop(carrier.await) }))
            }
            Err(error) => return Err(refused(&error)),
        };
        Ok(Self { client, carrier, life: None })
    }

    /// Runs statements; the rows and counts of all of them.
    pub(super) async fn run(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.client.simple_query(statements).await.map_err(|error| {
            let what = sentence(&error);
            if error.as_db_error().is_some() && !self.client.is_closed() {
                Failure::Refused(what)
            } else {
                Failure::Broken(what)
            }
        })
    }

    /// The same where one of them begins a transaction, which an error leaves open.
    pub(super) async fn run_as_one(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        let result = self.run(statements).await;
        if let Err(Failure::Refused(_)) = &result {
            self.run("ROLLBACK").await?;
        }
        result
    }

    pub(super) async fn look(&self) -> Result<Look, Failure> {
        let rows = self.run(LOOK).await?;
        let row = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.ok_or_else(|| Failure::Broken("it answers nothing".to_owned()))?;
        let column = |name: &str| row.try_get(name).ok().flatten();
        let look = Look::read(column);
        look.map(|look| Look { life: self.life.clone(), ..look })
            .ok_or_else(|| Failure::Broken("it answers in another way than PostgreSQL".to_owned()))
    }

    /// The mark of a look that says that there is a table for it.
    pub(super) async fn mark(&self, look: &Look) -> Result<Option<Mark>, Failure> {
        if !look.marked {
            return Ok(None);
        }
        let rows = self.run(MARK).await?;
        Ok(rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Mark::read(row.get("term")?, row.get("identity")?),
            _ => None,
        }))
    }

    /// Whether the server has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

const CLOSED: &str = "an earlier command on this connection was not answered";

impl PostgresConnection {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn touch(&self, session: &Session) -> Result<(), Failure> {
        let touched = |messages: &[SimpleQueryMessage]| {
            messages.iter().any(|message| matches!(message, SimpleQueryMessage::CommandComplete(1..)))
        };
        let why = match session.run_as_one(mark::TOUCH).await {
            Ok(messages) if touched(&messages) => return Ok(()),
            Ok(_) => "the data was never marked".to_owned(),
            Err(Failure::Refused(why)) => why,
            Err(broken) => return Err(broken),
        };
        let known = self.memory().of_run(&self.run);
        match known {
            Some(mark) => session.run_as_one(&mark.put_back()).await.map(|_| ()),
            None => Err(Failure::Refused(why)),
        }
    }
}

/// Lets something be done on a connection within a time. One that is not answered is closed for good.
async fn within<T>(timeout: Duration, doing: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, doing).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Broken(format!("no answer within {timeout:?}"))),
    }
}

#[async_trait]
impl EngineConnection for PostgresConnection {
    fn run(&self) -> &EngineRun {
        &self.run
    }

    fn process_id(&self) -> Option<u32> {
        self.process_id
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    async fn execute(&mut self, command: &EngineCommand, timeout: Duration) -> EngineOutcome {
        let Some(session) = self.session.take() else { return EngineOutcome::Unknown(CLOSED.into()) };
        let memory = Arc::clone(&self.memory);
        match within(timeout, self.orders.carry_out(&session, command, &memory, timeout)).await {
            Ok(probe) => {
                self.session = Some(session).filter(|session| !session.is_closed());
                EngineOutcome::Done(probe)
            }
            Err(Failure::Refused(why)) => {
                self.session = Some(session);
                EngineOutcome::Refused(why)
            }
            Err(Failure::Broken(why)) => EngineOutcome::Unknown(why),
        }
    }

    async fn check_write(&mut self, timeout: Duration) -> WriteCheck {
        let Some(session) = self.session.take() else { return WriteCheck::Unknown(CLOSED.into()) };
        let start = Instant::now();
        let Options { address, user, database, .. } = &*self.options;
        let both = async {
            let (touched, ()) = tokio::try_join!(self.touch(&session), door::knock(address, user, database))?;
            Ok(touched)
        };
        match within(timeout, both).await {
            Ok(()) => {
                self.session = Some(session);
                WriteCheck::Done(start.elapsed())
            }
            Err(Failure::Refused(why)) => {
                self.session = Some(session);
                WriteCheck::Refused(why)
            }
            Err(Failure::Broken(why)) => WriteCheck::Unknown(why),
        }
    }

    async fn other_manager(&mut self, timeout: Duration) -> Option<String> {
        let session = self.session.take()?;
        let seen = within(timeout, session.run(MANAGERS)).await.ok()?;
        self.session = Some(session);
        let name = seen.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })?;
        Some(format!("{name} is connected to it and may change its master"))
    }

    fn is_closed(&self) -> bool {
        self.session.is_none()
    }
}

/// How others who choose masters call themselves.
const MANAGERS: &str = "SELECT application_name FROM pg_stat_activity \
    WHERE application_name ~* '^(patroni|pg_auto_failover|pgautofailover|repmgr|stolon)' LIMIT 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look { version: 150_018, plain_strings: true, ..Look::default() }
    }

    #[test]
    fn a_server_that_cannot_be_driven_is_named() {
        assert_eq!(check("a:1", &look()), Ok(()));
        let found = |look: Look| check("a:1", &look).expect_err("it cannot").to_string();
        assert!(found(Look { version: 120_022, ..look() }).contains("12.22"));
        assert!(found(Look { plain_strings: false, ..look() }).contains("standard_conforming_strings"));
        assert!(found(Look { overridden: true, ..look() }).contains("primary_conninfo"));
    }
}
