//! A header block as Envoy hands it over: the fields of a request, of a response, or of trailers, in one piece.
//!
//! proxy-wasm's `proxy_get_header_map_pairs` gives it in this form (numbers are little-endian):
//!
//! ```text
//! count:u32 | (name_len:u32 value_len:u32) * count | (name NUL value NUL) * count
//! ```

use std::fmt;
use std::ops::Range;

/// Header fields as bytes that nothing has checked yet, pseudo-headers (`:path`) among them.
///
/// One buffer holds every byte, and each field is two ranges in it. So a block costs two allocations, however many
/// fields it has.
#[derive(Clone, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

/// Never printed: it holds cookies.
impl fmt::Debug for HeaderBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderBlock(…)")
    }
}

impl HeaderBlock {
    /// Reads a serialized block. A name or a value that leaves the buffer is empty.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let fields = ranges(&bytes);
        Self { bytes, fields }
    }

    /// The serialized block of these names and values.
    pub fn serialize(pairs: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
        let number = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
        let mut bytes = number(pairs.len()).to_vec();
        for (name, value) in pairs {
            bytes.extend_from_slice(&number(name.as_ref().len()));
            bytes.extend_from_slice(&number(value.as_ref().len()));
        }
        for (name, value) in pairs {
            for part in [name.as_ref(), value.as_ref()] {
                bytes.extend_from_slice(part);
                bytes.push(0);
            }
        }
        bytes
    }

    /// A block of these names and values. The host has a serialized one instead.
    #[cfg(not(target_family = "wasm"))]
    pub fn from_pairs<'a, N: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, &'a [u8])>) -> Self {
        let mut block = Self::default();
        for (name, value) in pairs {
            block.push(name.as_ref(), value);
        }
        block
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.fields.push((start..middle, middle..self.bytes.len()));
    }

    /// The same block with this value in the place of all values of that name.
    #[must_use]
    pub fn replace(mut self, name: &str, value: &[u8]) -> Self {
        let Self { bytes, fields } = &mut self;
        fields.retain(|(other, _)| bytes.get(other.clone()) != Some(name.as_bytes()));
        self.push(name.as_bytes(), value);
        self
    }

    /// All headers in their order, names in lower case as Envoy keeps them.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The first header of that name; empty if there is none.
    pub fn header(&self, name: &str) -> &[u8] {
        self.all(name).next().unwrap_or_default()
    }

    /// Every header of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers().filter(move |(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// Where names and values lie in a serialized block. There are never more of them than the buffer has lengths for.
fn ranges(bytes: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let Some((count, rest)) = bytes.split_first_chunk::<4>() else {
        return Vec::new();
    };
    let count = usize::try_from(u32::from_le_bytes(*count)).unwrap_or(0);
    let mut at = count.saturating_mul(8).saturating_add(4);
    rest.chunks_exact(8)
        .take(count)
        .map(|lengths| {
            let name = at..at.saturating_add(length(lengths.get(..4)));
            let value_start = name.end.saturating_add(1);
            let value = value_start..value_start.saturating_add(length(lengths.get(4..)));
            at = value.end.saturating_add(1);
            (name, value)
        })
        .collect()
}

fn length(bytes: Option<&[u8]>) -> usize {
    bytes
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .and_then(|bytes| usize::try_from(u32::from_le_bytes(bytes)).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::HeaderBlock;

    /// Two headers as proxy-wasm's C++ host writes them (`PairsUtil::marshalPairs`).
    const TWO: &[u8] = b"\x02\0\0\0\
        \x05\0\0\0\x04\0\0\0\
        \x06\0\0\0\x03\0\0\0\
        :path\0/a?b\0\
        cookie\0c=1\0";

    fn fields(block: &HeaderBlock) -> Vec<(Vec<u8>, Vec<u8>)> {
        block.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn block_of_the_host_is_read_and_written() {
        let pairs = [(":path", "/a?b"), ("cookie", "c=1")];
        let block = HeaderBlock::parse(TWO.to_vec());
        assert_eq!(fields(&block), pairs.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(HeaderBlock::serialize(&pairs), TWO);
        assert_eq!(HeaderBlock::serialize(&[("", ""); 0]), b"\0\0\0\0");
    }

    #[test]
    fn header_is_found_by_its_whole_name() {
        let pairs = [("a", "1"), ("ab", "2"), ("a", "3"), ("b", "")];
        let block = HeaderBlock::from_pairs(pairs.map(|(name, value)| (name, value.as_bytes())));
        assert_eq!(block.header("a"), b"1");
        assert_eq!(block.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(block.all("b").collect::<Vec<_>>(), [b""]);
        assert_eq!(block.header("c"), b"");
    }

    #[test]
    fn replaced_header_is_there_once() {
        let pairs = [("cookie", "a=1"), ("host", "h"), ("cookie", "b=2")];
        let block = HeaderBlock::from_pairs(pairs.map(|(name, value)| (name, value.as_bytes())));
        let replaced = fields(&block.replace("cookie", b"c=3"));
        assert_eq!(
            replaced,
            [("host", "h"), ("cookie", "c=3")].map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[test]
    fn block_that_promises_too_much_is_read_as_far_as_it_goes() {
        for bytes in [b"".as_slice(), b"\x01\0\0", b"\0\0\0\0", b"\xff\xff\xff\xff"] {
            assert_eq!(HeaderBlock::parse(bytes.to_vec()).headers().count(), 0, "{bytes:?}");
        }
        let cut = TWO.get(..TWO.len() - 2).unwrap();
        let block = HeaderBlock::parse(cut.to_vec());
        assert_eq!(
            fields(&block),
            [(":path", "/a?b"), ("cookie", "")].map(|(name, value)| (name.into(), value.into()))
        );
        // A name, or a value, that is longer than a number of 32 bits can count to the end of.
        let long = [b"\x01\0\0\0".as_slice(), &[0xff; 8], b"name\0value\0"].concat();
        assert_eq!(fields(&HeaderBlock::parse(long)), [(vec![], vec![])]);
    }

    /// A count of 4 billion headers reserves no memory for more than the buffer can have.
    #[test]
    fn count_beyond_the_buffer_allocates_nothing() {
        let bytes = [[0xff; 4].as_slice(), &[0; 80]].concat();
        let block = HeaderBlock::parse(bytes);
        assert_eq!(block.headers().count(), 10);
        assert!(block.fields.capacity() <= 16);
    }

    proptest! {
        #[test]
        fn serialized_pairs_come_back(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            prop_assert_eq!(fields(&HeaderBlock::parse(HeaderBlock::serialize(&pairs))), pairs);
        }

        #[test]
        fn any_bytes_hold_no_more_than_they_are(bytes: Vec<u8>) {
            let block = HeaderBlock::parse(bytes.clone());
            prop_assert!(block.headers().count() <= bytes.len() / 8);
            let size: usize = block.headers().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(size <= bytes.len());
        }

        #[test]
        fn truncated_block_has_no_other_headers(
            pairs: Vec<(Vec<u8>, Vec<u8>)>, at: prop::sample::Index
        ) {
            let mut bytes = HeaderBlock::serialize(&pairs);
            bytes.truncate(at.index(bytes.len()));
            let read = fields(&HeaderBlock::parse(bytes));
            prop_assert!(read.len() <= pairs.len());
            for (read, whole) in read.iter().zip(&pairs) {
                prop_assert!(read.0.is_empty() || read.0 == whole.0);
                prop_assert!(read.1.is_empty() || read.1 == whole.1);
            }
        }
    }
}
