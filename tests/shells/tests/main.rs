//! Runs of the real shells in a simulated network: what is right is asserted at every millisecond.

mod faults;
mod seeds;
