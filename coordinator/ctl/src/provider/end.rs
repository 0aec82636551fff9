//! One end of a move from its words on the command line: an address, or a section of a coordinator's file, in the same words
//! as the daemon has for `[provider]`.

use baton_config::{Document, Section};
use baton_provider::Identity;
use baton_provider::etcd::{DEFAULT_PREFIX, EtcdOptions, EtcdProvider};
use baton_provider::moving::MoveEnd;
use baton_provider::password::Password;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::tls::TlsFiles;
use std::path::PathBuf;
use std::time::Duration;

/// An end, opened.
pub(super) struct End {
    /// For people, and in the marks of the move.
    pub(super) name: String,
    pub(super) end: Box<dyn MoveEnd>,
}

struct Words {
    kind: String,
    endpoints: Vec<String>,
    prefix: String,
    username: Option<String>,
    password: Option<Password>,
    tls: TlsFiles,
}

/// Opens what `text` names. Connects with the first request.
pub(super) fn open(text: &str, identity: &Identity, timeout: Duration) -> Result<End, String> {
    let words = match text.split_once(':') {
        Some((kind @ ("stateboard" | "etcd"), rest)) => address(kind, rest)?,
        Some(_) | None => section_of(text)?,
    };
    let name = match words.kind.as_str() {
        "etcd" if words.prefix != DEFAULT_PREFIX => {
            format!("etcd {} {}", words.endpoints.join(","), words.prefix)
        }
        kind => format!("{kind} {}", words.endpoints.join(",")),
    };
    let tls = (!words.tls.is_empty()).then_some(words.tls);
    let (endpoints, identity) = (words.endpoints, identity.clone());
    let end: Box<dyn MoveEnd> = if words.kind == "etcd" {
        let credentials = words.username.zip(words.password);
        let options = EtcdOptions::new(endpoints, identity, timeout);
        // What is not there is made by the move and by nobody before it.
        let options = EtcdOptions { prefix: words.prefix, credentials, tls, found: false, ..options };
        Box::new(EtcdProvider::new(options).map_err(|error| error.to_string())?)
    } else {
        let options = StateboardOptions::new(endpoints, identity, timeout);
        let options = StateboardOptions { password: words.password, tls, ..options };
        Box::new(StateboardProvider::new(options).map_err(|error| error.to_string())?)
    };
    Ok(End { name, end })
}

/// `URL[,URL…][/PREFIX]`.
fn address(kind: &str, rest: &str) -> Result<Words, String> {
    let authority = rest.rfind("://").map_or(0, |at| at + 3);
    let slash = rest.get(authority..).and_then(|tail| tail.find('/')).map(|at| authority + at);
    let (hosts, prefix) = match slash {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at..).unwrap_or_default()),
        None => (rest, ""),
    };
    let prefix = prefix.trim_end_matches('/');
    if kind != "etcd" && !prefix.is_empty() {
        return Err("a prefix is for etcd only".to_owned());
    }
    let endpoints: Vec<String> = hosts.split(',').map(str::to_owned).filter(|it| !it.is_empty()).collect();
    if endpoints.is_empty() {
        return Err(format!("names no address; write {kind}:http://HOST:PORT"));
    }
    Ok(Words {
        kind: kind.to_owned(),
        endpoints,
        prefix: if prefix.is_empty() { DEFAULT_PREFIX.to_owned() } else { prefix.to_owned() },
        username: None,
        password: None,
        tls: TlsFiles { cert_file: None, key_file: None, ca_file: None },
    })
}

/// `FILE` or `FILE#next`.
fn section_of(text: &str) -> Result<Words, String> {
    let (file, next) = match text.strip_suffix("#next") {
        Some(file) => (file, true),
        None => (text, false),
    };
    let content = std::fs::read_to_string(file).map_err(|error| {
        format!("is no stateboard:URL or etcd:URL, and as a file it cannot be read: {error}")
    })?;
    let document = Document::parse(file, &content);
    let mut root = document.root();
    let mut common = tls_of(&mut root.section("tls"));
    let mut provider = root.section("provider");
    let words = if next { words(&mut provider.section("next")) } else { words(&mut provider) };
    let problems = document.into_problems();
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let mut words = words?;
    // As the daemon has it: [tls] holds where the provider names no file of its own and is not written http://.
    if words.tls.is_empty() && !words.endpoints.iter().all(|it| it.trim().starts_with("http://")) {
        words.tls = std::mem::take(&mut common);
    }
    Ok(words)
}

fn tls_of(section: &mut Section) -> TlsFiles {
    let mut path = |key| section.text(key).map(|read| PathBuf::from(read.value));
    TlsFiles { cert_file: path("cert_file"), key_file: path("key_file"), ca_file: path("ca_file") }
}

fn words(section: &mut Section) -> Result<Words, String> {
    let text = |section: &mut Section, key| section.text(key).map(|read| read.value);
    let kind = text(section, "kind").ok_or("has no such section, or it names no kind")?;
    if kind != "etcd" && kind != "stateboard" {
        return Err(format!("names the kind {kind:?}: a state moves between a stateboard and etcd only"));
    }
    let endpoints = section.list("endpoints").map(|read| read.value).unwrap_or_default();
    let password = match text(section, "password_file") {
        None => None,
        Some(path) => {
            let read = Password::read(PathBuf::from(&path).as_path());
            Some(read.map_err(|rule| format!("password_file {path}: {rule}"))?)
        }
    };
    Ok(Words {
        kind,
        endpoints: endpoints
            .into_iter()
            .map(|read| read.value.trim().trim_end_matches('/').to_owned())
            .collect(),
        prefix: text(section, "prefix").unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
        username: text(section, "username"),
        password,
        tls: tls_of(section),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_kind_hosts_and_prefix() {
        let words = address("etcd", "http://10.0.0.1:2379,http://10.0.0.2:2379/other").expect("good");
        assert_eq!(words.endpoints, ["http://10.0.0.1:2379", "http://10.0.0.2:2379"]);
        assert_eq!(words.prefix, "/other");
        let plain = address("stateboard", "10.0.0.9:4401").expect("good");
        assert_eq!(
            (plain.endpoints, plain.prefix.as_str()),
            (vec!["10.0.0.9:4401".to_owned()], DEFAULT_PREFIX)
        );
        assert!(address("stateboard", "http://10.0.0.9:4401/x").is_err());
        assert!(address("etcd", "").is_err());
    }
}
