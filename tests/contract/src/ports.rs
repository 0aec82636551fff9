//! Free ports below the kernel's ephemeral range: one inside it could be taken by a client's own connection between the end of
//! a server and its next start.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use std::time::{Duration, Instant};

use rand::RngExt;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address on loopback where nobody listened just now; each is given once.
///
/// # Panics
/// When a thousand tries found none.
pub(crate) fn free() -> SocketAddr {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1_000 {
        let port = rand::rng().random_range(10_240..=32_767);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !given.contains(&port) && TcpListener::bind(address).is_ok() {
            given.insert(port);
            return address;
        }
    }
    panic!("no port below 32768 is free")
}

/// Listens at an address that was given. A program that is being started elsewhere holds what its parent had open, the listener of
/// [`free`] too, until it is the program.
///
/// # Panics
/// When somebody else has the port.
pub(crate) async fn listen(address: SocketAddr) -> tokio::net::TcpListener {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < until, "{address} is ours: {error}"),
        }
        tokio::task::yield_now().await;
    }
}
