//! The state provider: each address by itself, whether it is ours, whether it takes our credentials, how long it takes. It
//! is only read; so how long a write takes there is not said.

use super::{Finding, Times, Verdict};
use baton_coordinator::config::{Config, EtcdSection, ProviderConfig};
use baton_coordinator::provider::etcd_options;
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_provider::etcd::EtcdProvider;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{FatalError, Identity, ProviderError, StateProvider};
use std::time::{Duration, Instant};

const CHECK: &str = "provider";
/// How many round trips are measured.
const TRIPS: usize = 5;

/// The rows, and the cluster's settings where they could be read.
pub(super) async fn check(config: &Config, timeout: Duration) -> (Vec<Finding>, Option<Settings>) {
    let (mut findings, mut settings) = (Vec::new(), None);
    if let ProviderConfig::Embedded { .. } = config.provider {
        let why = "it is a stateboard inside the coordinator; its directory is looked at below";
        findings.push(Finding::skipped(CHECK, why));
    }
    for provider in [Some(&config.provider), config.next.as_ref()].into_iter().flatten() {
        for (address, opened) in open(provider, &config.identity, timeout) {
            let (finding, read) = match opened {
                Ok(provider) => ask(&*provider).await,
                Err(error) => (refused(&error), None),
            };
            findings.push(finding.about(address));
            settings = settings.or(read);
        }
    }
    (findings, settings)
}

type Opened = Result<Box<dyn StateProvider>, ProviderError>;

/// One client an address.
fn open(provider: &ProviderConfig, identity: &Identity, timeout: Duration) -> Vec<(String, Opened)> {
    match provider {
        ProviderConfig::Stateboard { endpoints, tls, password } => endpoints
            .iter()
            .map(|endpoint| {
                let options = StateboardOptions {
                    tls: tls.clone(),
                    password: password.clone(),
                    ..StateboardOptions::new(vec![endpoint.clone()], identity.clone(), timeout)
                };
                let opened = StateboardProvider::new(options).map(|made| Box::new(made) as _);
                (endpoint.clone(), opened)
            })
            .collect(),
        ProviderConfig::Etcd(section) => section
            .endpoints
            .iter()
            .map(|endpoint| {
                let one = EtcdSection { endpoints: vec![endpoint.clone()], ..EtcdSection::clone(section) };
                // A cluster that etcd does not know is not made by a look.
                let options = etcd_options(&one, identity.clone(), false, timeout);
                (endpoint.clone(), EtcdProvider::new(options).map(|made| Box::new(made) as _))
            })
            .collect(),
        ProviderConfig::Embedded { .. } => Vec::new(),
    }
}

async fn ask(provider: &dyn StateProvider) -> (Finding, Option<Settings>) {
    // The first one opens the connection as well.
    if let Err(error) = provider.join().await {
        return (refused(&error), None);
    }
    let settings = match provider.read().await {
        Ok(snapshot) => snapshot.settings,
        Err(error) => return (refused(&error), None),
    };
    let mut trips = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let start = Instant::now();
        if let Err(error) = provider.join().await {
            return (refused(&error), Some(settings));
        }
        trips.push(start.elapsed());
    }
    let finding = match Times::of(Some(&settings)) {
        Some(times) => judge_trips(provider.kind(), trips, &times),
        None => Finding::ok(CHECK, format!("{}, ours", provider.kind())),
    };
    (finding, Some(settings))
}

fn judge_trips(kind: &str, mut trips: Vec<Duration>, times: &Times) -> Finding {
    trips.sort_unstable();
    let at = |index: usize| Span::from_duration(trips.get(index).copied().unwrap_or_default());
    let (median, worst) = (at(trips.len() / 2), at(trips.len().saturating_sub(1)));
    let limit = times.timing.request_timeout;
    let evidence = format!(
        "{kind}, ours; round trip {median}, worst of {} {worst}; request_timeout {limit}",
        trips.len()
    );
    if worst > limit {
        let advice = "too far or too busy for this lease: what is decided would have an unknown outcome";
        return Finding::new(CHECK, Verdict::Problem, evidence, advice);
    }
    // A durable write takes several times as long as an answer from memory.
    if median > Span(limit.0 / 4) {
        let advice = "more than a quarter of request_timeout before anything is written: bring it nearer, or a longer lease";
        return Finding::new(CHECK, Verdict::Warning, evidence, advice);
    }
    Finding::ok(CHECK, evidence)
}

/// Why there was no answer, and who can help it.
fn refused(error: &ProviderError) -> Finding {
    let advice = match error {
        ProviderError::Fatal(FatalError::ForeignCluster(_)) => {
            "it is another cluster's, or the secret differs: compare cluster.name and secret_file with the other hosts"
        }
        ProviderError::Fatal(FatalError::Unauthenticated(_)) => {
            "the name or password is wrong: compare password_file with what the provider accepts"
        }
        ProviderError::Fatal(FatalError::Protocol(_)) => "something else than a state provider answers there",
        ProviderError::Fatal(FatalError::Config(_)) => "correct [provider]",
        ProviderError::NotApplied(text) if text.starts_with("there is no ") => {
            // The first coordinator that starts makes it.
            let advice =
                "etcd answers and does not know this cluster: right for a new one, wrong for one that runs";
            return Finding::new(CHECK, Verdict::Warning, text.clone(), advice);
        }
        ProviderError::NotApplied(_) | ProviderError::Unknown(_) => {
            "is it running, and does a firewall let this host through?"
        }
    };
    Finding::new(CHECK, Verdict::Problem, error.to_string(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_held_against_the_request_timeout() {
        let times = Times::of(None).expect("the defaults are good");
        let limit = times.timing.request_timeout.as_duration();
        let judge = |trip| judge_trips("stateboard", vec![trip; 5], &times).verdict;
        assert_eq!(judge(Duration::from_millis(1)), Verdict::Ok);
        assert_eq!(judge(limit / 2), Verdict::Warning);
        assert_eq!(judge(limit * 2), Verdict::Problem);
    }

    #[test]
    fn a_refusal_says_whose_fault_it_is() {
        let wrong = refused(&ProviderError::Fatal(FatalError::Unauthenticated("no".into())));
        assert_eq!(wrong.verdict, Verdict::Problem);
        assert!(wrong.advice.contains("password"), "{wrong:?}");
        let new = refused(&ProviderError::NotApplied("there is no /baton/orders/identity".into()));
        assert_eq!(new.verdict, Verdict::Warning);
    }
}
