//! Free ports below the kernel's ephemeral range: one inside it could be taken by some client's own connection between
//! the restart of a server and its bind.

use std::collections::BTreeSet;
use std::net::TcpListener;

use rand::RngExt;
use rand::rngs::StdRng;

/// Lowest and highest port that is tried.
const RANGE: std::ops::RangeInclusive<u16> = 10_240..=32_767;
/// How many ports are tried before the machine counts as full.
const TRIES: usize = 1_000;

/// Hands out ports, each once.
#[derive(Debug, Default)]
pub struct Ports {
    given: BTreeSet<u16>,
}

impl Ports {
    /// A port on which nobody listened just now.
    ///
    /// # Errors
    /// None was free in a thousand tries.
    pub fn free(&mut self, random: &mut StdRng) -> anyhow::Result<u16> {
        self.pick(random, |port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    }

    fn pick(&mut self, random: &mut StdRng, is_free: impl Fn(u16) -> bool) -> anyhow::Result<u16> {
        for _ in 0..TRIES {
            let port = random.random_range(RANGE);
            if !self.given.contains(&port) && is_free(port) {
                self.given.insert(port);
                return Ok(port);
            }
        }
        anyhow::bail!("no free port between {} and {}", RANGE.start(), RANGE.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn ports_differ_and_a_taken_one_is_not_given() {
        let seeded = || StdRng::seed_from_u64(1);
        let first = Ports::default().pick(&mut seeded(), |_| true).expect("all are free");
        let (mut ports, mut random) = (Ports::default(), seeded());
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            let port = ports.pick(&mut random, |port| port != first).expect("all but one are free");
            assert!(port != first && port < 32_768 && seen.insert(port));
        }
        assert!(ports.pick(&mut random, |_| false).is_err());
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_not_free() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("one is free");
        let port = taken.local_addr().expect("bound").port();
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
        let free = Ports::default().free(&mut StdRng::seed_from_u64(2)).expect("one is free");
        assert_ne!(free, port);
    }
}
