//! The session: oauth2-proxy's `SessionState`. Its texts are bytes, since tokens and claims may not be UTF-8.
//!
//! ```text
//! MessagePack map, keys in this order, empty fields left out:
//! ca  eo  at  it  rt  n  e  u  g  pu  ac
//! ```
//!
//! oauth2-proxy drops keys that it does not know when it saves a session. But it keeps the entries of `ac`, also through its
//! refreshes. So the time of the sign-in is an entry there:
//!
//! ```text
//! ac: { oauth2_session_filter_signed_in_at: "1700000000", … }       Unix seconds
//! ```

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::msgpack::{Reader, Writer};
use super::{Claims, DecodeError};
use crate::time::Timestamp;

/// The session of a signed-in user. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// What it says besides its tokens.
    pub info: SessionInfo,
    /// The access token.
    pub access_token: Vec<u8>,
    /// The ID token.
    pub id_token: Vec<u8>,
    /// The refresh token.
    pub refresh_token: Vec<u8>,
    /// The nonce of the login.
    pub nonce: Vec<u8>,
}

/// A session without its tokens. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SessionInfo {
    /// When the session was made or refreshed.
    pub created_at: Option<Timestamp>,
    /// When the user signed in, in whole seconds, if that was written: `created_at` is the last refresh.
    pub signed_in_at: Option<Timestamp>,
    /// When the access token expires.
    pub expires_on: Option<Timestamp>,
    /// The email address.
    pub email: Vec<u8>,
    /// The user's identifier.
    pub user: Vec<u8>,
    /// The groups.
    pub groups: Vec<Vec<u8>>,
    /// The name that the user prefers.
    pub preferred_username: Vec<u8>,
    /// Further claims that the configuration asks for.
    pub additional_claims: Claims,
}

/// The number of fields, for a session that is written as an array.
const FIELDS: [&[u8]; 11] = [b"ca", b"eo", b"at", b"it", b"rt", b"n", b"e", b"u", b"g", b"pu", b"ac"];

/// The entry of `ac` with the time of the sign-in.
const SIGNED_IN_AT: &str = "oauth2_session_filter_signed_in_at";

/// A rough size of a session without its long texts.
const SIZE_OF_REST: usize = 512;

/// What a text needs besides its bytes: its pointer and lengths, and the allocator's own.
const PER_TEXT: usize = 24;

/// Go's zero time, 0001-01-01T00:00:00Z, which means that there is no time.
const ZERO_TIME: Timestamp = Timestamp::from_secs(-62_135_596_800);

impl Session {
    /// The session as MessagePack.
    pub(super) fn pack(&self) -> Vec<u8> {
        let mut map = Writer::default();
        map.time(b"ca", self.created_at);
        map.time(b"eo", self.expires_on);
        map.text(b"at", &self.access_token);
        map.text(b"it", &self.id_token);
        map.text(b"rt", &self.refresh_token);
        map.binary(b"n", &self.nonce);
        map.text(b"e", &self.email);
        map.text(b"u", &self.user);
        map.texts(b"g", &self.groups);
        map.text(b"pu", &self.preferred_username);
        match self.signed_in_at {
            None => map.claims(b"ac", &self.additional_claims),
            Some(at) => {
                let mut claims = self.additional_claims.clone();
                claims.set_text(SIGNED_IN_AT, &at.secs().to_string());
                map.claims(b"ac", &claims);
            }
        }
        map.finish()
    }

    /// Reads a session from MessagePack. Bytes after it are ignored.
    pub(super) fn unpack(packed: &[u8]) -> Result<Self, DecodeError> {
        let mut session = Self::default();
        Reader::new(packed)
            .fields(&FIELDS, |reader, name| session.read(reader, name))
            .map_err(|_| DecodeError::MessagePack)?;
        Ok(session)
    }

    /// Its approximate size in bytes.
    pub fn size(&self) -> usize {
        let texts = [&self.access_token, &self.id_token, &self.refresh_token, &self.email, &self.user];
        let groups = self.groups.iter();
        texts.into_iter().chain(groups).map(Vec::len).sum::<usize>().saturating_add(SIZE_OF_REST)
    }

    fn read(&mut self, reader: &mut Reader<'_>, name: &[u8]) -> super::msgpack::Result<()> {
        match name {
            b"ca" => self.created_at = reader.time()?.filter(|time| *time != ZERO_TIME),
            b"eo" => self.expires_on = reader.time()?.filter(|time| *time != ZERO_TIME),
            b"at" => self.access_token = reader.bytes()?.to_vec(),
            b"it" => self.id_token = reader.bytes()?.to_vec(),
            b"rt" => self.refresh_token = reader.bytes()?.to_vec(),
            b"n" => self.nonce = reader.bytes()?.to_vec(),
            b"e" => self.email = reader.bytes()?.to_vec(),
            b"u" => self.user = reader.bytes()?.to_vec(),
            b"g" => self.groups = reader.texts()?,
            b"pu" => self.preferred_username = reader.bytes()?.to_vec(),
            b"ac" => {
                self.additional_claims = reader.claims()?;
                let secs = self.additional_claims.take_text(SIGNED_IN_AT);
                self.signed_in_at = secs.and_then(|secs| secs.parse().ok()).map(Timestamp::from_secs);
            }
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// The session without its tokens, for `session_cookie_minimal`.
    pub(super) fn without_tokens(&self) -> Self {
        Self { info: self.info.clone(), nonce: self.nonce.clone(), ..Self::default() }
    }
}

/// A session is used like its info if its tokens do not matter.
impl Deref for Session {
    type Target = SessionInfo;

    fn deref(&self) -> &SessionInfo {
        &self.info
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut SessionInfo {
        &mut self.info
    }
}

impl SessionInfo {
    /// About how many bytes of memory its texts need.
    pub fn heap_bytes(&self) -> usize {
        let texts = [&self.email, &self.user, &self.preferred_username].into_iter().chain(&self.groups);
        texts
            .map(|text| text.len().saturating_add(PER_TEXT))
            .sum::<usize>()
            .saturating_add(self.additional_claims.size())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(…)")
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionInfo(…)")
    }
}
