//! What a run leaves that was killed before it could clean up: processes in its control groups, network namespaces,
//! mounted disks, its folder. Everything bears its maker's name, so a later run finds and removes it; nobody else's is
//! touched.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::names::RunId;
use super::{disk, group, wire};
use crate::cluster::process::run_tool;

/// Removes whatever runs left that are over, and names it.
#[must_use]
pub fn sweep() -> Vec<String> {
    sweep_those(RunId::is_over)
}

/// Removes whatever this process has made and not removed: for its own last moments, when no destructor runs any more.
pub fn end_own() {
    let _ = sweep_those(RunId::is_own);
}

fn sweep_those(wanted: fn(&RunId) -> bool) -> Vec<String> {
    // A hung disk first: what writes to it cannot even be killed before.
    let mut swept = disk::sweep(wanted);
    swept.extend(group::sweep(wanted));
    swept.extend(names_in(Path::new(wire::NAMED), wanted).into_iter().filter_map(|name| {
        let mut command = Command::new("ip");
        command.args(["netns", "del", &name]);
        run_tool(command, "").ok().map(|_| format!("network namespace {name}"))
    }));
    swept.extend(names_in(&tempfile::env::temp_dir(), wanted).into_iter().filter_map(|name| {
        let folder = tempfile::env::temp_dir().join(name);
        fs::remove_dir_all(&folder).ok().map(|()| folder.display().to_string())
    }));
    swept
}

/// The names in a folder that bear a wanted run's name.
pub(super) fn names_in(folder: &Path, wanted: fn(&RunId) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| RunId::of_name(name).is_some_and(|run| wanted(&run))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_left_that_is_over_is_found_and_a_living_ones_is_not() {
        let over = format!("baton-chaos-{}-1-0-field", std::process::id());
        let living = RunId::new().name("field");
        let at = |name: &str| tempfile::env::temp_dir().join(name);
        for name in [&over, &living] {
            fs::create_dir(at(name)).expect("a folder");
        }
        let swept = sweep();
        assert!(swept.contains(&at(&over).display().to_string()), "{swept:?}");
        assert!(!at(&over).exists() && at(&living).exists());
        fs::remove_dir(at(&living)).expect("still there");
    }
}
