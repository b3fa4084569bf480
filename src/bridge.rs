//! The bridge: gRPC messages on one side, plain bytes on the other; and the secrets that Envoy has read.
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

/// The path under which the bridge answers with a secret. The name of its option follows.
pub const SECRET_PATH: &str = "/oauth2_session.Secret/";

/// The header into which Envoy's `credential_injector` puts a secret.
pub const SECRET_HEADER: &str = "x-oauth2-session-secret";

/// The longest secret, in bytes; with several cookie secrets, all of them together.
const MAX_SECRET: usize = 8 << 10;

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

/// Whether a request asks for a secret. The bridge answers it, and lets none of them through.
pub fn is_secret(path: &[u8]) -> bool {
    path.starts_with(SECRET_PATH.as_bytes())
}

/// The answer to a request for a secret: a status, and a body. Envoy has put the secret into this header; without a
/// secret, it has answered 401 itself.
///
/// ```text
/// 200  the secret, as the body: Envoy shows headers in its debug log, but not bodies
/// 404  no route of the bridge has this secret
/// 422  the secret is not text of one line
/// ```
pub fn secret(header: &[u8]) -> (u16, &[u8]) {
    // An editor ends the last line of a file.
    let line = header.strip_suffix(b"\n").unwrap_or(header);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_text = str::from_utf8(line).is_ok_and(|line| !line.contains(char::is_control));
    match line {
        [] if header.is_empty() => (404, b""),
        [] => (422, b""),
        line if is_text && line.len() <= MAX_SECRET => (200, line),
        _ => (422, b""),
    }
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
    fn secret_is_answered_in_the_body_without_its_line_end() {
        for header in [&b"s3cret"[..], b"s3cret\n", b"s3cret\r\n"] {
            assert_eq!(secret(header), (200, &b"s3cret"[..]));
        }
        assert_eq!(secret("p\u{e4}ss word".as_bytes()), (200, "p\u{e4}ss word".as_bytes()));
    }

    #[test]
    fn secret_with_control_character_or_too_long_is_malformed() {
        for header in [&b"a\nb"[..], b"a\0", b"\n", b"a\n\n", b"\xff", &[b'a'; MAX_SECRET + 1]] {
            assert_eq!(secret(header), (422, &b""[..]), "{header:?}");
        }
    }

    #[test]
    fn request_without_injected_secret_is_not_found() {
        assert_eq!(secret(b""), (404, &b""[..]));
        assert!(is_secret(b"/oauth2_session.Secret/cookie_secret"));
        assert!(!is_secret(b"/oauth2_session.Redis/tcp") && !is_secret(b"/oauth2_session.Secret"));
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
