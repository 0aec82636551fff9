//! The board driven by hand: time is a number, a disk is a list of writes that may be late or lost.
#![allow(missing_docs)]

mod broken;
mod driver;
mod durability;
mod lock;
mod moving;
mod restore;
mod tasks;
