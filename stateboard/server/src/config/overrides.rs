//! The flags that override the environment and the file. Each names its key once, so that a problem with its value is told
//! as a problem of the flag. Some have a second name, the one that Cartridge's stateboard has for it.

use baton_config::{Document, Origin};
use clap::Args;

/// What the command line says otherwise.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Settings that override the environment and the file")]
pub struct Overrides {
    /// The cluster's name (cluster.name)
    #[arg(long, value_name = "NAME", global = true)]
    pub cluster: Option<String>,
    /// The file with the cluster's secret (cluster.secret_file)
    #[arg(long, value_name = "FILE", global = true)]
    pub secret_file: Option<String>,
    /// gRPC address (stateboard.listen), 127.0.0.1:4401 if not set
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub listen: Option<String>,
    /// Address of health and metrics (stateboard.http_listen), 127.0.0.1:4411 if not set; `off` for none
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub http_listen: Option<String>,
    /// Where the state is kept (stateboard.data_dir), /var/lib/baton/stateboard if not set
    #[arg(long, visible_alias = "workdir", value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
    /// The file with the password that clients must show; every line is taken (stateboard.password_file). The environment
    /// may hold the password itself: BATON_STATEBOARD__PASSWORD
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<String>,
    /// The certificate for TLS on gRPC, in PEM (tls.cert_file)
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_cert_file: Option<String>,
    /// Its key, in PEM (tls.key_file)
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_key_file: Option<String>,
    /// The authority that clients must show a certificate of, in PEM (tls.ca_file)
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_ca_file: Option<String>,
    /// How long the lock of an arbiter that fell silent stays its own, for the first start (stateboard.lock_delay): sets
    /// lease_ttl to 4/5 of it
    #[arg(long, value_name = "SECONDS", global = true)]
    pub lock_delay: Option<String>,
    /// Listen on addresses that others reach although there is no TLS (stateboard.insecure)
    #[arg(long, global = true)]
    pub insecure: bool,
}

impl Overrides {
    /// Puts each given flag over what the document has.
    pub fn apply(&self, document: &mut Document) {
        let insecure = self.insecure.then(|| "true".to_owned());
        let flags = [
            ("--cluster", ["cluster", "name"], &self.cluster),
            ("--secret-file", ["cluster", "secret_file"], &self.secret_file),
            ("--listen", ["stateboard", "listen"], &self.listen),
            ("--http-listen", ["stateboard", "http_listen"], &self.http_listen),
            ("--data-dir", ["stateboard", "data_dir"], &self.data_dir),
            ("--password-file", ["stateboard", "password_file"], &self.password_file),
            ("--tls-cert-file", ["tls", "cert_file"], &self.tls_cert_file),
            ("--tls-key-file", ["tls", "key_file"], &self.tls_key_file),
            ("--tls-ca-file", ["tls", "ca_file"], &self.tls_ca_file),
            ("--lock-delay", ["stateboard", "lock_delay"], &self.lock_delay),
            ("--insecure", ["stateboard", "insecure"], &insecure),
        ];
        for (flag, path, text) in flags {
            if let Some(text) = text {
                document.set(&path.map(str::to_owned), text.clone(), Origin::Flag(flag.to_owned()));
            }
        }
    }
}
