//! Hosts by name, and which of them somebody has had in hand since it was last looked at: whoever looks after everything that
//! happens need look at those only. What is not changed through the table does not change.
//!
//! It must not know what a host is.

use std::borrow::Borrow;
use std::ops::Index;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eye {
    /// Whoever wants to know what is due next.
    Agenda = 1,
    /// Whoever wants to know who is attached to whom.
    Links = 2,
    /// The oracle.
    Watch = 4,
}

#[derive(Clone, Debug)]
struct Row<K, V> {
    name: K,
    /// Who has looked at it since it was last in hand, as bits.
    seen: u8,
    it: Box<V>,
}

/// Rows by name, in the order of their names. A handful: they are looked through, most often by the very name that a row has.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: Vec<Row<K, V>>,
    /// Who has looked since any row was in hand, as bits.
    seen: u8,
}

impl<K: Ord + Borrow<str>, V> Table<K, V> {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), seen: 0 }
    }

    fn place<Q: Borrow<str> + ?Sized>(&self, name: &Q) -> Option<usize> {
        let name: &str = name.borrow();
        let same = self.rows.iter().position(|row| std::ptr::eq(row.name.borrow(), name));
        same.or_else(|| self.rows.iter().position(|row| row.name.borrow() == name))
    }

    /// A row.
    #[must_use]
    pub fn get<Q: Borrow<str> + ?Sized>(&self, name: &Q) -> Option<&V> {
        self.place(name).map(|place| &*self.rows[place].it)
    }

    /// A row, to change it: all will look at it again.
    pub fn get_mut<Q: Borrow<str> + ?Sized>(&mut self, name: &Q) -> Option<&mut V> {
        let place = self.place(name)?;
        self.seen = 0;
        let row = &mut self.rows[place];
        row.seen = 0;
        Some(&mut row.it)
    }

    /// Whether there is such a row.
    #[must_use]
    pub fn contains_key<Q: Borrow<str> + ?Sized>(&self, name: &Q) -> bool {
        self.place(name).is_some()
    }

    /// Puts a row in, in the place of one of that name.
    pub(super) fn insert(&mut self, name: K, it: V) {
        self.seen = 0;
        let row = Row { name, seen: 0, it: Box::new(it) };
        match self.rows.binary_search_by(|known| known.name.cmp(&row.name)) {
            Ok(place) => self.rows[place] = row,
            Err(place) => self.rows.insert(place, row),
        }
    }

    /// All names.
    pub fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.rows.iter().map(|row| &row.name)
    }

    /// All rows.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.rows.iter().map(|row| &*row.it)
    }

    /// All rows with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|row| (&row.name, &*row.it))
    }

    /// All rows, to change them. One that is passed over need not be looked at again for it.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.seen = 0;
        self.rows.iter_mut().map(|row| {
            row.seen = 0;
            &mut *row.it
        })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The name of a row as the table has it.
    pub(super) fn name<Q: Borrow<str> + ?Sized>(&self, name: &Q) -> Option<&K> {
        self.place(name).map(|place| &self.rows[place].name)
    }

    /// Whether no row was in hand since this eye looked last.
    pub(super) fn rests(&self, eye: Eye) -> bool {
        self.seen & eye as u8 != 0
    }

    /// All rows, and whether this eye has to look at them; from now on it has.
    pub(super) fn look(&mut self, eye: Eye) -> impl Iterator<Item = (&K, &V, bool)> {
        self.seen |= eye as u8;
        self.rows.iter_mut().map(move |row| {
            let news = row.seen & eye as u8 == 0;
            row.seen |= eye as u8;
            (&row.name, &*row.it, news)
        })
    }
}

#[cfg(test)]
impl<K: Ord, V> Table<K, V> {
    /// As if all had looked: what was changed is not told to anybody.
    pub(super) fn conceal(&mut self) {
        self.seen = u8::MAX;
        self.rows.iter_mut().for_each(|row| row.seen = u8::MAX);
    }
}

impl<K: Ord + Borrow<str>, Q: Borrow<str> + ?Sized, V> Index<&Q> for Table<K, V> {
    type Output = V;

    fn index(&self, name: &Q) -> &V {
        self.get(name).expect("whoever indexes knows that there is such a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(table: &mut Table<&'static str, u8>, eye: Eye) -> Vec<&'static str> {
        let seen: Vec<_> = table.look(eye).map(|(name, _, news)| (*name, news)).collect();
        seen.into_iter().filter_map(|(name, news)| news.then_some(name)).collect()
    }

    #[test]
    fn each_eye_is_shown_what_was_in_hand_since_it_looked() {
        let mut table = Table::new();
        for name in ["c", "a", "b"] {
            table.insert(name, 0);
        }
        assert!(!table.rests(Eye::Watch), "nobody has looked yet");
        assert_eq!(news(&mut table, Eye::Watch), ["a", "b", "c"]);
        assert!(table.rests(Eye::Watch) && !table.rests(Eye::Links));
        *table.get_mut("b").expect("it is there") += 1;
        assert!(!table.rests(Eye::Watch));
        assert_eq!(news(&mut table, Eye::Watch), ["b"]);
        assert_eq!(news(&mut table, Eye::Watch), [""; 0], "it was shown");
        assert_eq!(news(&mut table, Eye::Links), ["a", "b", "c"], "another has its own");
        table.values_mut().for_each(|it| *it += 1);
        assert_eq!(news(&mut table, Eye::Links), ["a", "b", "c"]);
        assert_eq!((table["b"], table.get("d"), table.len()), (2, None, 3));
    }

    #[test]
    fn a_row_that_is_only_read_is_not_shown_again() {
        let mut table = Table::new();
        table.insert("a", 0);
        assert_eq!(news(&mut table, Eye::Agenda), ["a"]);
        assert_eq!((table.get("a"), table.name("a"), table.contains_key("a")), (Some(&0), Some(&"a"), true));
        assert!(table.rests(Eye::Agenda));
    }
}
