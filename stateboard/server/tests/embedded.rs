//! A stateboard inside this very process.

use crate::board::{PATIENCE, candidate, change};
use baton_board::Limits;
use baton_core::ids::ClusterName;
use baton_core::record::Settings;
use baton_provider::{AppointOutcome, StateProvider, identity_of};
use baton_stateboard::{Embedded, Options, embed};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_stateboard_serves_its_own_process_until_the_shutdown() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        identity: identity_of(ClusterName::parse("orders").expect("a name"), ""),
        data_dir: directory.path().to_owned(),
        seed_settings: Settings::default(),
        limits: Limits::default(),
    };
    for term in 1..=2 {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let shutdown = CancellationToken::new();
        let Embedded { provider, server } =
            embed(options.clone(), listener, PATIENCE, shutdown.clone()).await.expect("it starts");
        let session = provider.campaign(&candidate(), None).await.expect("the lock");
        let token = session.grant().token;
        let outcome = provider.appoint(token, vec![change("orders-1", term, token.epoch)]).await;
        assert!(matches!(outcome, Ok(AppointOutcome::Applied(_))), "{outcome:?}");
        session.resign(baton_core::time::Span::ZERO).await.expect("resigned");
        shutdown.cancel();
        server.await.expect("no panic").expect("no error");
    }
}
