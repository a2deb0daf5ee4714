//! A segment as bytes: magic, counts, sequence numbers, links, checksum. Little-endian.

use super::graph::{Graph, Layer};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"twxseg\0\x01";

fn put(out: &mut Vec<u8>, numbers: &[u32]) {
    out.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(super) fn encode(seqs: &[u64], graph: Option<&Graph>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put(&mut out, &[count(seqs.len())]);
    out.extend(seqs.iter().flat_map(|s| s.to_le_bytes()));
    match graph {
        None => put(&mut out, &[0]),
        Some(graph) => {
            put(
                &mut out,
                &[count(graph.stride), graph.entry, count(graph.upper.len())],
            );
            put(&mut out, &graph.bottom);
            for layer in &graph.upper {
                put(
                    &mut out,
                    &[count(layer.nodes.len()), count(layer.links.len())],
                );
                for numbers in [&layer.nodes, &layer.starts, &layer.links] {
                    put(&mut out, numbers);
                }
            }
        }
    }
    let check = xxh3_64(&out);
    out.extend(check.to_le_bytes());
    out
}

/// Reads what must be there, and no further than there is.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, bytes: usize) -> Result<&[u8], String> {
        let taken = self.0.split_at_checked(bytes);
        let (taken, rest) = taken.ok_or_else(|| format!("{bytes} more bytes expected"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn numbers(&mut self, n: usize) -> Result<Vec<u32>, String> {
        let bytes = self.take(n.saturating_mul(4))?;
        let words = bytes.as_chunks::<4>().0.iter();
        Ok(words.map(|w| u32::from_le_bytes(*w)).collect())
    }

    fn number(&mut self) -> Result<usize, String> {
        Ok(self.numbers(1)?[0] as usize)
    }
}

/// Reads a segment back, trusting nothing.
pub(super) fn decode(bytes: &[u8]) -> Result<(Vec<u64>, Option<Graph>), String> {
    let (body, check) = bytes
        .split_last_chunk::<8>()
        .ok_or("shorter than a checksum")?;
    if xxh3_64(body) != u64::from_le_bytes(*check) {
        return Err("the checksum does not match".into());
    }
    let mut reader = Reader(body);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err("not a segment of a known version".into());
    }
    let rows = reader.number()?;
    let seqs = reader.take(rows.saturating_mul(8))?;
    let seqs = seqs
        .as_chunks::<8>()
        .0
        .iter()
        .map(|s| u64::from_le_bytes(*s));
    let seqs: Vec<u64> = seqs.collect();
    if !seqs.is_sorted_by(|a, b| a < b) {
        return Err("rows out of order".into());
    }
    let stride = reader.number()?;
    if stride == 0 {
        return Ok((seqs, None));
    }
    let entry = count(reader.number()?);
    let layers = reader.number()?;
    let bottom = reader.numbers(rows.saturating_mul(stride))?;
    let mut upper = Vec::new();
    for _ in 0..layers {
        let (nodes, links) = (reader.number()?, reader.number()?);
        upper.push(Layer {
            nodes: reader.numbers(nodes)?,
            starts: reader.numbers(nodes + 1)?,
            links: reader.numbers(links)?,
        });
    }
    let graph = Graph {
        stride,
        bottom,
        entry,
        upper,
    };
    if !graph.is_sound(rows) || !reader.0.is_empty() {
        return Err("links that lead nowhere".into());
    }
    Ok((seqs, Some(graph)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_refused() {
        let mut graph = Graph::new(3, 2);
        graph.link(0, 1);
        graph.link(1, 2);
        let mut layer = Layer::default();
        layer.push(0, &[2]);
        layer.push(2, &[0]);
        graph.upper.push(layer);
        let bytes = encode(&[5, 7, 9], Some(&graph));
        assert_eq!(decode(&bytes).unwrap(), (vec![5, 7, 9], Some(graph)));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
