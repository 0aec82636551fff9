//! Baton's wire: the generated types and services of package `baton.v1`.
//!
//! Architecture invariant: nothing but generated code and the descriptor set. Conversion to and from the vocabulary of
//! `baton-core` is the business of the crates that speak (`wire.rs` in each), so that the core never learns of it.

/// Package `baton.v1`.
#[allow(missing_docs, clippy::all, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("baton.v1");

    /// All `.proto` files of the package, encoded, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
