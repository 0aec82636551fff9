//! PostgreSQL servers for a stage: whose command it is, and clients, which are `psql` and with it libpq, the library that most
//! programs come with. As root they run as `postgres`, which the Debian package brings; else as whoever runs the test.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::InstancePlan;

/// The password of the coordinators' role.
pub const PASSWORD: &str = "se:cr\\et'";
/// What a person runs on a primary.
const GRANTS: &str = include_str!("../../../deploy/postgres/grants.sql");
/// The password of the clients' role, `app`.
const APP: &str = "only for this test";

/// One of the server's programs, of the latest version that is there.
///
/// # Panics
/// When none is installed.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
    let mut found: Vec<_> = versions.flatten().map(|entry| entry.path().join("bin").join(name)).collect();
    found.sort();
    found.into_iter().rfind(|path| path.exists()).expect("postgresql is installed")
}

/// The words before a program that must not run as root.
fn as_user() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    } else {
        &[]
    }
}

/// The folder of an instance, of that user, and a way to it through the stage's.
pub(crate) fn prepare(folder: &Path, plan: &InstancePlan) {
    fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).expect("ours");
    let own = folder.join(plan.name);
    fs::write(own.join("password"), PASSWORD).expect("writable");
    if rustix::process::geteuid().is_root() {
        let given = Command::new("chown").arg("postgres:").arg(&own).status().expect("chown is there");
        assert!(given.success(), "the server's user owns its folder");
    }
}

/// The section of an instance's engine.
pub(crate) fn section(folder: &str, plan: &InstancePlan) -> String {
    let (name, server) = (plan.name, program("postgres"));
    let port = format!("port={}", plan.port);
    let (listen, sockets) =
        (format!("listen_addresses={}", plan.address), format!("unix_socket_directories={folder}/{name}"));
    let data = format!("{folder}/{name}/data");
    let server = server.display().to_string();
    let mut words: Vec<&str> = as_user().to_vec();
    // The stage lies in memory, and a power cut is no part of any test here.
    words.extend([
        server.as_str(),
        "-D",
        &data,
        "-c",
        &port,
        "-c",
        &listen,
        "-c",
        &sockets,
        "-c",
        "fsync=off",
    ]);
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!(
        "kind = \"postgres\"\nuser = \"baton\"\npassword_file = \"{folder}/{name}/password\"\n\
         data_dir = \"{data}\"\ncommand = [{}]\n",
        words.join(", ")
    )
}

/// A primary as a person has one: made by initdb, its coordinators' role by the file of grants. Returns the command that runs it.
///
/// # Panics
/// When a tool fails.
#[must_use]
pub fn make_primary(folder: &Path, plan: &InstancePlan) -> Command {
    let data = folder.join(plan.name).join("data").display().to_string();
    by_user(
        "initdb",
        &["-D", &data, "--data-checksums", "--no-sync", "--auth-host=scram-sha-256", "--auth-local=peer"],
        "",
    );
    let password = PASSWORD.replace('\'', "''");
    let grants = format!("{GRANTS}ALTER ROLE baton PASSWORD '{password}';\n").replace(";\n", ";\n\n");
    by_user("postgres", &["--single", "-j", "-D", &data, "postgres"], &grants);
    server(folder, plan)
}

fn by_user(tool: &str, arguments: &[&str], input: &str) {
    let mut words: Vec<String> = as_user().iter().map(|word| (*word).to_owned()).collect();
    words.push(program(tool).display().to_string());
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR"), "{tool}: {said}");
}

fn server(folder: &Path, plan: &InstancePlan) -> Command {
    let own = folder.join(plan.name);
    let mut words: Vec<String> = as_user().iter().map(|word| (*word).to_owned()).collect();
    words.push(program("postgres").display().to_string());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("-D").arg(own.join("data"));
    for setting in [
        format!("port={}", plan.port),
        format!("listen_addresses={}", plan.address),
        format!("unix_socket_directories={}", own.display()),
        "fsync=off".to_owned(),
    ] {
        command.arg("-c").arg(setting);
    }
    command
}

/// Makes the clients' role, as the superuser of a running primary: it is the one whose system account owns the server.
///
/// # Panics
/// When it is refused.
pub fn make_clients_role(folder: &Path, plan: &InstancePlan) {
    try_make_clients_role(folder, plan).expect("the superuser may");
}

/// The same of a primary that may not answer yet.
///
/// # Errors
/// What psql said.
pub fn try_make_clients_role(folder: &Path, plan: &InstancePlan) -> Result<(), String> {
    let mut words: Vec<String> = as_user().iter().map(|word| (*word).to_owned()).collect();
    words.extend(
        ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=postgres"].map(str::to_owned),
    );
    words.push(format!("--host={}", folder.join(plan.name).display()));
    words.push(format!("--port={}", plan.port));
    words.push(format!(
        "--command=CREATE ROLE app LOGIN PASSWORD '{APP}'; GRANT CREATE ON SCHEMA public TO app"
    ));
    run(&words[0], &words[1..], "").map(|_| ())
}

/// What a client gets that knows these servers and wants whichever takes writes: the rows, a line each.
///
/// # Errors
/// What psql said.
pub fn write(plans: &[InstancePlan], statements: &str) -> Result<String, String> {
    ask(plans, "read-write", statements)
}

/// The same of any server among them.
///
/// # Errors
/// What psql said.
pub fn read(plans: &[InstancePlan], statements: &str) -> Result<String, String> {
    ask(plans, "any", statements)
}

fn ask(plans: &[InstancePlan], wants: &str, statements: &str) -> Result<String, String> {
    let list = |each: fn(&InstancePlan) -> String| plans.iter().map(each).collect::<Vec<_>>().join(",");
    let hosts = list(|plan| plan.address.to_string());
    let ports = list(|plan| plan.port.to_string());
    let line = format!(
        "host={hosts} port={ports} user=app dbname=postgres connect_timeout=2 target_session_attrs={wants}"
    );
    let options =
        ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--no-password"];
    let mut words: Vec<String> = options.map(str::to_owned).to_vec();
    words.extend([format!("--command={statements}"), line]);
    run("psql", &words, APP)
}

fn run(program: &str, words: &[impl AsRef<OsStr>], password: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(words).env("PGPASSWORD", password).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
