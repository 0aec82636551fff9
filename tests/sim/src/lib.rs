//! A whole cluster in one value: real guards, arbiters and the board, on scripted engines, clocks, disks and a scripted
//! network. Stories (`tests/scenario`) tell it what happens; random search draws what happens from a seed.
//!
//! After every moment the oracle looks; nothing here says what is safe.
//!
//! One run is `run::run(&Plan::of(seed))`; with a rule broken, `run::run(&Plan::of(seed).with(Rules::without(rule)))`. The seed
//! says the cluster, its weather and the faults (`swarm`); the [`run::Outcome`] has the property that was broken, if any. What
//! can happen is listed in `fault` and carried out in `strike`.

pub mod dice;
pub mod fault;
pub mod fixtures;
mod incident;
pub mod liveness;
pub mod run;
pub mod search;
pub mod show;
mod strike;
pub mod swarm;
pub mod world;
