//! The wire is a promise: the hash of each .proto file stands in COMPATIBILITY.md, so that no change of it goes unnoticed.
//! Whoever changes one reads that page's rules and then records the new hash with `make fix`.

use crate::Problem;
use crate::tree::Tree;
use sha2::{Digest, Sha256};

/// The page.
pub const PAGE: &str = "COMPATIBILITY.md";
const BEGIN: &str = "<!-- wire: begin -->";
const END: &str = "<!-- wire: end -->";

/// The table as it should be: one row a file, SHA-256 as `sha256sum` prints it.
fn table(tree: &Tree) -> String {
    let mut text = format!("{BEGIN}\n| file | SHA-256 |\n| --- | --- |\n");
    for file in tree.with_extension("proto") {
        let hash: String = Sha256::digest(&file.text).iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("| `{}` | `{hash}` |\n", file.path));
    }
    text + END
}

/// The page with the present hashes.
///
/// # Errors
/// The page is missing, or has no place for the table.
pub fn updated(tree: &Tree) -> Result<String, Problem> {
    let page = tree.text(PAGE).ok_or_else(|| format!("{PAGE} is missing"))?;
    let split = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = split.ok_or_else(|| format!("{PAGE}: no lines {BEGIN} and {END}"))?;
    Ok(format!("{before}{}{after}", table(tree)))
}

/// Files that are not as recorded.
#[must_use]
pub fn recorded(tree: &Tree) -> Vec<Problem> {
    match updated(tree) {
        Err(problem) => vec![problem],
        Ok(updated) if tree.text(PAGE) == Some(updated.as_str()) => Vec::new(),
        Ok(_) => vec![format!(
            "{PAGE}: a .proto file changed; check it against the rules there, then run `make fix`"
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_wire_is_found_until_it_is_recorded() {
        let page = format!("# Rules\n{BEGIN}\n{END}\ntail\n");
        let tree = Tree::of(&[(PAGE, &page), ("a.proto", "message A {}")]);
        assert_eq!(recorded(&tree).len(), 1);
        let good = updated(&tree).expect("the page has its marks");
        assert!(good.starts_with("# Rules\n") && good.ends_with("tail\n"));
        assert_eq!(recorded(&Tree::of(&[(PAGE, &good), ("a.proto", "message A {}")])), [""; 0]);
        assert_eq!(recorded(&Tree::of(&[(PAGE, &good), ("a.proto", "message B {}")])).len(), 1);
    }

    #[test]
    fn a_page_without_its_place_is_found() {
        assert!(recorded(&Tree::of(&[]))[0].contains("is missing"));
        assert!(recorded(&Tree::of(&[(PAGE, "# Rules\n")]))[0].contains("no lines"));
    }
}
