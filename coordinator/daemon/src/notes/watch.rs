//! What is looked at again and again, for a note: certificates that run out, and routers that do not follow.

use super::{CERTIFICATE_EXPIRES, CONFIGURATION, Notes, STALE_ROUTER};
use crate::config::{Config, ProviderConfig};
use crate::directory::DirectoryService;
use baton_core::ids::{Epoch, Revision};
use baton_core::time::Span;
use baton_provider::tls::TlsFiles;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often certificates are looked at, and how long before their end they are told of.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(3_600);
const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * 86_400);
/// How often routers are looked at.
const ROUTERS_EVERY: Duration = Duration::from_secs(5);
/// After so long behind, without a step forward, a router is stale.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// After so long it is gone, and forgotten.
const GONE_AFTER: Duration = Duration::from_secs(900);

/// What the configuration allows and should not be forgotten.
pub fn of_configuration(notes: &Notes, config: &Config) {
    for (number, issue) in config.issues.iter().enumerate() {
        notes.put(CONFIGURATION, &number.to_string(), issue, None);
    }
}

/// Looks at the certificates that this host shows and trusts, until `stop`.
pub async fn certificates(notes: Notes, config: Arc<Config>, stop: CancellationToken) {
    loop {
        for (section, files) in tls_of(&config) {
            for key in ["cert_file", "ca_file"] {
                let about = format!("{section}.{key}");
                match files.expiring(CERTIFICATE_SOON).into_iter().find(|fault| fault.key == key) {
                    Some(fault) => {
                        let text = format!("{about} {}: {}", fault.path.display(), fault.rule);
                        notes.put(CERTIFICATE_EXPIRES, &about, text, None);
                    }
                    None => notes.take_back(CERTIFICATE_EXPIRES, &about),
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CERTIFICATES_EVERY) => {}
        }
    }
}

fn tls_of(config: &Config) -> Vec<(&'static str, &TlsFiles)> {
    let named = [("provider", Some(&config.provider)), ("provider.next", config.next.as_ref())];
    named
        .into_iter()
        .filter_map(|(section, provider)| {
            let files = match provider? {
                ProviderConfig::Stateboard { tls, .. } => tls.as_ref(),
                ProviderConfig::Etcd(etcd) => etcd.tls.as_ref(),
                ProviderConfig::Embedded { .. } => None,
            };
            Some((section, files?))
        })
        .collect()
}

/// Looks at the routers that acknowledge here, until `stop`.
pub async fn routers(notes: Notes, service: DirectoryService, stop: CancellationToken) {
    let mut behind = Behind::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUTERS_EVERY) => {}
        }
        let gone = behind.look(&service.acknowledged(), service.current(), Instant::now(), &notes);
        service.forget(&gone);
    }
}

/// Which routers are behind, where they stand, and since when.
#[derive(Debug, Default)]
struct Behind(BTreeMap<String, ((Epoch, Revision), Instant)>);

impl Behind {
    /// Notes the stale ones; answers those that are gone.
    fn look(
        &mut self,
        acknowledged: &BTreeMap<String, (Epoch, Revision)>,
        current: (Epoch, Revision),
        now: Instant,
        notes: &Notes,
    ) -> Vec<String> {
        self.0.retain(|router, (at, _)| {
            // A step forward is a sign of life, however far it is behind.
            let is_as_before = *at != current && acknowledged.get(router) == Some(at);
            if !is_as_before {
                notes.take_back(STALE_ROUTER, router);
            }
            is_as_before
        });
        let late = acknowledged.iter().filter(|(_, at)| **at != current);
        for (router, at) in late {
            self.0.entry(router.clone()).or_insert((*at, now));
        }
        let mut gone = Vec::new();
        for (router, (at, since)) in &self.0 {
            let waited = now.saturating_duration_since(*since);
            if waited >= GONE_AFTER {
                notes.take_back(STALE_ROUTER, router);
                gone.push(router.clone());
            } else if waited >= STALE_AFTER {
                let ago = Span::from_secs(waited.as_secs());
                let text = format!(
                    "router {router} stands at {}/{} for {ago}, and the masters are at {}/{}",
                    at.0, at.1.0, current.0, current.1.0
                );
                notes.put(STALE_ROUTER, router, text, None);
            }
        }
        self.0.retain(|router, _| !gone.contains(router));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(revision: u64) -> (Epoch, Revision) {
        (Epoch { generation: 1, number: 2 }, Revision(revision))
    }

    fn texts(notes: &Notes) -> Vec<String> {
        notes.current(Instant::now()).into_iter().map(|note| note.text).collect()
    }

    #[test]
    fn a_router_is_stale_when_it_stands_still_behind_the_masters() {
        let (mut behind, notes, now) = (Behind::default(), Notes::default(), Instant::now());
        let mut told = BTreeMap::from([("r1".to_owned(), at(5)), ("r2".to_owned(), at(7))]);
        let none = Vec::<String>::new();
        assert_eq!(behind.look(&told, at(7), now, &notes), none);
        assert_eq!(behind.look(&told, at(7), now + STALE_AFTER, &notes), none);
        assert_eq!(texts(&notes), ["router r1 stands at 1.2/5 for 60s, and the masters are at 1.2/7"]);
        // It goes on, one behind: alive, and given its time anew.
        told.insert("r1".to_owned(), at(6));
        behind.look(&told, at(7), now + STALE_AFTER + ROUTERS_EVERY, &notes);
        assert_eq!(texts(&notes), none);
        told.insert("r1".to_owned(), at(7));
        behind.look(&told, at(7), now + STALE_AFTER * 3, &notes);
        assert_eq!((texts(&notes), behind.0.len()), (none, 0));
    }

    #[test]
    fn a_router_that_is_gone_is_forgotten() {
        let (mut behind, notes, now) = (Behind::default(), Notes::default(), Instant::now());
        let told = BTreeMap::from([("r1".to_owned(), at(5))]);
        behind.look(&told, at(7), now, &notes);
        assert_eq!(behind.look(&told, at(8), now + GONE_AFTER, &notes), ["r1"]);
        assert_eq!(texts(&notes), Vec::<String>::new());
    }
}
