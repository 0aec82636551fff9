//! An instance's engine: its program, whether it answers and takes our password, its version. How it would come up after a
//! restart is in `boot_fence`.

use super::kinds::{Known, known, version_in};
use super::{Finding, Verdict, boot_fence, tool};
use baton_coordinator::config::InstanceConfig;
use baton_coordinator::engines;
use baton_engine::{About, ConnectError};
use std::path::Path;
use std::time::Duration;

const CHECK: &str = "engine";

/// What is known of an engine that answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) about: About,
    pub(super) process_id: Option<u32>,
}

/// `running`: whether the coordinator of this host runs.
pub(super) async fn check(instance: &InstanceConfig, running: bool, timeout: Duration) -> Vec<Finding> {
    let engine = &instance.engine;
    let known = known(&engine.kind);
    let name = instance.name.as_str();
    let mut findings = Vec::new();
    if !engine.command.is_empty() {
        findings.push(program(known, &engine.command).await.about(name));
    }
    // Nothing is started here, so no program is named.
    let mut connected = engines::engine_of(instance, Path::new("")).connect(timeout).await;
    let answered = connected
        .as_ref()
        .ok()
        .map(|connection| Answered { about: connection.about(), process_id: connection.process_id() });
    let answer = match &connected {
        Ok(connection) => answers(known, &engine.connect.to_string(), &connection.about()),
        Err(error) => refused(known, error, !engine.command.is_empty(), running),
    };
    findings.push(answer.about(name));
    if let Ok(connection) = &mut connected
        && let Some(who) = connection.other_manager(timeout).await
    {
        let advice = known.other_manager;
        findings.push(Finding::new("other-manager", Verdict::Problem, who, advice).about(name));
    }
    let fence = boot_fence::check(instance, answered.as_ref(), running);
    findings.extend(fence.into_iter().map(|finding| finding.about(name)));
    findings
}

/// The program that a supervised engine is started with.
async fn program(known: &Known, command: &[String]) -> Finding {
    let first = command.first().map_or("", String::as_str);
    let Some(found) = tool::find(first, std::env::var_os("PATH")) else {
        let advice = "install it, or name its whole path in instance.engine.command";
        let evidence = format!("{first} is no program that can be started");
        return Finding::new("engine-program", Verdict::Problem, evidence, advice);
    };
    // It may stand behind another one: `setpriv … redis-server …`.
    let server = command.iter().find(|word| {
        let name = Path::new(word).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| known.servers.contains(&name))
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
    judge_version(known, "engine-program", &server.display().to_string(), version_in(&said))
}

fn judge_version(known: &Known, check: &'static str, what: &str, version: Option<&str>) -> Finding {
    let Some(version) = version else {
        return Finding::new(check, Verdict::Notice, format!("{what} does not tell its version"), "");
    };
    let evidence = format!("{what} has version {version}");
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < known.minimum {
        let advice = format!("{} or later is needed", known.minimum_text);
        return Finding::new(check, Verdict::Problem, evidence, advice);
    }
    if version.starts_with(known.tested) {
        return Finding::ok(check, evidence);
    }
    let advice = format!(
        "Baton is tested with {}: try a switchover with this version before it matters",
        known.tested_text
    );
    Finding::new(check, Verdict::Notice, evidence, advice)
}

fn answers(known: &Known, address: &str, about: &About) -> Finding {
    judge_version(known, CHECK, &format!("{address} answers and"), about.version.as_deref())
}

fn refused(known: &Known, error: &ConnectError, supervised: bool, running: bool) -> Finding {
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
        ConnectError::PasswordRefused { .. } => known.password,
        ConnectError::Forbidden { .. } => known.grants,
        ConnectError::Loading { .. } => {
            return Finding::new(CHECK, Verdict::Notice, error.to_string(), "ask again when it has read it");
        }
        ConnectError::TooOld { .. } => "upgrade it",
        ConnectError::WrongMode { .. } => {
            "only one of the two may choose the masters: run it without that mode"
        }
        ConnectError::Overridden { .. } => "leave it out of instance.engine.command",
        ConnectError::NotThisKind { .. } => "something else has this port: correct instance.engine.endpoint",
    };
    Finding::new(CHECK, Verdict::Problem, error.to_string(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    use baton_coordinator::config::EngineKind;

    const REDIS: EngineKind = EngineKind::Redis;

    fn postgres() -> EngineKind {
        EngineKind::Postgres { user: "baton".into(), database: "postgres".into() }
    }

    #[test]
    fn versions_are_too_old_untried_or_tested() {
        for (kind, version, verdict) in [
            (&REDIS, Some("7.0.15"), Verdict::Ok),
            (&REDIS, Some("6.2.1"), Verdict::Notice),
            (&REDIS, Some("8.1.0"), Verdict::Notice),
            (&REDIS, Some("6.0.16"), Verdict::Problem),
            (&REDIS, None, Verdict::Notice),
            (&postgres(), Some("15.18"), Verdict::Ok),
            (&postgres(), Some("13.0"), Verdict::Notice),
            (&postgres(), Some("12.22"), Verdict::Problem),
        ] {
            assert_eq!(
                judge_version(known(kind), CHECK, "it", version).verdict,
                verdict,
                "{kind:?} {version:?}"
            );
        }
    }

    #[test]
    fn an_engine_that_nobody_started_yet_is_fine_only_where_baton_starts_it() {
        let missing = ConnectError::Missing { endpoint: "h:1".into(), what: "refused".into() };
        let found = |supervised, running| refused(known(&REDIS), &missing, supervised, running).verdict;
        assert_eq!(found(true, false), Verdict::Ok);
        assert_eq!(found(true, true), Verdict::Problem);
        assert_eq!(found(false, false), Verdict::Problem);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_a_problem() {
        let command = ["/no/such/redis-server".to_owned(), "/etc/redis/a1.conf".to_owned()];
        assert_eq!(program(known(&REDIS), &command).await.verdict, Verdict::Problem);
        assert_eq!(program(known(&REDIS), &["sh".to_owned()]).await.verdict, Verdict::Ok);
    }
}
