//! Files with secrets, and certificates: who may read them, and how long they are good.

use super::{Finding, Verdict};
use baton_coordinator::config::{Config, ProviderConfig};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A certificate that runs out within this is to be renewed.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// The permissions of a file's group, and of everybody.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let files = of(config);
    if files.is_empty() {
        let advice =
            "give the cluster a secret (cluster.secret_file): without it its name alone tells it from others";
        let mut findings = certificates(config);
        findings.push(Finding::new("secrets", Verdict::Notice, "no file with a secret is named", advice));
        return findings;
    }
    let mut findings: Vec<Finding> = files.iter().map(|(key, path)| look(key, path)).collect();
    findings.extend(certificates(config));
    if config.secret_file.is_none() {
        let advice = "cluster.secret_file tells this cluster from another one of the same name";
        let finding = Finding::new("secrets", Verdict::Notice, "the cluster has no secret", advice);
        findings.push(finding.about("cluster.secret_file"));
    }
    findings
}

/// Certificates that run out soon; one that has is told with the configuration.
fn certificates(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (section, provider) in [("provider", Some(&config.provider)), ("provider.next", config.next.as_ref())]
    {
        let files = match provider {
            Some(ProviderConfig::Stateboard { tls, .. }) => tls.as_ref(),
            Some(ProviderConfig::Etcd(etcd)) => etcd.tls.as_ref(),
            Some(ProviderConfig::Embedded { .. }) | None => None,
        };
        let Some(files) = files else { continue };
        let soon = files.expiring(SOON);
        if soon.is_empty() {
            let evidence = format!("{section}: good for {} days and more", SOON.as_secs() / 86_400);
            findings.push(Finding::ok("certificates", evidence));
        }
        findings.extend(soon.into_iter().map(|fault| {
            let evidence = format!("{}: {}", fault.path.display(), fault.rule);
            let advice = "renew it; the new file is read by itself";
            let about = format!("{section}.{}", fault.key);
            Finding::new("certificates", Verdict::Warning, evidence, advice).about(about)
        }));
    }
    findings
}

/// Each with the key that names it.
fn of(config: &Config) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut add = |key: String, path: Option<&Path>| files.extend(path.map(|path| (key, path.to_owned())));
    add("cluster.secret_file".to_owned(), config.secret_file.as_deref());
    for (section, provider) in [("provider", Some(&config.provider)), ("provider.next", config.next.as_ref())]
    {
        let (password, tls) = match provider {
            Some(ProviderConfig::Stateboard { password, tls, .. }) => (password.as_ref(), tls.as_ref()),
            Some(ProviderConfig::Etcd(etcd)) => {
                (etcd.credentials.as_ref().map(|(_, password)| password), etcd.tls.as_ref())
            }
            Some(ProviderConfig::Embedded { .. }) | None => (None, None),
        };
        add(format!("{section}.password_file"), password.and_then(|password| password.file()));
        add(format!("{section}.key_file"), tls.and_then(|tls| tls.key_file.as_deref()));
    }
    for instance in config.instances.values() {
        add(format!("{}.engine.password_file", instance.name), instance.engine.password_file.as_deref());
    }
    files
}

fn look(key: &str, path: &Path) -> Finding {
    let finding = match std::fs::metadata(path) {
        Ok(found) => judge(path, found.permissions().mode()),
        Err(error) => Finding::new(
            "secrets",
            Verdict::Problem,
            format!("{}: {error}", path.display()),
            "make it readable for the daemon",
        ),
    };
    finding.about(key)
}

fn judge(path: &Path, mode: u32) -> Finding {
    let evidence = format!("{} has mode {:04o}", path.display(), mode & 0o7777);
    let advice = format!("chmod 600 {}", path.display());
    if mode & OTHERS != 0 {
        let evidence = format!("{evidence}: everybody on this host may use it");
        return Finding::new("secrets", Verdict::Problem, evidence, advice);
    }
    if mode & GROUP & !0o040 != 0 {
        let evidence = format!("{evidence}: its group may change it");
        return Finding::new("secrets", Verdict::Warning, evidence, advice);
    }
    Finding::ok("secrets", evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_may_read_is_a_problem() {
        let path = Path::new("/etc/baton/secret");
        assert_eq!(judge(path, 0o100_600).verdict, Verdict::Ok);
        assert_eq!(judge(path, 0o100_640).verdict, Verdict::Ok);
        assert_eq!(judge(path, 0o100_660).verdict, Verdict::Warning);
        let open = judge(path, 0o100_644);
        assert_eq!(open.verdict, Verdict::Problem);
        assert_eq!(open.advice, "chmod 600 /etc/baton/secret");
    }

    #[test]
    fn every_file_with_a_secret_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "a secret\n").expect("writable");
            path.display().to_string()
        };
        let text = format!(
            "[cluster]\nname = \"orders\"\nsecret_file = {:?}\n[coordinator]\nname = \"host-a\"\n[provider]\n\
             kind = \"etcd\"\nendpoints = [\"http://127.0.0.1:1\"]\nusername = \"baton\"\npassword_file = {:?}\n\
             [[instance]]\nname = \"a1\"\nreplicaset = \"s\"\n[instance.engine]\nkind = \"redis\"\nendpoint = \"h:1\"\n\
             password_file = {:?}\n",
            file("secret"),
            file("etcd.pass"),
            file("a1.pass")
        );
        let config = Config::from_text("c.toml", &text, [], &Default::default()).expect("it is good");
        let keys: Vec<String> = of(&config).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["cluster.secret_file", "provider.password_file", "a1.engine.password_file"]);
    }
}
