//! From an instance's configuration to the engine that it names: the one place that knows every kind.

use crate::config::{EngineKind as Kind, InstanceConfig};
use baton_engine::EngineKind;
use baton_engine::postgres::{self, Postgres};
use baton_engine::redis::Redis;
use std::path::Path;
use std::sync::Arc;

/// The engine of an instance. One value an instance: it remembers what a run was marked with. `program`: the coordinator's own, which
/// some engines are started through.
#[must_use]
pub fn engine_of(instance: &InstanceConfig, program: &Path) -> Arc<dyn EngineKind> {
    let engine = &instance.engine;
    let (address, password_file) = (engine.connect.to_string(), engine.password_file.clone());
    match &engine.kind {
        Kind::Redis => Arc::new(Redis::new(address, password_file)),
        Kind::Postgres { user, database } => Arc::new(Postgres::new(postgres::Options {
            address,
            user: user.clone(),
            database: database.clone(),
            password_file,
            data_dir: engine.data_dir.clone().unwrap_or_default(),
            name: instance.name.to_string(),
            program: program.to_owned(),
        })),
    }
}
