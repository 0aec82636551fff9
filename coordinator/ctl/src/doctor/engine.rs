//! An instance's engine: its program, whether it answers and takes our password, its version. How it would come up after a
//! restart is in `boot_fence`.

use super::{Finding, Verdict, boot_fence, tool};
use baton_coordinator::config::{EngineKind as Kind, InstanceConfig};
use baton_engine::redis::Redis;
use baton_engine::{About, ConnectError, EngineKind};
use std::path::Path;
use std::time::Duration;

const CHECK: &str = "engine";
/// Names of the programs that are Redis or its like.
const SERVERS: [&str; 3] = ["redis-server", "valkey-server", "keydb-server"];
/// The version that the tests run with.
const TESTED: &str = "7.0.";

/// What is known of an engine that answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) about: About,
    pub(super) process_id: Option<u32>,
}

/// `running`: whether the coordinator of this host runs.
pub(super) async fn check(instance: &InstanceConfig, running: bool, timeout: Duration) -> Vec<Finding> {
    let engine = &instance.engine;
    let Kind::Redis = engine.kind;
    let name = instance.name.as_str();
    let mut findings = Vec::new();
    if !engine.command.is_empty() {
        findings.push(program(&engine.command).await.about(name));
    }
    let kind = Redis::new(engine.connect.to_string(), engine.password_file.clone());
    let mut connected = kind.connect(timeout).await;
    let answered = connected
        .as_ref()
        .ok()
        .map(|connection| Answered { about: connection.about(), process_id: connection.process_id() });
    let answer = match &connected {
        Ok(connection) => answers(&engine.connect.to_string(), &connection.about()),
        Err(error) => refused(error, !engine.command.is_empty(), running),
    };
    findings.push(answer.about(name));
    if let Ok(connection) = &mut connected
        && let Some(who) = connection.other_manager(timeout).await
    {
        let advice =
            "let only one choose the masters: SENTINEL REMOVE on every Sentinel, or no instance of Baton";
        findings.push(Finding::new("other-manager", Verdict::Problem, who, advice).about(name));
    }
    let fence = boot_fence::check(instance, answered.as_ref(), running);
    findings.extend(fence.into_iter().map(|finding| finding.about(name)));
    findings
}

/// The program that a supervised engine is started with.
async fn program(command: &[String]) -> Finding {
    let first = command.first().map_or("", String::as_str);
    let Some(found) = tool::find(first, std::env::var_os("PATH")) else {
        let advice = "install it, or name its whole path in instance.engine.command";
        let evidence = format!("{first} is no program that can be started");
        return Finding::new("engine-program", Verdict::Problem, evidence, advice);
    };
    // It may stand behind another one: `setpriv … redis-server …`.
    let server = command.iter().find(|word| {
        let name = Path::new(word).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| SERVERS.contains(&name))
    });
    let Some(server) = server else {
        let evidence = format!("{}; its version is not known before it runs", found.display());
        return Finding::ok("engine-program", evidence);
    };
    let Some(server) = tool::find(server, std::env::var_os("PATH")) else {
        let evidence = format!("{server} is no program that can be started");
        return Finding::new("engine-program", Verdict::Problem, evidence, "install it");
    };
    let said = tool::say(&server, &["--version"]).await.unwrap_or_default();
    judge_version("engine-program", &server.display().to_string(), version_in(&said))
}

/// `Redis server v=7.0.15 sha=…`.
fn version_in(said: &str) -> Option<&str> {
    said.split_whitespace().find_map(|word| word.strip_prefix("v="))
}

fn judge_version(check: &'static str, what: &str, version: Option<&str>) -> Finding {
    let Some(version) = version else {
        return Finding::new(check, Verdict::Notice, format!("{what} does not tell its version"), "");
    };
    let evidence = format!("{what} has version {version}");
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < (6, 2) {
        return Finding::new(check, Verdict::Problem, evidence, "6.2 or later is needed");
    }
    if version.starts_with(TESTED) {
        return Finding::ok(check, evidence);
    }
    let advice = "Baton is tested with Redis 7.0: try a switchover with this version before it matters";
    Finding::new(check, Verdict::Notice, evidence, advice)
}

fn answers(address: &str, about: &About) -> Finding {
    judge_version(CHECK, &format!("{address} answers and"), about.version.as_deref())
}

fn refused(error: &ConnectError, supervised: bool, running: bool) -> Finding {
    let advice = match error {
        ConnectError::Missing { .. } if supervised && !running => {
            return Finding::ok(CHECK, "does not run: the coordinator starts it, fenced");
        }
        ConnectError::Missing { .. } if supervised => {
            "the coordinator runs and it does not: see its log_file"
        }
        ConnectError::Missing { .. } => "start it as a replica, or give Baton its command to start it itself",
        ConnectError::TimedOut { .. } => "it hangs, or a firewall swallows the packets",
        ConnectError::PasswordFile { .. } => "make the file readable for the daemon",
        ConnectError::PasswordNeeded { .. } => {
            "write it into a file of mode 600 and name that as password_file"
        }
        ConnectError::PasswordRefused { .. } => {
            "compare password_file with the engine's requirepass: no guard could fence it"
        }
        ConnectError::Forbidden { .. } => {
            "allow the default user INFO, GET, SET, EVAL, REPLICAOF and CONFIG SET"
        }
        ConnectError::Loading { .. } => {
            return Finding::new(CHECK, Verdict::Notice, error.to_string(), "ask again when it has read it");
        }
        ConnectError::TooOld { .. } => "upgrade it",
        ConnectError::WrongMode { .. } => {
            "only one of the two may choose the masters: run it without that mode"
        }
        ConnectError::NotThisKind { .. } => "something else has this port: correct instance.engine.endpoint",
    };
    Finding::new(CHECK, Verdict::Problem, error.to_string(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_too_old_untried_or_tested() {
        let said = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=95cd";
        assert_eq!(version_in(said), Some("7.0.15"));
        assert_eq!(judge_version(CHECK, "it", Some("7.0.15")).verdict, Verdict::Ok);
        assert_eq!(judge_version(CHECK, "it", Some("6.2.1")).verdict, Verdict::Notice);
        assert_eq!(judge_version(CHECK, "it", Some("8.1.0")).verdict, Verdict::Notice);
        assert_eq!(judge_version(CHECK, "it", Some("6.0.16")).verdict, Verdict::Problem);
        assert_eq!(judge_version(CHECK, "it", None).verdict, Verdict::Notice);
    }

    #[test]
    fn an_engine_that_nobody_started_yet_is_fine_only_where_baton_starts_it() {
        let missing = ConnectError::Missing { endpoint: "h:1".into(), what: "refused".into() };
        assert_eq!(refused(&missing, true, false).verdict, Verdict::Ok);
        assert_eq!(refused(&missing, true, true).verdict, Verdict::Problem);
        assert_eq!(refused(&missing, false, false).verdict, Verdict::Problem);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_a_problem() {
        let command = ["/no/such/redis-server".to_owned(), "/etc/redis/a1.conf".to_owned()];
        assert_eq!(program(&command).await.verdict, Verdict::Problem);
        assert_eq!(program(&["sh".to_owned()]).await.verdict, Verdict::Ok);
    }
}
