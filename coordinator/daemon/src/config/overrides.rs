//! The flags that override the file and the environment. Each names its key once, so that a problem with its value is
//! told as a problem of the flag.

use baton_config::{Document, Origin};
use clap::Args;

/// What the command line says otherwise than the file and the environment.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Settings that override the file and the environment")]
pub struct Overrides {
    /// The cluster's name (cluster.name)
    #[arg(long, value_name = "NAME", global = true)]
    pub cluster: Option<String>,
    /// This coordinator's name (coordinator.name)
    #[arg(long, value_name = "NAME", global = true)]
    pub name: Option<String>,
    /// gRPC address (coordinator.listen)
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub listen: Option<String>,
    /// HTTP address (coordinator.http_listen)
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub http_listen: Option<String>,
    /// How others reach this coordinator's gRPC (coordinator.advertise)
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub advertise: Option<String>,
    /// What must survive a restart (coordinator.state_dir)
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<String>,
    /// On SIGTERM, leave masters their right, for the next process to go on with within the lease; SIGINT gives it up all the
    /// same (coordinator.keep_engine)
    #[arg(long, global = true)]
    pub keep_engine: bool,
    /// stateboard, etcd or embedded (provider.kind)
    #[arg(long, value_name = "KIND", global = true)]
    pub provider_kind: Option<String>,
    /// The provider's addresses, separated by commas (provider.endpoints)
    #[arg(long, value_name = "URL,…", global = true)]
    pub provider_endpoints: Option<String>,
}

impl Overrides {
    /// Puts each given flag over what the document has.
    pub fn apply(&self, document: &mut Document) {
        let keep_engine = self.keep_engine.then(|| "true".to_owned());
        let flags = [
            ("--cluster", "cluster.name", &self.cluster),
            ("--name", "coordinator.name", &self.name),
            ("--listen", "coordinator.listen", &self.listen),
            ("--http-listen", "coordinator.http_listen", &self.http_listen),
            ("--advertise", "coordinator.advertise", &self.advertise),
            ("--state-dir", "coordinator.state_dir", &self.state_dir),
            ("--keep-engine", "coordinator.keep_engine", &keep_engine),
            ("--provider-kind", "provider.kind", &self.provider_kind),
            ("--provider-endpoints", "provider.endpoints", &self.provider_endpoints),
        ];
        for (flag, key, text) in flags {
            if let Some(text) = text {
                let path: Vec<String> = key.split('.').map(str::to_owned).collect();
                document.set(&path, text.clone(), Origin::Flag(flag.to_owned()));
            }
        }
    }
}
