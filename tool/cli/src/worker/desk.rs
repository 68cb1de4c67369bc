//! Takes requests, has them worked on by a few threads, and answers each once.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use prost::Message as _;

use super::protocol::{MOST_BYTES, WorkRequest, WorkResponse, read_request, wrong};
use crate::context::Context;
use crate::failure::Failure;

/// As much as the main thread of a process has, in which a step runs otherwise.
const STACK_BYTES: usize = 8 << 20;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    pub(crate) output: String,
}

/// Does what a request asks for; is called in a thread that does nothing else meanwhile.
pub(crate) type Work<'a> = &'a (dyn Fn(&WorkRequest, &Arc<Context>) -> Answer + Sync);

/// Answers all requests of `input`, so many at a time.
///
/// # Errors
/// The input is no protocol, or the output cannot be written; nothing is worked on any more then.
pub(crate) fn serve(
    mut input: impl BufRead,
    output: impl Write + Send,
    threads: usize,
    work: Work<'_>,
) -> io::Result<()> {
    let desk = Desk {
        state: Mutex::default(),
        came: Condvar::new(),
        went: Condvar::new(),
        output: Mutex::new(output),
    };
    thread::scope(|scope| {
        let started = (0..threads.max(1)).try_for_each(|_| {
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, || desk.work_off(work)).map(drop)
        });
        let result = started.and_then(|()| desk.take_all(&mut input));
        desk.close(result.is_err());
        result
    })?;
    // Of an answer that could not be given.
    desk.state().failed.take().map_or(Ok(()), Err)
}

struct Desk<W> {
    state: Mutex<State>,
    /// Something to do came, or nothing does any more.
    came: Condvar,
    /// Something that waited went.
    went: Condvar,
    output: Mutex<W>,
}

#[derive(Default)]
struct State {
    /// Requests that nobody works on yet, with the length of their messages.
    waiting: VecDeque<(WorkRequest, u64)>,
    waiting_bytes: u64,
    /// All that are not answered yet, by id.
    open: HashMap<i32, Arc<Context>>,
    closed: bool,
    failed: Option<io::Error>,
}

impl<W: Write> Desk<W> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes requests until there are no more.
    fn take_all(&self, input: &mut impl BufRead) -> io::Result<()> {
        while let Some((request, bytes)) = read_request(input)? {
            match request.cancel {
                true => self.cancel(request.request_id),
                false => self.take(request, bytes)?,
            }
        }
        Ok(())
    }

    fn take(&self, request: WorkRequest, bytes: u64) -> io::Result<()> {
        let id = request.request_id;
        let context = Arc::new(Context::new(OsString::from_vec(request.sandbox_dir.clone()).into()));
        let mut state = self.state();
        if state.open.contains_key(&id) {
            return Err(wrong(format!("request {id} came while one of that id was in flight")));
        }
        state.open.insert(id, context);
        state.waiting_bytes += bytes;
        state.waiting.push_back((request, bytes));
        self.came.notify_one();
        // What would wait beyond that waits in the pipe.
        let full = |state: &mut State| state.waiting_bytes > MOST_BYTES;
        drop(self.went.wait_while(state, full).unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn cancel(&self, id: i32) {
        let mut state = self.state();
        let Some(context) = state.open.get(&id) else { return };
        context.cancel();
        let waits = state.waiting.iter().position(|(request, _)| request.request_id == id);
        // Whoever works on it answers otherwise.
        if let Some((_, bytes)) = waits.and_then(|place| state.waiting.remove(place)) {
            state.waiting_bytes -= bytes;
            state.open.remove(&id);
            drop(state);
            self.answer(WorkResponse { request_id: id, was_cancelled: true, ..WorkResponse::default() });
        }
    }

    /// Takes no more; of what was taken, all is done or `now` given up.
    fn close(&self, now: bool) {
        let mut state = self.state();
        state.closed = true;
        if now {
            state.waiting.clear();
            state.open.values().for_each(|context| context.cancel());
        }
        self.came.notify_all();
    }

    /// Does what waits until nothing comes any more.
    fn work_off(&self, work: Work<'_>) {
        while let Some((request, context)) = self.next() {
            let answer = caught(|| work(&request, &context));
            // Before it is answered: then its id may come again.
            self.state().open.remove(&request.request_id);
            // What was done all the same is done.
            let was_cancelled = context.is_cancelled() && answer.code != 0;
            let told = if was_cancelled { Answer { code: 0, output: String::new() } } else { answer };
            self.answer(WorkResponse {
                exit_code: told.code.into(),
                output: told.output,
                request_id: request.request_id,
                was_cancelled,
            });
        }
    }

    fn next(&self) -> Option<(WorkRequest, Arc<Context>)> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.came.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        let (request, bytes) = state.waiting.pop_front()?;
        state.waiting_bytes -= bytes;
        self.went.notify_all();
        let context = Arc::clone(state.open.get(&request.request_id).expect("it is not answered yet"));
        Some((request, context))
    }

    fn answer(&self, response: WorkResponse) {
        let message = response.encode_length_delimited_to_vec();
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = output.write_all(&message).and_then(|()| output.flush()) {
            self.state().failed.get_or_insert(error);
        }
    }
}

/// Makes an answer of a panic, which ends a process otherwise; where it happened is on standard error.
fn caught(work: impl FnOnce() -> Answer) -> Answer {
    // What steps share behind locks is whole between any two calls.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
        let failure = Failure::new(format!("this is a bug of ociseed: {text}"));
        let failure = failure.hint("the log of the worker says where; please report it".to_owned());
        Answer { code: failure.code(), output: failure.plain() }
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn request(id: i32, word: &str) -> WorkRequest {
        let arguments = vec![word.as_bytes().to_vec()];
        WorkRequest { arguments, request_id: id, ..WorkRequest::default() }
    }

    fn cancel(id: i32) -> WorkRequest {
        WorkRequest { request_id: id, cancel: true, ..WorkRequest::default() }
    }

    fn bytes(requests: &[WorkRequest]) -> Vec<u8> {
        requests.iter().flat_map(|request| request.encode_length_delimited_to_vec()).collect()
    }

    /// Reads what was answered, by id.
    fn responses(mut output: &[u8]) -> Vec<WorkResponse> {
        let mut found = Vec::new();
        while !output.is_empty() {
            found.push(WorkResponse::decode_length_delimited(&mut output).expect("a response"));
        }
        found.sort_by_key(|response| response.request_id);
        found
    }

    fn word(request: &WorkRequest) -> &str {
        str::from_utf8(&request.arguments[0]).expect("UTF-8")
    }

    #[test]
    fn a_panic_is_a_failure_of_one_request() {
        let work = |request: &WorkRequest, _: &Arc<Context>| match word(request) {
            "die" => panic!("ouch {}", request.request_id),
            other => Answer { code: 0, output: other.to_owned() },
        };
        let mut output = Vec::new();
        let input = bytes(&[request(1, "die"), request(2, "well"), request(3, "die"), request(4, "well")]);
        serve(&*input, &mut output, 2, &work).expect("protocol");
        let found: Vec<_> = responses(&output).into_iter().map(|one| (one.exit_code, one.output)).collect();
        let bug = |id| {
            format!(
                "error: this is a bug of ociseed: ouch {id}\nhint: the log of the worker says where; please report it\n"
            )
        };
        let well = || (0, "well".to_owned());
        assert_eq!(found, [(1, bug(1)), well(), (1, bug(3)), well()]);
    }

    const LONGEST: Duration = Duration::from_secs(60);

    /// Hands on what is written, each answer by itself.
    struct Told(mpsc::Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).expect("somebody reads");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_cancelled_at_once_and_what_runs_when_it_looks() {
        // One thread: the second request waits for sure while the first one does.
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let (begin, begun) = mpsc::channel::<()>();
        let (reader, mut writer) = io::pipe().expect("a pipe");
        // A test that fails must not wait for what does not come.
        let soon = |begun: &mpsc::Receiver<()>| begun.recv_timeout(LONGEST).expect("it begins");
        let work = |request: &WorkRequest, context: &Arc<Context>| {
            begin.send(()).expect("somebody waits");
            gate.lock().expect("no panic").recv().expect("somebody opens it");
            let code = u8::from(word(request) == "heeds" && context.is_cancelled());
            Answer { code, output: format!("{}", context.is_cancelled()) }
        };
        let (written, answers) = mpsc::channel();
        let next = || {
            let answer: Vec<u8> = answers.recv_timeout(LONGEST).expect("an answer");
            WorkResponse::decode_length_delimited(&*answer).expect("a response")
        };
        let cancelled = |id| WorkResponse { request_id: id, was_cancelled: true, ..WorkResponse::default() };
        let done = |id, output: &str| WorkResponse {
            request_id: id,
            output: output.to_owned(),
            ..WorkResponse::default()
        };
        thread::scope(move |scope| {
            let served = scope.spawn(move || serve(BufReader::new(reader), Told(written), 1, &work));
            let mut send = |requests: &[WorkRequest]| writer.write_all(&bytes(requests)).expect("it reads");
            send(&[request(1, "heeds")]);
            soon(&begun);
            send(&[request(2, "heeds"), cancel(9), cancel(1), cancel(1), cancel(2)]);
            assert_eq!(next(), cancelled(2));
            go.send(()).expect("it waits");
            assert_eq!(next(), cancelled(1));
            // Both are answered: these are of nobody. An id may come again.
            send(&[cancel(1), cancel(2), request(1, "heeds")]);
            soon(&begun);
            go.send(()).expect("it waits");
            assert_eq!(next(), done(1, "false"));
            // What is done all the same is done.
            send(&[request(0, "heedless")]);
            soon(&begun);
            send(&[request(3, "heeds"), cancel(0), cancel(3)]);
            assert_eq!(next(), cancelled(3));
            go.send(()).expect("it waits");
            assert_eq!(next(), done(0, "true"));
            drop(writer);
            served.join().expect("no panic").expect("protocol");
        });
    }

    #[test]
    fn an_id_in_flight_cannot_come_again() {
        let stopped = |_: &WorkRequest, context: &Arc<Context>| {
            let begun = Instant::now();
            while !context.is_cancelled() && begun.elapsed() < LONGEST {
                thread::yield_now();
            }
            Answer { code: 1, output: String::new() }
        };
        let mut output = Vec::new();
        let input = bytes(&[request(5, "a"), request(6, "b"), request(5, "c")]);
        let error = serve(&*input, &mut output, 1, &stopped).expect_err("a mistake of Bazel");
        assert_eq!(error.to_string(), "request 5 came while one of that id was in flight");
        // What waited is not begun.
        assert!(responses(&output).iter().all(|one| one.request_id == 5 && one.was_cancelled));
    }

    #[test]
    fn an_answer_that_cannot_be_given_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let work = |_: &WorkRequest, _: &Arc<Context>| Answer { code: 0, output: String::new() };
        let error = serve(&*bytes(&[request(1, "a")]), Closed, 1, &work).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
