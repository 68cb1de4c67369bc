//! gRPC's framing: a byte that says whether the message is compressed, its length in four bytes, the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes before each message.
const HEADER: usize = 5;

/// The largest message taken; containerd itself sends at most 16 MiB.
const LARGEST: usize = 16 << 20;

/// Encodes one message as a frame.
pub(crate) fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEADER + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("messages are made of pieces far below 4 GiB"));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}

/// Takes messages out of bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    /// Adds bytes that arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole message, `None` when more bytes are needed.
    ///
    /// # Errors
    /// A compressed message, which was not asked for, or a larger one than any engine sends.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, String> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [compressed, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if compressed != 0 {
            return Err(format!("a message is compressed (flag {compressed})"));
        }
        if length > LARGEST {
            return Err(format!("a message has {length} bytes, more than {LARGEST}"));
        }
        if rest.len() < length {
            // Room for the whole message at once: growing piece by piece would copy it over and over.
            let missing = length - rest.len();
            self.buffer.reserve(missing);
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Returns whether nothing is left but whole messages already taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ByDigest;

    #[test]
    fn messages_come_out_of_any_pieces() {
        let messages = ["", "a", &"b".repeat(300)].map(|digest| ByDigest { digest: digest.to_owned() });
        let whole: Vec<u8> = messages.iter().flat_map(|message| encode(message).to_vec()).collect();
        for size in [1, 4, 5, 6, whole.len()] {
            let mut deframer = Deframer::default();
            let mut found = Vec::new();
            for piece in whole.chunks(size) {
                deframer.push(piece);
                while let Some(bytes) = deframer.next().expect("sound") {
                    found.push(ByDigest::decode(bytes).expect("decodes"));
                }
            }
            assert_eq!(found, messages, "pieces of {size}");
            assert!(deframer.is_empty());
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        for (bytes, word) in [([1, 0, 0, 0, 0], "compressed"), ([0, 255, 0, 0, 0], "more than")] {
            let mut deframer = Deframer::default();
            deframer.push(&bytes);
            assert!(deframer.next().expect_err("refused").contains(word));
        }
    }
}
