//! The file with an engine's password, read at each connection, so that a changed one is picked up.

use crate::ConnectError;
use std::path::PathBuf;

/// What is in it, without the end of its line; `None` where no file is configured.
pub(crate) fn read(file: Option<&PathBuf>) -> Result<Option<String>, ConnectError> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(|error| ConnectError::PasswordFile {
        file: file.display().to_string(),
        what: error.to_string(),
    })?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
