//! MessagePack as oauth2-proxy's library (`vmihailenco/msgpack` v5) writes and reads it: empty fields are
//! left out, text is bytes, a time is extension -1, and a reader is lenient in ways that have to be the same.

mod reader;
mod writer;

pub(super) use self::reader::Reader;
pub(super) use self::writer::Writer;

/// The extension type of timestamps.
const TIMESTAMP: i8 = -1;

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Result<T> = std::result::Result<T, Malformed>;
