//! How workers share the result of a refresh: in the data that the VMs of one Envoy have in common.
//!
//! All requests with the same old session use the same slot, whichever worker has them, and whichever secret signed their
//! cookies. One worker claims it and refreshes the session, the others find the result in it.
//!
//! ```text
//! key:   oauth2-session/refreshes/NN        NN = first byte of the id: 256 keys
//! value: entry*                             oldest first, at most 64 KiB: 16 MiB in all
//! entry: id[16] | state u8 | until i64 | length u32 | cookie[length]        little endian
//! ```
//!
//! For a session that failed or ended, a letter in the cookie's place says why.
//!
//! A version with another format uses keys with another name, so that no version reads a format that it does not know.
//!
//! The id is the beginning of a SHA-256 of the client and of the old session, as `session::cookie_identity` has it. So a
//! cookie and its copy under another secret have the same slot: the session has one refresh, and a sign-out ends both.
//! Another client has refreshes of its own. The result is the new cookie, signed and encrypted as the browser gets it. The worker that
//! finds it verifies it like a browser's.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::flow::Unavailable;
use crate::flow::io::{Conflict, Io, Shared};
use crate::flow::store::refresh::Hindrance;
use crate::time::Timestamp;

/// The most bytes of one key's value. If they are not enough, the oldest slots are dropped.
const MAX_BYTES: usize = 64 << 10;

/// How often a write is repeated if another worker wrote first.
const MAX_CONFLICTS: u32 = 100;

/// Why a refresh failed although the provider answered. Older versions read these as a missing answer.
const CLIENT: &[u8] = b"c";
const TOKEN: &[u8] = b"t";

/// The session ended because it is too large. Older versions read this as ended by the provider.
const TOO_LARGE: &[u8] = b"l";

/// The state of the refresh of one old cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    /// A worker refreshes the session, or crashed while it did.
    Running,
    /// The signed value of the new cookie.
    Done(Vec<u8>),
    /// The provider ended the session.
    Refused,
    /// The session ended, because the refreshed one is too large for cookies.
    TooLarge,
    /// The refresh failed. It is not repeated before this state ends.
    Failed(Hindrance),
    /// The user signed out. This state is final: the result of a refresh under way is dropped.
    Ended,
}

/// The place where all requests with the same old cookie find each other.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RefreshSlot {
    key: String,
    id: [u8; 16],
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: [u8; 16],
    state: SlotState,
    until: Timestamp,
}

/// Creates the keys. The first write to a key that does not exist is unconditional, so two workers could both win it.
/// One VM reads the configuration before the workers start.
pub(super) fn create_keys<I: Io>(io: &I) {
    for number in 0..=u8::MAX {
        let key = key(number);
        if io.shared(&key).version.is_none() {
            let _ = io.set_shared(&key, &[], None);
        }
    }
}

/// Stands for the client at the provider, and for the name of its cookies.
pub(super) fn client(config: &Config) -> [u8; 32] {
    let provider = config.provider.as_ref();
    let client = provider.map_or(["", ""], |provider| [&provider.issuer_url, &provider.client_id]);
    let parts = client.into_iter().chain([config.cookie.name.as_str()]);
    let digest = parts.fold(Sha256::new(), |digest, part| digest.chain_update(Sha256::digest(part)));
    digest.finalize().into()
}

impl RefreshSlot {
    pub(super) fn new(client: &[u8; 32], old_session: &[u8; 32]) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(client).chain_update(old_session).finalize().into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let [first, ..] = id;
        Self { key: key(first), id }
    }

    /// The state of the refresh; `None` if no worker has claimed it.
    pub(super) fn state<I: Io>(&self, io: &I) -> Option<SlotState> {
        self.find(&io.shared(&self.key), io.now())
    }

    /// Claims the refresh for the time of `lease`. False if another worker has claimed it.
    pub(super) fn claim<I: Io>(&self, io: &I, lease: Duration) -> bool {
        let shared = io.shared(&self.key);
        self.find(&shared, io.now()).is_none() && self.write(io, &shared, SlotState::Running, lease).is_ok()
    }

    /// Writes a state for the other workers and returns the one before it. After [`SlotState::Ended`] nothing more is
    /// written.
    pub(super) fn publish<I: Io>(&self, io: &I, state: &SlotState, period: Duration) -> Option<SlotState> {
        for _ in 0..MAX_CONFLICTS {
            let shared = io.shared(&self.key);
            let before = self.find(&shared, io.now());
            if before == Some(SlotState::Ended) || self.write(io, &shared, state.clone(), period).is_ok() {
                return before;
            }
        }
        None
    }

    fn find(&self, shared: &Shared, now: Timestamp) -> Option<SlotState> {
        decode(&shared.value)
            .into_iter()
            .find(|entry| entry.id == self.id && entry.until > now)
            .map(|entry| entry.state)
    }

    fn write<I: Io>(
        &self,
        io: &I,
        shared: &Shared,
        state: SlotState,
        period: Duration,
    ) -> Result<(), Conflict> {
        let now = io.now();
        let mut entries = decode(&shared.value);
        entries.retain(|entry| entry.id != self.id && entry.until > now);
        entries.push(Entry { id: self.id, state, until: now.after(period) });
        io.set_shared(&self.key, &encode(&entries), shared.version)
    }
}

fn key(number: u8) -> String {
    format!("oauth2-session/refreshes/{number:02x}")
}

/// The entries as bytes, without the oldest if they are too many.
fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut encoded: Vec<Vec<u8>> = Vec::new();
    let mut size = 0_usize;
    for entry in entries.iter().rev() {
        let bytes = entry.encode();
        size = size.saturating_add(bytes.len());
        if size > MAX_BYTES {
            break;
        }
        encoded.push(bytes);
    }
    encoded.reverse();
    encoded.concat()
}

fn decode(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some((entry, rest)) = Entry::decode(bytes) {
        entries.push(entry);
        bytes = rest;
    }
    entries
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let (number, cookie): (u8, &[u8]) = match &self.state {
            SlotState::Running => (0, &[]),
            SlotState::Done(cookie) => (1, cookie),
            SlotState::Refused => (2, &[]),
            SlotState::TooLarge => (2, TOO_LARGE),
            SlotState::Failed(Hindrance::Unavailable(_)) => (3, &[]),
            SlotState::Failed(Hindrance::Client) => (3, CLIENT),
            SlotState::Failed(Hindrance::Token) => (3, TOKEN),
            SlotState::Ended => (4, &[]),
        };
        let mut bytes = self.id.to_vec();
        bytes.push(number);
        bytes.extend_from_slice(&self.until.secs().to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(cookie.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(cookie);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (id, bytes) = bytes.split_first_chunk::<16>()?;
        let (number, bytes) = bytes.split_first()?;
        let (until, bytes) = bytes.split_first_chunk::<8>()?;
        let (length, bytes) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (cookie, rest) = bytes.split_at_checked(length)?;
        let state = match number {
            0 => SlotState::Running,
            1 => SlotState::Done(cookie.to_vec()),
            2 if cookie == TOO_LARGE => SlotState::TooLarge,
            2 => SlotState::Refused,
            3 => SlotState::Failed(match cookie {
                CLIENT => Hindrance::Client,
                TOKEN => Hindrance::Token,
                _ => Unavailable::Provider.into(),
            }),
            4 => SlotState::Ended,
            _ => return None,
        };
        let until = Timestamp::from_secs(i64::from_le_bytes(*until));
        Some((Self { id: *id, state, until }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_read_with_its_reason_or_without() {
        let until = Timestamp::from_secs(1_700_000_000);
        let encoded = |state: SlotState| Entry { id: [7; 16], state, until }.encode();
        for state in [SlotState::Refused, SlotState::TooLarge, SlotState::Ended] {
            let bytes = [encoded(state.clone()), encoded(SlotState::Running)].concat();
            let found: Vec<SlotState> = decode(&bytes).into_iter().map(|entry| entry.state).collect();
            assert_eq!(found, [state, SlotState::Running]);
        }
        // The reason of a newer version; older versions read this version's in the same way.
        let mut bytes = encoded(SlotState::TooLarge);
        *bytes.last_mut().unwrap() = b'?';
        assert_eq!(decode(&bytes)[0].state, SlotState::Refused);
    }

    #[test]
    fn full_value_drops_the_oldest_entries() {
        let until = Timestamp::from_secs(1_700_000_000);
        // 100 entries of 1 KiB, which is more than the 64 KiB of a value.
        let entries: Vec<Entry> = (0..100)
            .map(|id| Entry { id: [id; 16], state: SlotState::Done(vec![id; 1024]), until })
            .collect();
        let bytes = encode(&entries);
        assert!(bytes.len() <= 64 << 10, "{}", bytes.len());
        // An entry has 29 bytes besides its cookie, so 62 of them fit.
        assert_eq!(decode(&bytes), entries[38..]);
    }
}
