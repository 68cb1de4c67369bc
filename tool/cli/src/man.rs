//! `ociseed man`: a man page for each command, made of the texts of `--help`.
//!
//! The same program writes the same bytes: there is no date in a page.

use std::io;

use clap::builder::Resettable;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::args::{Args, ManArgs, help};
use crate::failure::Failure;
use crate::output::{OutDir, write_document};

/// What the foot of a page names: not the command alone, and no day.
const SOURCE: &str = concat!("ociseed ", env!("CARGO_PKG_VERSION"));

/// Runs `ociseed man`.
pub(crate) fn run(args: &ManArgs) -> Result<(), Failure> {
    OutDir::create(&args.out)?;
    for (name, page) in pages() {
        write_document(&args.out.join(name), &page)?;
    }
    Ok(())
}

/// Makes all pages: names of files, and what is in them.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut program = Args::command();
    program.build();
    let mut pages = Vec::new();
    add_pages(&program, "", &mut pages);
    pages
}

/// Adds the page of a command and those of its own commands, which have `above` below them unless they say more.
fn add_pages(command: &Command, above: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let below = command.get_after_help().map_or_else(|| above.to_owned(), ToString::to_string);
    let page = page(command.clone(), &name, &below).expect("memory takes every write");
    pages.push((format!("{name}.1"), page));
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        add_pages(command, &below, pages);
    }
}

fn page(command: Command, name: &str, below: &str) -> io::Result<Vec<u8>> {
    let command = command.after_help(Resettable::Reset).display_name(name.to_owned());
    let has_commands = command.has_subcommands();
    let man = Man::new(command).title(name.to_uppercase()).source(SOURCE).manual("ociseed");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    let common = blocks(help::OCISEED).filter(|(title, _)| *title != "Examples");
    let own: Vec<_> = blocks(below).collect();
    let common = common.filter(|(title, _)| own.iter().all(|(own, _)| own != title));
    for (title, lines) in own.iter().copied().chain(common) {
        page.extend(section(title, lines).as_bytes());
    }
    Ok(page)
}

/// Splits a text into titles and what is below them.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n\n").filter_map(|block| block.split_once(":\n"))
}

/// Writes a section of lines that stay as they are.
fn section(title: &str, lines: &str) -> String {
    // What readers of man pages look for (man-pages(7)).
    let title = match title {
        "Exit codes" => "EXIT STATUS".to_owned(),
        title => title.to_uppercase(),
    };
    let lines: Vec<_> =
        lines.lines().map(|line| roff(line.strip_prefix("  ").unwrap_or(line).trim_end())).collect();
    format!(".SH {title}\n.nf\n{}\n.fi\n", lines.join("\n"))
}

/// Escapes what roff would take for its own.
fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_examples() {
        let pages = pages();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["ociseed.1", "ociseed-build.1", "ociseed-cache.1", "ociseed-cache-gc.1", "ociseed-man.1"]
        {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for (name, page) in &pages {
            let page = std::str::from_utf8(page).expect("UTF-8");
            for section in ["NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT"] {
                assert!(page.contains(&format!(".SH {section}\n")), "{section} in {name}: {page}");
            }
        }
        assert_eq!(pages, super::pages(), "made twice");
    }

    #[test]
    fn roff_gets_no_commands() {
        assert_eq!(roff(".a 'b' --c \\ `d`"), "\\&.a \\(aqb\\(aq \\-\\-c \\e \\(gad\\(ga");
    }
}
