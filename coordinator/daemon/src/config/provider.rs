//! `[provider]` with what it takes from `[tls]`: which provider, where, and how it is reached. The files it names are tried
//! here, so that what is wrong with them is told with the rest.

use super::check::path_read;
use super::{EtcdSection, ProviderConfig};
use baton_config::value::quoted;
use baton_config::{Origin, Read, Section};
use baton_core::record::Settings;
use baton_provider::etcd::{DEFAULT_PREFIX, check_prefix};
use baton_provider::password::Password;
use baton_provider::stateboard::{Address, check_scheme};
use baton_provider::tls::TlsFiles;
use std::path::{Path, PathBuf};

const KINDS: &str = "must be \"stateboard\", \"etcd\" or \"embedded\"";
const TLS_KEYS: [&str; 3] = ["cert_file", "key_file", "ca_file"];

/// The three files for TLS, where a section names them.
pub(super) struct TlsSection([Option<Read<PathBuf>>; 3]);

impl TlsSection {
    pub(super) fn read(section: &mut Section) -> Self {
        Self(TLS_KEYS.map(|key| path_read(section, key)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The files, tried; `None` where none is named. Problems are noted at the key that names the file.
    fn files(&self, section: &Section) -> Option<TlsFiles> {
        if self.is_empty() {
            return None;
        }
        let path = |index: usize| self.0.get(index)?.as_ref().map(|read| read.value.clone());
        let files = TlsFiles { cert_file: path(0), key_file: path(1), ca_file: path(2) };
        if let Err(fault) = files.client() {
            let read = TLS_KEYS.iter().zip(&self.0).find(|(key, _)| **key == fault.key);
            match read.and_then(|(_, read)| read.as_ref()) {
                Some(read) => {
                    section.problem_with(read, quoted(&read.value.display().to_string()), fault.rule);
                }
                None => section.problem(fault.key, fault.rule),
            }
        }
        Some(files)
    }
}

/// Reads `[provider.next]`, the other end of a move, in the same words.
pub(super) fn next(provider: &mut Section, common: &TlsSection, state_dir: &Path) -> Option<ProviderConfig> {
    let given = provider.has("next");
    let mut section = provider.section("next");
    if !given {
        return None;
    }
    let next = check(&mut section, common, state_dir);
    if matches!(next, Some(ProviderConfig::Embedded { .. })) {
        let rule =
            "must be \"stateboard\" or \"etcd\": the other coordinators reach no stateboard in this process";
        section.problem("kind", rule);
    }
    section.finish();
    next
}

/// Reads the section. `common` is `[tls]`, which holds where `[provider]` names no file of its own.
pub(super) fn check(section: &mut Section, common: &TlsSection, state_dir: &Path) -> Option<ProviderConfig> {
    let given = section.has("kind");
    let kind = section.parsed("kind", |text| match text {
        "stateboard" | "etcd" | "embedded" => Ok(text.to_owned()),
        _ => Err(KINDS.to_owned()),
    });
    if !given {
        section.problem("kind", format!("must be given: it {KINDS}"));
    }
    let of_etcd = OfEtcd::read(section);
    let reached = Reached::read(section);
    let data_dir = path_read(section, "data_dir");
    let seed_settings = path_read(section, "seed_settings");
    // Whether the keys fit the kind can be told only where the kind is known.
    let kind = kind?.value;
    if let (Some(read), "stateboard" | "etcd") = (&data_dir, kind.as_str()) {
        let shown = quoted(&read.value.display().to_string());
        section.problem_with(read, shown, "is for kind = \"embedded\" only");
    }
    if kind != "etcd" {
        of_etcd.refuse(section);
        if let Some(read) = &seed_settings {
            let rule = "is for kind = \"etcd\" only (a stateboard has --seed-settings)";
            section.problem_with(read, quoted(&read.value.display().to_string()), rule);
        }
    }
    match kind.as_str() {
        "stateboard" => reached.stateboard(section, common),
        "etcd" => reached.etcd(section, common, of_etcd, seed_settings),
        _ => {
            reached.refuse(section);
            let data_dir = data_dir.map_or_else(|| state_dir.join("stateboard"), |read| read.value);
            Some(ProviderConfig::Embedded { data_dir })
        }
    }
}

/// The keys that only etcd has.
struct OfEtcd {
    username: Option<Read<String>>,
    prefix: Option<Read<String>>,
}

impl OfEtcd {
    fn read(section: &mut Section) -> Self {
        Self { username: section.text("username"), prefix: section.text("prefix") }
    }

    fn refuse(&self, section: &Section) {
        for read in [&self.username, &self.prefix].into_iter().flatten() {
            section.problem_with(read, quoted(&read.value), "is for kind = \"etcd\" only");
        }
    }

    /// A folder below which the clusters are.
    fn prefix(&self, section: &Section) -> String {
        let Some(read) = &self.prefix else { return DEFAULT_PREFIX.to_owned() };
        if let Err(rule) = check_prefix(&read.value) {
            section.problem_with(read, quoted(&read.value), rule);
        }
        read.value.clone()
    }
}

/// What a cluster that etcd does not know yet begins with.
fn seed(section: &Section, file: Option<&Read<PathBuf>>) -> Settings {
    let Some(read) = file else { return Settings::default() };
    let shown = read.value.display().to_string();
    let parsed = std::fs::read_to_string(&read.value)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|text| {
            baton_stateboard::config::seed::parse(&shown, &text, None)
                .map_err(|problems| format!("cannot be used: {}", problems.to_string().replace('\n', "; ")))
        });
    parsed.unwrap_or_else(|rule| {
        section.problem_with(read, quoted(&shown), rule);
        Settings::default()
    })
}

/// The keys of a provider that is another process.
struct Reached {
    endpoints_given: bool,
    endpoints: Option<Read<Vec<Read<String>>>>,
    password_file: Option<Read<PathBuf>>,
    password: Option<Read<String>>,
    tls: TlsSection,
}

impl Reached {
    fn read(section: &mut Section) -> Self {
        Self {
            endpoints_given: section.has("endpoints"),
            endpoints: section.list("endpoints"),
            password_file: path_read(section, "password_file"),
            password: section.secret("password"),
            tls: TlsSection::read(section),
        }
    }

    fn stateboard(self, section: &mut Section, common: &TlsSection) -> Option<ProviderConfig> {
        let password = self.password(section);
        let (endpoints, tls) = self.protected(section, common, "http://127.0.0.1:4401")?;
        Some(ProviderConfig::Stateboard { endpoints, tls, password })
    }

    fn etcd(
        self,
        section: &mut Section,
        common: &TlsSection,
        of_etcd: OfEtcd,
        seed_settings: Option<Read<PathBuf>>,
    ) -> Option<ProviderConfig> {
        let prefix = of_etcd.prefix(section);
        let seed_settings = seed(section, seed_settings.as_ref());
        let password = self.password(section);
        let password_given = self.password.is_some() || self.password_file.is_some();
        match &of_etcd.username {
            Some(read) if !password_given => {
                section.problem_with(read, quoted(&read.value), "needs a password_file beside it");
            }
            None if password_given => section.problem("username", "must be given where a password is"),
            Some(_) | None => {}
        }
        let credentials = of_etcd.username.map(|read| read.value).zip(password);
        let (endpoints, tls) = self.protected(section, common, "http://127.0.0.1:2379")?;
        let section = EtcdSection { endpoints, prefix, credentials, tls, seed_settings };
        Some(ProviderConfig::Etcd(Box::new(section)))
    }

    /// The addresses, checked, and the files of TLS to them. `None` where there are none.
    fn protected(
        self,
        section: &mut Section,
        common: &TlsSection,
        example: &str,
    ) -> Option<(Vec<String>, Option<TlsFiles>)> {
        if !self.endpoints_given {
            section.problem("endpoints", format!("must be given, such as [\"{example}\"]"));
        }
        let endpoints = self.endpoints?;
        // [tls] is for all ports; it must not turn a connection that is written http:// into a mistake.
        let plain = endpoints.value.iter().all(|read| read.value.trim().starts_with("http://"));
        let tls = if self.tls.is_empty() && !plain { common } else { &self.tls };
        let tls = tls.files(section);
        let endpoints = addresses(section, endpoints, tls.is_some());
        Some((endpoints, tls))
    }

    /// From a file, or from the environment; the configuration is read by too many for the password itself.
    fn password(&self, section: &Section) -> Option<Password> {
        if let (Some(file), Some(_)) = (&self.password_file, &self.password) {
            let shown = quoted(&file.value.display().to_string());
            section.problem_with(file, shown, "cannot be given together with provider.password");
        }
        if let Some(read) = &self.password {
            let parsed = match read.origin {
                Origin::File { .. } => {
                    Err("belongs into a password_file, or into the environment (BATON_PROVIDER__PASSWORD)"
                        .to_owned())
                }
                Origin::Environment(_) | Origin::Flag(_) => Password::parse(&read.value),
            };
            return parsed.map_err(|rule| section.problem_with(read, None, rule)).ok();
        }
        let read = self.password_file.as_ref()?;
        let shown = || quoted(&read.value.display().to_string());
        Password::read(&read.value).map_err(|rule| section.problem_with(read, shown(), rule)).ok()
    }

    /// Where the provider is in this very process.
    fn refuse(self, section: &Section) {
        const RULE: &str = "is for kind = \"stateboard\" or \"etcd\" only";
        if let Some(read) = self.endpoints {
            section.problem_with(&read, None, RULE);
        }
        if let Some(read) = self.password {
            section.problem_with(&read, None, RULE);
        }
        for read in self.tls.0.into_iter().chain([self.password_file]).flatten() {
            section.problem_with(&read, quoted(&read.value.display().to_string()), RULE);
        }
    }
}

fn addresses(section: &Section, endpoints: Read<Vec<Read<String>>>, tls: bool) -> Vec<String> {
    if endpoints.value.is_empty() {
        section.problem_with(&endpoints, Some("[]".to_owned()), "must name at least one");
    }
    let mut addresses = Vec::new();
    for read in endpoints.value {
        match Address::parse(&read.value).and_then(|address| Ok(check_scheme(&address, tls)?)) {
            Ok(()) => addresses.push(read.value.trim().trim_end_matches('/').to_owned()),
            Err(rule) => section.problem_with(&read, quoted(&read.value), rule),
        }
    }
    addresses
}
