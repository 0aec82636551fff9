//! Other programs of the host, asked with a limit: each may be missing, hang, or answer nonsense.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a program prints; `None` where it is not there, fails, or takes too long.
pub(super) async fn say(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Where a program is, looked up as a start of it would: a name with a slash as it is, another one in `paths`.
pub(super) fn find(program: &str, paths: Option<std::ffi::OsString>) -> Option<PathBuf> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return is_executable(&path).then_some(path);
    }
    let paths = paths?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_up_as_a_start_would() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("engine-of-this-test");
        std::fs::write(&program, "#!/bin/sh\n").expect("writable");
        let paths = || Some(std::ffi::OsString::from(folder.path()));
        assert_eq!(find("engine-of-this-test", paths()), None, "it may not be executed yet");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).expect("ours");
        assert_eq!(find("engine-of-this-test", paths()), Some(program.clone()));
        assert_eq!(find(&program.display().to_string(), None), Some(program));
        assert_eq!(find("no-such-engine", paths()), None);
    }
}
