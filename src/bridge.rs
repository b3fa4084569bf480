//! The bridge: gRPC messages on one side, plain bytes on the other.
//!
//! A root context has no sockets, but it can open a gRPC stream. The bridge is a second instance of this module in an
//! internal listener of Envoy. It turns the messages of the stream into the bytes of a TCP connection, and back.
//!
//! ```text
//! filter ── gRPC stream ──► bridge ── bytes ──► Redis        message: 00 | length u32 be | bytes[length]
//!        ◄── messages ─────        ◄── bytes ──                       └ not compressed
//! ```

/// The gRPC service of a stream to Redis. The path of such a stream is `/service/method`.
pub const SERVICE: &str = "oauth2_session.Redis";

/// How many characters of Envoy's reason for a failed connection are logged.
const MAX_REASON: usize = 300;

const HEADER: usize = 5;

/// The header of a message of `length` bytes.
pub fn frame(length: usize) -> Option<[u8; HEADER]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

/// The gRPC message that ends a stream if the server could not be reached, with Envoy's reason. It is in brackets because
/// Envoy appends its own words to the message.
pub fn refusal(words: &[u8]) -> String {
    format!("[{}]", plain(words))
}

/// Why the server could not be reached, from the message that ended the stream; `None` if it ended otherwise.
pub fn reason(message: &[u8]) -> Option<String> {
    let words = message.strip_prefix(b"[")?.split(|byte| *byte == b']').next()?;
    Some(plain(words))
}

/// Text that is safe in a log: Envoy's words may quote what a server sent.
fn plain(words: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _-.,:=()'".contains(byte);
    words.iter().filter(|byte| is_plain(byte)).take(MAX_REASON).map(|byte| char::from(*byte)).collect()
}

/// Whether a request is a stream to Redis. The bridge does not touch other requests.
pub fn is_stream(path: &[u8]) -> bool {
    path.strip_prefix(b"/").and_then(|path| path.strip_prefix(SERVICE.as_bytes())).is_some()
}

/// Removes the headers of messages from a stream that arrives in any chunks.
#[derive(Debug, Default)]
pub struct Unframe {
    /// The bytes of an incomplete header.
    head: Vec<u8>,
    /// The bytes of the message that are still missing.
    left: usize,
}

/// A compressed message. The filter never sends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed;

impl Unframe {
    /// The bytes of the messages, without their headers.
    ///
    /// # Errors
    /// [`Compressed`]; the rest of the stream can no longer be read.
    pub fn feed(&mut self, mut chunk: &[u8]) -> Result<Vec<u8>, Compressed> {
        let mut bytes = Vec::with_capacity(chunk.len());
        while let Some((first, rest)) = chunk.split_first() {
            if self.left > 0 {
                let (message, rest) = chunk.split_at_checked(self.left).unwrap_or((chunk, &[]));
                bytes.extend_from_slice(message);
                self.left = self.left.saturating_sub(message.len());
                chunk = rest;
                continue;
            }
            self.head.push(*first);
            chunk = rest;
            if let Ok([flags, length @ ..]) = <[u8; HEADER]>::try_from(self.head.as_slice()) {
                if flags != 0 {
                    return Err(Compressed);
                }
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.head.clear();
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn redis_stream_is_recognised_by_path() {
        assert!(is_stream(b"/oauth2_session.Redis/tcp"));
        assert!(!is_stream(b"/.well-known/openid-configuration"));
        assert!(!is_stream(b"oauth2_session.Redis/tcp"));
    }

    #[test]
    fn reason_for_the_log_is_short_plain_text() {
        let words =
            b"TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end";
        assert!(plain(words).contains("CERTIFICATE_VERIFY_FAILED"));
        assert_eq!(plain(b"a\r\nb\x1b[31m\xff\"<c>"), "ab31mc");
        assert_eq!(plain(&[b'a'; 5000]).len(), MAX_REASON);
    }

    #[test]
    fn failed_connection_ends_stream_with_reason() {
        let of = |message: &str| reason(message.as_bytes());
        let refused = refusal(b"delayed connect error: Connection refused [111]");
        assert_eq!(of(&refused).as_deref(), Some("delayed connect error: Connection refused 111"));
        // What Envoy appends.
        assert_eq!(of(&format!("{refused}via_upstream")), of(&refused));
        for other in ["", "via_upstream", "no healthy upstream"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn compressed_message_is_refused() {
        assert_eq!(Unframe::default().feed(&[1, 0, 0, 0, 0]), Err(Compressed));
    }

    #[test]
    fn empty_message_and_split_header_are_read() {
        let mut unframe = Unframe::default();
        assert_eq!(unframe.feed(&[0, 0, 0]), Ok(vec![]));
        assert_eq!(unframe.feed(&[0, 0, 0, 0, 0, 0, 2, b'a']), Ok(vec![b'a']));
        assert_eq!(unframe.feed(b"b\0"), Ok(vec![b'b']));
    }

    proptest! {
        #[test]
        fn framed_bytes_come_back_from_any_chunks(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            size in 1_usize..50,
        ) {
            let framed: Vec<u8> =
                messages.iter().flat_map(|bytes| [&frame(bytes.len()).unwrap()[..], bytes].concat()).collect();
            let mut unframe = Unframe::default();
            let plain: Vec<u8> =
                framed.chunks(size).flat_map(|chunk| unframe.feed(chunk).unwrap()).collect();
            prop_assert_eq!(plain, messages.concat());
        }

        #[test]
        fn garbage_yields_no_additional_bytes(chunks: Vec<Vec<u8>>) {
            let mut unframe = Unframe::default();
            for chunk in chunks {
                match unframe.feed(&chunk) {
                    Ok(bytes) => prop_assert!(bytes.len() <= chunk.len()),
                    Err(Compressed) => break,
                }
            }
        }
    }
}
