//! The table of mistakes, each with the exact text that a person reads, and what a good file becomes.

use super::*;

fn problems(text: &str) -> String {
    problems_with(text, &[], &Overrides::default())
}

fn problems_with(text: &str, environment: &[(&str, &str)], overrides: &Overrides) -> String {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match Config::from_text("c.toml", text, environment, overrides) {
        Ok(_) => "ok".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

fn good(text: &str) -> Config {
    match Config::from_text("c.toml", text, [], &Overrides::default()) {
        Ok(config) => config,
        Err(problems) => panic!("refused:\n{problems}"),
    }
}

/// Every line that a daemon needs, on lines of their own; a case replaces or adds to them.
const SMALL: &str = r#"[cluster]
name = "orders"
[coordinator]
name = "host-a"
[provider]
kind = "stateboard"
endpoints = ["http://10.0.0.9:4401"]
"#;

const INSTANCE: &str = r#"[[instance]]
name = "a1"
replicaset = "orders-1"
[instance.engine]
kind = "redis"
endpoint = "10.0.0.1:6379"
"#;

#[test]
fn defaults_are_those_of_the_contract() {
    let config = good(&format!("{SMALL}{INSTANCE}"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:4402");
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:4403");
    assert_eq!(config.state_dir, Path::new("/var/lib/baton"));
    assert!(config.arbiter_enabled && config.directory_enabled);
    assert_eq!(config.advertised(config.listen), "127.0.0.1:4402");
    assert_eq!(
        config.provider,
        ProviderConfig::Stateboard {
            endpoints: vec!["http://10.0.0.9:4401".into()],
            tls: None,
            password: None
        }
    );
    assert!(config.issues.is_empty());
    let instance = config.instances.values().next().expect("one was given");
    assert_eq!((instance.priority, instance.electable, instance.bootstrap_members), (100, true, 1));
    assert_eq!(instance.engine.connect, instance.engine.endpoint);
    assert_eq!(instance.engine.log_file, Path::new("/var/lib/baton/a1.log"));
    assert!(instance.engine.command.is_empty());
}

#[test]
fn everything_that_is_given_is_taken() {
    let config = good(
        r#"
        [cluster]
        name = "orders"
        [provider]
        kind = "embedded"
        data_dir = "/data/board"
        [coordinator]
        name = "host-a"
        listen = "0.0.0.0:4402"
        http_listen = "127.0.0.1:4500"
        state_dir = "/data/baton"
        insecure = true
        [arbiter]
        enabled = false
        [directory]
        enabled = false
        [[instance]]
        name = "a1"
        replicaset = "orders-1"
        zone = "dc1"
        priority = 7
        electable = false
        bootstrap_members = 3
        health_listen = "127.0.0.1:8008"
        [instance.engine]
        kind = "redis"
        endpoint = "db-a.example:6379"
        connect = "127.0.0.1:6379"
        command = ["redis-server", "/etc/redis/a1.conf"]
        data_dir = "/var/lib/redis/a1"
        log_file = "/var/log/a1.log"
        "#,
    );
    assert_eq!(config.provider, ProviderConfig::Embedded { data_dir: "/data/board".into() });
    assert!(!config.arbiter_enabled && !config.directory_enabled);
    assert_eq!(config.advertised(config.listen), "host-a:4402", "nobody can connect to 0.0.0.0");
    assert_eq!(
        config.issues,
        ["coordinator.listen = 0.0.0.0:4402 is open to others without TLS (insecure = true)"]
    );
    let instance = &config.instances[&InstanceName::parse("a1").expect("a name")];
    assert_eq!(instance.engine.command, ["redis-server", "/etc/redis/a1.conf"]);
    assert_eq!(&*instance.engine.connect.0, "127.0.0.1:6379");
    assert_eq!(instance.health_listen.map(|address| address.port()), Some(8008));
    assert_eq!((instance.priority, instance.electable, instance.bootstrap_members), (7, false, 3));
}

#[test]
fn rights_are_kept_where_the_file_or_a_flag_says_so() {
    let text = "[cluster]\nname = \"c\"\n[coordinator]\nname = \"h\"\n[provider]\nkind = \"embedded\"\n";
    let read = |text: &str, overrides: &Overrides| Config::from_text("c.toml", text, [], overrides);
    let kept = |text: &str, overrides: &Overrides| read(text, overrides).expect("it is good").keep_engine;
    let flag = Overrides { keep_engine: true, ..Overrides::default() };
    assert!(!kept(text, &Overrides::default()));
    assert!(kept(text, &flag));
    let said = text.replace("name = \"h\"", "name = \"h\"\nkeep_engine = true");
    assert!(kept(&said, &Overrides::default()));
    let wrong = said.replace("= true", "= \"perhaps\"");
    let problems = read(&wrong, &Overrides::default()).expect_err("no boolean").to_string();
    assert!(problems.contains("c.toml:5: coordinator.keep_engine"), "{problems}");
}

#[test]
fn each_mistake_has_its_place_its_key_and_its_rule() {
    let cases = [
        // (what is put after the good lines, what is said)
        ("prefix = \"/baton\"\n", r#"c.toml:8: provider.prefix = "/baton": is for kind = "etcd" only"#),
        ("username = \"u\"\n", r#"c.toml:8: provider.username = "u": is for kind = "etcd" only"#),
        (
            "password_file = \"/gone\"\n",
            r#"c.toml:8: provider.password_file = "/gone": cannot be read: No such file or directory (os error 2)"#,
        ),
        (
            "password = \"sesame\"\n",
            "c.toml:8: provider.password: belongs into a password_file, or into the environment (BATON_PROVIDER__PASSWORD)",
        ),
        (
            "ca_file = \"/gone\"\n",
            "c.toml:7: provider.endpoints[1] = \"http://10.0.0.9:4401\": files for TLS are given, so it must be https://\n\
             c.toml:8: provider.ca_file = \"/gone\": cannot be read: No such file or directory (os error 2)",
        ),
        ("data_dir = \"/x\"\n", r#"c.toml:8: provider.data_dir = "/x": is for kind = "embedded" only"#),
        (
            "seed_settings = \"/x\"\n",
            r#"c.toml:8: provider.seed_settings = "/x": is for kind = "etcd" only (a stateboard has --seed-settings)"#,
        ),
        ("endpoint = 1\n", r#"c.toml:8: provider.endpoint: unknown key; did you mean "endpoints"?"#),
        ("[tls]\ncert_fil = \"/x\"\n", r#"c.toml:9: tls.cert_fil: unknown key; did you mean "cert_file"?"#),
        (
            "[arbiter]\nenabled = \"yes\"\n",
            r#"c.toml:9: arbiter.enabled = "yes": must be true or false, not a text"#,
        ),
        ("[arbitre]\n", r#"c.toml:8: arbitre: unknown key; did you mean "arbiter"?"#),
        (
            "[x]\n",
            "c.toml:8: x: unknown key; known here: cluster, coordinator, tls, provider, arbiter, directory, instance",
        ),
        (
            "instance = 3\n",
            r#"c.toml:8: provider.instance: unknown key; known here: kind, username, prefix, endpoints, password_file, password, cert_file, key_file, ca_file, data_dir, seed_settings, next"#,
        ),
    ];
    for (added, said) in cases {
        assert_eq!(problems(&format!("{SMALL}{added}")), said);
    }
}

/// Each line of an instance that is replaced, by what, and what is said of it.
fn assert_said(cases: &[(&str, &str, &str)]) {
    for (line, replacement, said) in cases {
        let text = format!("{SMALL}{INSTANCE}").replace(line, replacement);
        assert_eq!(problems(&text), *said);
    }
}

#[test]
fn each_mistake_about_the_kind_of_an_engine_is_named() {
    assert_said(&[
        (
            "kind = \"redis\"",
            "kind = \"tarantool\"",
            r#"c.toml:12: instance[1].engine.kind = "tarantool": not yet supported in this version; it must be "redis" or "postgres""#,
        ),
        (
            "kind = \"redis\"",
            "kind = \"oracle\"",
            r#"c.toml:12: instance[1].engine.kind = "oracle": must be "redis" or "postgres""#,
        ),
        (
            "kind = \"redis\"",
            "kind = \"postgres\"",
            "c.toml:11: instance[1].engine.command: must be given: a running PostgreSQL is fenced by ending it, so Baton has to be who starts it\n\
             c.toml:11: instance[1].engine.data_dir: must be given: how a PostgreSQL ended is read from its control file",
        ),
        (
            "kind = \"redis\"",
            "kind = \"redis\"\nuser = \"baton\"",
            "c.toml:13: instance[1].engine.user: unknown key; known here: kind, endpoint, connect, password_file, command, data_dir, log_file",
        ),
    ]);
}

#[test]
fn each_mistake_of_an_instance_too() {
    assert_said(&[
        (
            "name = \"a1\"",
            "name = \"a 1\"",
            r#"c.toml:9: instance[1].name = "a 1": only letters, digits, '-', '_' and '.' are allowed"#,
        ),
        (
            "name = \"a1\"",
            "nam = \"a1\"",
            "c.toml:8: instance[1].name: must be given\nc.toml:9: instance[1].nam: unknown key; did you mean \"name\"?",
        ),
        (
            "endpoint = \"10.0.0.1:6379\"",
            "endpoint = \"10.0.0.1\"",
            r#"c.toml:13: instance[1].engine.endpoint = "10.0.0.1": must be HOST:PORT, such as "10.0.0.1:6379""#,
        ),
        (
            "endpoint = \"10.0.0.1:6379\"",
            "endpoint = \"10.0.0.1:6379\"\ncommand = []",
            r#"c.toml:14: instance[1].engine.command = []: must name a program; leave it out for an engine that something else runs"#,
        ),
        (
            "endpoint = \"10.0.0.1:6379\"",
            "endpoint = \"10.0.0.1:6379\"\ncommand = [\"redis\", 1]",
            "c.toml:14: instance[1].engine.command[2] = 1: must be a text, not a whole number",
        ),
        (
            "endpoint = \"10.0.0.1:6379\"",
            "endpoint = \"10.0.0.1:6379\"\ndata_dir = \"data\"",
            r#"c.toml:14: instance[1].engine.data_dir = "data": must be an absolute path"#,
        ),
        (
            "replicaset = \"orders-1\"",
            "replicaset = \"orders-1\"\npriority = -1",
            "c.toml:11: instance[1].priority = -1: must be a whole number from 0 to 1000000",
        ),
        (
            "replicaset = \"orders-1\"",
            "replicaset = \"orders-1\"\npriority = 1.5",
            "c.toml:11: instance[1].priority = 1.5: must be a whole number, not a number with a fraction",
        ),
        (
            "replicaset = \"orders-1\"",
            "replicaset = \"orders-1\"\nhealth_listen = \"0.0.0.0:8008\"",
            r#"c.toml:11: instance[1].health_listen = "0.0.0.0:8008": is open to others without TLS: bind to loopback, or say coordinator.insecure = true"#,
        ),
        (
            "replicaset = \"orders-1\"",
            "replicaset = \"orders-1\"\nhealth_listen = \"127.0.0.1:4402\"",
            r#"c.toml:11: instance[1].health_listen = "127.0.0.1:4402": is the address of coordinator.listen too"#,
        ),
    ]);
}

#[test]
fn a_postgres_has_a_user_and_a_database_of_its_own() {
    let kind = |more: &str| {
        let kind = format!("kind = \"postgres\"\ndata_dir = \"/d\"\ncommand = [\"postgres\"]{more}");
        let config = good(&format!("{SMALL}{INSTANCE}").replace("kind = \"redis\"", &kind));
        config.instances.into_values().next().expect("one was given").engine.kind
    };
    let named =
        |user: &str, database: &str| EngineKind::Postgres { user: user.into(), database: database.into() };
    assert_eq!(kind(""), named("baton", "postgres"));
    assert_eq!(kind("\nuser = \"fence\"\ndatabase = \"shop\""), named("fence", "shop"));
}

#[test]
fn two_instances_share_neither_name_nor_engine() {
    assert_eq!(
        problems(&format!("{SMALL}{INSTANCE}{INSTANCE}")),
        "c.toml:15: instance[2].name = \"a1\": is the name of another instance too\n\
         c.toml:19: instance[2].engine.endpoint = \"10.0.0.1:6379\": is the address of instance[1].engine.endpoint too"
    );
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = r#"[cluster]
name = "-x"
secret_file = "/nonexistent/secret"
[provider]
kind = "raft"
endpoints = ["10.0.0.9"]
[coordinator]
name = "host-a"
listen = "10.0.0.1:4402"
http_listn = "127.0.0.1:4403"
"#;
    assert_eq!(
        problems(text),
        r#"c.toml:2: cluster.name = "-x": it must start with a letter or a digit
c.toml:3: cluster.secret_file = "/nonexistent/secret": cannot be read: No such file or directory (os error 2)
c.toml:5: provider.kind = "raft": must be "stateboard", "etcd" or "embedded"
c.toml:9: coordinator.listen = "10.0.0.1:4402": is open to others without TLS: bind to loopback, or say coordinator.insecure = true
c.toml:10: coordinator.http_listn: unknown key; did you mean "http_listen"?"#
    );
}

#[test]
fn a_protected_provider_needs_an_authority_and_may_ask_for_a_password() {
    let https = SMALL.replace("http://", "https://");
    assert_eq!(
        problems(&https),
        "c.toml:7: provider.endpoints[1] = \"https://10.0.0.9:4401\": https needs a ca_file"
    );
    let both = format!("{https}[tls]\nca_file = \"/gone\"\n");
    assert_eq!(
        problems(&both),
        "c.toml:9: tls.ca_file = \"/gone\": cannot be read: No such file or directory (os error 2)"
    );
    // An address without a scheme is protected too where there are files for it.
    let bare = both.replace("https://", "");
    assert_eq!(problems(&bare), problems(&both));
    let environment = [("BATON_PROVIDER__PASSWORD", "open sesame")];
    assert_eq!(problems_with(SMALL, &environment, &Overrides::default()), "ok");
    let environment = [("BATON_PROVIDER__PASSWORD", "")];
    assert_eq!(
        problems_with(SMALL, &environment, &Overrides::default()),
        "environment BATON_PROVIDER__PASSWORD: provider.password: is empty: put a line of random characters into it"
    );
    let config = good(&format!("{SMALL}[tls]\nca_file = \"/gone\"\n"));
    assert_eq!(config.issues.len(), 1, "it is said that [tls] does not protect this version's own ports");
}

const ETCD: &str = r#"[cluster]
name = "orders"
[coordinator]
name = "host-a"
[provider]
kind = "etcd"
endpoints = ["http://10.0.0.7:2379", "http://10.0.0.8:2379", "http://10.0.0.9:2379"]
"#;

#[test]
fn etcd_has_members_a_folder_a_user_and_settings_to_begin_with() {
    let ProviderConfig::Etcd(plain) = good(ETCD).provider else { panic!("another kind") };
    assert_eq!((plain.endpoints.len(), plain.prefix.as_str(), plain.credentials), (3, "/baton", None));
    assert_eq!(plain.seed_settings, Settings::default());
    let dir = tempfile::tempdir().expect("a directory");
    let (password, seed) = (dir.path().join("pass"), dir.path().join("seed.toml"));
    std::fs::write(&password, "sesame\n").expect("write");
    std::fs::write(&seed, "lease_ttl = \"1s\"\n").expect("write");
    let more = format!(
        "{ETCD}prefix = \"/ops/baton\"\nusername = \"baton\"\npassword_file = {password:?}\nseed_settings = {seed:?}\n"
    );
    let ProviderConfig::Etcd(full) = good(&more).provider else { panic!("another kind") };
    assert_eq!(full.prefix, "/ops/baton");
    assert_eq!(
        full.credentials.map(|(name, password)| format!("{name} {}", password.reveal())),
        Some("baton sesame".into())
    );
    assert_eq!(full.seed_settings.lease_ttl, baton_core::time::Span::from_secs(1));
    std::fs::write(&seed, "lease = \"1s\"\n").expect("write");
    assert!(problems(&more).contains("seed.toml\": cannot be used: "), "{}", problems(&more));
    let wrong = [
        (
            "prefix = \"baton\"\n",
            "c.toml:8: provider.prefix = \"baton\": is written /NAME or /NAME/NAME, of letters, digits, '-', '_' and '.'",
        ),
        ("username = \"u\"\n", "c.toml:8: provider.username = \"u\": needs a password_file beside it"),
        ("data_dir = \"/x\"\n", "c.toml:8: provider.data_dir = \"/x\": is for kind = \"embedded\" only"),
    ];
    for (line, said) in wrong {
        assert_eq!(problems(&format!("{ETCD}{line}")), said);
    }
    let text = more.replace("username = \"baton\"\n", "").replace(&format!("seed_settings = {seed:?}\n"), "");
    assert!(
        problems(&text).ends_with("provider.username: must be given where a password is"),
        "{}",
        problems(&text)
    );
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        problems("[coordinator]\nname = \"host-a\"\n"),
        "c.toml: cluster.name: must be given: the name that the provider knows the cluster by\n\
         c.toml: provider.kind: must be given: it must be \"stateboard\", \"etcd\" or \"embedded\""
    );
    assert_eq!(
        problems(&SMALL.replace("endpoints = [\"http://10.0.0.9:4401\"]\n", "")),
        "c.toml:5: provider.endpoints: must be given, such as [\"http://127.0.0.1:4401\"]"
    );
    assert_eq!(
        problems(&format!("{SMALL}[[instance]]\nname = \"a1\"\nreplicaset = \"s\"\n")),
        "c.toml:8: instance[1].engine: must be given: a section [instance.engine] with kind and endpoint"
    );
}

#[test]
fn what_is_no_toml_is_told_by_its_line_beside_the_rest() {
    let said = problems(&format!("{SMALL}endpoint =\n"));
    assert!(said.starts_with("c.toml:8: "), "{said}");
    let said = problems("\u{0}");
    assert!(said.contains("\nc.toml:1: "), "{said}");
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let environment = [
        ("BATON_PROVIDER__ENDPOINTS", "10.0.0.7:4401, 10.0.0.8:4401"),
        ("BATON_ARBITER__ENABLED", "false"),
        ("BATON_COORDINATOR__NAME", "host-e"),
        ("BATON_ENDPOINT", "not ours: it has no section"),
        ("PATH", "/bin"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Overrides { name: Some("host-f".into()), ..Overrides::default() };
    let config = Config::from_text("c.toml", SMALL, environment, &flags).expect("all of it is good");
    assert_eq!(
        config.provider,
        ProviderConfig::Stateboard {
            endpoints: vec!["10.0.0.7:4401".into(), "10.0.0.8:4401".into()],
            tls: None,
            password: None
        }
    );
    assert!(!config.arbiter_enabled);
    assert_eq!(config.name.as_str(), "host-f");
}

#[test]
fn a_mistake_of_the_environment_or_of_a_flag_is_told_there() {
    let flags = Overrides { listen: Some("here".into()), ..Overrides::default() };
    let environment =
        [("BATON_PROVIDER__KIDN", "x"), ("BATON_ARBITER__ENABLED", "maybe"), ("BATON_INSTANCE__NAME", "a2")];
    assert_eq!(
        problems_with(&format!("{SMALL}{INSTANCE}"), &environment, &flags),
        "environment BATON_ARBITER__ENABLED: arbiter.enabled = \"maybe\": must be true or false, not a text\n\
         environment BATON_INSTANCE__NAME: instance.name = \"a2\": can only be set in the file\n\
         environment BATON_PROVIDER__KIDN: provider.kidn: unknown key; did you mean \"kind\"?\n\
         flag --listen: coordinator.listen = \"here\": must be IP:PORT, such as \"127.0.0.1:4402\""
    );
}

#[test]
fn the_secret_makes_the_identity_and_an_empty_one_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("secret");
    let text = SMALL.replace("[coordinator]", &format!("secret_file = {:?}\n[coordinator]", file.display()));
    std::fs::write(&file, "open sesame\n").expect("write");
    let with_secret = good(&text).identity;
    assert_ne!(with_secret, good(SMALL).identity);
    assert_eq!(
        with_secret,
        baton_provider::identity_of(with_secret.cluster.clone(), "open sesame"),
        "the end of the line does not count"
    );
    std::fs::write(&file, "\n").expect("write");
    assert!(problems(&text).ends_with("is empty; put the cluster's secret into it"));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let missing = Config::load(Path::new("/nonexistent/c.toml"), [], &Overrides::default());
    assert_eq!(
        missing.expect_err("it is not there").to_string(),
        "/nonexistent/c.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn the_other_end_of_a_move_is_named_in_the_same_words() {
    let with = |next: &str| format!("{SMALL}[provider.next]\n{next}\n");
    let config = good(&with("kind = \"etcd\"\nendpoints = [\"http://10.0.0.7:2379\"]"));
    assert!(matches!(config.next, Some(ProviderConfig::Etcd(_))), "{:?}", config.next);
    let refused = problems(&with("kind = \"embedded\""));
    assert!(refused.contains("provider.next.kind"), "{refused}");
}
