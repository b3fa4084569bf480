//! Writing MessagePack: a map whose empty fields are left out.

use rmp::encode::{self, ByteBuf};
use serde_json::Value;

use super::TIMESTAMP;
use crate::session::Claims;
use crate::time::Timestamp;

/// A map, or one value, that is being written.
///
/// Writing to memory cannot fail, so the results of `rmp` say nothing and are dropped.
#[derive(Default)]
pub(in crate::session) struct Writer {
    bytes: ByteBuf,
    fields: u32,
}

impl Writer {
    /// The map with the fields that were written.
    pub(in crate::session) fn finish(self) -> Vec<u8> {
        let mut map = ByteBuf::new();
        let _ = encode::write_map_len(&mut map, self.fields);
        let mut map = map.into_vec();
        map.extend_from_slice(self.bytes.as_slice());
        map
    }

    /// The one value that was written.
    pub(in crate::session) fn into_value(self) -> Vec<u8> {
        self.bytes.into_vec()
    }

    /// A time, in the shortest of three forms.
    ///
    /// ```text
    /// D6 FF | seconds u32                      no nanoseconds, seconds below 2^32
    /// D7 FF | nanoseconds u30, seconds u34     seconds below 2^34
    /// C7 0C FF | nanoseconds u32 | seconds i64
    /// ```
    pub(in crate::session) fn time(&mut self, name: &[u8], time: Option<Timestamp>) {
        let Some(time) = time else { return };
        self.name(name);
        let nanos = time.nanos();
        let data = match u64::try_from(time.secs()) {
            Ok(secs) if secs >> 34 == 0 => match u32::try_from(secs) {
                Ok(secs) if nanos == 0 => secs.to_be_bytes().to_vec(),
                _ => (u64::from(nanos) << 34 | secs).to_be_bytes().to_vec(),
            },
            _ => [nanos.to_be_bytes().as_slice(), &time.secs().to_be_bytes()].concat(),
        };
        let _ = encode::write_ext_meta(&mut self.bytes, length(&data), TIMESTAMP);
        self.raw(&data);
    }

    /// Text, which need not be UTF-8.
    pub(in crate::session) fn text(&mut self, name: &[u8], text: &[u8]) {
        if !text.is_empty() {
            self.name(name);
            self.text_value(text);
        }
    }

    /// Bytes.
    pub(in crate::session) fn binary(&mut self, name: &[u8], bytes: &[u8]) {
        if !bytes.is_empty() {
            self.name(name);
            let _ = encode::write_bin(&mut self.bytes, bytes);
        }
    }

    /// A list of texts.
    pub(in crate::session) fn texts(&mut self, name: &[u8], texts: &[Vec<u8>]) {
        if !texts.is_empty() {
            self.name(name);
            let _ = encode::write_array_len(&mut self.bytes, length(texts));
            texts.iter().for_each(|text| self.text_value(text));
        }
    }

    /// Claims, as they are.
    pub(in crate::session) fn claims(&mut self, name: &[u8], claims: &Claims) {
        if claims.is_empty() {
            return;
        }
        self.name(name);
        let _ = encode::write_map_len(&mut self.bytes, u32::try_from(claims.iter().len()).unwrap_or(0));
        for (name, packed) in claims.iter() {
            self.text_value(name);
            self.raw(packed);
        }
    }

    /// A JSON value; a number as the text of its digits.
    pub(in crate::session) fn json(&mut self, value: &Value) {
        match value {
            Value::Null => drop(encode::write_nil(&mut self.bytes)),
            Value::Bool(value) => drop(encode::write_bool(&mut self.bytes, *value)),
            Value::Number(number) => self.text_value(number.to_string().as_bytes()),
            Value::String(text) => self.text_value(text.as_bytes()),
            Value::Array(values) => {
                let _ = encode::write_array_len(&mut self.bytes, length(values));
                values.iter().for_each(|value| self.json(value));
            }
            Value::Object(map) => {
                let _ = encode::write_map_len(&mut self.bytes, u32::try_from(map.len()).unwrap_or(0));
                for (name, value) in map {
                    self.text_value(name.as_bytes());
                    self.json(value);
                }
            }
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.fields = self.fields.saturating_add(1);
        self.text_value(name);
    }

    fn text_value(&mut self, text: &[u8]) {
        let _ = encode::write_str_len(&mut self.bytes, length(text));
        self.raw(text);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.as_mut_vec().extend_from_slice(bytes);
    }
}

/// A length in MessagePack. What is longer than 4 GiB does not fit into this address space.
fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
