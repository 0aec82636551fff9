//! Names in requests, looked at before anything is made of them: one that is too long is refused for its length, whatever
//! else is wrong with it.

use crate::fault;
use baton_proto::v1;
use tonic::Status;

/// The longest name that is taken, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names(pub(crate) usize);

impl Names {
    fn all<'a>(self, names: impl IntoIterator<Item = &'a String>) -> Result<(), Status> {
        let Some(name) = names.into_iter().find(|name| name.len() > self.0) else { return Ok(()) };
        let start: String = name.chars().take(self.0).collect();
        let found = format!("the name {start:?}… has {} bytes", name.len());
        let value = u64::try_from(self.0).unwrap_or(u64::MAX);
        Err(fault::limit("name_bytes", value, &found, "use a shorter name"))
    }

    pub(crate) fn of_candidate(self, candidate: &v1::Candidate) -> Result<(), Status> {
        self.all([&candidate.coordinator])
    }

    pub(crate) fn of_changes(self, changes: &[v1::Change]) -> Result<(), Status> {
        for record in changes.iter().filter_map(|change| change.record.as_ref()) {
            self.all([&record.replicaset, &record.master, &record.decided_by])?;
            self.all(&record.in_sync)?;
        }
        Ok(())
    }

    pub(crate) fn of_member(self, member: &v1::Member) -> Result<(), Status> {
        self.all([&member.instance, &member.replicaset, &member.coordinator, &member.zone])
    }

    pub(crate) fn of_settings(self, settings: &v1::Settings) -> Result<(), Status> {
        self.all(settings.overrides.keys())
    }
}
