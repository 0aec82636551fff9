//! What `batonctl issues` lists.

use crate::poll;
use crate::stage::Stage;

/// Waits until an issue with this code is listed for an instance of a set, with something to do about it.
///
/// # Panics
/// When it is not in time.
pub fn until(stage: &Stage, set: &str, code: &str, instance: &str) {
    poll::until(&format!("{code} of {instance} is listed"), || {
        let said = stage.ctl(&["issues", set, "--json"]);
        if said.code != 0 {
            return Err(format!("{said:?}"));
        }
        let listed = said.json()["issues"].as_array().cloned().unwrap_or_default();
        let found = listed.iter().find(|issue| issue["code"] == code && issue["instance"] == instance);
        match found {
            Some(issue) if issue["replicaset"] == set && issue["suggestion"] != "" => Ok(()),
            Some(_) | None => Err(format!("{listed:?}")),
        }
    });
}
