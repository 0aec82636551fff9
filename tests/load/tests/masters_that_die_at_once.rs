//! Sixty sets, twenty of whose masters end at one moment. A long lease: a busy machine must not let a right lapse, and what
//! is here to be shown rests on none.

use baton_client::status::ReplicaSetStatus;
use baton_client::{Master, OperatorClient};
use baton_coordinator::config::{Config, Overrides};
use baton_coordinator::daemon;
use baton_core::ids::ClusterName;
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_provider::identity_of;
use load::{Changed, Fleet, FleetConfig, Pace, Plan, Router};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const SETS: usize = 60;
const VICTIMS: usize = 20;
/// Generous: it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stateboard and a coordinator without instances, both of this process.
struct Cluster {
    config: Config,
    coordinator: String,
    _folder: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stop = CancellationToken::new();
        let board = start_board(folder.path(), &stop).await;
        let config = configuration(folder.path(), &board);
        let listeners = daemon::bind(&config).await.expect("ports are free");
        let coordinator = listeners.grpc_address().expect("bound").to_string();
        let (running, shutdown) = (config.clone(), stop.clone());
        tokio::spawn(async move {
            let ended = daemon::run(running, listeners, "nothing is guarded".into(), shutdown, || {}).await;
            ended.expect("the daemon ends well");
        });
        Self { config, coordinator, _folder: folder, _stop: stop.drop_guard() }
    }
}

async fn start_board(folder: &Path, stop: &CancellationToken) -> String {
    let options = baton_stateboard::Options {
        identity: identity_of(ClusterName::parse("load").expect("a name"), ""),
        data_dir: folder.join("board"),
        seed_settings: Settings { lease_ttl: Span::from_secs(20), ..Settings::default() },
        limits: baton_board::Limits::default(),
    };
    let board = baton_stateboard::open(options).expect("a new folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = stop.clone();
    tokio::spawn(async move { board.serve(listener, None, stop).await.expect("it serves") });
    format!("http://{address}")
}

fn configuration(folder: &Path, board: &str) -> Config {
    let text = format!(
        "[cluster]\nname = \"load\"\n[provider]\nkind = \"stateboard\"\nendpoints = [\"{board}\"]\n\
         [coordinator]\nname = \"arbiter\"\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\nstate_dir = \"{}\"\n",
        folder.display()
    );
    Config::from_text("load.toml", &text, [], &Overrides::default()).expect("a good configuration")
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {PATIENCE:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_replaced_exactly_once_and_nobody_else_is() {
    let cluster = Cluster::start().await;
    let pace = Pace { engine: Duration::from_millis(1), disk: Duration::from_millis(1) };
    let plan = Plan { sets: 0..SETS, per_host: 10 };
    let fleet = FleetConfig::new(cluster.config.clone(), plan, pace);
    let fleet = in_time("the start of the hosts", Fleet::start(fleet)).await.expect("the provider answers");
    let mut router = Router::start(&cluster.coordinator).expect("an address");
    in_time("the first appointments", router.until_active(SETS)).await;
    let before = router.masters();
    assert_eq!(before.len(), SETS);
    in_time("in-sync sets of three", full_in_sync_sets(&cluster, &before)).await;

    // Every third, of every host.
    let victims: BTreeMap<String, Master> =
        before.iter().step_by(SETS / VICTIMS).map(|(set, master)| (set.clone(), master.clone())).collect();
    fleet.end_engines(victims.values().map(|master| master.instance.as_str()));
    let mut changed: BTreeMap<String, Changed> = BTreeMap::new();
    in_time("the replacement", router.until_replaced(&victims, &mut changed)).await;
    // The old masters come back as replicas, and change nothing by it.
    in_time("in-sync sets of three again", full_in_sync_sets(&cluster, &router.masters())).await;

    let after = router.masters();
    for (set, old) in &before {
        let (new, died) = (&after[set], victims.contains_key(set));
        assert_eq!(new.term, old.term + u64::from(died), "{set}: one term for the death, and none without");
        assert_eq!(new.instance != old.instance, died, "{set}: {old:?} became {new:?}");
    }
    let seen = fleet.seen();
    assert_eq!(seen.promotions, (SETS + VICTIMS) as u64, "each appointment promotes once: {seen:?}");
    assert_eq!((seen.two_writable, seen.killed), (0, 0), "{seen:?}");
}

/// Waits until every set has all its members in its in-sync set, at the term that the router knows.
async fn full_in_sync_sets(cluster: &Cluster, masters: &BTreeMap<String, Master>) {
    let client = OperatorClient::new([cluster.coordinator.as_str()], PATIENCE).expect("an address");
    let full = |set: &ReplicaSetStatus| {
        masters.get(&set.replicaset).is_some_and(|master| master.term == set.term)
            && set.members.len() == 3
            && set.members.iter().all(|member| member.in_sync)
    };
    loop {
        let status = client.status().await.expect("the coordinator answers");
        if status.replicasets.len() == masters.len() && status.replicasets.iter().all(full) {
            return;
        }
        // tidy: waits because the view that is asked for is made every tenth of a second
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
