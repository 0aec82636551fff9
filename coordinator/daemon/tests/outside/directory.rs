//! Routers over gRPC: the snapshot, the changes, the resumption, and who is refused.

use crate::support::{Fake, get};
use baton_client::{Client, ClientOptions, MasterState};
use baton_core::ids::{Epoch, Revision};
use baton_proto::v1::directory_client::DirectoryClient;
use baton_proto::v1::{GetMastersRequest, MastersChange, WatchMastersRequest};
use std::net::SocketAddr;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

const DEADLINE: Duration = Duration::from_secs(20);

async fn connect(address: SocketAddr) -> DirectoryClient<Channel> {
    DirectoryClient::connect(format!("http://{address}")).await.expect("it listens")
}

async fn next(changes: &mut Streaming<MastersChange>) -> MastersChange {
    let message = tokio::time::timeout(DEADLINE, changes.message()).await.expect("it comes in time");
    message.expect("no error").expect("the watch goes on")
}

#[tokio::test]
async fn a_watch_is_a_snapshot_then_changes_and_resumes_without_one() {
    let mut fake = Fake::new("host-a", &[]);
    let (address, _) = fake.directory().await;
    fake.publish_masters(1, &[("orders-1", 7, "a2"), ("orders-2", 1, "b1")]);
    let mut directory = connect(address).await;
    let mut changes =
        directory.watch_masters(WatchMastersRequest::default()).await.expect("it is known").into_inner();
    let first = next(&mut changes).await;
    assert!(first.snapshot);
    assert_eq!((first.revision, first.masters.len()), (1, 2));

    fake.publish_masters(2, &[("orders-1", 8, "a1")]);
    let second = next(&mut changes).await;
    assert!(!second.snapshot);
    let told: Vec<_> = second
        .masters
        .iter()
        .map(|entry| (entry.replicaset.as_str(), entry.term, entry.state.as_str()))
        .collect();
    assert_eq!(told, [("orders-1", 8, "active"), ("orders-2", 1, "none")]);

    let resume = WatchMastersRequest {
        after_epoch: second.epoch,
        after_revision: 2,
        ..WatchMastersRequest::default()
    };
    let mut resumed = directory.watch_masters(resume).await.expect("it is known").into_inner();
    fake.publish_masters(3, &[("orders-1", 9, "a2")]);
    let third = next(&mut resumed).await;
    assert!(!third.snapshot, "nothing was missed, so nothing is repeated");
    assert_eq!((third.revision, third.masters.len()), (3, 1));
}

#[tokio::test]
async fn nothing_is_made_up_before_an_arbiter_was_heard_and_strangers_are_refused() {
    let mut fake = Fake::new("host-a", &[]);
    let (address, _) = fake.directory().await;
    let mut directory = connect(address).await;
    let early = directory.get_masters(GetMastersRequest::default()).await.expect_err("nothing is known");
    assert_eq!(early.code(), Code::Unavailable);
    fake.publish_masters(1, &[("orders-1", 7, "a2")]);
    let foreign = GetMastersRequest { cluster: "billing".into() };
    let refused = directory.get_masters(foreign).await.expect_err("it is not ours");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let detail = baton_client::refusal::of_status(&refused).expect("it is typed");
    assert_eq!((detail.reason.as_str(), detail.facts["cluster"].as_str()), ("foreign_cluster", "orders"));
    let ours = GetMastersRequest { cluster: "orders".into() };
    assert_eq!(directory.get_masters(ours).await.expect("it is ours").into_inner().masters.len(), 1);
}

#[tokio::test]
async fn a_router_follows_acknowledges_and_is_counted() {
    let mut fake = Fake::new("host-a", &[]);
    let (address, service) = fake.directory().await;
    let http = fake.http().await;
    fake.publish_masters(1, &[("orders-1", 7, "a2")]);
    let options =
        ClientOptions { router: Some("router-1".into()), ..ClientOptions::new([address.to_string()]) };
    let mut client = Client::start(options).expect("a good address");
    let master = client.wait_for("orders-1", |master| master.term == 7);
    let master = tokio::time::timeout(DEADLINE, master).await.expect("it comes in time");
    assert_eq!((master.endpoint.as_str(), master.state), ("a2:6379", MasterState::Active));
    fake.publish_masters(2, &[("orders-1", 8, "a1")]);
    let until = tokio::time::Instant::now() + DEADLINE;
    let second = Some((Epoch { generation: 1, number: 12 }, Revision(2)));
    while service.acknowledged().get("router-1").copied() != second {
        assert!(tokio::time::Instant::now() < until, "never acknowledged: {:?}", service.acknowledged());
        tokio::task::yield_now().await;
    }
    assert!(get(http, "/metrics").await.1.contains("baton_routers_watching 1\n"));
    drop(client);
    while !get(http, "/metrics").await.1.contains("baton_routers_watching 0\n") {
        assert!(tokio::time::Instant::now() < until, "the watch of a router that left is kept");
    }
}
