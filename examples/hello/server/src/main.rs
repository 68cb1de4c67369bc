//! Answers every HTTP request with one file.
//!
//! It is the program of the example image `hello`: static, without
//! dependencies, and it says on standard output when it is ready.
//!
//! Usage: `hello-server FILE [ADDRESS]`, `ADDRESS` being `127.0.0.1:8080` unless given.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(file) = arguments.next() else {
        let _ = writeln!(io::stderr(), "usage: hello-server FILE [ADDRESS]");
        return ExitCode::from(2);
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    match serve(&file, &address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &str, address: &str) -> io::Result<()> {
    let body = std::fs::read(file).map_err(|error| io::Error::other(format!("`{file}`: {error}")))?;
    let listener =
        TcpListener::bind(address).map_err(|error| io::Error::other(format!("`{address}`: {error}")))?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for stream in listener.incoming() {
        // One client that goes away must not end the server.
        if let Err(error) = stream.and_then(|stream| answer(&stream, &body)) {
            writeln!(io::stderr(), "warning: {error}")?;
        }
    }
    Ok(())
}

fn answer(stream: &TcpStream, body: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
