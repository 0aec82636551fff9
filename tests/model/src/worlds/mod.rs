//! All worlds, by what they are about.

pub mod big;
pub mod data;
pub mod leases;
pub mod locks;
pub mod people;
pub mod promises;
pub mod timeless;
