//! LZ4 frames: cookie sessions are compressed.
//!
//! ```text
//! 04 22 4D 18 | 64 40 A7 | blocks | 00000000 | xxHash32 of the content
//! magic         │  │  └ header checksum        (64 KiB blocks, independent, no block checksums:
//!               │  └ block size                 some readers among oauth2-proxy's versions refuse those)
//!               └ flags
//! ```

use std::io::{self, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::DecodeError;

/// The largest session, in bytes. The cookies of a request hold less than a tenth of that, compressed.
const MAX_DECODED: usize = 1 << 20;

/// The first bytes of frames that a reader has to skip (`184D2A50` to `184D2A5F`, little endian).
const SKIPPABLE: [u8; 3] = [0x2A, 0x4D, 0x18];

/// One frame with these bytes.
pub(super) fn compress(plain: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    // Writing to memory does not fail; if it did, nothing would be read back as a session.
    let written = encoder.write_all(plain);
    written.ok().and_then(|()| encoder.finish().ok()).unwrap_or_default()
}

/// The bytes of the first frame. Bytes after it are ignored, as by oauth2-proxy.
pub(super) fn decompress(mut frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
    while let Some(rest) = skip(frame)? {
        frame = rest;
    }
    // Reading one byte past the limit distinguishes "just as large" from "too large".
    let limit = u64::try_from(MAX_DECODED + 1).map_err(|_| DecodeError::Lz4)?;
    let mut plain = Vec::new();
    let mut decoder = FrameDecoder::new(Strict(frame)).take(limit);
    decoder.read_to_end(&mut plain).map_err(|_| DecodeError::Lz4)?;
    if plain.len() > MAX_DECODED {
        return Err(DecodeError::Lz4);
    }
    Ok(plain)
}

/// A source whose end is an error: at the end of a block, the decoder would take it for the end of the frame.
struct Strict<'a>(&'a [u8]);

impl Read for Strict<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.0.read(buffer)
    }
}

/// The bytes after a skippable frame; `None` if there is no such frame.
///
/// ```text
/// 5x 2A 4D 18 | length u32 le | bytes[length]
/// ```
fn skip(bytes: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let Some(([kind, magic @ ..], rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if kind >> 4 != 5 || *magic != SKIPPABLE {
        return Ok(None);
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(DecodeError::Lz4)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| DecodeError::Lz4)?;
    let (_, rest) = rest.split_at_checked(length).ok_or(DecodeError::Lz4)?;
    Ok(Some(rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{self, bytes};

    #[test]
    fn frames_are_those_of_oauth2_proxy() {
        for case in vectors::load()["lz4"].as_array().unwrap() {
            let frame = bytes(&case["lz4_hex"]);
            let plain = decompress(&frame).unwrap();
            assert_eq!(case["in_len"], plain.len());
            assert_eq!(compress(&plain), frame, "{}", case["name"]);
        }
    }

    #[test]
    fn several_blocks_and_empty_frame_are_read() {
        let vectors = vectors::load();
        let edge = &vectors["lz4_edge"];
        assert_eq!(decompress(&bytes(&edge["70000x_hex"])), Ok(vec![b'x'; 70_000]));
        assert_eq!(decompress(&bytes(&edge["empty_input_frame"])), Ok(Vec::new()));
    }

    /// The cases and their outcomes are those of oauth2-proxy.
    #[test]
    fn frames_are_accepted_as_by_oauth2_proxy() {
        let vectors = vectors::load();
        let edge = &vectors["lz4_edge"];
        let good = bytes(&edge["good_hex"]);
        let skippable = [b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc".as_slice(), &good].concat();
        let skippable_5 = [b"\x55\x2a\x4d\x18\x00\x00\x00\x00".as_slice(), &good].concat();
        let changed = |at: usize| {
            let mut frame = good.clone();
            frame[at] ^= 1;
            frame
        };
        let cases: [(&str, Vec<u8>); 9] = [
            ("good", good.clone()),
            ("trailing", [good.as_slice(), b"trailing"].concat()),
            ("two_frames", [good.as_slice(), &good].concat()),
            ("skippable_first", skippable),
            ("skippable_5", skippable_5),
            ("bad_header_checksum", changed(6)),
            ("bad_content_checksum", changed(good.len() - 1)),
            ("truncated", good[..good.len() - 4].to_vec()),
            ("trunc_block", good[..20].to_vec()),
        ];
        for (name, frame) in cases {
            let is_accepted = edge[name].as_str().unwrap().ends_with("err=<nil>");
            let decoded = decompress(&frame);
            assert_eq!(decoded.is_ok(), is_accepted, "{name}");
            assert!(decoded.is_err() || decoded == decompress(&good), "{name}");
        }
        assert_eq!(decompress(b""), Err(DecodeError::Lz4));
    }

    #[test]
    fn decompression_bomb_is_refused() {
        let largest = vec![0; MAX_DECODED];
        assert_eq!(decompress(&compress(&largest)).map(|plain| plain.len()), Ok(largest.len()));
        let bomb = compress(&vec![0; MAX_DECODED + 1]);
        assert!(bomb.len() < 10_000);
        assert_eq!(decompress(&bomb), Err(DecodeError::Lz4));
    }

    proptest! {
        #[test]
        fn compressed_bytes_come_back(plain: Vec<u8>, times in 1_usize..200) {
            let plain = plain.repeat(times);
            prop_assert_eq!(decompress(&compress(&plain)), Ok(plain));
        }

        #[test]
        fn truncated_frame_is_refused(plain: Vec<u8>, at: prop::sample::Index) {
            let frame = compress(&plain);
            prop_assert!(decompress(&frame[..at.index(frame.len())]).is_err());
        }

        /// The result does not matter: a cookie's signature covers the frame.
        #[test]
        fn changed_frame_does_not_panic(plain: Vec<u8>, at: prop::sample::Index, flip: u8) {
            let mut frame = compress(&plain);
            let at = at.index(frame.len());
            frame[at] ^= flip;
            let _ = decompress(&frame);
        }

        #[test]
        fn decompressed_garbage_does_not_panic(bytes: Vec<u8>) {
            let _ = decompress(&bytes);
            let _ = decompress(&[b"\x04\x22\x4d\x18".as_slice(), &bytes].concat());
        }
    }
}
