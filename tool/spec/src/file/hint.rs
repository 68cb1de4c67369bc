//! Finding what a misspelt word should have been, and saying what parsers say in the words of the spec.

/// Finds the word that was probably meant.
pub fn closest<'a>(found: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = words.map(|word| (strsim::damerau_levenshtein(found, word), word));
    let (distance, word) = scored.min()?;
    // Two slips in a short word are another word already.
    (distance <= found.chars().count().div_ceil(3)).then(|| format!("did you mean `{word}`?"))
}

/// Says in the words of the spec what a parser says in Rust's.
pub(super) fn plain(message: &str) -> String {
    let words = [
        ("a sequence", "a list"),
        ("sequence", "list"),
        ("a map", "a table"),
        ("map", "table"),
        ("a borrowed string", "a string"),
        ("unknown variant", "unknown value"),
    ];
    let (before, struct_name) = message.split_once("expected struct ").unwrap_or((message, ""));
    let mut text =
        if struct_name.is_empty() { message.to_owned() } else { format!("{before}expected a table") };
    for (rust, spec) in words {
        for (prefix, suffix) in [("expected ", ""), ("invalid type: ", ","), ("", " `")] {
            text = text.replace(&format!("{prefix}{rust}{suffix}"), &format!("{prefix}{spec}{suffix}"));
        }
    }
    text
}

/// Advises what to write instead; `found` is the value as it is written, if that is known.
pub(super) fn of_parser(message: &str, found: &str) -> Option<String> {
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let mut words = message.split('`').skip(1).step_by(2);
        return words.next().and_then(|found| closest(found, words));
    }
    let wants = |what: &str| message.ends_with(&format!("expected {what}"));
    let number = ["integer", "floating point", "boolean"]
        .iter()
        .any(|kind| message.starts_with(&format!("invalid type: {kind}")));
    if number && wants("a string") {
        // TOML's and Python's octal numbers are meant as such.
        let digits = found.strip_prefix("0o").map_or(found.to_owned(), |digits| format!("0{digits}"));
        return Some(match digits.is_empty() {
            true => "put it into quotes".to_owned(),
            false => format!("put it into quotes: `\"{digits}\"`"),
        });
    }
    if wants("a sequence") {
        let good = !found.is_empty() && !found.contains('\n') && found.len() <= 40;
        return Some(match good {
            true => format!("a list stands in brackets: `[{found}]`"),
            false => "a list stands in brackets".to_owned(),
        });
    }
    if wants("struct BaseSpec") {
        let hint = "an image of this machine: `{ archive = \"FILE\" }`, `{ layout = \"DIR\" }` or `{ image = \"NAME\" }`";
        return Some(hint.to_owned());
    }
    if wants("a map") {
        return Some("a table stands in braces: `{ NAME = \"VALUE\" }`".to_owned());
    }
    message.contains("expected struct ").then(|| "a table stands in braces: `{ KEY = VALUE }`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsers_are_said_plainly() {
        for (message, expected) in [
            (
                "invalid type: string \"x\", expected a sequence",
                "invalid type: string \"x\", expected a list",
            ),
            ("invalid type: sequence, expected a map", "invalid type: list, expected a table"),
            ("invalid type: map, expected struct Add", "invalid type: table, expected a table"),
            ("unknown variant `a`, expected `b`", "unknown value `a`, expected `b`"),
            ("path `/map` is bad", "path `/map` is bad"),
        ] {
            assert_eq!(plain(message), expected);
        }
    }

    #[test]
    fn advice_can_be_written_as_it_is() {
        for (message, found, expected) in [
            ("invalid type: integer `644`, expected a string", "644", Some("put it into quotes: `\"644\"`")),
            (
                "invalid type: integer `420`, expected a string",
                "0o644",
                Some("put it into quotes: `\"0644\"`"),
            ),
            ("invalid type: integer `1`, expected a string", "", Some("put it into quotes")),
            (
                "invalid type: string, expected a sequence",
                "\"x\"",
                Some("a list stands in brackets: `[\"x\"]`"),
            ),
            ("unknown field `ad`, expected `add` or `set`", "", Some("did you mean `add`?")),
            ("unknown variant `layuot`, expected `layout`", "", Some("did you mean `layout`?")),
            ("unclosed table, expected `]`", "", None),
        ] {
            assert_eq!(of_parser(message, found).as_deref(), expected, "{message}");
        }
    }
}
