//! One gRPC call: messages out, messages in, the verdict in the trailers.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use prost::Message;

use crate::client::{Client, Scope};
use crate::frame::{self, Deframer};
use crate::{Code, Error};

/// A call that is under way; dropping it cancels it.
pub(crate) struct Call<'c> {
    client: &'c Client,
    wire: Wire,
}

/// The call's two directions, apart from the client so that it can be borrowed beside it.
struct Wire {
    method: &'static str,
    sending: SendStream<Bytes>,
    answer: Answer,
    deframer: Deframer,
}

/// How far the engine's answer has come.
enum Answer {
    Head(ResponseFuture),
    Body(RecvStream),
    /// The engine said OK and nothing follows.
    Over,
}

impl Scope<'_> {
    /// Makes a call with one message each way.
    pub(crate) fn unary<A: Message, B: Message + Default>(
        &self,
        method: &'static str,
        limit: Duration,
        message: &A,
    ) -> Result<B, Error> {
        decode(method, self.unary_frame(method, limit, frame::encode(message))?)
    }

    /// The part of a unary call that no type has to be known for: the loader has one copy of it.
    fn unary_frame(&self, method: &'static str, limit: Duration, frame: Bytes) -> Result<Bytes, Error> {
        let mut call = self.call(method, Some(limit))?;
        call.send_frame(frame, true, limit)?;
        let answer = call.receive_bytes(limit)?;
        let answer = answer.ok_or_else(|| call.wire.protocol("it ended without an answer"))?;
        // What counts is the status behind the message.
        match call.receive_bytes(limit)? {
            None => Ok(answer),
            Some(_) => Err(call.wire.protocol("a second answer came")),
        }
    }
}

impl<'c> Scope<'c> {
    /// Starts a call; `timeout` also tells the engine how long the whole call may take.
    pub(crate) fn call(&self, method: &'static str, timeout: Option<Duration>) -> Result<Call<'c>, Error> {
        let client = self.client;
        client.count(|tally| *tally.calls.entry(method).or_default() += 1);
        let request = self.request(method, timeout)?;
        let requests = client.requests();
        let (answer, sending) = client.wait(
            method,
            client.limit(),
            pin!(async move {
                let mut requests = requests.ready().await.map_err(|source| Error::Lost { method, source })?;
                requests.send_request(request, false).map_err(|source| Error::Lost { method, source })
            }),
        )?;
        let wire = Wire { method, sending, answer: Answer::Head(answer), deframer: Deframer::default() };
        Ok(Call { client, wire })
    }

    fn request(&self, method: &'static str, timeout: Option<Duration>) -> Result<http::Request<()>, Error> {
        // Go's server refuses a socket path as authority; every gRPC client says localhost.
        let mut request = http::Request::post(format!("http://localhost/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if !self.namespace.is_empty() {
            request = request.header("containerd-namespace", &self.namespace);
        }
        if let Some(lease) = &self.lease {
            request = request.header("containerd-lease", lease);
        }
        if let Some(timeout) = timeout {
            // At most eight digits are allowed; milliseconds of our limits have six.
            request = request.header("grpc-timeout", format!("{}m", timeout.as_millis().max(1)));
        }
        request.body(()).map_err(|error| Error::Protocol { method, reason: error.to_string() })
    }
}

impl Call<'_> {
    /// Sends a message; `last` ends our direction.
    ///
    /// An engine that ended the call meanwhile has said why: that is the error then.
    pub(crate) fn send(&mut self, message: &impl Message, last: bool, limit: Duration) -> Result<(), Error> {
        self.send_frame(frame::encode(message), last, limit)
    }

    fn send_frame(&mut self, frame: Bytes, last: bool, limit: Duration) -> Result<(), Error> {
        let wire = &mut self.wire;
        let open = self.client.wait(wire.method, limit, pin!(async { Ok(wire.push(frame, last).await) }))?;
        if open {
            return Ok(());
        }
        while self.receive_bytes(limit)?.is_some() {}
        Err(self.wire.protocol("it ended before everything was sent"))
    }

    /// Receives the next message; `None` when the engine ended the call with OK.
    pub(crate) fn receive<B: Message + Default>(&mut self, limit: Duration) -> Result<Option<B>, Error> {
        let method = self.wire.method;
        self.receive_bytes(limit)?.map(|bytes| decode(method, bytes)).transpose()
    }

    fn receive_bytes(&mut self, limit: Duration) -> Result<Option<Bytes>, Error> {
        let wire = &mut self.wire;
        self.client.wait(wire.method, limit, pin!(wire.pull()))
    }

    /// Returns the client that the call goes through.
    pub(crate) fn client(&self) -> &Client {
        self.client
    }
}

impl Wire {
    /// Sends bytes as fast as the engine takes them; returns false when the stream is no longer open.
    async fn push(&mut self, mut bytes: Bytes, last: bool) -> bool {
        loop {
            self.sending.reserve_capacity(bytes.len());
            let room = match poll_fn(|context| self.sending.poll_capacity(context)).await {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return false,
            };
            let piece = bytes.split_to(room.min(bytes.len()));
            if self.sending.send_data(piece, last && bytes.is_empty()).is_err() {
                return false;
            }
            if bytes.is_empty() {
                return true;
            }
        }
    }

    /// Returns the next message's bytes, `None` at a good end.
    async fn pull(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(message) = self.deframer.next().map_err(|reason| self.protocol(&reason))? {
                return Ok(Some(message));
            }
            let method = self.method;
            let failed = |source| failure(method, source);
            match &mut self.answer {
                Answer::Over => return Ok(None),
                Answer::Head(head) => {
                    let (head, body) = head.await.map_err(failed)?.into_parts();
                    if head.status != http::StatusCode::OK {
                        return Err(self.protocol(&format!("HTTP status {}", head.status)));
                    }
                    // An error that is known at once comes without a body, its status among the headers.
                    if head.headers.contains_key("grpc-status") {
                        return self.verdict(&head.headers);
                    }
                    self.answer = Answer::Body(body);
                }
                Answer::Body(body) => match body.data().await {
                    Some(Ok(bytes)) => {
                        // Taken over at once, so the engine may send as much again.
                        body.flow_control().release_capacity(bytes.len()).map_err(failed)?;
                        self.deframer.push(&bytes);
                    }
                    Some(Err(source)) => return Err(failed(source)),
                    None => {
                        let trailers = body.trailers().await.map_err(failed)?;
                        return self.verdict(&trailers.unwrap_or_default());
                    }
                },
            }
        }
    }

    fn verdict(&mut self, trailers: &HeaderMap) -> Result<Option<Bytes>, Error> {
        let method = self.method;
        let text = |name: &str| {
            trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let status = text("grpc-status").ok_or_else(|| self.protocol("it ended without a status"))?;
        match Code::from_trailer(&status).map_err(|reason| self.protocol(&reason))? {
            Some(code) => {
                let message = percent_decode(&text("grpc-message").unwrap_or_default());
                Err(Error::Status { method, code, message })
            }
            None if !self.deframer.is_empty() => Err(self.protocol("it ended within a message")),
            None => {
                self.answer = Answer::Over;
                Ok(None)
            }
        }
    }

    fn protocol(&self, reason: &str) -> Error {
        Error::Protocol { method: self.method, reason: reason.to_owned() }
    }
}

fn decode<B: Message + Default>(method: &'static str, bytes: Bytes) -> Result<B, Error> {
    let unreadable = |error| Error::Protocol { method, reason: format!("an answer cannot be read: {error}") };
    B::decode(bytes).map_err(unreadable)
}

/// Tells a call that the engine gave up (a reset stream) from a connection that is gone.
fn failure(method: &'static str, source: h2::Error) -> Error {
    match source.reason() {
        Some(reason) if source.is_reset() && source.is_remote() => {
            Error::Protocol { method, reason: format!("the engine reset the call: {reason}") }
        }
        _ => Error::Lost { method, source },
    }
}

/// Undoes the percent-encoding of `grpc-message`; what is not well-formed stays as it is.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_decoded() {
        for (text, plain) in [("a%20b", "a b"), ("%C3%A9%", "é%"), ("%zz", "%zz"), ("", "")] {
            assert_eq!(percent_decode(text), plain);
        }
    }
}
