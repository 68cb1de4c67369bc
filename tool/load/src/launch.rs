//! The load file beside the program, and the seed in the runfiles: how a build system says what to load.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use ociseed_spec::load::LoadFile;
use ociseed_spec::{chain, shown_path};

use crate::exit::Exit;
use crate::failure::Stop;

/// What the program is called when nobody gave it another name.
const OWN_NAME: &str = "ociseed-load";

/// A load file that was read.
#[derive(Debug)]
pub(crate) struct Launch {
    /// What it says.
    pub(crate) file: LoadFile,
    /// The program as it was started.
    program: PathBuf,
}

/// Finds the load file of the program as it was started, if it has one.
///
/// # Errors
/// It cannot be read, or is not valid.
pub(crate) fn find() -> Result<Option<Launch>, Stop> {
    match env::args_os().next() {
        Some(program) => of(&program),
        None => Ok(None),
    }
}

fn of(program: &OsStr) -> Result<Option<Launch>, Stop> {
    let path = Path::new(program);
    // Without a path it was looked for in `PATH`, and what lies in the working directory has nothing to do with it.
    if path.file_name() == Some(OsStr::new(OWN_NAME)) || !program.as_bytes().contains(&b'/') {
        return Ok(None);
    }
    let place = beside(path, ".load.json");
    let invalid = |reason: String| Stop::new(Exit::Usage, format!("`{}`: {reason}", shown_path(&place)));
    let bytes = match fs::read(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| invalid(error.to_string()))?,
    };
    let file = LoadFile::parse(&bytes).map_err(|error| invalid(chain(&error)))?;
    let below = |part| matches!(part, Component::Normal(_));
    if file.seed.is_empty() || !Path::new(&file.seed).components().all(below) {
        let reason = format!("`seed`: expected a relative path without `..`, found `{}`", file.seed);
        return Err(invalid(reason));
    }
    Ok(Some(Launch { file, program: path.to_owned() }))
}

impl Launch {
    /// Finds the seed in the runfiles.
    ///
    /// # Errors
    /// It is in none.
    pub(crate) fn seed(&self) -> Result<PathBuf, Stop> {
        self.seed_below(env::var_os("RUNFILES_DIR"))
    }

    fn seed_below(&self, runfiles: Option<OsString>) -> Result<PathBuf, Stop> {
        let own = beside(&self.program, ".runfiles");
        let places = runfiles.filter(|dir| !dir.is_empty()).map(PathBuf::from).into_iter().chain([own]);
        let places: Vec<_> = places.map(|dir| dir.join(&self.file.seed)).collect();
        if let Some(found) = places.iter().find(|place| place.exists()) {
            return Ok(found.clone());
        }
        let tried: Vec<_> = places.iter().map(|place| format!("`{}`", shown_path(place))).collect();
        Err(Stop::new(
            Exit::Seed,
            format!("the seed is not in the runfiles: found neither of {}", tried.join(", ")),
        )
        .hint("start it with `bazel run`, or say `--seed DIR`"))
    }
}

fn beside(program: &Path, ending: &str) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = env::temp_dir().join(format!("ociseed-load-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).expect("can be made");
            Self(dir)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let file = self.0.join(name);
            fs::create_dir_all(file.parent().expect("has one")).expect("can be made");
            fs::write(&file, text).expect("can be written");
            file
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("was made");
        }
    }

    #[test]
    fn the_load_file_is_that_of_the_name_it_was_started_by() {
        let dir = Scratch::new("names");
        dir.write("load.load.json", r#"{"version":1,"seed":"_main/s"}"#);
        dir.write("ociseed-load.load.json", "not read");
        let found =
            |name: &str| of(dir.0.join(name).as_os_str()).expect("valid").map(|launch| launch.file.seed);
        assert_eq!(found("load"), Some("_main/s".to_owned()));
        assert_eq!(found("other"), None);
        assert_eq!(found(OWN_NAME), None);
        assert!(of(OsStr::new("load")).expect("valid").is_none());
    }

    #[test]
    fn wrong_load_files_are_wrong_usage() {
        let dir = Scratch::new("wrong");
        for text in [
            "",
            "{}",
            r#"{"version":1,"seed":"/s"}"#,
            r#"{"version":1,"seed":"a/../../s"}"#,
            r#"{"version":1,"seed":""}"#,
        ] {
            dir.write("l.load.json", text);
            let stop = of(dir.0.join("l").as_os_str()).expect_err(text);
            assert_eq!(stop.exit, Exit::Usage, "{text}");
            assert!(stop.text.contains("l.load.json"), "{}", stop.text);
        }
    }

    #[test]
    fn the_seed_is_the_first_that_is_there() {
        let dir = Scratch::new("runfiles");
        dir.write("l.load.json", r#"{"version":1,"seed":"_main/s"}"#);
        let launch = of(dir.0.join("l").as_os_str()).expect("valid").expect("there");
        let elsewhere = dir.0.join("elsewhere");
        assert_eq!(launch.seed_below(None).expect_err("nowhere").exit, Exit::Seed);
        dir.write("l.runfiles/_main/s/seed.json", "");
        for runfiles in [None, Some(OsString::new()), Some(elsewhere.clone().into())] {
            assert_eq!(launch.seed_below(runfiles).expect("there"), dir.0.join("l.runfiles/_main/s"));
        }
        dir.write("elsewhere/_main/s/seed.json", "");
        assert_eq!(
            launch.seed_below(Some(elsewhere.clone().into())).expect("there"),
            elsewhere.join("_main/s")
        );
    }
}
