//! TLS and the password, against the real process: who gets in, who does not, and what either is told.

use crate::board::{Board, PATIENCE, candidate, change};
use baton_provider::password::Password;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::tls::TlsFiles;
use baton_provider::{AppointOutcome, FatalError, ProviderError, StateProvider};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// An authority and what it issued, as files.
pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub ca_file: PathBuf,
}

impl Authority {
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no name is needed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let ca_file = directory.join(format!("{name}.pem"));
        std::fs::write(&ca_file, issuer.pem()).expect("writable");
        Self { directory: directory.to_owned(), issuer, ca_file }
    }

    /// A certificate for `host`, valid unless `change` says otherwise.
    pub fn issue(
        &self,
        name: &str,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let (cert_file, key_file) =
            (self.directory.join(format!("{name}.pem")), self.directory.join(format!("{name}.key")));
        std::fs::write(&cert_file, certificate.pem()).expect("writable");
        std::fs::write(&key_file, key.serialize_pem()).expect("writable");
        (cert_file, key_file)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own name")
}

fn files(ca_file: &Path, own: Option<&(PathBuf, PathBuf)>) -> TlsFiles {
    TlsFiles {
        ca_file: Some(ca_file.to_owned()),
        cert_file: own.map(|(cert_file, _)| cert_file.clone()),
        key_file: own.map(|(_, key_file)| key_file.clone()),
    }
}

fn provider(options: StateboardOptions) -> StateboardProvider {
    StateboardProvider::new(options).expect("good options")
}

/// The answer of a stateboard that may still be starting: a connection that is refused is tried again.
async fn join(client: &StateboardProvider) -> Result<(), ProviderError> {
    let start = Instant::now();
    loop {
        match client.join().await {
            Err(ProviderError::NotApplied(text)) if text.contains("refused") => {
                assert!(start.elapsed() < PATIENCE, "it did not start: {text}");
                tokio::task::yield_now().await;
            }
            answer => return answer,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_authority_only_its_clients_get_in_and_everything_works_over_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let theirs = Authority::new(directory.path(), "theirs");
    let server = ours.issue("server", "127.0.0.1", |_| ());
    let client = ours.issue("client", "host-a", |_| ());
    let stranger = theirs.issue("stranger", "host-a", |_| ());
    let board = Board::start_with(
        directory.path(),
        &[
            "--tls-cert-file",
            text(&server.0),
            "--tls-key-file",
            text(&server.1),
            "--tls-ca-file",
            text(&ours.ca_file),
        ],
    );
    let with = |tls| provider(StateboardOptions { tls, ..board.options() });
    let good = with(Some(files(&ours.ca_file, Some(&client))));
    join(&good).await.expect("ours");
    let session = good.campaign(&candidate(), None).await.expect("the lock");
    let token = session.grant().token;
    let outcome = good.appoint(token, vec![change("orders-1", 1, token.epoch)]).await;
    assert!(matches!(outcome, Ok(AppointOutcome::Applied(_))), "{outcome:?}");
    for (name, tls) in [
        ("no certificate", Some(files(&ours.ca_file, None))),
        ("a certificate of another authority", Some(files(&ours.ca_file, Some(&stranger)))),
        ("no TLS", None),
    ] {
        let answer = join(&with(tls)).await;
        assert!(
            matches!(answer, Err(ProviderError::NotApplied(_) | ProviderError::Unknown(_))),
            "{name}: {answer:?}"
        );
    }
    // The other way round: a client does not believe a server of another authority, and says why.
    let Err(ProviderError::NotApplied(said)) =
        join(&with(Some(files(&theirs.ca_file, Some(&stranger))))).await
    else {
        panic!("it believed a stranger")
    };
    assert!(said.contains("certificate"), "{said}");
    assert!(good.read().await.is_ok(), "the strangers have disturbed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_refuses_a_server_of_another_name_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let wrong = ours.issue("wrong", "board.example", |_| ());
    let board = Board::start_with(
        directory.path(),
        &["--tls-cert-file", text(&wrong.0), "--tls-key-file", text(&wrong.1)],
    );
    let client = provider(StateboardOptions { tls: Some(files(&ours.ca_file, None)), ..board.options() });
    let Err(ProviderError::NotApplied(said)) = join(&client).await else { panic!("it was believed") };
    assert!(said.contains("not valid for name"), "{said}");
}

#[test]
fn bad_files_are_told_with_their_flag_and_nothing_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let one = ours.issue("one", "127.0.0.1", |_| ());
    let other = ours.issue("other", "127.0.0.1", |_| ());
    let old = ours.issue("old", "127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 2, 1);
    });
    let gone = directory.path().join("gone");
    for (cert_file, key_file, said) in [
        (&one.0, &other.1, "flag --tls-key-file: tls.key_file"),
        (&one.0, &other.1, "is not the key of the certificate in"),
        (&old.0, &old.1, "flag --tls-cert-file: tls.cert_file"),
        (&old.0, &old.1, "has expired at 2001-02-01T00:00:00Z"),
        (&gone, &one.1, "cannot be read: No such file"),
    ] {
        let mut command = crate::board::command();
        command.args(["--cluster", "orders", "--data-dir"]).arg(directory.path().join("data"));
        command.arg("--tls-cert-file").arg(cert_file).arg("--tls-key-file").arg(key_file);
        let output = command.output().expect("it ran");
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(said), "{said:?} is not in {text}");
    }
    assert!(!directory.path().join("data").exists(), "something was made all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_password_is_told_so_and_gets_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "open sesame\nthe next one\n").expect("writable");
    let board = Board::start_with(directory.path(), &["--password-file", text(&file)]);
    let with = |password: Option<&str>| {
        let password = password.map(|text| Password::parse(text).expect("good"));
        provider(StateboardOptions { password, ..board.options() })
    };
    for good in ["open sesame", "the next one"] {
        join(&with(Some(good))).await.expect(good);
    }
    for (password, said) in [(None, "asks for a password"), (Some("open barley"), "the password is wrong")] {
        let client = with(password);
        let fatal = |answer: Result<(), ProviderError>| match answer {
            Err(ProviderError::Fatal(FatalError::Unauthenticated(text))) => {
                assert!(text.contains(said) && text.contains("password_file"), "{text}");
                assert!(!text.contains("barley") && !text.contains("sesame"), "{text}");
            }
            other => panic!("{other:?}"),
        };
        fatal(client.join().await);
        fatal(client.read().await.map(|_| ()));
        fatal(client.status().await.map(|_| ()));
        fatal(client.campaign(&candidate(), None).await.map(|_| ()));
        let mut events = client.watch(None).await.expect("it begins by itself");
        let first = tokio_stream::StreamExt::next(&mut events).await.expect("the reason");
        fatal(first.map(|_| ()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_passwords_are_replaced_without_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) =
        (Authority::new(directory.path(), "first"), Authority::new(directory.path(), "second"));
    let server = first.issue("server", "127.0.0.1", |_| ());
    let (board_file, client_file) =
        (directory.path().join("board.pass"), directory.path().join("client.pass"));
    std::fs::write(&board_file, "open sesame\n").expect("writable");
    std::fs::write(&client_file, "open sesame\n").expect("writable");
    let board = Board::start_with(
        directory.path(),
        &[
            "--tls-cert-file",
            text(&server.0),
            "--tls-key-file",
            text(&server.1),
            "--password-file",
            text(&board_file),
        ],
    );
    let with = |ca_file: &Path, password: &Path| {
        let password = Some(Password::read(password).expect("good"));
        provider(StateboardOptions { tls: Some(files(ca_file, None)), password, ..board.options() })
    };
    let ca_file = directory.path().join("ca.pem");
    std::fs::copy(&first.ca_file, &ca_file).expect("writable");
    let client = with(&ca_file, &client_file);
    join(&client).await.expect("as it was");
    // The password, in the order that loses nobody: the board takes both, the client changes, the old one goes.
    for (file, text) in
        [(&board_file, "open sesame\nthe next\n"), (&client_file, "the next\n"), (&board_file, "the next\n")]
    {
        std::fs::write(file, text).expect("writable");
        client.join().await.expect("nobody notices");
    }
    std::fs::write(&client_file, "a mistake\n").expect("writable");
    assert!(matches!(client.join().await, Err(ProviderError::Fatal(FatalError::Unauthenticated(_)))));
    std::fs::write(&client_file, "the next\n").expect("writable");
    client.join().await.expect("put right");
    // The certificate, of another authority now; the old connection goes on, a new one sees the new one.
    second.issue("server", "127.0.0.1", |_| ());
    client.join().await.expect("the connection goes on");
    let late = with(&ca_file, &client_file);
    assert!(
        matches!(late.join().await, Err(ProviderError::NotApplied(_))),
        "the old authority is still believed"
    );
    std::fs::copy(&second.ca_file, &ca_file).expect("writable");
    late.join().await.expect("the client has read the new authority");
}
