//! How far a command is, for people who watch it.
//!
//! Bars are drawn on standard error while work runs, only where it is a
//! terminal that can move its cursor (`TERM` is set and not `dumb`), and are
//! gone before anything else is printed. Elsewhere nothing is written, so logs
//! of build systems stay short. A step may be told of bytes by any thread.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// More lines than this tell a person less, and there are seldom more threads.
const MAX_LINES: usize = 8;

/// How often the elapsed time is drawn when nothing else happens.
const TICK: Duration = Duration::from_millis(250);

/// All the steps of a command together: one line, with a line for each step that runs above it.
///
/// Dropping it takes the bars away.
pub(crate) struct Progress {
    bars: Option<Arc<Bars>>,
}

/// One step that runs; dropping it takes its line away.
pub(crate) struct StepProgress {
    shown: Option<(Arc<Bars>, ProgressBar)>,
}

struct Bars {
    multi: MultiProgress,
    /// The line at the bottom.
    overall: ProgressBar,
    lines: usize,
    steps: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    done: usize,
    total: usize,
    begun: usize,
    /// Those that have a line.
    drawn: Vec<ProgressBar>,
    /// Those that wait for one.
    waiting: Vec<ProgressBar>,
}

impl Progress {
    /// Draws on standard error if it is `wanted` and a terminal, else nothing at all.
    pub(crate) fn new(wanted: bool) -> Self {
        match wanted.then(ProgressDrawTarget::stderr) {
            Some(target) if !target.is_hidden() => Self::on(target),
            _ => Self { bars: None },
        }
    }

    fn on(target: ProgressDrawTarget) -> Self {
        // The last line of the terminal is where the cursor stays.
        let room = usize::from(terminal_height().saturating_sub(2));
        let multi = MultiProgress::with_draw_target(target);
        let overall = multi.add(ProgressBar::no_length().with_style(overall_style(0)));
        overall.enable_steady_tick(TICK);
        let lines = room.clamp(1, MAX_LINES);
        Self { bars: Some(Arc::new(Bars { multi, overall, lines, steps: Mutex::default() })) }
    }

    /// Says that this many more steps will run; may be left out, then those that began count.
    pub(crate) fn expect_steps(&self, steps: usize) {
        if let Some(bars) = &self.bars {
            let mut all = bars.steps();
            all.total += steps;
            bars.draw_overall(&all);
        }
    }

    /// Begins a step, such as `layer.site`; 0 bytes are not known yet, or do not matter.
    pub(crate) fn step(&self, name: impl Into<String>, total_bytes: u64) -> StepProgress {
        let begin = |bars: &Arc<Bars>| (Arc::clone(bars), bars.begin(name.into()));
        let step = StepProgress { shown: self.bars.as_ref().map(begin) };
        step.expect_bytes(total_bytes);
        step
    }

    /// Takes the bars away, so that something else can be printed.
    pub(crate) fn finish(&self) {
        if let Some(bars) = &self.bars {
            let mut steps = bars.steps();
            steps.waiting.clear();
            steps.drawn.drain(..).for_each(|bar| bar.finish_and_clear());
            bars.overall.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl StepProgress {
    /// Says that this many more bytes are to be worked on.
    pub(crate) fn expect_bytes(&self, bytes: u64) {
        if let Some((bars, bar)) = self.shown.as_ref().filter(|_| bytes > 0) {
            for (bar, style) in [(bar, step_style as fn(u64) -> _), (&bars.overall, overall_style)] {
                // Locked, as two threads could otherwise add to the same number.
                let _steps = bars.steps();
                let total = bar.length().unwrap_or(0) + bytes;
                bar.set_length(total);
                bar.set_style(style(total));
            }
        }
    }

    /// Counts bytes that were worked on; cheap enough for every piece.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some((bars, bar)) = &self.shown {
            bar.inc(bytes);
            bars.overall.inc(bytes);
        }
    }

    /// Ends the step well; one that is dropped without it is not counted as done.
    pub(crate) fn done(&self) {
        if let Some((bars, _)) = &self.shown {
            let mut steps = bars.steps();
            steps.done += 1;
            bars.draw_overall(&steps);
        }
    }
}

impl Drop for StepProgress {
    fn drop(&mut self) {
        if let Some((bars, bar)) = &self.shown {
            bars.end(bar);
        }
    }
}

impl Bars {
    fn steps(&self) -> MutexGuard<'_, Steps> {
        // A thread that panicked left numbers that are only shown.
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_overall(&self, steps: &Steps) {
        let total = steps.total.max(steps.begun);
        self.overall.set_message(format!("{}/{total} steps", steps.done));
    }

    fn begin(&self, name: String) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_prefix(name);
        bar.set_style(step_style(0));
        let mut steps = self.steps();
        steps.begun += 1;
        self.draw_overall(&steps);
        if steps.drawn.len() < self.lines {
            self.show(&mut steps, bar.clone());
        } else {
            steps.waiting.push(bar.clone());
        }
        bar
    }

    fn show(&self, steps: &mut Steps, bar: ProgressBar) {
        steps.drawn.push(self.multi.insert_before(&self.overall, bar.clone()));
        bar.tick();
    }

    /// Takes the line of a step away, and gives it to one that waits.
    fn end(&self, bar: &ProgressBar) {
        let mut steps = self.steps();
        bar.finish_and_clear();
        let same = |other: &ProgressBar| other.prefix() == bar.prefix() && other.is_finished();
        if let Some(place) = steps.drawn.iter().position(same) {
            self.multi.remove(&steps.drawn.remove(place));
            if !steps.waiting.is_empty() && !self.overall.is_finished() {
                let next = steps.waiting.remove(0);
                self.show(&mut steps, next);
            }
        } else {
            steps.waiting.retain(|other| !same(other));
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("shown", &self.bars.is_some()).finish()
    }
}

fn terminal_height() -> u16 {
    // What most terminals have at least; without a size the bars are not drawn on one.
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(24, |size| size.ws_row)
}

fn step_style(total: u64) -> ProgressStyle {
    match total {
        0 => style("  {prefix:24!}"),
        _ => style("  {prefix:24!} [{wide_bar}] {bytes:>10} of {total_bytes:10}"),
    }
}

fn overall_style(total: u64) -> ProgressStyle {
    match total {
        0 => style("{msg}, {elapsed}"),
        _ => style("{msg}, {bytes} of {total_bytes}, {binary_bytes_per_sec}, {elapsed}"),
    }
}

fn style(template: &str) -> ProgressStyle {
    // No colours: the bars say it all without, so there is nothing for NO_COLOR to take away.
    let style = ProgressStyle::with_template(template).expect("the templates are here and well-formed");
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use indicatif::TermLike;
    use std::io;

    use super::*;

    /// A terminal of 80 columns that keeps what was written to it.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<String>>);

    impl Kept {
        fn take(&self) -> String {
            std::mem::take(&mut *self.0.lock().expect("nobody panicked"))
        }

        fn add(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("nobody panicked").push_str(text);
            Ok(())
        }
    }

    impl TermLike for Kept {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.add(&format!("{line}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.add(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.add("<clear>")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown() -> (Kept, Progress) {
        let kept = Kept::default();
        let progress = Progress::on(ProgressDrawTarget::term_like(Box::new(kept.clone())));
        (kept, progress)
    }

    #[test]
    fn lines_say_what_and_how_far() {
        let (kept, progress) = shown();
        progress.expect_steps(3);
        let step = progress.step("layer.site", 2 << 20);
        step.expect_bytes(2 << 20);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| step.advance(512 << 10));
            }
        });
        let other = progress.step("image.web", 0);
        let text = kept.take();
        for part in [
            "layer.site",
            "[=",
            "2.00 MiB of 4.00 MiB",
            "image.web",
            "0/3 steps, 2.00 MiB of 4.00 MiB, ",
            "/s, ",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        step.done();
        other.done();
        assert!(kept.take().contains("2/3 steps"));
    }

    #[test]
    fn what_failed_is_not_done() {
        let (kept, progress) = shown();
        drop(progress.step("layer.a", 0));
        progress.step("layer.b", 0).done();
        let text = kept.take();
        assert!(text.contains("1/2 steps") && !text.contains("2/2 steps"), "{text}");
    }

    #[test]
    fn lines_have_a_limit_and_go_on_to_those_that_wait() {
        let (kept, progress) = shown();
        let mut steps: Vec<_> =
            (0..MAX_LINES + 2).map(|number| progress.step(format!("layer.{number}"), 0)).collect();
        let text = kept.take();
        assert!(text.contains("layer.7") && !text.contains("layer.8"), "{text}");
        steps.remove(3).done();
        let text = kept.take();
        assert!(text.contains("layer.8") && !text.contains("layer.9"), "{text}");
        // One that never had a line ends quietly.
        steps.pop().expect("there are many").done();
        steps.remove(0).done();
        assert!(!kept.take().contains("layer.9"));
    }

    #[test]
    fn nothing_is_drawn_after_the_end() {
        let (kept, progress) = shown();
        let running: Vec<_> = (0..MAX_LINES + 2).map(|number| progress.step(number.to_string(), 9)).collect();
        progress.finish();
        kept.take();
        std::thread::sleep(TICK * 2);
        running.iter().for_each(|step| step.advance(1));
        drop(running);
        drop(progress);
        let text = kept.take();
        assert_eq!(text.replace("<clear>", "").trim(), "", "{text}");
    }

    #[test]
    fn unwanted_bars_take_nothing() {
        let progress = Progress::new(false);
        assert!(progress.bars.is_none());
        let step = progress.step("layer.a", 1);
        step.advance(1);
        step.done();
    }
}
