//! What people see at a terminal: help, man pages, completions, colours.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::run::{bad, digests, good, scratch};

/// The commands, as `ociseed --help` lists them.
fn commands(dir: &Path) -> Vec<String> {
    commands_of(dir, &["--help"])
}

fn commands_of(dir: &Path, args: &[&str]) -> Vec<String> {
    let help = good(dir, args);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Long descriptions go on below, further in.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// Runs a shell with the program's directory first in `PATH`.
fn shell(dir: &Path, script: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_ociseed")).parent().expect("in a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script]).current_dir(dir).env("PATH", path).env("TERM", "xterm");
    // CI as well: logs of such services show colours where they say that they are no real terminal.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        bash.env_remove(name);
    }
    bash.output().expect("bash is on every build machine")
}

fn printed(dir: &Path, script: &str) -> String {
    let output = shell(dir, script);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn help_of_every_command_has_examples() {
    let dir = scratch("help");
    let commands = commands(&dir);
    for command in
        ["build", "inspect", "verify", "diff", "layer", "image", "index", "bundle", "seed", "store"]
    {
        assert!(commands.iter().any(|listed| listed == command), "{command} in {commands:?}");
    }
    let help = good(&dir, &["--help"]);
    for part in ["Examples:", "Exit codes:", "Environment:", "NO_COLOR"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    for command in commands.iter().filter(|command| *command != "help") {
        let help = good(&dir, &[command, "--help"]);
        assert!(
            help.contains(&format!("Examples:\n  ociseed {command} ")) || help.contains("source <(ociseed"),
            "{help}"
        );
        assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
    }
}

/// Every example parses: what is wrong with it is at most that its files are not there.
#[test]
fn examples_have_no_mistakes() {
    let dir = scratch("help-examples");
    let mut seen = 0;
    for command in commands(&dir).iter().filter(|command| *command != "help") {
        let help = good(&dir, &[command, "--help"]);
        for line in help.lines().filter_map(|line| line.strip_prefix("  ociseed ")) {
            let line = line.split(['|', '&', '>']).next().expect("one part at least");
            let line = line.replace('~', "home");
            let args: Vec<&str> = line.split_whitespace().collect();
            let output = crate::run::ociseed(&dir, &args);
            assert_ne!(output.status.code(), Some(2), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn parameter_files_in_help_are_good() {
    let dir = scratch("help-parameters");
    for step in ["layer", "image", "index", "bundle", "seed", "store"] {
        let help = good(&dir, &[step, "--help"]);
        let (_, params) = help.split_once("A parameter file:\n").expect("there is one");
        fs::write(dir.join("params.json"), params).expect("written");
        let message = crate::run::ociseed(&dir, &[step, "--params", "params.json", "--out", "out"]).stderr;
        let message = String::from_utf8(message).expect("UTF-8");
        assert!(message.starts_with("error: ") && !message.contains("parameter file"), "{step}: {message}");
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let dir = scratch("completions");
    let complete = |words: &str, last: usize| {
        let script = format!(
            "source <(ociseed completions bash) || exit 1\nCOMP_WORDS=({words}); COMP_CWORD={last}\n\
             _ociseed ociseed \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            last - 1
        );
        printed(&dir, &script)
    };
    assert_eq!(complete("ociseed b", 1), "build\nbundle\n");
    assert_eq!(complete("ociseed build --inp", 2), "--input\n");
    assert_eq!(complete("ociseed completions z", 2), "zsh\n");
    assert_eq!(complete("ociseed inspect --la", 2), "--largest\n");
}

#[test]
fn other_shells_have_scripts_that_name_every_command() {
    let dir = scratch("completions-others");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = good(&dir, &["completions", shell]);
        for command in commands(&dir) {
            assert!(script.contains(&command), "{command} for {shell}");
        }
    }
    assert!(
        bad(&dir, &["completions", "csh"], 2)
            .contains("possible values: bash, elvish, fish, powershell, zsh")
    );
}

#[test]
fn man_pages_read_well() {
    let dir = scratch("man");
    good(&dir, &["man", "--out", "new/man1"]);
    good(&dir, &["man", "--out", "again"]);
    assert_eq!(digests(&dir.join("new/man1")), digests(&dir.join("again")));
    let mut pages: Vec<_> = fs::read_dir(dir.join("again"))
        .expect("read")
        .map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"))
        .collect();
    pages.sort();
    let mut expected: Vec<_> = commands(&dir)
        .iter()
        .filter(|command| *command != "help")
        .flat_map(|command| {
            let below = commands_of(&dir, &[command, "--help"]);
            let below = below.into_iter().filter(|below| below != "help");
            let below = below.map(|below| format!("ociseed-{command}-{below}.1")).collect::<Vec<_>>();
            [vec![format!("ociseed-{command}.1")], below].concat()
        })
        .chain(["ociseed.1".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(pages, expected);
    for page in pages {
        let output = shell(&dir.join("again"), &format!("groff -man -ww -Tutf8 -P-cbou {page}"));
        assert!(output.status.success(), "groff is needed (Debian: groff-base)");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        for part in ["NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "NO_COLOR", "       0  "] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

/// Runs a command with a terminal as its standard output and error.
fn at_terminal(dir: &Path, command: &str) -> String {
    let output = shell(dir, &format!("script -qec '{command}' /dev/null < /dev/null"));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let dir = scratch("colours");
    let missing = "ociseed build missing.toml";
    let plain = "error: `missing.toml`: No such file or directory";
    assert!(at_terminal(&dir, missing).starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m `missing"));
    for variable in ["NO_COLOR=1", "CLICOLOR=0", "TERM=dumb"] {
        assert!(at_terminal(&dir, &format!("env {variable} {missing}")).starts_with(plain), "{variable}");
    }
    let piped =
        |before: &str| String::from_utf8(shell(&dir, &format!("{before} {missing}")).stderr).expect("UTF-8");
    assert!(piped("").starts_with(plain));
    assert!(piped("CLICOLOR_FORCE=1").starts_with('\u{1b}'));
    // clap's own errors keep to the same.
    assert!(at_terminal(&dir, "ociseed buidl").starts_with("\u{1b}["));
    assert!(at_terminal(&dir, "env NO_COLOR=1 ociseed buidl").starts_with("error: "));
}

#[test]
fn bars_are_for_terminals_and_gone_at_the_end() {
    let dir = scratch("bars");
    fs::write(dir.join("zeros"), vec![0; 8 << 20]).expect("written");
    let spec = "[layer.one]\nadd = [{ file = \"zeros\", to = \"/z\" }]\n[image.two]\nlayers = [\"one\"]\n\
                [bundle.b]\nformat = \"oci-archive\"\nimages = { \"a.org/b:1\" = \"two\" }\n";
    fs::write(dir.join("spec.toml"), spec).expect("written");
    let build = "ociseed build spec.toml --no-cache";
    let sized = |command: &str| at_terminal(&dir, &format!("stty cols 100 rows 30; {command}"));
    let text = sized(build);
    let (bars, report) = text.rsplit_once("\u{1b}[2K").unwrap_or_else(|| panic!("no bars: {text:?}"));
    for part in ["layer.one", "/3 steps", " of 8.", "/s, ", "0s"] {
        assert!(bars.contains(part), "{part} in {bars:?}");
    }
    assert!(report.contains("layer.one: layer/one.tar.zst (") && !report.contains("steps"), "{report:?}");
    assert!(sized("ociseed verify out").contains("/3 steps"));
    // Errors come when the bars are gone, too.
    fs::write(dir.join("bad.toml"), format!("{spec}[layer.c]\nadd = [{{ tar = \"spec.toml\" }}]\n"))
        .expect("written");
    let text = sized("ociseed build bad.toml --no-cache");
    let (_, error) = text.rsplit_once("\u{1b}[2K").unwrap_or_else(|| panic!("no bars: {text:?}"));
    assert!(error.contains("layer.c.add[0]: `spec.toml`"), "{error:?}");
    for quiet in [
        format!("{build} --quiet"),
        format!("env TERM=dumb {build}"),
        "ociseed verify out --quiet".to_owned(),
    ] {
        assert!(!sized(&quiet).contains("steps"), "{quiet}");
    }
    let piped = shell(&dir, build);
    assert!(piped.status.success());
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
}
