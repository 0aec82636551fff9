//! The program with stand-ins, and its clients and checkers against real Redis processes and a directory made by hand: what is clean is found clean,
//! and each kind of flaw, really committed, is found.

mod clients;
mod ending;
mod stub;
mod workload;
