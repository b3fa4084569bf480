//! Additional claims: any JSON, kept byte for byte as the writer of the session encoded it.
//!
//! oauth2-proxy writes a JSON number as the text of its digits (`42` becomes `"42"`), so that is what
//! [`Claims::from_json`] does too.

use serde_json::{Map, Value};

use super::msgpack::{Reader, Writer};

/// Claims by name, each value as checked MessagePack.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Claims(Vec<(Vec<u8>, Vec<u8>)>);

impl Claims {
    /// The claims of an ID token or of userinfo.
    pub fn from_json(claims: &Map<String, Value>) -> Self {
        let pack = |value| {
            let mut writer = Writer::default();
            writer.json(value);
            writer.into_value()
        };
        Self(claims.iter().map(|(name, value)| (name.clone().into_bytes(), pack(value))).collect())
    }

    /// The claims as JSON; bytes that are not UTF-8 are replaced.
    pub fn to_json(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.iter()
            .map(|(name, packed)| (text(name), Reader::new(packed).json().unwrap_or_default()))
            .collect()
    }

    /// Adds those claims of `other` that are missing here.
    pub fn complete(&mut self, other: &Self) {
        let missing: Vec<_> =
            other.0.iter().filter(|(name, _)| self.0.iter().all(|(mine, _)| mine != name)).cloned().collect();
        self.0.extend(missing);
    }

    /// How many bytes they have, about.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(64)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a claim, or replaces the one of that name.
    pub(super) fn set_text(&mut self, name: &str, text: &str) {
        let mut writer = Writer::default();
        writer.json(&text.into());
        self.insert(name.as_bytes(), &writer.into_value());
    }

    /// Takes a claim out. `None` if there is none of that name, or if it is not a text.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name.as_bytes())?;
        let (_, packed) = self.0.remove(at);
        let text = Reader::new(&packed).bytes().ok()?.to_vec();
        String::from_utf8(text).ok()
    }

    /// Names and packed values.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, packed)| (name.as_slice(), packed.as_slice()))
    }

    /// Adds a claim, or replaces the one of that name, as a Go map does.
    pub(super) fn insert(&mut self, name: &[u8], packed: &[u8]) {
        let packed = packed.to_vec();
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, value)) => *value = packed,
            None => self.0.push((name.to_vec(), packed)),
        }
    }
}
