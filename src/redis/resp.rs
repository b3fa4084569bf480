//! RESP2 and RESP3: from the bytes of the server to replies. The bytes may be split anywhere.
//!
//! ```text
//! +text CRLF               status          $length CRLF bytes[length] CRLF    bulk; nil if -1
//! -CODE text CRLF          error           *length CRLF value[length]         array; nil if -1
//! :number CRLF             integer
//! ```
//!
//! A connection that tracks keys speaks RESP3, which also has these:
//!
//! ```text
//! _ CRLF                   nil             ~length CRLF value[length]         set: an array
//! #t CRLF                  boolean         %length CRLF value[2 * length]     map: an array of keys and values
//! ,text CRLF               double          !length CRLF bytes[length] CRLF    error
//! (number CRLF             big number      =length CRLF bytes[length] CRLF    text with its format
//! >length CRLF value[length]               push: belongs to no command, and comes between two replies
//! |length CRLF value[2 * length]           attributes of the value that follows: dropped
//! ```
//!
//! No command of ours has a boolean, a double, a big number or a text with its format as its reply. So these values are
//! read and dropped ([`Reply::Foreign`]).
//!
//! The decoder looks at each byte once. It keeps only what belongs to an incomplete reply: the start of a line, the
//! bulk so far, the open arrays.
//!
//! ```text
//!          ┌───────────── a value is complete ◄──────────────┐
//!          ▼                                                 │
//!        Line ── $length ──► Bulk, Skip ── all bytes ──► End (CRLF)
//!          │ ▲
//!          └─┘ *length (its items follow), or a value of one line
//! ```

use std::borrow::Cow;

use super::failure::ProtocolError;
use super::reply::{Reply, ServerError};

/// The longest line, with its end. Redis has the same limit for the lines that it reads.
const MAX_LINE: usize = 64 << 10;

/// The largest value that is kept: a session of 1 MiB, its encryption, and some room. A larger value is not ours. It
/// is skipped, so that the replies after it still arrive.
pub const MAX_BULK: usize = (1 << 20) + (64 << 10);

/// The most that one reply may occupy, in bytes. Only arrays come near it.
pub(super) const MAX_REPLY: usize = 2 << 20;

/// What a value is charged besides its bytes. Vectors grow by doubling, so it is twice its size.
pub(super) const VALUE: usize = 2 * size_of::<Reply>();

/// How deep arrays may lie in each other. Dropping them recurses as deep.
const MAX_DEPTH: usize = 8;

const CRLF: &[u8] = b"\r\n";

/// Reads the replies of one stream.
#[derive(Default)]
pub(super) struct Decoder {
    part: Part,
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    /// The arrays with missing items, the outermost first.
    arrays: Vec<Array>,
    /// What the reply is charged so far.
    charged: usize,
}

/// What comes next.
#[derive(Default)]
enum Part {
    #[default]
    Line,
    /// Bytes of a value, or of an error.
    Bulk { bytes: Vec<u8>, left: usize, is_error: bool },
    /// Bytes of a value that is dropped.
    Skip { left: u64, value: Reply },
    /// The rest of the line end behind a value.
    End { value: Reply, rest: &'static [u8] },
}

struct Array {
    items: Vec<Reply>,
    length: u64,
    kind: Kind,
}

/// What the items of an array are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reply,
    Push,
    Attributes,
}

/// Whether these bytes are one reply, with nothing behind it. A push is the reply to no command.
#[cfg(any(test, feature = "higress"))]
pub(crate) fn is_one_reply(mut bytes: &[u8]) -> bool {
    let reply = Decoder::default().decode(&mut bytes);
    matches!(reply, Ok(Some(reply)) if !matches!(reply, Reply::Push(_))) && bytes.is_empty()
}

impl Decoder {
    /// The next reply, cut off from the front of `input`; `None` if all of the input was read before the end of the
    /// reply.
    ///
    /// # Errors
    /// [`ProtocolError`]. The decoder must not be used again.
    pub(super) fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ProtocolError> {
        while let Some(value) = self.value(input)? {
            if let Some(reply) = self.place(value) {
                self.charged = 0;
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Whether the start of a reply has arrived, but not its end.
    pub(super) const fn is_within_reply(&self) -> bool {
        !(matches!(self.part, Part::Line) && self.line.is_empty() && self.arrays.is_empty())
    }

    /// What the reply is charged so far.
    #[cfg(test)]
    pub(super) const fn charged(&self) -> usize {
        self.charged
    }

    /// Puts a value into the innermost array. Returns the reply, if that is complete.
    fn place(&mut self, mut value: Reply) -> Option<Reply> {
        while let Some(mut array) = self.arrays.pop() {
            array.items.push(value);
            array.length = array.length.saturating_sub(1);
            if array.length > 0 {
                self.arrays.push(array);
                return None;
            }
            value = match array.kind {
                Kind::Reply => Reply::Array(array.items),
                Kind::Push => Reply::Push(array.items),
                Kind::Attributes => return None,
            };
        }
        Some(value)
    }

    /// The next value that has no items.
    fn value(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ProtocolError> {
        while !input.is_empty() {
            match std::mem::take(&mut self.part) {
                Part::Line => {
                    if let Some(line) = self.line(input)?
                        && let Some(value) = self.head(&line)?
                    {
                        return Ok(Some(value));
                    }
                }
                Part::Bulk { mut bytes, left, is_error } => {
                    let taken = take(input, left);
                    bytes.extend_from_slice(taken);
                    self.part = match left.saturating_sub(taken.len()) {
                        0 if is_error => {
                            Part::End { value: Reply::Error(ServerError::new(&bytes)), rest: CRLF }
                        }
                        0 => Part::End { value: Reply::Bulk(bytes), rest: CRLF },
                        left => Part::Bulk { bytes, left, is_error },
                    };
                }
                Part::Skip { left, value } => {
                    let taken = take(input, usize::try_from(left).unwrap_or(usize::MAX)).len();
                    self.part = match left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX)) {
                        0 => Part::End { value, rest: CRLF },
                        left => Part::Skip { left, value },
                    };
                }
                Part::End { value, rest } => match rest.strip_prefix(take(input, rest.len())) {
                    Some([]) => return Ok(Some(value)),
                    Some(rest) => self.part = Part::End { value, rest },
                    None => return Err(ProtocolError::LineEnd),
                },
            }
        }
        Ok(None)
    }

    /// The next line with its CR, but without its LF. It is copied only if it arrived in several chunks.
    fn line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, ProtocolError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let part = take(input, end.unwrap_or(input.len()));
        if self.line.len().saturating_add(part.len()) >= MAX_LINE {
            return Err(ProtocolError::LineTooLong);
        }
        if end.is_some() && self.line.is_empty() {
            take(input, 1);
            return Ok(Some(Cow::Borrowed(part)));
        }
        self.line.extend_from_slice(part);
        if end.is_none() {
            return Ok(None);
        }
        take(input, 1);
        Ok(Some(Cow::Owned(std::mem::take(&mut self.line))))
    }

    /// The value in a line; `None` if the line only begins a value.
    fn head(&mut self, line: &[u8]) -> Result<Option<Reply>, ProtocolError> {
        let line = line.strip_suffix(b"\r").ok_or(ProtocolError::LineEnd)?;
        let (kind, text) = line.split_first().ok_or(ProtocolError::Type)?;
        let value = match kind {
            b'+' => Reply::Status(text.to_vec()),
            b'-' => Reply::Error(ServerError::new(text)),
            b':' => Reply::Integer(number(text)?),
            b'_' if text.is_empty() => Reply::Nil,
            b'#' if matches!(text, b"t" | b"f") => Reply::Foreign,
            b',' | b'(' if is_number(text) => Reply::Foreign,
            b'_' | b'#' | b',' | b'(' => return Err(ProtocolError::Number),
            b'$' | b'!' | b'=' => match length(text)? {
                Some(length) => {
                    self.part = self.bulk(*kind, length)?;
                    return Ok(None);
                }
                None => Reply::Nil,
            },
            b'*' | b'~' | b'%' | b'>' | b'|' => {
                let items = match kind {
                    b'%' | b'|' => length(text)?.map(|pairs| pairs.saturating_mul(2)),
                    _ => length(text)?,
                };
                let kind = match kind {
                    b'>' => Kind::Push,
                    b'|' => Kind::Attributes,
                    _ => Kind::Reply,
                };
                // A push is no part of a reply.
                if kind == Kind::Push && !self.arrays.is_empty() {
                    return Err(ProtocolError::Type);
                }
                match (items, kind) {
                    (Some(0), Kind::Reply) => Reply::Array(Vec::new()),
                    (Some(0), Kind::Push) => Reply::Push(Vec::new()),
                    (Some(0), Kind::Attributes) => {
                        self.charge(0)?;
                        return Ok(None);
                    }
                    (Some(length), kind) => {
                        self.open(length, kind)?;
                        return Ok(None);
                    }
                    (None, Kind::Reply) => Reply::Nil,
                    (None, _) => return Err(ProtocolError::Number),
                }
            }
            _ => return Err(ProtocolError::Type),
        };
        self.charge(text.len())?;
        Ok(Some(value))
    }

    /// Begins a value of `length` bytes.
    fn bulk(&mut self, kind: u8, length: u64) -> Result<Part, ProtocolError> {
        self.charge(0)?;
        let room = MAX_BULK.min(MAX_REPLY.saturating_sub(self.charged));
        if kind == b'=' {
            return Ok(match length {
                0 => Part::End { value: Reply::Foreign, rest: CRLF },
                left => Part::Skip { left, value: Reply::Foreign },
            });
        }
        let is_error = kind == b'!';
        Ok(match usize::try_from(length).ok().filter(|length| *length <= room) {
            Some(0) if is_error => Part::End { value: Reply::Error(ServerError::new(b"")), rest: CRLF },
            Some(0) => Part::End { value: Reply::Bulk(Vec::new()), rest: CRLF },
            Some(left) => {
                self.charged = self.charged.saturating_add(left);
                Part::Bulk { bytes: Vec::with_capacity(left), left, is_error }
            }
            None if is_error => Part::Skip { left: length, value: Reply::Error(ServerError::new(b"")) },
            None => Part::Skip { left: length, value: Reply::TooLarge },
        })
    }

    /// Begins an array of `length` items. It grows as they arrive: the number is only what the server says.
    fn open(&mut self, length: u64, kind: Kind) -> Result<(), ProtocolError> {
        if self.arrays.len() == MAX_DEPTH {
            return Err(ProtocolError::TooDeep);
        }
        self.charge(0)?;
        let items = usize::try_from(length).map_err(|_| ProtocolError::TooLarge)?;
        if items.saturating_mul(VALUE) > MAX_REPLY {
            return Err(ProtocolError::TooLarge);
        }
        self.arrays.push(Array { items: Vec::new(), length, kind });
        Ok(())
    }

    /// Counts one more value, with this many bytes.
    fn charge(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.charged = self.charged.saturating_add(VALUE).saturating_add(bytes);
        if self.charged > MAX_REPLY { Err(ProtocolError::TooLarge) } else { Ok(()) }
    }
}

/// Cuts `count` bytes off the front of `input`, or all if it has fewer.
fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at_checked(count).unwrap_or((*input, &[]));
    *input = rest;
    taken
}

/// The length of the value that follows; `None` for the -1 of nil.
fn length(text: &[u8]) -> Result<Option<u64>, ProtocolError> {
    match number(text)? {
        -1 => Ok(None),
        length => u64::try_from(length).map(Some).map_err(|_| ProtocolError::Number),
    }
}

/// Whether this may be a double or a big number.
fn is_number(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    matches!(text, b"inf" | b"-inf" | b"nan") || (!text.is_empty() && text.iter().all(is_part))
}

fn number(text: &[u8]) -> Result<i64, ProtocolError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(ProtocolError::Number)
}
