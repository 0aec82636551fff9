//! What the control file of data says on which no server runs, by the tool that every version brings for it.

use super::tools::{Tools, output};
use crate::postgres::place::Place;

/// What it prints, a field a line.
pub(super) struct ControlData(String);

impl ControlData {
    pub(super) fn read(place: &Place, tools: &Tools) -> Result<Self, String> {
        let mut ask = tools.command("pg_controldata");
        ask.env("LC_ALL", "C").arg("--pgdata").arg(&place.data);
        output(ask).map(Self)
    }

    /// Up to where the log has to be replayed before the data is whole: `0/3000148`.
    pub(super) fn whole_from(&self) -> Result<&str, String> {
        self.field("Minimum recovery ending location")
    }

    /// The timeline of that place; 0 where a crash, or nothing, has to be recovered from.
    pub(super) fn recovered_timeline(&self) -> Result<u32, String> {
        self.number("Min recovery ending loc's timeline")
    }

    /// The timeline of the last checkpoint.
    pub(super) fn checkpoint_timeline(&self) -> Result<u32, String> {
        self.number("Latest checkpoint's TimeLineID")
    }

    fn number(&self, name: &str) -> Result<u32, String> {
        let text = self.field(name)?;
        text.parse().map_err(|_| format!("pg_controldata says that {name:?} is {text:?}, which is no number"))
    }

    fn field(&self, name: &str) -> Result<&str, String> {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(':'));
        let value = fields.find(|(field, _)| *field == name).map(|(_, value)| value.trim());
        value.ok_or_else(|| format!("pg_controldata does not say {name:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_what_the_tool_prints() {
        let said = "pg_control version number:            1300\n\
            Latest checkpoint's TimeLineID:       1\n\
            Minimum recovery ending location:     0/3000148\n\
            Min recovery ending loc's timeline:   2\n";
        let data = ControlData(said.to_owned());
        assert_eq!(data.whole_from(), Ok("0/3000148"));
        assert_eq!((data.checkpoint_timeline(), data.recovered_timeline()), (Ok(1), Ok(2)));
        let other = ControlData("Latest checkpoint's TimeLineID: one\n".to_owned());
        assert!(other.checkpoint_timeline().expect_err("no number").contains("one"));
        assert!(other.whole_from().expect_err("not said").contains("Minimum recovery"));
    }
}
