//! An etcd as a person with `etcdctl` sees it: the keys of one cluster, read and changed by hand. Knows nothing of what the
//! provider means by them.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, KeyValue as Wire, Txn, TxnOp, TxnOpResponse,
};
use std::net::SocketAddr;

/// The keys of one cluster.
pub struct Raw {
    client: Client,
    base: String,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawKey {
    /// Without what all keys of the cluster begin with.
    pub name: String,
    /// What stands there.
    pub value: String,
    /// The revision that made it.
    pub created: i64,
    /// The revision of its last change.
    pub modified: i64,
    /// The lease that it lives by; 0 for none.
    pub lease: i64,
}

impl Raw {
    pub(crate) async fn of(member: SocketAddr, base: String) -> Self {
        let client = Client::connect([format!("http://{member}")], None).await.expect("it is there");
        Self { client, base }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    fn of_wire(&self, kv: &Wire) -> RawKey {
        let name = kv.key_str().expect("our keys are text").to_owned();
        RawKey {
            name: name.strip_prefix(&self.base).unwrap_or(&name).to_owned(),
            value: kv.value_str().expect("our values are text").to_owned(),
            created: kv.create_revision(),
            modified: kv.mod_revision(),
            lease: kv.lease(),
        }
    }

    /// All keys, by name.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn all(&self) -> Vec<RawKey> {
        let options = GetOptions::new().with_prefix();
        let answer = self.client.kv_client().get(self.base.as_str(), Some(options)).await.expect("an answer");
        answer.kvs().iter().map(|kv| self.of_wire(kv)).collect()
    }

    /// One key.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn get(&self, name: &str) -> Option<RawKey> {
        let answer = self.client.kv_client().get(self.key(name), None).await.expect("an answer");
        answer.kvs().first().map(|kv| self.of_wire(kv))
    }

    /// What stands under a key.
    ///
    /// # Panics
    /// Where there is nothing.
    pub async fn text(&self, name: &str) -> String {
        self.get(name).await.expect("it is there").value
    }

    /// Whether a key was there at an earlier revision.
    ///
    /// # Panics
    /// Without an answer, or where that revision is compacted.
    pub async fn was_there(&self, name: &str, revision: i64) -> bool {
        let options = GetOptions::new().with_revision(revision);
        let answer = self.client.kv_client().get(self.key(name), Some(options)).await.expect("an answer");
        !answer.kvs().is_empty()
    }

    /// Writes by hand.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn put(&self, name: &str, value: &str) {
        self.client.kv_client().put(self.key(name), value, None).await.expect("an answer");
    }

    /// Deletes a key if it stands as at `modified`; whether it did.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn delete_if(&self, name: &str, modified: i64) -> bool {
        let same = Compare::mod_revision(self.key(name), CompareOp::Equal, modified);
        let txn = Txn::new().when([same]).and_then([TxnOp::delete(self.key(name), None)]);
        let answer = self.client.kv_client().txn(txn).await.expect("an answer");
        answer.succeeded() && answer.op_responses().iter().all(|it| matches!(it, TxnOpResponse::Delete(_)))
    }

    /// Deletes everything of the cluster.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn delete_all(&self) {
        let options = DeleteOptions::new().with_prefix();
        self.client.kv_client().delete(self.base.as_str(), Some(options)).await.expect("an answer");
    }
}
