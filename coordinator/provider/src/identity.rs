//! From a cluster's name and secret to its identity. The secret itself goes nowhere else.

use baton_board::Identity;
use baton_core::ids::ClusterName;
use sha2::{Digest, Sha256};

/// The identity of a cluster. White space around the secret does not count: files end with a new line.
#[must_use]
pub fn identity_of(cluster: ClusterName, secret: &str) -> Identity {
    let mut hash = Sha256::new();
    // The name is part of what is hashed, so that one secret of two clusters is not seen to be the same.
    hash.update(cluster.as_str().as_bytes());
    hash.update([0]);
    hash.update(secret.trim().as_bytes());
    Identity { cluster, secret_hash: hash.finalize().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_depends_on_name_and_secret_and_nothing_else() {
        let cluster = |name| ClusterName::parse(name).expect("a name");
        let ours = identity_of(cluster("orders"), "open sesame\n");
        assert!(ours.check(&identity_of(cluster("orders"), "open sesame")).is_ok());
        assert!(ours.check(&identity_of(cluster("orders"), "open barley")).is_err());
        let other = identity_of(cluster("billing"), "open sesame");
        assert!(ours.check(&other).is_err());
        assert_ne!(ours.secret_hash, other.secret_hash);
    }
}
