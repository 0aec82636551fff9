//! Layers, defaults, and the table of mistakes with the text that a person reads.

use super::*;

const MINIMAL: &str = "[cluster]\nname = \"orders\"\n";

fn load(text: &str) -> Result<Config, Problems> {
    Config::load("f.toml", text, Vec::new(), &Overrides::default())
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_name_is_enough() {
    let config = load(MINIMAL).expect("nothing else is needed");
    assert_eq!(config.listen.to_string(), "127.0.0.1:4401");
    assert_eq!(config.http_listen.map(|it| it.to_string()).as_deref(), Some("127.0.0.1:4411"));
    assert_eq!(config.data_dir, PathBuf::from(DATA_DIR));
    assert_eq!((config.passwords, config.tls, config.lock_delay), (None, None, None));
    assert_eq!(config.limits, OuterLimits::default());
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let text = format!("{MINIMAL}[stateboard]\nlisten = \"127.0.0.1:1\"\nhttp_listen = \"127.0.0.1:2\"\n");
    let environment = [
        variable("BATON_STATEBOARD__LISTEN", "127.0.0.1:3"),
        variable("BATON_STATEBOARD__HTTP_LISTEN", "127.0.0.1:4"),
        variable("BATON_LIMITS__WATCHERS", "77"),
        variable("BATON_PROVIDER__KIND", "another program's"),
    ];
    let overrides =
        Overrides { http_listen: Some("off".into()), lock_delay: Some("10".into()), ..Overrides::default() };
    let config = Config::load("f.toml", &text, environment, &overrides).expect("all is fine");
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.http_listen, None);
    assert_eq!(config.limits.watchers, 77);
    assert_eq!(config.lock_delay, Some(10));
}

#[test]
fn all_problems_come_at_once_with_their_places() {
    let text = "[cluster]\nnam = \"orders\"\n[stateboard]\nlisten = \"everywhere\"\nhttp_listen = \"0.0.0.0:1\"\n\
                lock_delay = 0\n[limits]\nwatchers = 0\nidle_timeout = \"soon\"\n[tls]\ncert_file = \"/gone\"\nkey_file = \"/gone\"\n";
    let environment = [variable("BATON_STATEBOARD__INSECURE", "perhaps")];
    let problems = Config::load("f.toml", text, environment, &Overrides::default());
    let problems = problems.expect_err("many things are wrong").to_string();
    for part in [
        "f.toml:2: cluster.nam: unknown key; did you mean \"name\"?",
        "cluster.name: must be given",
        "f.toml:4: stateboard.listen = \"everywhere\": must be IP:PORT",
        "f.toml:5: stateboard.http_listen = \"0.0.0.0:1\": is open to others without TLS",
        "f.toml:6: stateboard.lock_delay = 0: must be a whole number from 1 to 750",
        "f.toml:8: limits.watchers = 0: must be a whole number from 1 to 1000000",
        "f.toml:9: limits.idle_timeout = \"soon\": must be a length of time",
        "f.toml:11: tls.cert_file = \"/gone\": cannot be read",
        "environment BATON_STATEBOARD__INSECURE: stateboard.insecure = \"perhaps\": must be true or false",
    ] {
        assert!(problems.contains(part), "{part:?} is not in\n{problems}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let problems = load("[cluster]\nname = orders\n").expect_err("the quotes are missing").to_string();
    assert!(problems.starts_with("f.toml:2: "), "{problems}");
}

#[test]
fn an_open_port_needs_tls_or_a_word() {
    let open = format!("{MINIMAL}[stateboard]\nlisten = \"0.0.0.0:4401\"\n");
    let problems = load(&open).expect_err("open").to_string();
    assert!(
        problems.contains("f.toml:4: stateboard.listen = \"0.0.0.0:4401\": is open to others"),
        "{problems}"
    );
    let config = load(&format!("{open}insecure = true\n")).expect("said");
    assert_eq!(config.issues.len(), 1);
    let same = format!("{MINIMAL}[stateboard]\nlisten = \"127.0.0.1:5\"\nhttp_listen = \"localhost:5\"\n");
    assert!(
        load(&same).expect_err("one port").to_string().contains("is the address of stateboard.listen too")
    );
}

#[test]
fn the_identity_is_checked_unless_somebody_says_otherwise_and_then_it_is_an_issue() {
    assert!(load(MINIMAL).expect("good").check_identity);
    let config = load(&format!("{MINIMAL}[stateboard]\ncheck_identity = false\n")).expect("good");
    assert!(!config.check_identity);
    assert!(config.issues.iter().any(|issue| issue.contains("check_identity")), "{:?}", config.issues);
}

#[test]
fn a_password_comes_from_a_file_or_the_environment_and_is_never_repeated() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "open sesame\n").expect("writable");
    let by_file = format!("{MINIMAL}[stateboard]\npassword_file = {file:?}\n");
    let config = load(&by_file).expect("a file");
    assert!(config.passwords.as_ref().is_some_and(|accepted| accepted.contains("open sesame")));
    assert!(!format!("{config:?}").contains("sesame"));
    let environment = || [variable("BATON_STATEBOARD__PASSWORD", "open barley")];
    let config = Config::load("f.toml", MINIMAL, environment(), &Overrides::default()).expect("a variable");
    assert!(config.passwords.is_some_and(|accepted| accepted.contains("open barley")));
    let both = Config::load("f.toml", &by_file, environment(), &Overrides::default()).expect_err("both");
    assert!(both.to_string().contains("cannot be given together"), "{both}");
    for value in ["\"open sesame\"", "123456"] {
        let in_it = format!("{MINIMAL}[stateboard]\npassword = {value}\n");
        let said = load(&in_it).expect_err("in the file").to_string();
        assert!(!said.contains("sesame") && !said.contains("123456"), "{said}");
    }
    let empty = [variable("BATON_STATEBOARD__PASSWORD", "")];
    let said = Config::load("f.toml", MINIMAL, empty, &Overrides::default()).expect_err("empty").to_string();
    assert!(said.contains("environment BATON_STATEBOARD__PASSWORD: stateboard.password: is empty"), "{said}");
}

#[test]
fn every_limit_is_a_setting() {
    let text = format!(
        "{MINIMAL}[limits]\nconnections = 1\nstreams_per_connection = 2\nwatchers = 3\nwatcher_lag = 4\nrequests = 16\n\
         message_bytes = 5_000\nheader_bytes = 2_000\nname_bytes = 8\ncandidates = 9\nrecords = 10\nmembers = 11\n\
         members_per_set = 12\nchanges_per_request = 13\nhistory_per_set = 14\ndecision_bytes = 300\ntext_bytes = 100\n\
         overrides = 15\ntasks = 2_000\ntask_bytes = 20_000\nhandshake_timeout = \"1s\"\nidle_timeout = \"2s\"\nrequest_timeout = \"3s\"\n"
    );
    let limits = load(&text).expect("all known").limits;
    let numbers = [
        limits.connections,
        limits.watchers,
        limits.message_bytes,
        limits.kept.waiting,
        limits.kept.overrides,
        limits.kept.tasks,
        limits.kept.task_bytes,
    ];
    assert_eq!(numbers, [1, 3, 5_000, 9, 15, 2_000, 20_000]);
    assert_eq!(limits.request_timeout.as_secs(), 3);
    assert_eq!(limits.kept.updates_kept, 4);
}
