//! What is true of etcd alone: its keys as a person sees them, its leases, its leader, its users. The sentences about etcd in
//! docs/protocol.md name these cases.

use baton_core::ids::{ClusterName, TaskId, Version};
use baton_core::record::{Move, MovePhase, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_provider::etcd::{EtcdOptions, EtcdProvider};
use baton_provider::tls::TlsFiles;
use baton_provider::{
    AppointOutcome, Durable, FatalError, Identity, LockSession, ProviderError, Renewal, StateProvider,
    WatchEvent, identity_of,
};
use contract::{
    Arbiter, Direction, Kind, LONG, Plan, SHORT, SecureEtcd, Trap, World, candidate, change, record, set,
    within,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt as _;

async fn hold(client: &dyn StateProvider, who: &str) -> Box<dyn LockSession> {
    within(client.campaign(&candidate(who), None)).await.expect("the lock")
}

async fn granted(session: &mut dyn LockSession) -> Span {
    match within(session.renew()).await.expect("an answer") {
        Renewal::Granted { ttl } => ttl,
        Renewal::Lost { current } => panic!("the lock is lost to {current}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reads_the_keys() {
    let arbiter = Arbiter::new(Kind::Etcd1).await;
    arbiter.applied(vec![arbiter.record("orders-1", 7, 1, "a1")]).await;
    within(arbiter.client.put_member(arbiter.token, contract::member("orders-1", "a1"))).await.expect("put");
    let raw = arbiter.world.raw().await;
    let names: Vec<String> = raw.all().await.into_iter().map(|kv| kv.name).collect();
    assert_eq!(
        names,
        [
            "epoch",
            "identity",
            "lock",
            "replicasets/orders-1/history/7",
            "replicasets/orders-1/members/a1",
            "replicasets/orders-1/record",
            "settings"
        ]
    );
    let epoch = arbiter.token.epoch;
    assert_eq!(
        raw.text("replicasets/orders-1/record").await,
        format!(
            "{{\"format\":1,\"replicaset\":\"orders-1\",\"term\":7,\"version\":1,\"master\":\"a1\",\"endpoint\":\
             \"10.0.0.1:6379\",\"start\":\"7:0\",\"in_sync\":[\"a1\",\"a2\",\"a3\"],\"ack_quorum\":0,\"data_id\":null,\
             \"pinned\":false,\"reason\":\"a test\",\"decided_by\":\"host-a\",\"epoch\":\"{epoch}\",\"at\":\
             \"1970-01-01T00:00:00.001Z\",\"incarnation\":null,\"term_generation\":1}}"
        )
    );
    for kv in raw.all().await {
        assert!(!kv.value.contains('\n'), "{}: one line", kv.name);
        // Whoever reads etcd must not be able to write as the holder.
        assert!(!kv.value.contains(&arbiter.token.secret.0.to_string()), "{}", kv.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_ran_out_leaves_nobody_to_wait_for() {
    let world = World::new(Kind::Etcd1, SHORT).await;
    let mut first = hold(world.client().as_ref(), "host-a").await;
    let sent = Instant::now();
    let ttl = granted(first.as_mut()).await;
    let mut second = hold(world.client().as_ref(), "host-b").await;
    assert!(Span::from_duration(sent.elapsed()) >= ttl, "taken while the first could believe in it");
    assert_eq!(second.grant().predecessor_bound, Span::ZERO);
    assert!(second.grant().token.epoch > first.grant().token.epoch);
    let current = second.grant().token.epoch;
    assert_eq!(within(first.renew()).await.expect("an answer"), Renewal::Lost { current });
    granted(second.as_mut()).await;
}

/// It was read for and judged while the lock was ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_comes_after_its_lock_changes_nothing() {
    let world = World::new(Kind::Etcd1, LONG).await;
    let raw = world.raw().await;
    let route = world.route().await;
    let client = route.client();
    let first = hold(client.as_ref(), "host-a").await;
    let token = first.grant().token;
    let write = vec![change(record("orders-1", 1, 1, "a1", token.epoch))];
    let sprung = route.set(Trap::AnswerHeld);
    let late = tokio::spawn(async move { client.appoint(token, write).await });
    within(sprung).await.expect("the trap was not taken back");
    // As if it had run out.
    let lock = raw.get("lock").await.expect("the lock");
    assert!(raw.delete_if("lock", lock.modified).await);
    let second = hold(world.client().as_ref(), "host-b").await;
    route.open();
    let late = within(late).await.expect("no panic");
    assert_eq!(late, Ok(AppointOutcome::StaleEpoch(second.grant().token.epoch)));
    assert!(within(world.client().read()).await.expect("a snapshot").records.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resignation_is_one_step() {
    let world = World::new(Kind::Etcd1, LONG).await;
    let raw = world.raw().await;
    let client = world.client();
    let first = hold(client.as_ref(), "host-a").await;
    let epoch = first.grant().token.epoch;
    within(first.resign(Span::from_millis(9_100))).await.expect("resigned");
    let names: Vec<String> = raw.all().await.into_iter().map(|kv| kv.name).collect();
    assert!(!names.contains(&"lock".to_owned()), "{names:?}");
    let released = raw.get(&format!("released/{epoch}")).await.expect("it says until when");
    // Others write to the same etcd; between these two revisions there is this transaction only.
    let (before, after) = (released.modified - 1, released.modified);
    let went = (raw.was_there("lock", before).await, raw.was_there("lock", after).await);
    assert_eq!(went, (true, false), "the lock went in the same transaction");
    // The second has less to say, and the third hears of the longest that is left.
    let second = hold(client.as_ref(), "host-b").await;
    assert!(second.grant().predecessor_bound > Span::from_secs(5), "{}", second.grant().predecessor_bound);
    within(second.resign(Span::from_millis(1))).await.expect("resigned");
    let third = hold(client.as_ref(), "host-c").await;
    let bound = third.grant().predecessor_bound;
    assert!(bound > Span::from_secs(5) && bound <= Span::from_secs(11), "{bound}");
    // Nobody keeps them alive: they end when the grants do.
    within(async {
        while raw.all().await.iter().any(|kv| kv.name.starts_with("released/")) {
            tokio::time::sleep(Duration::from_millis(100)).await; // tidy: waits because the leases run out by the clock
        }
    })
    .await;
    within(third.resign(Span::ZERO)).await.expect("resigned");
    let fourth = hold(client.as_ref(), "host-d").await;
    assert_eq!(fourth.grant().predecessor_bound, Span::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_resume_is_to_write_the_key_again() {
    let world = World::new(Kind::Etcd1, LONG).await;
    let raw = world.raw().await;
    let route = world.route().await;
    let first = hold(route.client().as_ref(), "host-a").await;
    let token = first.grant().token;
    let before = raw.get("lock").await.expect("the lock");
    // Its resignation is read for and sent, and then held on its way.
    route.hold(Direction::Requests);
    let resignation = tokio::spawn(first.resign(Span::ZERO));
    let mut again =
        within(world.client().campaign(&candidate("host-a"), Some(token))).await.expect("resumed");
    assert!(again.grant().resumed);
    assert_eq!(again.grant().token, token);
    let after = raw.get("lock").await.expect("the lock");
    assert_eq!(
        (after.created, after.lease),
        (before.created, before.lease),
        "the same epoch, the same lease"
    );
    assert!(after.modified > before.modified, "what was sent before can never land");
    granted(again.as_mut()).await;
    drop(resignation);
    // Sent by hand as it was: on the key as it stood before.
    assert!(!raw.delete_if("lock", before.modified).await, "a late resignation landed");
    granted(again.as_mut()).await;
}

/// The leader sleeps; the others elect another one, and the locks run out and are taken. Then it wakes with renewals in its
/// inbox, and for a moment it may believe that it leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_slept_through_its_succession_renews_nothing() {
    let world = World::alone(Kind::Etcd3, SHORT).await;
    let cluster = |number: usize| {
        let name = ClusterName::parse(&format!("cluster-{number}")).expect("a name");
        identity_of(name, "open sesame")
    };
    for round in 0..2 {
        let leader = world.leader().await;
        let mut firsts = Vec::new();
        for number in 0..6 {
            let client = world.client_of_node_as(leader, cluster(number));
            let mut first = hold(client.as_ref(), "host-a").await;
            granted(first.as_mut()).await;
            firsts.push(first);
        }
        world.freeze(leader);
        let mut seconds = Vec::new();
        for number in 0..6 {
            let client = world.client_of_node_as((leader + 1) % 3, cluster(number));
            seconds.push(hold(client.as_ref(), "host-b").await);
        }
        let renewing: Vec<_> = firsts
            .into_iter()
            .map(|mut first| {
                tokio::spawn(async move {
                    // Some over the stream that they have, some over a new one, as after a time-out.
                    let _ = tokio::time::timeout(Duration::from_millis(30), first.renew()).await;
                    first.renew().await
                })
            })
            .collect();
        // Long enough for the renewals to be sent; less than what their clients wait for an answer.
        tokio::time::sleep(Duration::from_millis(200)).await; // tidy: waits because what is sent has to arrive
        world.thaw(leader);
        for (renewing, second) in renewing.into_iter().zip(seconds) {
            let renewal = within(renewing).await.expect("no panic").expect("an answer");
            let current = second.grant().token.epoch;
            assert_eq!(renewal, Renewal::Lost { current }, "round {round}: beside the second");
            within(second.resign(Span::ZERO)).await.expect("resigned");
        }
        world.well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_generation_ends_every_epoch_before_it() {
    let world = World::new(Kind::Etcd1, SHORT).await;
    let raw = world.raw().await;
    let client = world.client();
    let mut first = hold(client.as_ref(), "host-a").await;
    let token = first.grant().token;
    assert_eq!(raw.text("epoch").await, "{\"format\":1,\"generation\":1}");
    let mut events = within(client.watch(None)).await.expect("a watch");
    within(events.next()).await.expect("it goes on").expect("a snapshot");
    // What is done after etcd was restored from a snapshot.
    raw.put("epoch", "{\"format\":1,\"generation\":2}").await;
    let write = vec![change(record("orders-1", 1, 1, "a1", token.epoch))];
    match within(client.appoint(token, write)).await.expect("an answer") {
        AppointOutcome::StaleEpoch(current) => assert_eq!(current.generation, 2),
        other => panic!("{other:?}"),
    }
    let renewal = within(first.renew()).await.expect("an answer");
    assert!(matches!(renewal, Renewal::Lost { current } if current.generation == 2), "{renewal:?}");
    let told = within(events.next()).await.expect("it goes on").expect("no error");
    let WatchEvent::Update(update) = told else { panic!("{told:?}") };
    let [baton_provider::Item::Lock(lock)] = update.items.as_slice() else { panic!("{update:?}") };
    assert_eq!((lock.epoch.generation, &lock.holder), (2, &None));
    let second = hold(client.as_ref(), "host-b").await;
    let epoch = second.grant().token.epoch;
    assert_eq!(epoch.generation, 2);
    assert!(epoch > lock.epoch && lock.epoch > token.epoch);
    let write = vec![change(record("orders-1", 1, 1, "a1", epoch))];
    let outcome = within(client.appoint(second.grant().token, write)).await.expect("an answer");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_value_is_named_and_never_written_over() {
    let arbiter = Arbiter::new(Kind::Etcd1).await;
    let raw = arbiter.world.raw().await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let key = "replicasets/orders-1/record";
    let good = raw.text(key).await;
    for damaged in
        ["", "{", "{\"format\":2}", &good.replace("orders-1", "orders-2"), &good.replace("\"a2\"", "7")]
    {
        raw.put(key, damaged).await;
        let next = || vec![change(arbiter.record("orders-1", 2, 2, "a2"))];
        let answers = [
            within(arbiter.client.read()).await.map(|_| ()),
            within(arbiter.client.appoint(arbiter.token, next())).await.map(|_| ()),
            within(arbiter.client.remove_member(arbiter.token, &set("orders-1"), &contract::name("a9")))
                .await
                .map(|_| ()),
        ];
        for answer in answers {
            match answer {
                Err(ProviderError::Fatal(FatalError::Protocol(text))) => {
                    assert!(text.contains(key), "{damaged:?}: {text}");
                }
                other => panic!("{damaged:?}: {other:?}"),
            }
        }
        assert_eq!(raw.text(key).await, damaged, "it was written over");
    }
    raw.put(key, &good).await;
    arbiter.applied(vec![arbiter.record("orders-1", 2, 2, "a2")]).await;
}

/// A move of the state takes all tasks along, as long as they may be: etcd takes no request of more than 1.5 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_tasks_move_in_and_out() {
    let world = World::new(Kind::Etcd1, LONG).await;
    let endpoints = world.addresses().iter().map(ToString::to_string).collect();
    let options = EtcdOptions {
        prefix: "/moved".to_owned(),
        ..EtcdOptions::new(endpoints, World::identity(), Duration::from_secs(10))
    };
    let end = EtcdProvider::new(options).expect("good endpoints");
    let mut durable = Durable::genesis(World::identity(), Settings::default());
    durable.lock.epoch.number = 1;
    let arriving =
        Move { id: 7, phase: MovePhase::Arriving, other: "elsewhere".to_owned(), lock: Span::from_secs(1) };
    for tasks in [0..150_u64, 100..200] {
        let task = |id| StoredTask { id: TaskId(id), body: "x".repeat(16 * 1024), version: Version(id) };
        durable.tasks = tasks.map(|id| (TaskId(id + 1), task(id + 1))).collect();
        within(end.fill(&durable, &arriving)).await.expect("there is room");
        let moved = within(end.export()).await.expect("what was filled in");
        assert_eq!(moved.tasks, durable.tasks, "those of before are gone, the others are as they were");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_gone_are_not_made_anew_behind_the_back_of_guards() {
    let mut arbiter = Arbiter::new(Kind::Etcd1).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let raw = arbiter.world.raw().await;
    raw.delete_all().await;
    let refused = |answer: Result<(), ProviderError>| match answer {
        Err(ProviderError::NotApplied(text)) => assert!(text.contains("identity"), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(within(arbiter.client.read()).await.map(|_| ()));
    refused(within(arbiter.client.join()).await);
    let next = vec![change(arbiter.record("orders-1", 2, 2, "a2"))];
    refused(within(arbiter.client.appoint(arbiter.token, next)).await.map(|_| ()));
    let renewal = tokio::time::timeout(Duration::from_secs(1), arbiter.session.renew()).await;
    assert!(renewal.is_err(), "{renewal:?} without any key");
    assert!(raw.all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_many_coordinators_makes_the_cluster_once() {
    let world = World::new(Kind::Etcd1, LONG).await;
    let raw = world.raw().await;
    raw.delete_all().await;
    let joining: Vec<_> = (0..8)
        .map(|_| {
            let client = world.client();
            tokio::spawn(async move { client.join().await })
        })
        .collect();
    for joined in joining {
        within(joined).await.expect("no panic").expect("joined");
    }
    for kv in raw.all().await {
        assert_eq!(kv.created, kv.modified, "{} was written twice", kv.name);
    }
    let other: Identity = identity_of(World::identity().cluster, "open barley");
    let foreign = within(world.client_of(other).join()).await;
    assert!(matches!(foreign, Err(ProviderError::Fatal(FatalError::ForeignCluster(_)))), "{foreign:?}");
}

/// Tokens live in the memory of etcd's members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_etcd_forgot_is_asked_for_anew() {
    let plan = Plan { password: Some("open sesame"), ..Plan::default() };
    let mut arbiter = Arbiter::of(World::planned(Kind::Etcd1, plan).await).await;
    let mut events = within(arbiter.client.watch(None)).await.expect("a watch");
    within(events.next()).await.expect("it goes on").expect("a snapshot");
    for term in 1..=2 {
        arbiter.world.restart().await;
        granted(arbiter.session.as_mut()).await;
        arbiter.applied(vec![arbiter.record("orders-1", term, term, "a1")]).await;
        let told = within(events.next()).await.expect("it goes on").expect("no error");
        assert!(matches!(told, WatchEvent::Update(_)), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_asked_for_both_ways() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = |name: &str| folder.path().join(name);
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no name is needed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        std::fs::write(path(name), issuer.pem()).expect("writable");
        issuer
    };
    let issue = |issuer: &CertifiedIssuer<'static, KeyPair>, name: &str| {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, issuer).expect("signed");
        let (cert_file, key_file) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        std::fs::write(&cert_file, certificate.pem()).expect("writable");
        std::fs::write(&key_file, key.serialize_pem()).expect("writable");
        (cert_file, key_file)
    };
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let (server, client, stranger) =
        (issue(&ours, "server"), issue(&ours, "client"), issue(&theirs, "stranger"));
    let etcd = SecureEtcd::new(&server.0, &server.1, &path("ours"));
    let connect = |ca: &str, own: Option<&(PathBuf, PathBuf)>| {
        let files = TlsFiles {
            ca_file: Some(path(ca)),
            cert_file: own.map(|own| own.0.clone()),
            key_file: own.map(|own| own.1.clone()),
        };
        let endpoints = vec![format!("https://{}", etcd.clients)];
        let options = EtcdOptions {
            tls: Some(files),
            ..EtcdOptions::new(endpoints, World::identity(), Duration::from_secs(2))
        };
        EtcdProvider::new(options).expect("good files")
    };
    let good = connect("ours", Some(&client));
    within(async { while good.join().await.is_err() {} }).await;
    let mut session = hold(&good, "host-a").await;
    granted(session.as_mut()).await;
    let token = session.grant().token;
    let write = vec![change(record("orders-1", 1, 1, "a1", token.epoch))];
    let outcome = within(good.appoint(token, write)).await.expect("an answer");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    // Without a certificate, with one of strangers, and where the server's is of strangers.
    for bad in [connect("ours", None), connect("ours", Some(&stranger)), connect("theirs", Some(&client))] {
        let answer = within(bad.read()).await;
        assert!(matches!(answer, Err(ProviderError::NotApplied(_))), "{answer:?}");
    }
}
