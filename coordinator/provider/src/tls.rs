//! TLS from files to what the transport takes: certificate, key, and the authority that the other side must show a
//! certificate of. Whatever is wrong with a file is said of the file and the key that names it. Knows no port.

use crate::files::Followed;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What HTTP/2 is called in a handshake.
const ALPN: &[u8] = b"h2";

/// The files of one end, each PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, with those between it and the authority.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Whose certificates the other side may show.
    pub ca_file: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {path:?}: {rule}")]
pub struct TlsFault {
    /// The configuration's key for it: `cert_file`, `key_file` or `ca_file`.
    pub key: &'static str,
    /// The file; empty where none is named.
    pub path: PathBuf,
    /// What must be otherwise.
    pub rule: String,
}

impl TlsFiles {
    /// Whether no file is named at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cert_file.is_none() && self.key_file.is_none() && self.ca_file.is_none()
    }

    /// For a listener. With a `ca_file` every client must show a certificate of that authority.
    ///
    /// # Errors
    /// [`TlsFault`] names the file.
    pub fn server(&self) -> Result<Arc<ServerConfig>, TlsFault> {
        let (certificates, key) = self.pair()?.ok_or_else(|| missing("cert_file"))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.fault_of_pair(&error))?;
        let builder = match &self.ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| fault("ca_file", path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(certificates, key).map_err(|error| self.fault_of_pair(&error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    /// For a connection: the server must show a certificate of `ca_file`; ours is shown where it is given.
    ///
    /// # Errors
    /// [`TlsFault`] names the file.
    pub fn client(&self) -> Result<Arc<ClientConfig>, TlsFault> {
        let path = self.ca_file.as_ref().ok_or_else(|| missing("ca_file"))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.fault_of_pair(&error))?
            .with_root_certificates(roots(path)?);
        let mut config = match self.pair()? {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| self.fault_of_pair(&error))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    /// [`TlsFiles::server`], read again when a file has changed.
    ///
    /// # Errors
    /// What is wrong with a file at the first reading.
    pub fn follow_server(&self) -> Result<Followed<Arc<ServerConfig>>, String> {
        let files = self.clone();
        Followed::new(self.paths(), move || files.server().map_err(|fault| fault.to_string()))
    }

    /// [`TlsFiles::client`], read again when a file has changed.
    ///
    /// # Errors
    /// What is wrong with a file at the first reading.
    pub fn follow_client(&self) -> Result<Followed<Arc<ClientConfig>>, String> {
        let files = self.clone();
        Followed::new(self.paths(), move || files.client().map_err(|fault| fault.to_string()))
    }

    /// Files whose certificate runs out within `span`, or has: the key that names each, and when.
    #[must_use]
    pub fn expiring(&self, span: Duration) -> Vec<TlsFault> {
        let named = [("cert_file", &self.cert_file), ("ca_file", &self.ca_file)];
        let named = named.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let then = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + span);
        let runs_out = |(key, path): (&'static str, &PathBuf)| {
            let text = read(key, path).ok()?;
            let first = CertificateDer::pem_slice_iter(&text).next()?.ok()?;
            let not_after = not_after(&first, then)?;
            Some(fault(key, path, format!("its certificate is good until {} only", date(not_after))))
        };
        named.filter_map(runs_out).collect()
    }

    fn paths(&self) -> Vec<PathBuf> {
        [&self.cert_file, &self.key_file, &self.ca_file].into_iter().flatten().cloned().collect()
    }

    /// Certificate and key, both or none.
    #[allow(clippy::type_complexity)]
    fn pair(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsFault> {
        match (&self.cert_file, &self.key_file) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(missing("key_file")),
            (None, Some(_)) => Err(missing("cert_file")),
            (Some(cert_file), Some(key_file)) => {
                let certificates = certificates("cert_file", cert_file)?;
                let key = PrivateKeyDer::from_pem_slice(&read("key_file", key_file)?)
                    .map_err(|error| fault("key_file", key_file, of_pem(&error, "private key")))?;
                Ok(Some((certificates, key)))
            }
        }
    }

    fn fault_of_pair(&self, error: &rustls::Error) -> TlsFault {
        let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        match error {
            rustls::Error::InconsistentKeys(_) => fault(
                "key_file",
                &path(&self.key_file),
                format!("is not the key of the certificate in {}", path(&self.cert_file).display()),
            ),
            other => fault("cert_file", &path(&self.cert_file), other.to_string()),
        }
    }
}

/// The one implementation of the primitives. Named, so that nothing depends on what another crate installed.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn fault(key: &'static str, path: &Path, rule: impl Into<String>) -> TlsFault {
    TlsFault { key, path: path.to_owned(), rule: rule.into() }
}

fn missing(key: &'static str) -> TlsFault {
    let rule = match key {
        "ca_file" => "must be given: the authority whose certificate the other side has to show",
        _ => "must be given: cert_file and key_file belong together",
    };
    fault(key, Path::new(""), rule)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFault> {
    std::fs::read(path).map_err(|error| fault(key, path, format!("cannot be read: {error}")))
}

fn of_pem(error: &PemError, what: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("has no {what} in PEM"),
        other => format!("is damaged: {other}"),
    }
}

/// At least one certificate, the first of which is valid now.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| fault(key, path, of_pem(&error, "certificate")))?;
    let first = certificates
        .first()
        .ok_or_else(|| fault(key, path, of_pem(&PemError::NoItemsFound, "certificate")))?;
    validity(first, UnixTime::now()).map_err(|rule| fault(key, path, rule))?;
    Ok(certificates)
}

/// Whether the certificate's own dates allow its use at `now`. Who issued it is the other side's question.
fn validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
    let parsed =
        webpki::EndEntityCert::try_from(certificate).map_err(|error| format!("is damaged: {error}"))?;
    let usage = webpki::KeyUsage::server_auth();
    match parsed.verify_for_usage(&[], &[], &[], now, usage, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => {
            Err(format!("has expired at {}", date(not_after)))
        }
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => {
            Err(format!("is not valid before {}; is this host's clock right?", date(not_before)))
        }
        // Without an authority nothing more can be said here.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The end of a certificate that is over at `then`.
fn not_after(certificate: &CertificateDer<'_>, then: UnixTime) -> Option<UnixTime> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    match parsed.verify_for_usage(&[], &[], &[], then, webpki::KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after),
        Ok(_) | Err(_) => None,
    }
}

fn date(time: UnixTime) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsFault> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("ca_file", path)? {
        store
            .add(certificate)
            .map_err(|error| fault("ca_file", path, format!("is no authority: {error}")))?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    struct Files {
        directory: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().expect("a directory") }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            std::fs::write(&path, text).expect("writable");
            path
        }

        fn pair(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            change(&mut params);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            (
                self.write(&format!("{name}.pem"), &certificate.pem()),
                self.write(&format!("{name}.key"), &key.serialize_pem()),
            )
        }
    }

    fn files(pair: &(PathBuf, PathBuf), ca_file: Option<&Path>) -> TlsFiles {
        TlsFiles {
            cert_file: Some(pair.0.clone()),
            key_file: Some(pair.1.clone()),
            ca_file: ca_file.map(Path::to_owned),
        }
    }

    #[test]
    fn good_files_serve_both_ends() {
        let on_disk = Files::new();
        let pair = on_disk.pair("a", |_| ());
        assert!(files(&pair, None).server().is_ok());
        assert!(files(&pair, Some(&pair.0)).server().is_ok());
        assert!(files(&pair, Some(&pair.0)).client().is_ok());
        let only_authority = TlsFiles { ca_file: Some(pair.0.clone()), ..TlsFiles::default() };
        assert!(only_authority.client().is_ok());
        assert!(TlsFiles::default().is_empty() && !only_authority.is_empty());
    }

    #[test]
    fn a_certificate_that_runs_out_soon_is_named_with_its_date() {
        let on_disk = Files::new();
        let pair = on_disk.pair("a", |params| params.not_after = rcgen::date_time_ymd(2999, 1, 1));
        let files = files(&pair, Some(&pair.0));
        assert_eq!(files.expiring(Duration::from_secs(86_400)), []);
        let centuries = Duration::from_secs(1_000 * 366 * 86_400);
        let found = files.expiring(centuries);
        assert_eq!(found.iter().map(|fault| fault.key).collect::<Vec<_>>(), ["cert_file", "ca_file"]);
        assert_eq!(found[0].rule, "its certificate is good until 2999-01-01T00:00:00Z only");
        assert_eq!(TlsFiles::default().expiring(centuries), []);
    }

    #[test]
    fn what_is_wrong_is_said_of_its_file() {
        let on_disk = Files::new();
        let (a, b) = (on_disk.pair("a", |_| ()), on_disk.pair("b", |_| ()));
        let old = on_disk.pair("old", |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 2, 1);
        });
        let early = on_disk.pair("early", |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
        let noise = on_disk.write("noise", "no certificate at all\n");
        let gone = on_disk.directory.path().join("gone");
        let cases = [
            (files(&(gone.clone(), a.1.clone()), None), "cert_file", "cannot be read: No such file"),
            (files(&(a.0.clone(), gone.clone()), None), "key_file", "cannot be read: No such file"),
            (files(&a, Some(&gone)), "ca_file", "cannot be read: No such file"),
            (files(&(a.0.clone(), b.1.clone()), None), "key_file", "is not the key of the certificate in"),
            (files(&(noise.clone(), a.1.clone()), None), "cert_file", "has no certificate in PEM"),
            (files(&(a.0.clone(), noise.clone()), None), "key_file", "has no private key in PEM"),
            (files(&a, Some(&noise)), "ca_file", "has no certificate in PEM"),
            (files(&old, None), "cert_file", "has expired at 2001-02-01T00:00:00Z"),
            (files(&a, Some(&old.0)), "ca_file", "has expired at 2001-02-01T00:00:00Z"),
            (files(&early, None), "cert_file", "is not valid before 2999-01-01T00:00:00Z"),
            (TlsFiles { key_file: None, ..files(&a, None) }, "key_file", "belong together"),
            (TlsFiles { cert_file: None, ..files(&a, None) }, "cert_file", "belong together"),
        ];
        for (files, key, rule) in cases {
            let fault = files.server().expect_err(rule);
            assert_eq!(fault.key, key, "{fault}");
            assert!(fault.rule.contains(rule), "{fault} should say {rule:?}");
        }
        let nothing = TlsFiles::default().client().expect_err("nobody to trust");
        assert_eq!(nothing.key, "ca_file");
    }
}
