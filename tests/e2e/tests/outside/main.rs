//! The product from outside, case by case; each file is about one thing that operators rely on.

mod adoption;
mod backup;
mod bootstrap;
mod crash;
mod daemon;
mod doctor;
mod drain;
mod drill;
mod failsafe;
mod fence;
mod moving;
mod parts;
mod pauses;
mod postgres;
mod provider;
mod quorum;
mod reach;
mod refusals;
mod removal;
mod settings;
mod stop;
mod switchover;
mod task;
mod upgrade;
