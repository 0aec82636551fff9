//! What a person sees and a script gets, against an operators' service that answers as the test says.

mod commands;
mod house;
mod server;
mod usage;
