//! `status`: what `place` found in this boot.

use crate::args::StatusRequest;
use crate::place::{self, FILE_NAME, Known};
use crate::talk::Talk;

/// Returns what goes to standard output.
pub(crate) fn status(request: &StatusRequest, talk: &Talk) -> String {
    let file = request.run_dir.join(FILE_NAME);
    let reason = match place::read(&request.run_dir) {
        Ok(Known::Report(_, text)) if request.json => return text,
        Ok(Known::Report(report, _)) => return report.text(),
        Ok(Known::Nothing) => format!("`{}` is not there: no `place` in this boot", file.display()),
        Ok(Known::Other(why)) => format!("`{}` cannot be used: {why}", file.display()),
        Err(error) => format!("cannot read `{}`: {error}", file.display()),
    };
    if request.json {
        talk.warning(&reason);
        return "null\n".to_owned();
    }
    reason + "\n"
}
