//! The slot of a key: CRC16 (XMODEM) of the key, or of its part in braces.

/// The number of slots in a Cluster.
pub(super) const SLOTS: u16 = 16_384;

const POLYNOMIAL: u16 = 0x1021;

/// What four bits that are shifted out of the CRC do to the rest. Every command asks for a slot, so half a byte is
/// done at a time.
const SHIFTED_OUT: [u16; 16] = shifted_out();

/// The slot of a key.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
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

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| shift(shift(crc, byte >> 4), byte & 0x0F))
}

/// Takes four more bits into the CRC.
fn shift(crc: u16, bits: u8) -> u16 {
    let out = usize::from((crc >> 12) ^ u16::from(bits));
    (crc << 4) ^ SHIFTED_OUT.get(out).copied().unwrap_or_default()
}

#[expect(clippy::indexing_slicing, reason = "at compile time")]
const fn shifted_out() -> [u16; 16] {
    let mut table = [0; 16];
    let (mut index, mut bits) = (0, 0_u16);
    while index < table.len() {
        let (mut crc, mut count) = (bits << 12, 0);
        while count < 4 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            count += 1;
        }
        table[index] = crc;
        index += 1;
        bits += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn a_key_has_its_slot() {
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"bar"), 5061);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    }

    #[test]
    fn braces_count_as_in_the_specification() {
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
