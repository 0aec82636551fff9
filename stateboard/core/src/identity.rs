//! Which cluster a state provider belongs to. Knows nothing of how the secret is kept or hashed.

use baton_core::ids::ClusterName;
use std::fmt;

/// The name of a cluster and the hash of its secret. Two clusters that share a provider by mistake are told apart by
/// it, and refused.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterName,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
}

/// Somebody of another cluster asked, or of this one with another secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ForeignCluster {
    /// The names differ.
    #[error("this state provider belongs to cluster {ours:?}, the request came from cluster {theirs:?}")]
    Name {
        /// Whose provider it is.
        ours: String,
        /// Who asked.
        theirs: String,
    },
    /// The names are the same and the secrets are not.
    #[error("the secret of cluster {cluster:?} is not the one that this state provider was set up with")]
    Secret {
        /// The cluster.
        cluster: String,
    },
}

impl Identity {
    /// Whether `other` may speak to the provider of `self`.
    ///
    /// # Errors
    /// [`ForeignCluster`] says whether the name or the secret differs.
    pub fn check(&self, other: &Self) -> Result<(), ForeignCluster> {
        if self.cluster != other.cluster {
            return Err(ForeignCluster::Name {
                ours: self.cluster.to_string(),
                theirs: other.cluster.to_string(),
            });
        }
        // Every byte is compared, so that the time taken does not tell how many were right.
        let differing = self.secret_hash.iter().zip(&other.secret_hash).fold(0, |sum, (a, b)| sum | (a ^ b));
        if differing != 0 {
            return Err(ForeignCluster::Secret { cluster: self.cluster.to_string() });
        }
        Ok(())
    }
}

impl fmt::Debug for Identity {
    /// Without the hash: a weak secret could be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}
