//! The `control` file of a package (deb822(5), one paragraph).

use std::collections::BTreeMap;

use crate::tar::shown;

/// What a package says of itself, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) package: String,
    pub(super) version: String,
    pub(super) architecture: String,
}

/// Says what is wrong with a `control` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// A line is neither a field nor the continuation of one.
    #[error("line {line}: expected `Field: value`, found `{found}`")]
    Line {
        /// Its number.
        line: usize,
        /// What it is.
        found: String,
    },
    /// A field is there twice.
    #[error("line {line}: field `{field}` for the second time")]
    Twice {
        /// The second one's line.
        line: usize,
        /// Its name.
        field: String,
    },
    /// Something follows an empty line.
    #[error("line {0}: a second paragraph, expected one")]
    Paragraphs(usize),
    /// A field that every package has is not there.
    #[error("no field `{0}`")]
    Missing(&'static str),
    /// A field does not hold what dpkg takes.
    #[error("field `{field}` is `{found}`, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
}

pub(super) fn parse(control: &[u8]) -> Result<Fields, ControlError> {
    let fields = fields(control)?;
    let field = |name: &'static str, expected, good: &dyn Fn(&[u8]) -> bool| {
        let value = fields.get(name.to_ascii_lowercase().as_bytes()).ok_or(ControlError::Missing(name))?;
        let text = String::from_utf8(value.to_vec()).ok().filter(|text| good(text.as_bytes()));
        text.ok_or_else(|| ControlError::Value { field: name, found: shown(value), expected })
    };
    let begins = |value: &[u8]| value.first().is_some_and(u8::is_ascii_alphanumeric);
    let only = |value: &[u8], others: &[u8]| {
        value.iter().all(|byte| byte.is_ascii_alphanumeric() || others.contains(byte))
    };
    Ok(Fields {
        // It becomes the name of a file, for which dpkg's own rule is enough but for the length.
        package: field("Package", "a package's name", &|value| {
            begins(value) && only(value, b"-+._") && value.len() <= 200
        })?,
        version: field("Version", "a version", &|value| begins(value) && only(value, b"-+._:~"))?,
        architecture: field("Architecture", "an architecture", &|value| begins(value) && only(value, b"-"))?,
    })
}

/// Splits the first lines of fields by their names, which are lower case here.
fn fields(control: &[u8]) -> Result<BTreeMap<Vec<u8>, &[u8]>, ControlError> {
    let mut fields = BTreeMap::new();
    let mut ended = false;
    for (number, line) in (1..).zip(control.split(|byte| *byte == b'\n')) {
        let bad = || ControlError::Line { line: number, found: shown(line) };
        match line.first() {
            _ if line.trim_ascii().is_empty() => ended |= !fields.is_empty(),
            Some(b'#') => {}
            _ if ended => return Err(ControlError::Paragraphs(number)),
            // What is continued does not matter here: all that is read fits on one line.
            Some(b' ' | b'\t') if !fields.is_empty() => {}
            _ => {
                let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
                let name = line[..colon].to_ascii_lowercase();
                if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                    return Err(bad());
                }
                let field = shown(&line[..colon]);
                if fields.insert(name, line[colon + 1..].trim_ascii()).is_some() {
                    return Err(ControlError::Twice { line: number, field });
                }
            }
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_have_no_case_and_values_go_on() {
        let control = b"package: a.b+c\nVERSION:1:2.0~rc1-3\nDescription: short\n long\n .\n Version: none\n\
            # comment\nArchitecture:\tamd64\r\n\n";
        let expected =
            Fields { package: "a.b+c".into(), version: "1:2.0~rc1-3".into(), architecture: "amd64".into() };
        assert_eq!(parse(control), Ok(expected));
    }

    #[test]
    fn what_is_no_control_file_is_refused() {
        let whole = "Package: a\nVersion: 1\nArchitecture: all\n";
        let cases = [
            ("", "no field `Package`".to_owned()),
            ("Package: a\nVersion: 1\n", "no field `Architecture`".to_owned()),
            (" x\n", "line 1: expected `Field: value`, found ` x`".to_owned()),
            ("Package\n", "line 1: expected `Field: value`, found `Package`".to_owned()),
            ("Pack age: a\n", "line 1: expected `Field: value`, found `Pack age: a`".to_owned()),
            (": a\n", "line 1: expected `Field: value`, found `: a`".to_owned()),
            ("Package: a\npackage: b\n", "line 2: field `package` for the second time".to_owned()),
            (&format!("{whole}\n{whole}"), "line 5: a second paragraph, expected one".to_owned()),
            (
                "Package: ../a\nVersion: 1\nArchitecture: all\n",
                "field `Package` is `../a`, expected a package's name".to_owned(),
            ),
            (
                "Package: a\nVersion: 1 2\nArchitecture: all\n",
                "field `Version` is `1 2`, expected a version".to_owned(),
            ),
            (
                "Package: a\nVersion: 1\nArchitecture:\n",
                "field `Architecture` is ``, expected an architecture".to_owned(),
            ),
        ];
        for (control, expected) in cases {
            assert_eq!(
                parse(control.as_bytes()).map_err(|error| error.to_string()),
                Err(expected),
                "{control}"
            );
        }
    }
}
