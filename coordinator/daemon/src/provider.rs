//! Makes the provider that the configuration names, and what `[provider.next]` names beside it. Knows no other part of the
//! daemon, so that tools open a provider in the same words.

use crate::config::{Config, EtcdSection, ProviderConfig};
use baton_core::record::Settings;
use baton_provider::etcd::{EtcdOptions, EtcdProvider};
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::switching::SwitchingProvider;
use baton_provider::{Identity, StateProvider};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a request to the provider may take before the lease is known.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// The provider of a daemon. An embedded stateboard serves this daemon's own port on loopback until `board_stop`.
///
/// # Errors
/// What cannot be used of the configuration.
pub async fn open(config: &Config, board_stop: CancellationToken) -> anyhow::Result<SwitchingProvider> {
    let identity = || config.identity.clone();
    let first: Arc<dyn StateProvider> = match &config.provider {
        ProviderConfig::Embedded { data_dir } => embedded(identity(), data_dir, board_stop).await?,
        remote => connect(remote, identity(), true)?,
    };
    let next = match &config.next {
        None => None,
        // What is not there yet comes from the other end, and is never made here.
        Some(next) => Some(connect(next, identity(), false)?),
    };
    Ok(SwitchingProvider::new(first, next))
}

fn connect(
    provider: &ProviderConfig,
    identity: Identity,
    found: bool,
) -> anyhow::Result<Arc<dyn StateProvider>> {
    Ok(match provider {
        ProviderConfig::Stateboard { endpoints, tls, password } => {
            Arc::new(StateboardProvider::new(StateboardOptions {
                tls: tls.clone(),
                password: password.clone(),
                ..StateboardOptions::new(endpoints.clone(), identity, FIRST_TIMEOUT)
            })?)
        }
        ProviderConfig::Etcd(section) => {
            Arc::new(EtcdProvider::new(etcd_options(section, identity, found, FIRST_TIMEOUT))?)
        }
        ProviderConfig::Embedded { .. } => anyhow::bail!("an embedded stateboard is nowhere to be reached"),
    })
}

/// How an etcd is reached; with `found` a cluster that it does not know is made.
#[must_use]
pub fn etcd_options(
    section: &EtcdSection,
    identity: Identity,
    found: bool,
    timeout: Duration,
) -> EtcdOptions {
    EtcdOptions {
        prefix: section.prefix.clone(),
        credentials: section.credentials.clone(),
        tls: section.tls.clone(),
        seed_settings: section.seed_settings.clone(),
        found,
        ..EtcdOptions::new(section.endpoints.clone(), identity, timeout)
    }
}

async fn embedded(
    identity: Identity,
    data_dir: &Path,
    board_stop: CancellationToken,
) -> anyhow::Result<Arc<dyn StateProvider>> {
    let options = baton_stateboard::Options {
        identity: identity.clone(),
        data_dir: data_dir.to_owned(),
        seed_settings: Settings::default(),
        limits: baton_board::Limits::default(),
    };
    let board = tokio::task::spawn_blocking(move || baton_stateboard::open(options)).await??;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        if let Err(error) = board.serve(listener, None, board_stop).await {
            tracing::error!(%error, "the embedded stateboard failed");
        }
    });
    let options = StateboardOptions::new(vec![endpoint], identity, FIRST_TIMEOUT);
    Ok(Arc::new(StateboardProvider::new(options)?))
}
