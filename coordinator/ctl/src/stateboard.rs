//! `batonctl stateboard`: asks the stateboard itself, not a coordinator, since it is needed where no coordinator runs.
//! Files are written whole or not at all.

use crate::args::{StateboardArgs, StateboardCommand};
use crate::{Exit, Io, json, render};
use baton_core::ids::{BadName, ClusterName};
use baton_provider::backup::{BackupError, Header, Reader};
use baton_provider::password::Password;
use baton_provider::stateboard::{
    Progress, RestoreOptions, StateboardOptions, StateboardProvider, TakeError,
};
use baton_provider::tls::TlsFiles;
use baton_provider::{FatalError, Identity, Limits, ProviderError, StateProvider, identity_of};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Read or sent at a time.
const BLOCK: usize = 64 * 1024;
/// A backup holds the hash of the cluster's secret: it is for its owner only.
const MODE: u32 = 0o600;
/// The password, where no file is named; it is taken from no flag, which everybody on the host could read.
const PASSWORD: &str = "BATON_PROVIDER__PASSWORD";
/// What takes no longer needs no bar.
const BAR_AFTER: Duration = Duration::from_secs(1);

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateboardFailure {
    #[error("which cluster? --cluster NAME or BATON_CLUSTER__NAME says it")]
    NoCluster,
    #[error("--cluster: {0}")]
    Cluster(#[from] BadName),
    #[error("--{flag} {path}: {rule}")]
    Flag { flag: &'static str, path: PathBuf, rule: String },
    #[error("environment {PASSWORD}: {0}")]
    Password(String),
    #[error("the stateboard at {address} is not reached: {cause}")]
    Unreachable { address: String, cause: String },
    #[error(transparent)]
    Provider(ProviderError),
    #[error("{path}: {error}")]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("{path} is there already; nothing was written over it")]
    Exists { path: PathBuf },
    #[error("{path}: {error}")]
    Backup {
        path: PathBuf,
        #[source]
        error: BackupError,
    },
    #[error("no backup was written: {0}")]
    Taking(TakeError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl StateboardFailure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NoCluster | Self::Cluster(_) | Self::Flag { .. } | Self::Password(_) => Exit::Usage,
            Self::Provider(ProviderError::Fatal(FatalError::Config(_))) => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }

    /// For programs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoCluster | Self::Cluster(_) | Self::Flag { .. } | Self::Password(_) => "bad_request",
            Self::Unreachable { .. } => "unreachable",
            Self::Provider(error) | Self::Taking(TakeError::Provider(error)) => match error {
                ProviderError::NotApplied(_) => "refused",
                ProviderError::Unknown(_) => "outcome_unknown",
                ProviderError::Fatal(FatalError::ForeignCluster(_)) => "foreign_cluster",
                ProviderError::Fatal(FatalError::Unauthenticated(_)) => "unauthenticated",
                ProviderError::Fatal(FatalError::Protocol(_)) => "bad_answer",
                ProviderError::Fatal(FatalError::Config(_)) => "bad_request",
            },
            Self::Backup { .. } | Self::Taking(TakeError::Backup(_)) => "bad_backup",
            Self::Exists { .. } => "exists",
            Self::File { .. } | Self::Taking(TakeError::Keep(_)) | Self::Output(_) => "file",
        }
    }
}

type Result<T> = std::result::Result<T, StateboardFailure>;

pub(crate) async fn run(
    args: &StateboardArgs,
    request_timeout: Duration,
    json: bool,
    io: &mut Io<'_>,
) -> Result<()> {
    let identity = identity(args)?;
    let board = connect(args, identity.clone(), request_timeout)?;
    match &args.command {
        StateboardCommand::Status => {
            reach(args, &board).await?;
            let status = board.describe().await.map_err(StateboardFailure::Provider)?;
            let palette = io.palette;
            let text = || render::board_status(&args.address, identity.cluster.as_str(), &status, palette);
            show(io, json, &json::board_status(&status), text)
        }
        StateboardCommand::Backup { file } => {
            refuse_existing(file)?;
            reach(args, &board).await?;
            let (header, bytes) = back_up(&board, file).await?;
            let value = json::board_backup(file, bytes, &header);
            show(io, json, &value, || render::board_backup(file, bytes, &header))
        }
        StateboardCommand::Restore { file, force, generation_at_least } => {
            // Whether it is a good backup needs no stateboard to be said.
            let (header, bytes) = examine(file, &identity)?;
            reach(args, &board).await?;
            let options =
                RestoreOptions { force: *force, generation_at_least: *generation_at_least, arriving: None };
            let done = board.restore(options, blocks(file, bytes)?).await;
            let done = done.map_err(StateboardFailure::Provider)?;
            let value = json::board_restored(&header, &done);
            show(io, json, &value, || render::board_restored(&done))
        }
    }
}

fn show(io: &mut Io<'_>, json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) -> Result<()> {
    if json {
        crate::write_json(io, value)?;
    } else {
        let text = text();
        write!(io.out, "{text}")?;
    }
    Ok(())
}

fn identity(args: &StateboardArgs) -> Result<Identity> {
    let cluster = args.cluster.as_ref().ok_or(StateboardFailure::NoCluster)?;
    let cluster = ClusterName::parse(cluster)?;
    let secret = match &args.secret_file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| bad_flag("secret-file", path, &error))?,
    };
    Ok(identity_of(cluster, &secret))
}

fn bad_flag(flag: &'static str, path: &Path, rule: &impl ToString) -> StateboardFailure {
    StateboardFailure::Flag { flag, path: path.to_owned(), rule: rule.to_string() }
}

fn connect(
    args: &StateboardArgs,
    identity: Identity,
    request_timeout: Duration,
) -> Result<StateboardProvider> {
    let tls = TlsFiles {
        cert_file: args.cert_file.clone(),
        key_file: args.key_file.clone(),
        ca_file: args.ca_file.clone(),
    };
    let password = match &args.password_file {
        None => match std::env::var(PASSWORD) {
            Ok(text) => Some(Password::parse(&text).map_err(StateboardFailure::Password)?),
            Err(_) => None,
        },
        Some(path) => Some(Password::read(path).map_err(|rule| bad_flag("password-file", path, &rule))?),
    };
    let options = StateboardOptions {
        tls: (!tls.is_empty()).then_some(tls),
        password,
        ..StateboardOptions::new(vec![args.address.clone()], identity, request_timeout)
    };
    StateboardProvider::new(options).map_err(StateboardFailure::Provider)
}

/// Whether it is there and ours.
async fn reach(args: &StateboardArgs, board: &StateboardProvider) -> Result<()> {
    match board.join().await {
        Ok(()) => Ok(()),
        Err(ProviderError::NotApplied(cause) | ProviderError::Unknown(cause)) => {
            Err(StateboardFailure::Unreachable { address: args.address.clone(), cause })
        }
        Err(error @ ProviderError::Fatal(_)) => Err(StateboardFailure::Provider(error)),
    }
}

fn refuse_existing(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(StateboardFailure::Exists { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> StateboardFailure {
    let path = path.to_owned();
    move |error| StateboardFailure::File { path: path.clone(), error }
}

/// The file under its final name only when all of it is on the disk.
async fn back_up(board: &StateboardProvider, path: &Path) -> Result<(Header, u64)> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&part);
    let mut file = file.map_err(at(&part))?;
    let mut bar = Bar::new("items");
    let mut bytes = 0_u64;
    let keep = |piece: &[u8], progress: Progress| {
        bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        bar.show(progress.items_done, progress.items_total);
        file.write_all(piece)
    };
    let taken = board.backup(keep).await;
    bar.clear();
    let kept = match taken {
        Ok(header) => finish(&file, &part, path).map(|()| (header, bytes)),
        Err(error) => Err(StateboardFailure::Taking(error)),
    };
    if kept.is_err() {
        // What is left of it is no backup, and nobody should take it for one.
        let _ = std::fs::remove_file(&part);
    }
    kept
}

fn finish(file: &File, part: &Path, path: &Path) -> Result<()> {
    file.sync_all().map_err(at(part))?;
    // A second name rather than a new one: it never replaces a file that has come meanwhile.
    std::fs::hard_link(part, path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StateboardFailure::Exists { path: path.to_owned() },
        _ => at(path)(error),
    })?;
    std::fs::remove_file(part).map_err(at(part))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Reads the whole file and checks it: its header and its length.
fn examine(path: &Path, identity: &Identity) -> Result<(Header, u64)> {
    let no_limits = Limits {
        records: usize::MAX,
        members: usize::MAX,
        tasks: usize::MAX,
        history_per_set: usize::MAX,
        ..Limits::default()
    };
    let bad = |error| StateboardFailure::Backup { path: path.to_owned(), error };
    let mut reader = Reader::new(identity.clone(), no_limits);
    let mut file = File::open(path).map_err(at(path))?;
    let mut block = vec![0; BLOCK];
    let mut bytes = 0_u64;
    loop {
        let length = file.read(&mut block).map_err(at(path))?;
        if length == 0 {
            break;
        }
        bytes += u64::try_from(length).unwrap_or(u64::MAX);
        reader.feed(block.get(..length).unwrap_or_default()).map_err(bad)?;
    }
    Ok((reader.finish().map_err(bad)?.0, bytes))
}

/// The file in pieces. One that cannot be read to its end is cut off, which the stateboard refuses.
fn blocks(path: &Path, total: u64) -> Result<impl Iterator<Item = Vec<u8>> + Send + 'static> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut bar = Bar::new("bytes");
    let mut sent = 0_u64;
    Ok(std::iter::from_fn(move || {
        let mut block = vec![0; BLOCK];
        let length = file.read(&mut block).unwrap_or(0);
        block.truncate(length);
        sent += u64::try_from(length).unwrap_or(u64::MAX);
        bar.show(sent, total);
        if length == 0 {
            bar.clear();
            return None;
        }
        Some(block)
    }))
}

/// A bar on standard error, for what takes long. It does not appear where nobody looks.
struct Bar {
    since: Instant,
    what: &'static str,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new(what: &'static str) -> Self {
        Self { since: Instant::now(), what, bar: None }
    }

    fn show(&mut self, done: u64, total: u64) {
        if self.bar.is_none() && self.since.elapsed() >= BAR_AFTER {
            let style = ProgressStyle::with_template("{bar:40} {pos} of {len} {msg}, {eta} left");
            let bar = ProgressBar::new(total).with_message(self.what);
            self.bar = Some(match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            });
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
