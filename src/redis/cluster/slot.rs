//! The slot of a key: CRC16 (XMODEM) of the key, or of its part in braces.

use crc::{CRC_16_XMODEM, Crc};

/// The number of slots in a Cluster.
pub(super) const SLOTS: u16 = 16_384;

/// A table of 256 entries: each command asks for a slot, so a byte is done at a time.
static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key.
pub(super) fn slot(key: &[u8]) -> u16 {
    CRC16.checksum(tag(key)) % SLOTS
}

/// The part of a key that decides: between the first `{` and the next `}`, if there is such a part and it is not
/// empty.
fn tag(key: &[u8]) -> &[u8] {
    let mut parts = key.splitn(2, |byte| *byte == b'{');
    let (Some(_), Some(rest)) = (parts.next(), parts.next()) else {
        return key;
    };
    match rest.iter().position(|byte| *byte == b'}') {
        Some(end) if end > 0 => rest.get(..end).unwrap_or(key),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_is_that_of_the_specification() {
        assert_eq!(CRC16.checksum(b"123456789"), 0x31C3);
        assert_eq!(CRC16.checksum(b""), 0);
    }

    #[test]
    fn key_has_its_slot() {
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"bar"), 5061);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    }

    #[test]
    fn braces_select_the_part_that_the_specification_says() {
        for (key, counts) in [
            ("foo", "foo"),
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{", "foo}bar{"),
            ("}{a}", "a"),
            ("", ""),
        ] {
            assert_eq!(tag(key.as_bytes()), counts.as_bytes(), "{key}");
        }
    }
}
