//! What a person sees and a script gets, against an operators' service that answers as the test says.

mod commands;
mod drill;
mod house;
mod server;
mod usage;
