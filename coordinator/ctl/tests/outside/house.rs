//! Settings and members: what the canned coordinator answers of them, each command's text, and what a script gets.

use crate::commands::{run, run_words};
use crate::server::Server;
use baton_client::refusal;
use baton_core::ids::Version;
use baton_core::record::Settings;
use baton_proto::v1;
use baton_settings::{Change, change, differences, document, replace, table};
use batonctl::Exit;
use std::sync::{Arc, Mutex};
use tonic::{Code, Status};

/// The settings, and somebody else who changes them once, before the next change arrives.
pub type Shared = Arc<Mutex<House>>;

#[derive(Default)]
pub struct House {
    settings: Settings,
    somebody_else: Option<&'static str>,
}

impl House {
    fn change(&mut self, text: &str) {
        let parsed = [Change::parse(text).expect("a change")];
        let changed = change(&self.settings, &parsed).expect("a good change");
        self.settings = Settings { version: self.settings.version.next(), ..changed };
    }
}

fn refused(code: Code, reason: &str, message: &str) -> Status {
    let detail = v1::Refusal { reason: reason.into(), ..v1::Refusal::default() };
    refusal::to_status(code, message, &detail)
}

pub fn settings(house: &Shared, request: v1::SettingsRequest) -> Result<v1::SettingsResponse, Status> {
    let mut house = house.lock().expect("no test panics with it");
    let mut answer = v1::SettingsResponse::default();
    if let Some(asked) = request.change {
        if let Some(other) = house.somebody_else.take() {
            house.change(other);
        }
        let before = house.settings.clone();
        if asked.expected.is_some_and(|expected| Version(expected) != before.version) {
            return Err(refused(Code::Aborted, "settings_overtaken", "they are not those any more"));
        }
        let changes: Vec<_> = asked.changes.iter().map(|it| Change::parse(it).expect("a change")).collect();
        let after = match &asked.document {
            Some(text) => replace(&before, "settings", text),
            None => change(&before, &changes),
        };
        let after = after
            .map_err(|problems| refused(Code::InvalidArgument, "bad_settings", &problems.to_string()))?;
        if after.drained.iter().any(|zone| zone.as_str() == "dc9") && !asked.force {
            return Err(refused(Code::NotFound, "not_found", "there is no zone dc9"));
        }
        answer.changed = differences(&before, &after).iter().map(ToString::to_string).collect();
        answer.remarks = vec!["mind the step".into()];
        if !asked.dry_run {
            house.settings = Settings { version: before.version.next(), ..after };
        }
    }
    answer.version = house.settings.version.0;
    answer.toml = document(&house.settings);
    answer.json = serde_json::to_string(&table(&house.settings)).expect("plain values");
    Ok(answer)
}

/// `a1` counts still when it is asked for the first time.
pub fn members(house: &Shared, request: v1::MembersRequest) -> Result<v1::MembersResponse, Status> {
    let mut house = house.lock().expect("no test panics with it");
    if let Some(removal) = request.remove {
        if removal.instance == "a1" && house.somebody_else.take().is_some() {
            return Err(refused(Code::FailedPrecondition, "still_counts", "a1 is in the in-sync set"));
        }
        if removal.instance == "a2" {
            return Err(refused(Code::FailedPrecondition, "still_counts", "a2 is the recorded master"));
        }
    }
    let a2 = v1::ListedMember {
        instance: "a2".into(),
        replicaset: "orders-1".into(),
        coordinator: "host-b".into(),
        zone: "dc1".into(),
        priority: 100,
        electable: true,
        master: true,
        in_sync: true,
        said_priority: Some(200),
        listed: true,
        ..v1::ListedMember::default()
    };
    let a9 = v1::ListedMember { instance: "a9".into(), expelled: true, ..v1::ListedMember::default() };
    Ok(v1::MembersResponse { members: vec![a2, a9] })
}

#[tokio::test]
async fn settings_are_shown_with_where_they_are_from() {
    let server = Server::start([]).await;
    for change in ["lease_ttl=1s", "ack_quorum=1", "replicaset.orders-1.ack_quorum=2"] {
        server.house.lock().expect("whole").change(change);
    }
    let (exit, out, err) = run(server.address, "settings show --changed").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(
        out,
        "\
settings of version 3

KEY                             VALUE  FROM
lease_ttl                       1s     cluster (otherwise 3s)
ack_quorum                      1      cluster (otherwise 0)
replicaset.orders-1.ack_quorum  2      orders-1 (otherwise 1)
"
    );
    let (_, out, _) = run(server.address, "settings show --set orders-1 --changed --json").await;
    assert_eq!(
        out,
        "{\"remarks\":[],\"settings\":{\"ack_quorum\":{\"from\":\"orders-1\",\"otherwise\":\"1\",\"value\":\"2\"}},\
         \"version\":3}\n"
    );
    let (_, out, _) = run(server.address, "settings show").await;
    assert!(out.contains("stall_timeout"), "{out}");
    let (_, out, _) = run(server.address, "settings show --toml").await;
    assert!(out.contains("\nlease_ttl = \"1s\"\n"), "{out}");
    let (_, out, _) = run(server.address, "settings show --json").await;
    assert!(out.contains("\"settings\":{\"ack_quorum\":1"), "{out}");
}

#[tokio::test]
async fn a_change_says_what_it_did_and_one_that_is_wrong_changes_nothing() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "settings set lease_ttl=1s ack_quorum=1").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(
        out,
        "\
ack_quorum: 0 → 1
lease_ttl: 3s → 1s
  ! mind the step
settings are of version 1 now; every host follows
"
    );
    let (exit, out, _) = run(server.address, "settings unset ack_quorum --dry-run").await;
    assert_eq!(exit, Exit::Done);
    assert!(out.ends_with("only checked: nothing was changed\n"), "{out}");
    let (exit, out, _) = run(server.address, "settings set immunity=1s --set orders-1 --json").await;
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("replicaset.orders-1.immunity: not set → 1s"), "{out}");
    for (line, exit, says) in [
        ("settings set lease_ttl=1ms", Exit::Failed, "outside 300ms"),
        ("settings set lease_ttl", Exit::Usage, "must be KEY=VALUE"),
        ("settings set ack_quorum=0 --expected 7", Exit::Failed, "not those any more"),
    ] {
        let (found, _, err) = run(server.address, line).await;
        assert_eq!(found, exit, "{line}");
        assert!(err.contains(says), "{line}: {err}");
    }
    assert_eq!(server.house.lock().expect("whole").settings.version, Version(2));
}

/// Edits with a command of the shell instead of a person.
async fn edit(server: &Server, editor: &str) -> (Exit, String, String) {
    run_words(server.address, &["settings", "edit", "--editor", editor]).await
}

#[tokio::test]
async fn an_edited_document_is_put_and_one_that_is_left_is_not() {
    let server = Server::start([]).await;
    let (exit, out, err) = edit(&server, "sed -i s/.*lease_ttl.=.*/lease_ttl=\\\"2s\\\"/").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(out.starts_with("lease_ttl: 3s → 2s\n"), "{out}");
    let (exit, out, err) = edit(&server, "true").await;
    assert_eq!((exit, out.as_str()), (Exit::Done, ""));
    assert!(err.contains("left as it was"), "{err}");
    let (exit, _, err) = edit(&server, "false").await;
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("nothing was changed"), "{err}");
}

#[tokio::test]
async fn what_is_wrong_is_shown_with_its_line_and_the_editor_opened_again() {
    let server = Server::start([]).await;
    // First a slip, then, where the note names its very line, the repair.
    let editor = r#"edit() {
        if grep -q '^#! settings:[0-9]*: lease_ttl' "$1"; then
            line=$(sed -n 's/^#! settings:\([0-9]*\): lease_ttl.*/\1/p' "$1")
            sed -i "${line}s/.*/lease_ttl = \"2s\"/" "$1"
        else sed -i 's/^lease_ttl.*/lease_ttl = "2"/' "$1"; fi
    }; edit"#;
    let (exit, out, err) = edit(&server, editor).await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(out.starts_with("lease_ttl: 3s → 2s\n"), "{out}");
    // Given up, the text is kept.
    let (exit, _, err) =
        edit(&server, r#"edit() { grep -q '^#!' "$1" || echo 'nonsense = 1' >> "$1"; }; edit"#).await;
    assert_eq!(exit, Exit::Failed);
    let kept = err.trim().rsplit(' ').next().expect("a path");
    assert!(std::fs::read_to_string(kept).expect("it is kept").contains("nonsense"), "{err}");
    std::fs::remove_file(kept).expect("it was there");
}

#[tokio::test]
async fn a_change_of_somebody_else_is_kept_and_ones_own_carried_over() {
    let server = Server::start([]).await;
    server.house.lock().expect("whole").somebody_else = Some("immunity=1s");
    let editor = r#"edit() {
        if grep -q '^#!   immunity: 15s' "$1"; then sed -i '/^#!/d' "$1"
        else sed -i 's/^lease_ttl.*/lease_ttl = "2s"/' "$1"; fi
    }; edit"#;
    let (exit, out, _) = edit(&server, editor).await;
    assert_eq!(exit, Exit::Done);
    assert!(out.starts_with("lease_ttl: 3s → 2s\n"), "{out}");
    let settings = server.house.lock().expect("whole").settings.clone();
    assert_eq!((settings.lease_ttl.to_string(), settings.immunity.to_string()), ("2s".into(), "1s".into()));
}

#[tokio::test]
async fn members_are_listed_with_what_was_said_of_them() {
    let server = Server::start([]).await;
    let (exit, out, _) = run(server.address, "member list").await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        out,
        "\
INSTANCE  REPLICA SET  ROLE    PRIORITY  ELECTABLE  ZONE  COORDINATOR  SAID
a2        orders-1     master  200       yes        dc1   host-b       priority 200 (host: 100)
a9        -            -       0         no         -     -            expelled
Without a replica set: only spoken of in the settings, not in the list.
"
    );
    let (_, out, _) = run(server.address, "member list orders-1 --json").await;
    assert!(out.starts_with("{\"members\":[{\"coordinator\":\"host-b\"") && !out.contains("a9"), "{out}");
}

#[tokio::test]
async fn what_is_said_of_a_member_is_a_setting() {
    let server = Server::start([]).await;
    for (line, changed) in [
        ("member set-electable a1 off", "member.a1.electable: not set → false\n"),
        ("member set-electable a1 default", "member.a1.electable: false → not set\n"),
        ("member set-priority a1 200", "member.a1.priority: not set → 200\n"),
        ("member set-priority a1 default", "member.a1.priority: 200 → not set\n"),
        ("member maintain a1 --for 1h", "member.a1.maintenance_until: not set → 2"),
        ("member maintain a1 --end", "member.a1.maintenance_until: 2"),
    ] {
        let (exit, out, err) = run(server.address, line).await;
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{line}");
        assert!(out.starts_with(changed), "{line}: {out}");
    }
    assert!(server.house.lock().expect("whole").settings.members.is_empty());
}

#[tokio::test]
async fn a_removal_is_refused_while_the_member_counts_or_waited_for() {
    let server = Server::start([]).await;
    let (exit, _, err) = run(server.address, "member remove a2").await;
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("a2 is the recorded master"), "{err}");
    let (exit, _, err) = run(server.address, "member remove a2 --timeout 1ms").await;
    assert_eq!(exit, Exit::Running);
    assert!(err.contains("not removed in 1ms"), "{err}");
    server.house.lock().expect("whole").somebody_else = Some("immunity=1s");
    let (exit, out, err) = run(server.address, "member remove a1 --expel --timeout 30s").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, "waiting: a1 is in the in-sync set\n"));
    assert_eq!(out, "a1 is removed; whoever comes under its name is turned away\n");
}

#[tokio::test]
async fn a_zone_is_drained_beside_others_and_comes_back_alone() {
    let server = Server::start([]).await;
    let drained = || {
        let settings = server.house.lock().expect("whole").settings.clone();
        settings.drained.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    // Somebody else drains another zone at the same time.
    server.house.lock().expect("whole").somebody_else = Some("drained=dc3");
    let (exit, out, _) = run(server.address, "drain --zone dc2").await;
    assert_eq!((exit, drained().as_str()), (Exit::Done, "dc2,dc3"));
    assert!(out.contains("batonctl drain --zone dc2 --wait"), "{out}");
    let (exit, out, _) = run(server.address, "drain --zone dc1 --wait --timeout 1ms --json").await;
    assert_eq!(exit, Exit::Running);
    assert!(out.contains("\"left\":[{\"master\":\"a2\",\"replicaset\":\"orders-1\""), "{out}");
    let (exit, out, _) = run(server.address, "undrain --zone dc2,dc1").await;
    assert_eq!((exit, drained().as_str()), (Exit::Done, "dc3"));
    assert!(out.contains("dc2, dc1 again"), "{out}");
    let (exit, _, err) = run(server.address, "drain --zone dc9").await;
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("there is no zone dc9"), "{err}");
}
