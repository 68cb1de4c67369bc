//! What the service manager is told of how a command goes, by the protocol of sd_notify(3); nobody listening is no failure.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a command that makes progress is given until it makes some again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds between two signs of life.
const INTERVAL: u64 = 1000;

/// How long the manager is given to take what it must know.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Who listens, if anybody does.
#[derive(Debug)]
pub(crate) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Whether a watchdog waits for us.
    watchdog: bool,
    /// Milliseconds between two signs of life.
    interval: u64,
    start: Instant,
    /// Milliseconds after the start before which a sign of life is one too many.
    next: AtomicU64,
}

impl Notify {
    /// Finds out who listens.
    pub(crate) fn new() -> Self {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, id: u32) -> Self {
        let number = |name| variable(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let ours = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(id.into());
        let watchdog = number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0);
        Self {
            to: variable("NOTIFY_SOCKET").and_then(|socket| listener(&socket)),
            watchdog: watchdog.is_some(),
            // Twice within its limit, as sd_watchdog_enabled(3) wants it.
            interval: watchdog.map_or(INTERVAL, |limit| INTERVAL.min(limit / 2000)),
            start: Instant::now(),
            next: AtomicU64::new(0),
        }
    }

    /// Says what is being done, or was.
    pub(crate) fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// Says that all is done.
    pub(crate) fn ready(&self) {
        if let Some((socket, _)) = &self.to {
            // All else may be lost when the manager is slow.
            let _ = socket.set_nonblocking(false);
            let _ = socket.set_write_timeout(Some(READY_LIMIT));
        }
        self.send("READY=1");
    }

    /// Says that it ends before all was done, as it was told to.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Shows that there is progress. It may be called any number of times, by any thread.
    pub(crate) fn alive(&self) {
        if self.to.is_none() {
            return;
        }
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(self.interval);
        // One of several threads.
        if now >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.extend(PATIENCE);
        }
    }

    /// Shows that there is progress, and asks for time until there is more.
    pub(crate) fn extend(&self, patience: Duration) {
        let watchdog = if self.watchdog { "\nWATCHDOG=1" } else { "" };
        self.send(&format!("EXTEND_TIMEOUT_USEC={}{watchdog}", patience.as_micros()));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// Makes a socket to send from, and the address to send to: a path, or a name behind `@` that no file has.
fn listener(text: &OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match text.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(text),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A manager that does not read keeps nobody from work.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;

    /// Someone who listens at an abstract name, which nobody has to remove.
    struct Manager {
        name: String,
        socket: UnixDatagram,
    }

    impl Manager {
        fn new(test: &str) -> Self {
            let name = format!("@ociseed-notify-{test}-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
            Self::at(name, &address)
        }

        fn at(name: String, address: &SocketAddr) -> Self {
            let socket = UnixDatagram::bind_addr(address).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            Self { name, socket }
        }

        /// Makes what a service with these other variables, `NAME=VALUE` each, has of it.
        fn notify(&self, others: &str) -> Notify {
            notify(&format!("NOTIFY_SOCKET={} {others}", self.name))
        }

        /// Takes all that was said.
        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 200];
            let messages =
                std::iter::from_fn(|| self.socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec()));
            messages.map(|bytes| String::from_utf8(bytes).expect("text")).collect()
        }
    }

    fn notify(variables: &str) -> Notify {
        let variables: Vec<_> =
            variables.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        let value =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Notify::of(value, 7)
    }

    fn say_all(notify: &Notify) {
        notify.status("2 of 20 images");
        notify.alive();
        notify.stopping();
        notify.ready();
    }

    const ALL: [&str; 4] = ["STATUS=2 of 20 images", "EXTEND_TIMEOUT_USEC=30000000", "STOPPING=1", "READY=1"];

    #[test]
    fn a_manager_hears_all_at_a_name_or_a_path() {
        let path: PathBuf = std::env::temp_dir().join(format!("ociseed-notify-{}", std::process::id()));
        let address = SocketAddr::from_pathname(&path).expect("a path");
        for manager in [Manager::new("all"), Manager::at(path.display().to_string(), &address)] {
            say_all(&manager.notify(""));
            assert_eq!(manager.heard(), ALL, "{}", manager.name);
        }
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn nobody_listening_is_no_failure() {
        for variables in [
            "",
            "NOTIFY_SOCKET=",
            "NOTIFY_SOCKET=notify",
            "NOTIFY_SOCKET=/nonexistent",
            "NOTIFY_SOCKET=@nobody",
        ] {
            say_all(&notify(variables));
        }
        // No place that could be meant.
        let long = format!("NOTIFY_SOCKET=/{}", "x".repeat(200));
        for variables in ["NOTIFY_SOCKET=", "NOTIFY_SOCKET=notify", &long] {
            assert!(notify(variables).to.is_none(), "{variables}");
        }
    }

    #[test]
    fn a_watchdog_is_for_whom_it_is_meant() {
        let cases = [
            ("", false),
            ("WATCHDOG_USEC=3000000", true),
            ("WATCHDOG_USEC=3000000 WATCHDOG_PID=7", true),
            ("WATCHDOG_USEC=3000000 WATCHDOG_PID=8", false),
            ("WATCHDOG_USEC=3000000 WATCHDOG_PID=", false),
            ("WATCHDOG_USEC=0", false),
            ("WATCHDOG_USEC=soon", false),
            ("WATCHDOG_PID=7", false),
        ];
        let manager = Manager::new("watchdog");
        for (variables, expected) in cases {
            manager.notify(variables).alive();
            let heard = manager.heard().join("\n");
            assert_eq!(heard.split('\n').any(|line| line == "WATCHDOG=1"), expected, "{variables}");
            assert!(heard.starts_with("EXTEND_TIMEOUT_USEC=30000000"), "{variables}: {heard}");
        }
    }

    #[test]
    fn signs_of_life_are_few_and_go_on() {
        // Within 300 ms: the first alone, one each 50 ms.
        for (variables, least, most) in [("", 1, 1), ("WATCHDOG_USEC=100000", 3, 7)] {
            let manager = Manager::new("few");
            let notify = Arc::new(manager.notify(variables));
            let threads = [(); 2].map(|()| {
                let notify = Arc::clone(&notify);
                std::thread::spawn(move || {
                    while notify.start.elapsed() < Duration::from_millis(300) {
                        notify.alive();
                    }
                })
            });
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            let count = manager.heard().len();
            assert!((least..=most).contains(&count), "{variables}: {count}");
        }
    }

    #[test]
    fn a_manager_that_does_not_read_keeps_nobody_from_work() {
        let manager = Manager::new("deaf");
        let notify = manager.notify("");
        for _ in 0..10_000 {
            notify.status("on and on");
        }
        assert!(notify.start.elapsed() < Duration::from_secs(5));
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let deadline = Instant::now() + Duration::from_secs(5);
            while !manager.heard().iter().any(|message| message == "READY=1") {
                assert!(Instant::now() < deadline);
            }
        });
        // This one waits until there is room for it.
        notify.ready();
        reader.join().expect("it came");
    }
}
