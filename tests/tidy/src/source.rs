//! Rust source with comments and literals blanked out, so that a rule about code never stumbles over a word in a text.
//! A lexer of strings, characters and comments only; it knows no grammar.

/// What the lexer is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    /// With its depth: Rust's block comments nest.
    BlockComment(usize),
    Text,
    /// With the number of `#` that end it.
    RawText(usize),
}

/// The lines of `text`, in which every comment and literal is replaced by spaces (its line breaks are kept).
#[must_use]
pub fn code_lines(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while let Some(&char) = chars.get(at) {
        let (next, taken) = step(inside, &chars, at);
        for &skipped in &chars[at..at + taken] {
            let keep = skipped == '\n' || (inside == Inside::Code && next == Inside::Code && taken == 1);
            code.push(if keep { skipped } else { ' ' });
        }
        debug_assert!(taken > 0, "every step consumes {char:?}");
        inside = next;
        at += taken;
    }
    code.split('\n').map(str::to_owned).collect()
}

/// What follows, and how many characters were taken; more than one taken in code is a literal or a comment's begin.
fn step(inside: Inside, chars: &[char], at: usize) -> (Inside, usize) {
    let rest = &chars[at..];
    match inside {
        Inside::LineComment if rest[0] == '\n' => (Inside::Code, 1),
        Inside::BlockComment(depth) if rest.starts_with(&['*', '/']) => match depth {
            1 => (Inside::Code, 2),
            _ => (Inside::BlockComment(depth - 1), 2),
        },
        Inside::BlockComment(depth) if rest.starts_with(&['/', '*']) => (Inside::BlockComment(depth + 1), 2),
        Inside::Text if rest[0] == '\\' => (Inside::Text, rest.len().min(2)),
        Inside::Text if rest[0] == '"' => (Inside::Code, 1),
        Inside::RawText(hashes) if rest[0] == '"' && hashes_at(&rest[1..]) >= hashes => {
            (Inside::Code, 1 + hashes)
        }
        Inside::Code => step_in_code(chars, at),
        unchanged => (unchanged, 1),
    }
}

fn step_in_code(chars: &[char], at: usize) -> (Inside, usize) {
    let rest = &chars[at..];
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => (Inside::LineComment, 2),
        ['/', '*', ..] => (Inside::BlockComment(1), 2),
        ['"', ..] => (Inside::Text, 1),
        ['r', tail @ ..] if !after_word || chars[at - 1] == 'b' => {
            let hashes = hashes_at(tail);
            match tail.get(hashes) {
                Some('"') => (Inside::RawText(hashes), hashes + 2),
                _ => (Inside::Code, 1),
            }
        }
        // A character, not a lifetime: 'x' or an escape such as '\n' or '\u{1f600}'.
        ['\'', '\\', tail @ ..] => {
            let end = tail.iter().skip(1).position(|&char| char == '\'');
            (Inside::Code, end.map_or(1, |end| end + 4))
        }
        ['\'', _, '\'', ..] => (Inside::Code, 3),
        _ => (Inside::Code, 1),
    }
}

fn hashes_at(chars: &[char]) -> usize {
    chars.iter().take_while(|&&char| char == '#').count()
}

/// A function with a body, as lines of its file counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`.
    pub first_line: usize,
    /// The line of the brace that closes it.
    pub last_line: usize,
    /// Whether an attribute above it makes it a test (`#[test]`, `#[tokio::test]`, …).
    pub is_test: bool,
}

/// All functions with a body, nested ones included. `code` is what [`code_lines`] made.
#[must_use]
pub fn functions(code: &[String]) -> Vec<Function> {
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let Some(last) = body_end(&code[index..]) else { continue };
        let is_test = code[..index]
            .iter()
            .rev()
            .map(|above| above.trim())
            .take_while(|above| above.is_empty() || above.starts_with("#["))
            .any(|above| above == "#[test]" || above.contains("::test]") || above.contains("::test("));
        found.push(Function { name, first_line: index + 1, last_line: index + last + 1, is_test });
    }
    found
}

/// The name in a line that declares a function (rustfmt puts modifiers, `fn` and the name on one line).
fn function_name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix("fn ") {
            let name: String =
                after.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
            return (!name.is_empty()).then_some(name);
        }
        let (word, after) = rest.split_once(' ')?;
        let modifier = matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "default" | "")
            || word.starts_with("pub(")
            || word.ends_with(')');
        if !modifier {
            return None;
        }
        rest = after;
    }
}

/// How many lines after the first the body's closing brace stands; `None` for a declaration without a body.
fn body_end(code: &[String]) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (index, line) in code.iter().enumerate() {
        for char in line.chars() {
            match char {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return Some(index);
                    }
                }
                ';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_vanish_and_lines_stay() {
        let source = "let a = \"x // { \\\" y\"; // tail {\nlet b = r#\"raw \" {\"#; /* a /* b */ { */ let c = '{';\nlet d: &'a str = '\\'';";
        let lines = code_lines(source);
        assert_eq!(lines.len(), 3);
        assert!(!lines.concat().contains('{'), "{lines:?}");
        assert!(lines[1].contains("let c =") && lines[2].contains("&'a str"));
    }

    #[test]
    fn functions_are_measured_to_their_own_brace() {
        let source = "impl A {\n    pub(crate) async fn one(\n        a: [u8; 2],\n    ) -> u8 {\n        if a { b } else { c }\n    }\n    fn declared(&self);\n}\n\n#[test]\nfn two() {}\n";
        let found = functions(&code_lines(source));
        let short: Vec<_> = found
            .iter()
            .map(|function| (function.name.as_str(), function.first_line, function.last_line))
            .collect();
        assert_eq!(short, [("one", 2, 6), ("two", 11, 11)]);
        assert!(found[1].is_test && !found[0].is_test);
    }

    #[test]
    fn the_lexer_understands_every_file_of_this_repository() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tree = crate::tree::Tree::read(&root).expect("the repository is readable");
        for file in tree.with_extension("rs") {
            let code = code_lines(&file.text).concat();
            for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
                let count = |wanted| code.chars().filter(|char| *char == wanted).count();
                assert_eq!(count(open), count(close), "{}: {open} and {close}", file.path);
            }
        }
    }

    #[test]
    fn a_lifetime_is_no_character() {
        assert_eq!(code_lines("fn f<'a>(x: &'a str) {}")[0], "fn f<'a>(x: &'a str) {}");
    }
}
