//! Reading MessagePack. It was signed, but an oauth2-proxy of any version may have written it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmp::Marker;
use rmp::decode::RmpRead;
use serde_json::{Map, Number, Value};

use super::{Malformed, Result, TIMESTAMP};
use crate::session::Claims;
use crate::time::Timestamp;

/// The deepest nesting of values: that of JSON that `serde_json` reads, so that all claims that are written can be read.
/// Much deeper values would overflow the stack of the wasm module.
const MAX_DEPTH: u32 = 128;

/// Reads values one after the other.
pub(in crate::session) struct Reader<'a> {
    rest: &'a [u8],
    depth: u32,
}

/// The head of a value: its type, and its length or the value itself.
enum Head<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Array(u32),
    Map(u32),
    Extension(i8, &'a [u8]),
}

impl<'a> Reader<'a> {
    pub(in crate::session) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    /// The fields of a struct: a map by name, or an array in the order of `names`, or nil for an empty one.
    pub(in crate::session) fn fields(
        &mut self,
        names: &[&[u8]],
        mut read: impl FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.head()? {
            Head::Nil | Head::Array(0) => Ok(()),
            Head::Map(length) => (0..length).try_for_each(|_| {
                let name = self.bytes()?;
                read(self, name)
            }),
            Head::Array(length) if usize::try_from(length) == Ok(names.len()) => {
                names.iter().try_for_each(|name| read(self, name))
            }
            _ => Err(Malformed),
        }
    }

    /// Text or bytes; nil is empty.
    pub(in crate::session) fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.head()? {
            Head::Nil => Ok(&[]),
            Head::Text(bytes) | Head::Binary(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// A list of texts; nil is an empty one.
    pub(in crate::session) fn texts(&mut self) -> Result<Vec<Vec<u8>>> {
        match self.head()? {
            Head::Nil => Ok(Vec::new()),
            Head::Array(length) => (0..length).map(|_| self.bytes().map(<[u8]>::to_vec)).collect(),
            _ => Err(Malformed),
        }
    }

    /// A time; nil is `None`.
    pub(in crate::session) fn time(&mut self) -> Result<Option<Timestamp>> {
        match self.head()? {
            Head::Nil => Ok(None),
            Head::Extension(kind, data) => timestamp(kind, data).map(Some),
            _ => Err(Malformed),
        }
    }

    /// Claims: a map with values of any type; nil is an empty one.
    pub(in crate::session) fn claims(&mut self) -> Result<Claims> {
        let mut claims = Claims::default();
        let length = match self.head()? {
            Head::Nil => 0,
            Head::Map(length) => length,
            _ => return Err(Malformed),
        };
        for _ in 0..length {
            let name = self.bytes()?;
            let start = self.rest;
            self.json()?;
            let size = start.len().saturating_sub(self.rest.len());
            claims.insert(name, start.get(..size).unwrap_or_default());
        }
        Ok(claims)
    }

    /// Any value of a claim as JSON. Bytes are base64 and a time is RFC 3339, as Go's JSON has them.
    pub(in crate::session) fn json(&mut self) -> Result<Value> {
        Ok(match self.head()? {
            Head::Nil => Value::Null,
            Head::Bool(value) => value.into(),
            Head::Unsigned(value) => value.into(),
            Head::Signed(value) => value.into(),
            Head::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Head::Text(text) => String::from_utf8_lossy(text).into(),
            Head::Binary(bytes) => STANDARD.encode(bytes).into(),
            Head::Extension(kind, data) => timestamp(kind, data)?.to_string().into(),
            Head::Array(length) => {
                self.nested(|reader| (0..length).map(|_| reader.json()).collect::<Result<Vec<_>>>())?.into()
            }
            Head::Map(length) => {
                let pair = |reader: &mut Self| {
                    let name = String::from_utf8_lossy(reader.bytes()?).into_owned();
                    Ok((name, reader.json()?))
                };
                self.nested(|reader| (0..length).map(|_| pair(reader)).collect::<Result<Map<_, _>>>())?.into()
            }
        })
    }

    /// Skips a value of any type.
    pub(in crate::session) fn skip(&mut self) -> Result<()> {
        match self.head()? {
            Head::Array(length) => self.nested(|reader| (0..length).try_for_each(|_| reader.skip())),
            Head::Map(length) => self.nested(|reader| {
                (0..length).try_for_each(|_| {
                    reader.skip()?;
                    reader.skip()
                })
            }),
            _ => Ok(()),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return Err(Malformed);
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn head(&mut self) -> Result<Head<'a>> {
        Ok(match rmp::decode::read_marker(&mut self.rest).map_err(|_| Malformed)? {
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::FixPos(value) => Head::Unsigned(value.into()),
            Marker::FixNeg(value) => Head::Signed(value.into()),
            Marker::U8 => Head::Unsigned(self.u8()?.into()),
            Marker::U16 => Head::Unsigned(self.u16()?.into()),
            Marker::U32 => Head::Unsigned(self.u32()?.into()),
            Marker::U64 => Head::Unsigned(self.rest.read_data_u64().map_err(|_| Malformed)?),
            Marker::I8 => Head::Signed(self.i8()?.into()),
            Marker::I16 => Head::Signed(self.rest.read_data_i16().map_err(|_| Malformed)?.into()),
            Marker::I32 => Head::Signed(self.rest.read_data_i32().map_err(|_| Malformed)?.into()),
            Marker::I64 => Head::Signed(self.rest.read_data_i64().map_err(|_| Malformed)?),
            Marker::F32 => Head::Float(self.rest.read_data_f32().map_err(|_| Malformed)?.into()),
            Marker::F64 => Head::Float(self.rest.read_data_f64().map_err(|_| Malformed)?),
            Marker::FixStr(length) => Head::Text(self.take(length.into())?),
            Marker::Str8 => Head::Text(self.u8().and_then(|length| self.take(length.into()))?),
            Marker::Str16 => Head::Text(self.u16().and_then(|length| self.take(length.into()))?),
            Marker::Str32 => Head::Text(self.u32().and_then(|length| self.take(length))?),
            Marker::Bin8 => Head::Binary(self.u8().and_then(|length| self.take(length.into()))?),
            Marker::Bin16 => Head::Binary(self.u16().and_then(|length| self.take(length.into()))?),
            Marker::Bin32 => Head::Binary(self.u32().and_then(|length| self.take(length))?),
            Marker::FixArray(length) => Head::Array(length.into()),
            Marker::Array16 => Head::Array(self.u16()?.into()),
            Marker::Array32 => Head::Array(self.u32()?),
            Marker::FixMap(length) => Head::Map(length.into()),
            Marker::Map16 => Head::Map(self.u16()?.into()),
            Marker::Map32 => Head::Map(self.u32()?),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.u8().and_then(|length| self.extension(length.into()))?,
            Marker::Ext16 => self.u16().and_then(|length| self.extension(length.into()))?,
            Marker::Ext32 => self.u32().and_then(|length| self.extension(length))?,
            Marker::Reserved => return Err(Malformed),
        })
    }

    fn extension(&mut self, length: u32) -> Result<Head<'a>> {
        let kind = self.i8()?;
        Ok(Head::Extension(kind, self.take(length)?))
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8> {
        self.rest.read_data_u8().map_err(|_| Malformed)
    }

    fn u16(&mut self) -> Result<u16> {
        self.rest.read_data_u16().map_err(|_| Malformed)
    }

    fn u32(&mut self) -> Result<u32> {
        self.rest.read_data_u32().map_err(|_| Malformed)
    }

    fn i8(&mut self) -> Result<i8> {
        self.rest.read_data_i8().map_err(|_| Malformed)
    }
}

/// The three forms of a timestamp, drawn at [`super::Writer::time`].
fn timestamp(kind: i8, data: &[u8]) -> Result<Timestamp> {
    if kind != TIMESTAMP {
        return Err(Malformed);
    }
    if let Ok(secs) = <[u8; 4]>::try_from(data) {
        return Ok(Timestamp::from_secs(u32::from_be_bytes(secs).into()));
    }
    if let Ok(both) = <[u8; 8]>::try_from(data) {
        let both = u64::from_be_bytes(both);
        let secs = i64::try_from(both & 0x3_ffff_ffff).map_err(|_| Malformed)?;
        let nanos = u32::try_from(both >> 34).map_err(|_| Malformed)?;
        return Ok(Timestamp::new(secs, nanos));
    }
    let (nanos, secs) = data.split_first_chunk::<4>().ok_or(Malformed)?;
    let secs = <[u8; 8]>::try_from(secs).map_err(|_| Malformed)?;
    Ok(Timestamp::new(i64::from_be_bytes(secs), u32::from_be_bytes(*nanos)))
}
