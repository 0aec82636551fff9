//! The server's other programs: found beside it, run as whom it runs as.

use super::{at, say};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names of the server's own program.
const SERVERS: [&str; 2] = ["postgres", "postmaster"];

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    /// The words of the command before the server: what changes the user, the limits, the place.
    prefix: Vec<String>,
    /// Where the server lies, where its command says it.
    folder: Option<PathBuf>,
    /// The words behind it: where its data and its configuration are, among others.
    options: Vec<String>,
}

impl Tools {
    /// Of the server's command.
    pub(super) fn of(command: &[String]) -> Self {
        let is_server = |word: &String| {
            let name = Path::new(word).file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| SERVERS.contains(&name))
        };
        // `--reuid=postgres` names none, and so does `…directories=/run/postgres`; `runuser -u postgres -- …/postgres` has a user of
        // that name before it.
        let path =
            command.iter().position(|word| is_server(word) && word.contains('/') && !word.contains('='));
        let options = command.iter().position(|word| word == "-D").unwrap_or(command.len());
        let place = path.or_else(|| command.iter().take(options).rposition(is_server)).unwrap_or(0);
        let folder = command.get(place).map(Path::new).and_then(Path::parent);
        Self {
            prefix: command.iter().take(place).cloned().collect(),
            folder: folder.filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned),
            options: command.iter().skip(place + 1).cloned().collect(),
        }
    }

    /// One of them, as the server's user.
    pub(super) fn command(&self, program: &str) -> Command {
        let path = self.folder.as_ref().map_or_else(|| PathBuf::from(program), |folder| folder.join(program));
        self.plain(&path)
    }

    /// The server itself with its own options, alone: nobody can connect, and it ends at once.
    pub(super) fn server_alone(&self) -> Command {
        let mut command = self.command("postgres");
        command.arg("--single").args(&self.options).arg("template1");
        command
    }

    /// Any other program as that user.
    pub(super) fn plain(&self, program: &Path) -> Command {
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.stdin(Stdio::null());
        command
    }
}

/// Runs one to its end; what it prints goes to the engine's log.
pub(super) fn run(mut command: Command) -> Result<(), String> {
    let shown = shown(&command);
    say(&format!("running {shown}"));
    let log =
        || File::options().append(true).open("/dev/stderr").map_or_else(|_| Stdio::inherit(), Stdio::from);
    let status = command.stdout(log()).status().map_err(at(&format!("cannot run {shown}")))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed: {status}")) }
}

/// Runs one that tells its progress on standard error, a line at a time, to its end. What it prints goes to the engine's log, and `tell`
/// hears how far it is.
pub(super) fn run_with_progress(mut command: Command, tell: impl Fn(&str)) -> Result<(), String> {
    let shown = shown(&command);
    say(&format!("running {shown}"));
    let cannot = format!("cannot run {shown}");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(at(&cannot))?;
    // In whatever language and letters it speaks: one that nobody listens to would wait for ever.
    let lines = child.stderr.take().map(|said| BufReader::new(said).split(b'\n'));
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if let Some(share) = share_of(&line) {
            tell(share);
        }
    }
    let status = child.wait().map_err(at(&cannot))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed: {status}")) }
}

/// Of `  1234/56789 kB (2%), 0/1 tablespace`: how much of how much.
fn share_of(line: &str) -> Option<&str> {
    let (share, _) = line.split_once("%)")?;
    let all = line.get(..share.len() + "%)".len())?.trim_start();
    (all.contains(" kB (") && all.starts_with(|first: char| first.is_ascii_digit())).then_some(all)
}

/// Runs one to its end and takes what it prints.
pub(super) fn output(mut command: Command) -> Result<String, String> {
    let shown = shown(&command);
    let output = command.output().map_err(at(&format!("cannot run {shown}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown} failed: {}", said.lines().last().unwrap_or("without a word")))
}

fn shown(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    let program = command.get_program().to_string_lossy().into_owned();
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn they_lie_beside_the_server_and_run_as_it_does() {
        for (command, initdb) in [
            ("/usr/lib/postgresql/15/bin/postgres -D /d", "/usr/lib/postgresql/15/bin/initdb"),
            ("postgres -D /d", "initdb"),
            ("setpriv --reuid=postgres /x/postgres -D /d", "setpriv --reuid=postgres /x/initdb"),
            ("runuser -u postgres -- /x/postgres -D /d", "runuser -u postgres -- /x/initdb"),
            ("runuser -u postgres -- postgres -D /d", "runuser -u postgres -- initdb"),
            ("/x/postgres -D /d -c unix_socket_directories=/run/postgres", "/x/initdb"),
            ("postgres -D /d -c unix_socket_directories=/run/postgres", "initdb"),
        ] {
            assert_eq!(shown(&Tools::of(&words(command)).command("initdb")), initdb);
        }
        let tools = Tools::of(&words("runuser -u postgres -- /x/postgres -D /d -c port=1"));
        let alone = "runuser -u postgres -- /x/postgres --single -D /d -c port=1 template1";
        assert_eq!(shown(&tools.server_alone()), alone);
    }

    #[test]
    fn progress_is_told_as_it_is_printed() {
        for (line, share) in [
            ("     0/30263 kB (0%), 0/1 tablespace", Some("0/30263 kB (0%)")),
            (" 49413/49413 kB (100%) copied", Some("49413/49413 kB (100%)")),
            ("pg_rewind: servers diverged at WAL location 0/3000000 on timeline 1", None),
            ("waiting for checkpoint", None),
        ] {
            assert_eq!(share_of(line), share);
        }
        let tools = Tools::of(&words("/bin/postgres"));
        let mut command = tools.plain(Path::new("/bin/sh"));
        command.args(["-c", "echo '1/2 kB (50%), 0/1' >&2; echo '2/2 kB (100%), 1/1' >&2"]);
        let told = std::cell::RefCell::new(Vec::new());
        assert_eq!(run_with_progress(command, |share| told.borrow_mut().push(share.to_owned())), Ok(()));
        assert_eq!(told.into_inner(), ["1/2 kB (50%)", "2/2 kB (100%)"]);
    }

    #[test]
    fn one_that_fails_is_named_with_its_last_words() {
        let tools = Tools::of(&words("/bin/postgres"));
        let mut command = tools.plain(Path::new("/bin/sh"));
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        assert!(output(command).expect_err("it fails").contains("no such luck"));
        let missing = tools.plain(Path::new("/no/such/program"));
        assert!(run(missing).expect_err("it is not there").contains("/no/such/program"));
    }
}
