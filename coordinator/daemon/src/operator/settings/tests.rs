//! Against the stateboard in memory, whose answers are lost where a test says so.

use super::*;
use baton_client::status::{ClusterStatus, MemberStatus, ReplicaSetStatus};
use baton_core::ids::{ClusterName, CoordinatorName, Endpoint, InstanceName, ReplicaSetName, Zone};
use baton_core::record::Member;
use baton_core::time::Span;
use baton_provider::memory::{Faults, MemoryBoard, MemoryProvider};
use baton_provider::{Candidate, SettingsOutcome, WriteOutcome, identity_of};

struct Bench {
    board: MemoryBoard,
    provider: MemoryProvider,
}

impl Bench {
    /// `a1` and `a2` of `orders-1` in `dc1`, `b1` of `users` in `dc2`.
    async fn new() -> Self {
        let identity = identity_of(ClusterName::parse("orders").expect("a name"), "secret");
        let board = MemoryBoard::new(identity.clone(), Settings::default());
        let provider = board.client(identity);
        let candidate = Candidate {
            coordinator: CoordinatorName::parse("host-a").expect("a name"),
            address: Endpoint("10.0.0.1:4402".into()),
        };
        let session = provider.campaign(&candidate, None).await.expect("nobody else campaigns");
        for (set, instance, zone) in
            [("orders-1", "a1", "dc1"), ("orders-1", "a2", "dc1"), ("users", "b1", "dc2")]
        {
            let put = provider.put_member(session.grant().token, member(set, instance, zone)).await;
            assert!(matches!(put, Ok(WriteOutcome::Applied(_))), "{put:?}");
        }
        Self { board, provider }
    }

    async fn put(&self, changes: &[&str]) -> Result<v1::SettingsResponse, Refused> {
        put(&self.provider, &of(changes)).await
    }

    async fn settings(&self) -> Settings {
        self.provider.read().await.expect("it answers").settings
    }
}

fn name(text: &str) -> InstanceName {
    InstanceName::parse(text).expect("a name")
}

fn member(set: &str, instance: &str, zone: &str) -> Member {
    Member {
        instance: name(instance),
        replicaset: ReplicaSetName::parse(set).expect("a name"),
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        endpoint: Endpoint("10.0.0.1:6379".into()),
        zone: Some(Zone::parse(zone).expect("a name")),
        priority: 100,
        electable: true,
        bootstrap_members: 1,
        version: Version(0),
    }
}

fn of(changes: &[&str]) -> v1::SettingsChange {
    let changes = changes.iter().map(ToString::to_string).collect();
    v1::SettingsChange { changes, ..v1::SettingsChange::default() }
}

#[tokio::test]
async fn a_change_is_put_and_says_what_it_changed_and_what_follows() {
    let bench = Bench::new().await;
    let done = bench.put(&["lease_ttl=1s", "replicaset.users.ack_quorum=1"]).await.expect("it is safe");
    assert_eq!(done.version, 1);
    assert_eq!(done.changed, ["lease_ttl: 3s → 1s", "replicaset.users.ack_quorum: not set → 1"]);
    assert!(done.remarks[0].contains("silent 1.833s (was 5.5s)"), "{:?}", done.remarks);
    assert!(done.remarks.iter().any(|remark| remark.contains("waits out the longest lease")));
    assert!(
        done.remarks.iter().any(|remark| remark.contains("users has 0 beside its master")),
        "{:?}",
        done.remarks
    );
    assert_eq!(bench.settings().await.lease_ttl, Span::from_secs(1));
    let again = bench.put(&["lease_ttl=1s"]).await.expect("it holds already");
    assert_eq!((again.version, again.changed), (1, vec![]), "nothing is written for nothing");
}

#[tokio::test]
async fn all_problems_are_told_at_once_and_nothing_is_changed() {
    let bench = Bench::new().await;
    let refused = bench.put(&["lease_ttl=1ms", "loss_policy=some"]).await.expect_err("two are wrong");
    assert_eq!(refused.kind, RefusedKind::BadSettings);
    assert!(refused.message.contains("loss_policy = \"some\": must be one of"), "{refused}");
    assert!(refused.message.contains("lease_ttl = 1ms is outside"), "{refused}");
    assert_eq!(bench.settings().await, Settings::default());
}

#[tokio::test]
async fn a_name_that_nobody_has_is_taken_only_by_force() {
    let bench = Bench::new().await;
    for (change, known) in [
        ("replicaset.order-1.ack_quorum=1", "known are: orders-1, users"),
        ("member.a9.electable=false", "known are: a1, a2, b1"),
        ("drained=dc9", "known are: dc1, dc2"),
    ] {
        let refused = bench.put(&[change]).await.expect_err("nobody has it");
        assert_eq!(refused.kind, RefusedKind::NotFound);
        assert!(refused.what_to_do.starts_with(known), "{refused:?}");
        let forced = v1::SettingsChange { force: true, ..of(&[change]) };
        put(&bench.provider, &forced).await.expect("it was forced");
        bench.put(&[change]).await.expect("it is there already");
    }
}

#[tokio::test]
async fn who_would_be_left_is_told() {
    let bench = Bench::new().await;
    let done = bench.put(&["drained=dc2"]).await.expect("it is safe");
    assert_eq!(
        done.remarks,
        ["users has nobody outside the drained zones who could lead it: it stays there"]
    );
    let done = bench.put(&["member.a1.electable=false", "member.a2.electable=false"]).await;
    let remarks = done.expect("it is safe").remarks;
    assert_eq!(remarks, ["nobody of orders-1 is left who may be appointed"]);
}

#[tokio::test]
async fn a_document_is_put_only_from_the_version_that_was_seen() {
    let bench = Bench::new().await;
    let seen = show(&bench.provider, &Settings::default()).await;
    let document = seen.toml.replace("lease_ttl = \"3s\"", "lease_ttl = \"2s\"");
    let change = |expected| v1::SettingsChange { expected, document: Some(document.clone()), ..of(&[]) };
    let refused = put(&bench.provider, &change(None)).await.expect_err("no version");
    assert_eq!(refused.kind, RefusedKind::BadSettings);
    let done = put(&bench.provider, &change(Some(seen.version))).await.expect("it is safe");
    assert_eq!((done.version, done.changed.as_slice()), (1, ["lease_ttl: 3s → 2s".to_owned()].as_slice()));
    put(&bench.provider, &change(Some(seen.version))).await.expect("asked again, it is known as done");
    bench.put(&["immunity=1s"]).await.expect("somebody else");
    let refused = put(&bench.provider, &change(Some(seen.version))).await.expect_err("overtaken");
    assert_eq!(refused.kind, RefusedKind::Overtaken);
    assert_eq!(bench.settings().await.immunity, Span::from_secs(1), "nothing was overwritten");
}

#[tokio::test]
async fn a_check_alone_changes_nothing() {
    let bench = Bench::new().await;
    let change = v1::SettingsChange { dry_run: true, ..of(&["lease_ttl=1s"]) };
    let checked = put(&bench.provider, &change).await.expect("it is safe");
    assert_eq!(checked.changed, ["lease_ttl: 3s → 1s"]);
    assert_eq!(bench.settings().await, Settings::default());
}

/// The first write is done and its answer lost; the second is the same write, and meets its own work.
#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_the_same_write() {
    let bench = Bench::new().await;
    let before = bench.settings().await;
    let after = Settings { ack_quorum: 1, ..before.clone() };
    bench.board.set_faults(Faults { drop_answers: true, ..Faults::default() });
    let refused = write::settle(&bench.provider, before.version, &after).await;
    assert!(matches!(refused, Err(Refused { kind: RefusedKind::Unknown, .. })), "nobody ever answered");
    bench.board.set_faults(Faults::default());
    let settled = write::settle(&bench.provider, before.version, &after).await.expect("it answers again");
    assert!(matches!(settled, Put::Done(now) if now.version == Version(1)), "raised once");
}

#[tokio::test]
async fn where_the_provider_is_away_nothing_is_changed_and_what_is_known_is_shown() {
    let bench = Bench::new().await;
    bench.board.set_faults(Faults { refuse: true, ..Faults::default() });
    let refused = bench.put(&["lease_ttl=1s"]).await.expect_err("it is away");
    assert_eq!(refused.kind, RefusedKind::ProviderUnavailable);
    let known = Settings { ack_quorum: 2, ..Settings::default() };
    let shown = show(&bench.provider, &known).await;
    assert!(shown.toml.contains("ack_quorum = 2") && shown.remarks.len() == 1, "{shown:?}");
}

#[tokio::test]
async fn the_list_names_everybody_with_what_was_said() {
    let bench = Bench::new().await;
    let change = ["member.a1.priority=7", "member.a9.expelled=true"];
    put(&bench.provider, &v1::SettingsChange { force: true, ..of(&change) }).await.expect("it is safe");
    let listed = list(&bench.provider).await.expect("it answers").members;
    let names: Vec<_> = listed.iter().map(|member| member.instance.as_str()).collect();
    assert_eq!(names, ["a1", "a2", "b1", "a9"]);
    assert_eq!((listed[0].priority, listed[0].said_priority), (100, Some(7)));
    assert!(!listed[3].listed && listed[3].expelled, "only spoken of");
}

#[tokio::test]
async fn who_is_attached_is_removed_only_for_good() {
    let bench = Bench::new().await;
    let attached =
        MemberStatus { instance: "a1".into(), coordinator: Some("host-a".into()), ..MemberStatus::default() };
    let set = ReplicaSetStatus { members: vec![attached], ..ReplicaSetStatus::default() };
    let status = ClusterStatus { replicasets: vec![set], ..ClusterStatus::default() };
    let refused = removal(&bench.provider, &status, &name("a1"), false).await.expect_err("it is attached");
    assert_eq!(refused.kind, RefusedKind::NotPossible);
    for (who, expel) in [("a1", true), ("a2", false)] {
        removal(&bench.provider, &status, &name(who), expel).await.expect("nothing is against it");
    }
    let refused = removal(&bench.provider, &status, &name("a9"), true).await.expect_err("there is none");
    assert_eq!(refused.kind, RefusedKind::NotFound);
}

#[tokio::test]
async fn somebody_who_is_faster_is_noticed() {
    let bench = Bench::new().await;
    let theirs = Settings { immunity: Span::from_secs(9), ..Settings::default() };
    let put = bench.provider.put_settings(Version(0), theirs).await;
    assert!(matches!(put, Ok(SettingsOutcome::Applied(_))), "{put:?}");
    let settled = write::settle(&bench.provider, Version(0), &Settings::default()).await.expect("answered");
    assert!(matches!(settled, Put::Overtaken(now) if now.immunity == Span::from_secs(9)));
}
