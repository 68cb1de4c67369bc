//! The keys of a bolt file, one a line: their path of buckets, and what they stand for.

use std::io::{self, BufWriter, Write};

use ociseed_seed::bolt::{Bucket, Item};
use ociseed_spec::{escape, hex, json};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::failure::Failure;

/// What is between the names of a path for people. Names have `/` in them; for programs a path is a list.
const SEPARATOR: &str = " > ";

/// A key, or the root, which has none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Key {
    /// The buckets that it is in and its own name, as listings escape names.
    path: Vec<String>,
    kind: &'static str,
    /// Of a bucket: how many keys it has itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<usize>,
    /// Of a bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// The value, where it can be printed, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The value otherwise, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Prints every key.
pub(super) fn list(root: &Bucket, args: &InspectArgs) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.json {
        true => write_json(root, &mut out),
        false => write_text(root, &mut out),
    };
    match written.and_then(|()| out.flush()) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::because("cannot write to standard output", &error)),
    }
}

fn write_text(root: &Bucket, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "bolt file")?;
    if root.sequence() > 0 {
        writeln!(out, "  sequence: {}", root.sequence())?;
    }
    walk(root, &mut Vec::new(), &mut |key| writeln!(out, "  {}", key.text_line()))
}

fn write_json(root: &Bucket, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Shown {
        entries: Vec<Key>,
        kind: &'static str,
        sequence: u64,
    }
    let mut entries = Vec::new();
    walk(root, &mut Vec::new(), &mut |key| {
        entries.push(key);
        Ok(())
    })?;
    out.write_all(&json::encode(&Shown { entries, kind: "bolt file", sequence: root.sequence() }))?;
    out.write_all(b"\n")
}

/// Goes through the keys of a bucket, each before those in it.
fn walk(
    bucket: &Bucket,
    path: &mut Vec<String>,
    each: &mut dyn FnMut(Key) -> io::Result<()>,
) -> io::Result<()> {
    for (name, item) in bucket.iter() {
        path.push(escape(name));
        each(Key::new(path.clone(), item))?;
        if let Item::Bucket(child) = item {
            walk(child, path, each)?;
        }
        path.pop();
    }
    Ok(())
}

impl Key {
    fn new(path: Vec<String>, item: &Item) -> Self {
        let key = Self { path, kind: "value", keys: None, sequence: None, text: None, hex: None };
        match item {
            Item::Bucket(bucket) => {
                Self { kind: "bucket", keys: Some(bucket.len()), sequence: Some(bucket.sequence()), ..key }
            }
            Item::Value(value) if is_printable(value) => Self { text: Some(escape(value)), ..key },
            Item::Value(value) => Self { hex: Some(hex(value)), ..key },
        }
    }

    fn text_line(&self) -> String {
        // A name may have anything in it, also what moves a terminal's cursor.
        let names: Vec<String> = self.path.iter().map(|name| without_controls(name)).collect();
        let path = names.join(SEPARATOR);
        match (self.keys, &self.text, &self.hex) {
            (Some(keys), ..) => {
                let plural = if keys == 1 { "" } else { "s" };
                let sequence = self.sequence.filter(|sequence| *sequence > 0);
                let sequence = sequence.map(|sequence| format!(", sequence {sequence}")).unwrap_or_default();
                format!("{path}: {keys} key{plural}{sequence}")
            }
            (_, Some(text), _) => format!("{path} = {text}"),
            (_, _, hex) => format!("{path} = 0x{}", hex.as_deref().unwrap_or_default()),
        }
    }
}

fn is_printable(value: &[u8]) -> bool {
    str::from_utf8(value).is_ok_and(|text| !text.chars().any(char::is_control))
}

fn without_controls(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        match character.is_control() {
            false => shown.push(character),
            true => {
                character.to_string().bytes().for_each(|byte| shown.extend(["\\x", &hex(&[byte])]));
            }
        }
    }
    shown
}
