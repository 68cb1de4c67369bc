//! Bazel's worker protocol: `worker_protocol.proto` of its sources, and how messages follow each other.

use std::fmt::Display;
use std::io::{self, BufRead, Read};

use prost::Message;

/// The longest request that is taken: a million inputs with their paths, digests and arguments.
pub(crate) const MOST_BYTES: u64 = 256 << 20;
/// What a number of 64 bits takes as a varint.
const VARINT_BYTES: u32 = 10;

/// A file that a request may read.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Input {
    /// As arguments name it. Text in Bazel's file; paths of Linux are any bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) path: Vec<u8>,
    /// In hexadecimal; empty where Bazel knows none.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) digest: Vec<u8>,
}

/// What Bazel wants: a step, or that one is given up.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkRequest {
    /// Text in Bazel's file.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) arguments: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) inputs: Vec<Input>,
    #[prost(int32, tag = "3")]
    pub(crate) request_id: i32,
    #[prost(bool, tag = "4")]
    pub(crate) cancel: bool,
    #[prost(int32, tag = "5")]
    pub(crate) verbosity: i32,
    /// What paths are relative to; empty for the working directory. Text in Bazel's file.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) sandbox_dir: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkResponse {
    #[prost(int32, tag = "1")]
    pub(crate) exit_code: i32,
    #[prost(string, tag = "2")]
    pub(crate) output: String,
    #[prost(int32, tag = "3")]
    pub(crate) request_id: i32,
    #[prost(bool, tag = "4")]
    pub(crate) was_cancelled: bool,
}

/// Reads the next request and returns it with its bytes; nothing where the input ends before one.
pub(crate) fn read_request(input: &mut impl BufRead) -> io::Result<Option<(WorkRequest, u64)>> {
    let Some(length) = read_length(input)? else { return Ok(None) };
    if length > MOST_BYTES {
        return Err(wrong(format!("expected a message of at most {MOST_BYTES} bytes, found {length}")));
    }
    // Not made as long as it says before that is known to be there.
    let mut message = Vec::new();
    input.take(length).read_to_end(&mut message)?;
    if message.len() as u64 != length {
        return Err(wrong(format!(
            "expected a message of {length} bytes, found {} to the end",
            message.len()
        )));
    }
    let request =
        WorkRequest::decode(&*message).map_err(|error| wrong(format!("no WorkRequest: {error}")))?;
    Ok(Some((request, length)))
}

fn read_length(input: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut value = 0;
    for number in 0..VARINT_BYTES {
        let mut byte = [0];
        if input.read(&mut byte)? == 0 {
            return match number {
                0 => Ok(None),
                _ => Err(wrong("the input ends in the length of a message")),
            };
        }
        let bits = u64::from(byte[0] & 0x7f);
        // The last byte has room for one bit.
        if number + 1 == VARINT_BYTES && bits > 1 {
            break;
        }
        value |= bits << (7 * number);
        if byte[0] & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Err(wrong("the length of a message has more than 64 bits"))
}

/// Makes the error for what is no protocol.
pub(crate) fn wrong(text: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Option<(WorkRequest, u64)>, String> {
        read_request(&mut bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_read_as_bazel_writes_them() {
        // Fields by hand: 1 "a", 2 { 1 "p", 2 "d" }, 3 7, 4 true, 5 10, 6 "s".
        let message = b"\x0a\x01a\x12\x06\x0a\x01p\x12\x01d\x18\x07\x20\x01\x28\x0a\x32\x01s";
        let mut bytes = vec![u8::try_from(message.len()).expect("short")];
        bytes.extend(message);
        let (request, length) = read(&bytes).expect("well-formed").expect("there");
        assert_eq!(length, message.len() as u64);
        let input = Input { path: b"p".to_vec(), digest: b"d".to_vec() };
        let expected = WorkRequest {
            arguments: vec![b"a".to_vec()],
            inputs: vec![input],
            request_id: 7,
            cancel: true,
            verbosity: 10,
            sandbox_dir: b"s".to_vec(),
        };
        assert_eq!(request, expected);
        assert_eq!(read(b"").expect("the end"), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (bytes, expected) in [
            (&b"\x80"[..], "the input ends in the length of a message"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "the length of a message has more than 64 bits"),
            (
                b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
                "the length of a message has more than 64 bits",
            ),
            (b"\x81\x80\x80\x80\x01", "expected a message of at most 268435456 bytes, found 268435457"),
            (b"\x80\x80\x80\x80\x01a", "expected a message of 268435456 bytes, found 1 to the end"),
            (b"\x02\x18", "expected a message of 2 bytes, found 1 to the end"),
            (b"\x02\x0a\x09", "no WorkRequest: "),
            (b"\x01\x0f", "no WorkRequest: "),
        ] {
            let error = read(bytes).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
