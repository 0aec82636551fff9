//! The first start: a data directory where there is none, with the role that the coordinator logs in as.

use super::tools::{Tools, run};
use super::{Start, at, say};
use crate::postgres::place::Place;
use crate::postgres::text::literal;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;

/// What that role may do; the file is also for people.
const GRANTS: &str = include_str!("../../../../../deploy/postgres/grants.sql");
/// The role of that file.
const ROLE: &str = "baton";

/// What stands in the configuration besides initdb's own.
const SETTINGS: &str = "
# Baton: a standby that was away for a short time finds what it missed.
wal_keep_size = '256MB'
# It looks for its master again soon: commits may wait for it.
wal_retrieve_retry_interval = '500ms'
";

/// Makes a system in the folder for copies, whole, and puts it in the data's place.
pub(super) fn make(start: &Start, place: &Place, tools: &Tools) -> Result<(), String> {
    refuse_strangers(&place.data)?;
    say(&format!("{} is empty: a new system is made there", place.data.display()));
    let mut mkdir = tools.plain(Path::new("mkdir"));
    mkdir.args(["-p", "-m", "700"]).arg(&place.folder);
    run(mkdir)?;
    place.drop_copy().map_err(at("an unfinished copy cannot be removed"))?;
    let password = password(start)?;
    let mut initdb = tools.command("initdb");
    initdb.args(["--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=peer"]);
    initdb.arg(if password.is_some() { "--auth-host=scram-sha-256" } else { "--auth-host=trust" });
    initdb.arg("-D").arg(place.copy());
    run(initdb)?;
    configure(&place.copy(), password.is_some()).map_err(at("its configuration cannot be written"))?;
    make_role(start, place, tools, password.as_deref())?;
    place.vouch_for_copy().map_err(at("what was made cannot be called whole"))?;
    place.take_copy().map_err(at(
        "what was made cannot take the data's place (data_dir must be a folder below a mount point, not one itself)",
    ))
}

/// What is there and is no data of PostgreSQL belongs to somebody else.
fn refuse_strangers(data: &Path) -> Result<(), String> {
    let mut entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{} cannot be read: {error}", data.display())),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(format!("{} has files in it, and none is PG_VERSION", data.display())),
    }
}

fn password(start: &Start) -> Result<Option<String>, String> {
    let Some(file) = &start.password_file else { return Ok(None) };
    let text = fs::read_to_string(file).map_err(at(&format!("{} cannot be read", file.display())))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn configure(data: &Path, with_password: bool) -> io::Result<()> {
    let append = |file: &str, text: &str| {
        fs::OpenOptions::new().append(true).open(data.join(file))?.write_all(text.as_bytes())
    };
    append("postgresql.conf", SETTINGS)?;
    if with_password {
        append(
            "pg_hba.conf",
            "\n# Baton: everybody from everywhere, with a password.\n\
             host all all all scram-sha-256\nhost replication all all scram-sha-256\n",
        )?;
    }
    Ok(())
}

/// Runs the grants before anybody can connect.
fn make_role(start: &Start, place: &Place, tools: &Tools, password: Option<&str>) -> Result<(), String> {
    let mut statements = GRANTS.to_owned();
    if start.user != ROLE {
        statements = statements.replace(&format!("TO {ROLE};"), &format!("TO \"{}\";", start.user));
        statements = statements.replace(&format!("ROLE {ROLE} "), &format!("ROLE \"{}\" ", start.user));
        statements = statements
            .replace(&format!("AUTHORIZATION {ROLE};"), &format!("AUTHORIZATION \"{}\";", start.user));
    }
    if let Some(password) = password {
        statements += &format!("ALTER ROLE \"{}\" PASSWORD {};\n", start.user, literal(password));
    }
    let mut single = tools.command("postgres");
    single.args(["--single", "-j", "-D"]).arg(place.copy()).arg("postgres");
    let mut child = single
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(at("cannot run the server alone"))?;
    // With -j a statement ends at a semicolon before an empty line.
    let fed =
        child.stdin.take().map(|mut stdin| stdin.write_all(statements.replace(";\n", ";\n\n").as_bytes()));
    let output = child.wait_with_output().map_err(at("the server alone"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let wrong = said.lines().find(|line| line.contains("ERROR") || line.contains("FATAL"));
    match (wrong, fed) {
        (Some(wrong), _) => Err(format!("the role {} cannot be made: {wrong}", start.user)),
        (None, Some(Ok(()))) if output.status.success() => Ok(()),
        (None, _) => {
            Err(format!("the role {} cannot be made: the server ended with {}", start.user, output.status))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_is_taken_for_a_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        assert_eq!(refuse_strangers(&data), Ok(()), "not there yet");
        fs::create_dir(&data).expect("writable");
        assert_eq!(refuse_strangers(&data), Ok(()));
        fs::write(data.join("holiday.jpg"), "").expect("writable");
        assert!(refuse_strangers(&data).expect_err("somebody's").contains("PG_VERSION"));
    }
}
