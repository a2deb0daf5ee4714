//! Every value is framed, so that damage below is seen here.
//!
//! ```text
//! kind: u8   1 whole, 2 head of a record in chunks
//! len:  u32  bytes of the body
//! hash: u64  xxh3-64 of the body, seeded with kind and xxh3-64 of the key
//! body
//! ```
//!
//! A record too large for one value is a head (length: u64, chunks: u32, xxh3-64 of the whole:
//! u64) and chunks beside it, each framed as a value of its own. Numbers are little-endian.

use super::codec::Reader;
use super::{Error, keys};
use std::ops::Range;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Largest value: larger ones would end up outside the database file, where nothing is synced.
pub(crate) const MAX_VALUE: usize = 64 * 1024;
/// Longest key.
pub(crate) const MAX_KEY: usize = 2048;
/// Largest body of a value.
pub(crate) const MAX_BODY: usize = MAX_VALUE - HEADER;

const HEADER: usize = 13;
const WHOLE: u8 = 1;
const HEAD: u8 = 2;

/// What a value turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The record itself: where in the value it stands.
    Whole(Range<usize>),
    /// The record is elsewhere, in chunks.
    Head(Head),
}

/// What the chunks of a record amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) len: u64,
    pub(crate) chunks: u32,
    pub(crate) hash: u64,
}

/// Frames a body that fits one value.
pub(crate) fn whole(key: &[u8], body: &[u8]) -> Vec<u8> {
    frame(WHOLE, key, body)
}

/// Frames a body of any size: the value for `key`, and chunks for their own keys.
#[expect(clippy::type_complexity, reason = "the value, and its chunks by key")]
pub(crate) fn split(key: &[u8], body: &[u8]) -> (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>) {
    if body.len() <= MAX_BODY {
        return (whole(key, body), Vec::new());
    }
    let chunks: Vec<_> = (0..)
        .zip(body.chunks(MAX_BODY))
        .map(|(nth, part)| {
            let key = keys::chunk(key, nth);
            let value = whole(&key, part);
            (key, value)
        })
        .collect();
    let mut head = Vec::with_capacity(20);
    head.extend_from_slice(&(body.len() as u64).to_le_bytes());
    // A count beyond u32 would be 256 TiB in memory.
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    head.extend_from_slice(&count.to_le_bytes());
    head.extend_from_slice(&xxh3_64(body).to_le_bytes());
    (frame(HEAD, key, &head), chunks)
}

/// Verifies a value.
pub(crate) fn open(key: &[u8], value: &[u8]) -> Result<Frame, Error> {
    read(key, value).map_err(|why| Error::damaged(keys::describe(key), why))
}

fn read(key: &[u8], value: &[u8]) -> Result<Frame, String> {
    let mut from = Reader(value);
    let (kind, len, hash) = (from.byte()?, from.u32()?, from.u64()?);
    let body = from.0;
    if body.len() != len as usize {
        return Err(format!("{} bytes instead of {len}", body.len()));
    }
    if kind != WHOLE && kind != HEAD {
        return Err(format!("unknown kind of value {kind}"));
    }
    if checksum(kind, key, body) != hash {
        return Err("the checksum does not match".to_owned());
    }
    if kind == WHOLE {
        return Ok(Frame::Whole(HEADER..value.len()));
    }
    let head = Head {
        len: from.u64()?,
        chunks: from.u32()?,
        hash: from.u64()?,
    };
    from.end()?;
    Ok(Frame::Head(head))
}

/// Puts a record together again from its chunks.
pub(crate) fn join(
    key: &[u8],
    head: Head,
    mut chunk: impl FnMut(&[u8]) -> Result<Option<sled::IVec>, Error>,
) -> Result<Vec<u8>, Error> {
    let damaged = |why: &str| Error::damaged(keys::describe(key), why);
    let mut body = Vec::new();
    for nth in 0..head.chunks {
        let key = keys::chunk(key, nth);
        let Some(value) = chunk(&key)? else {
            return Err(damaged(&format!("chunk {nth} is missing")));
        };
        let Frame::Whole(part) = open(&key, &value)? else {
            return Err(damaged(&format!("chunk {nth} is a head")));
        };
        body.extend_from_slice(&value[part]);
    }
    if body.len() as u64 != head.len || xxh3_64(&body) != head.hash {
        return Err(damaged("the chunks do not make up the whole"));
    }
    Ok(body)
}

fn frame(kind: u8, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + body.len());
    value.push(kind);
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    value.extend_from_slice(&len.to_le_bytes());
    value.extend_from_slice(&checksum(kind, key, body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

fn checksum(kind: u8, key: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(key) ^ u64::from(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_seen() {
        let key = keys::numbered(keys::Space::Collection, 1);
        for (body, is_head) in [(vec![7; 40], false), (vec![7; MAX_BODY + 1], true)] {
            let (value, chunks) = split(&key, &body);
            assert_eq!(chunks.is_empty(), !is_head);
            assert!(open(&key, &value).is_ok());
            for bit in 0..value.len() * 8 {
                let mut value = value.clone();
                value[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&key, &value).is_err(), "bit {bit}");
            }
            for end in 0..value.len() {
                assert!(open(&key, &value[..end]).is_err());
            }
        }
    }

    #[test]
    fn a_value_under_another_key_is_damage() {
        let value = whole(b"a", b"body");
        assert!(open(b"b", &value).is_err());
    }

    #[test]
    fn values_stay_within_their_limit() {
        for len in [0, 1, MAX_BODY, MAX_BODY + 1, 3 * MAX_BODY, 1 << 20] {
            let (value, chunks) = split(b"k", &vec![1; len]);
            assert!(value.len() <= MAX_VALUE);
            assert!(chunks.iter().all(|(_, value)| value.len() <= MAX_VALUE));
        }
    }
}
