//! The manual pages: of `batonctl` itself, or one a command. Made from the command line's definition, so they cannot lag
//! behind it.

use crate::Io;
use crate::args::Cli;
use clap::Command;
use clap_mangen::Man;
use std::path::Path;

/// Prints the main page, or writes all pages into `dir`, which is made.
///
/// # Errors
/// Those of the output and of the directory.
pub(crate) fn run(dir: Option<&Path>, io: &mut Io<'_>) -> std::io::Result<()> {
    // The help subcommands would be pages without content.
    let mut whole = Cli::whole().disable_help_subcommand(true);
    whole.build();
    let Some(dir) = dir else { return io.out.write_all(page(&Man::new(whole))?.as_bytes()) };
    std::fs::create_dir_all(dir)?;
    let written = write(&whole, dir)?;
    writeln!(io.err, "{written} pages are in {}", dir.display())
}

fn write(command: &Command, dir: &Path) -> std::io::Result<usize> {
    let mut written = 1;
    for sub in command.get_subcommands() {
        written += write(sub, dir)?;
    }
    let man = Man::new(command.clone());
    std::fs::write(dir.join(man.get_filename()), page(&man)?)?;
    Ok(written)
}

/// What stands after the options are examples, and their lines are to stay lines.
fn page(man: &Man) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    man.render(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Some((before, after)) = text.split_once(".SH EXTRA\n") else { return Ok(text) };
    let (examples, rest) = match after.find("\n.SH ") {
        Some(end) => after.split_at(end + 1),
        None => (after, ""),
    };
    let examples = examples.trim_end().trim_start_matches("Examples:\n");
    Ok(format!("{before}.SH EXAMPLES\n.nf\n{examples}\n.fi\n{rest}"))
}
