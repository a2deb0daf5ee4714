//! A segment as bytes: magic, sequence numbers, links, the plan, lists, checksum. Little-endian.

use super::Options;
use super::graph::{Graph, Layer};
use super::inverted::Inverted;
use super::part::Part;
use super::plan::{Filtered, Plan, Step, Steps, Way};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"twxseg\0\x05";

/// Appends to what becomes a file.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn count(&mut self, n: usize) {
        self.numbers(&[u32::try_from(n).unwrap_or(u32::MAX)]);
    }

    pub(super) fn numbers(&mut self, numbers: &[u32]) {
        self.0.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    }

    pub(super) fn floats(&mut self, floats: &[f32]) {
        self.0.extend(floats.iter().flat_map(|v| v.to_le_bytes()));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

pub(super) fn encode<T>(part: &Part<T>) -> Vec<u8> {
    let mut out = Writer(MAGIC.to_vec());
    out.count(part.seqs.len());
    out.0.extend(part.seqs.iter().flat_map(|s| s.to_le_bytes()));
    encode_graph(part.graph(), &mut out);
    encode_plan(part.sealed_plan(), &mut out);
    out.count(part.changed);
    out.count(usize::from(part.inverted().is_some()));
    if let Some(lists) = part.inverted() {
        lists.encode(&mut out);
    }
    let check = xxh3_64(&out.0);
    out.0.extend(check.to_le_bytes());
    out.0
}

fn encode_graph(graph: Option<&Graph>, out: &mut Writer) {
    let Some(graph) = graph else {
        return out.count(0);
    };
    out.count(graph.stride);
    out.numbers(&[graph.entry]);
    out.count(graph.upper.len());
    out.numbers(&graph.bottom);
    for layer in &graph.upper {
        out.count(layer.nodes.len());
        out.count(layer.links.len());
        for numbers in [&layer.nodes, &layer.starts, &layer.links] {
            out.numbers(numbers);
        }
    }
}

fn encode_plan(plan: &Plan, out: &mut Writer) {
    encode_steps(&plan.steps, out);
    out.floats(&[plan.row_nanos]);
    out.count(plan.filtered.len());
    for tried in &plan.filtered {
        out.floats(&[tried.share]);
        encode_steps(&tried.steps, out);
        encode_steps(&tried.own, out);
    }
}

fn encode_steps(steps: &Steps, out: &mut Writer) {
    out.count(steps.0.len());
    for step in &steps.0 {
        let numbers = match step.way {
            Way::Scan => [0, 0, 0, 0],
            Way::Walk { ef } => [1, ef, 0, 0],
            Way::Lists {
                probes,
                rough,
                again,
                own,
            } => [2 + usize::from(own), probes, rough, again],
        };
        for n in numbers {
            out.count(n);
        }
        out.floats(&[step.recall]);
        out.numbers(&[step.nanos]);
    }
}

/// Reads what must be there, and no further than there is.
pub(super) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    pub(super) fn take(&mut self, bytes: usize) -> Result<&[u8], String> {
        let taken = self.0.split_at_checked(bytes);
        let (taken, rest) = taken.ok_or_else(|| format!("{bytes} more bytes expected"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn numbers(&mut self, n: usize) -> Result<Vec<u32>, String> {
        let bytes = self.take(n.saturating_mul(4))?;
        let words = bytes.as_chunks::<4>().0.iter();
        let mut numbers = crate::simd::roomy(n);
        numbers.extend(words.map(|w| u32::from_le_bytes(*w)));
        Ok(numbers)
    }

    pub(super) fn floats(&mut self, n: usize) -> Result<Vec<f32>, String> {
        let bytes = self.take(n.saturating_mul(4))?;
        let words = bytes.as_chunks::<4>().0.iter();
        Ok(words.map(|w| f32::from_le_bytes(*w)).collect())
    }

    pub(super) fn number(&mut self) -> Result<usize, String> {
        Ok(self.numbers(1)?[0] as usize)
    }
}

/// A segment read back, but for its rows.
pub(super) struct Read {
    pub(super) seqs: Vec<u64>,
    pub(super) graph: Option<Graph>,
    pub(super) plan: Plan,
    pub(super) changed: usize,
    pub(super) inverted: Option<Inverted>,
}

/// Reads a segment back, trusting nothing.
pub(super) fn decode(options: &Options, bytes: &[u8]) -> Result<Read, String> {
    let (body, check) = bytes
        .split_last_chunk::<8>()
        .ok_or("shorter than a checksum")?;
    if xxh3_64(body) != u64::from_le_bytes(*check) {
        return Err("the checksum does not match".into());
    }
    let mut reader = Reader(body);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err("not a segment of this version".into());
    }
    let rows = reader.number()?;
    let seqs = reader.take(rows.saturating_mul(8))?.as_chunks::<8>().0;
    let seqs: Vec<u64> = seqs.iter().map(|s| u64::from_le_bytes(*s)).collect();
    if !seqs.is_sorted_by(|a, b| a < b) {
        return Err("rows out of order".into());
    }
    let graph = decode_graph(rows, &mut reader)?;
    let plan = decode_plan(&mut reader)?;
    let changed = reader.number()?;
    let inverted = match reader.number()? {
        0 => None,
        _ => Some(Inverted::decode(options, rows, &mut reader)?),
    };
    if !reader.0.is_empty() {
        return Err("more than a segment".into());
    }
    Ok(Read {
        seqs,
        graph,
        plan,
        changed,
        inverted,
    })
}

fn decode_graph(rows: usize, reader: &mut Reader<'_>) -> Result<Option<Graph>, String> {
    let stride = reader.number()?;
    if stride == 0 {
        return Ok(None);
    }
    let entry = reader.numbers(1)?[0];
    let layers = reader.number()?;
    let bottom = reader.numbers(rows.saturating_mul(stride))?;
    let mut upper = Vec::new();
    for _ in 0..layers {
        let (nodes, links) = (reader.number()?, reader.number()?);
        upper.push(Layer {
            nodes: reader.numbers(nodes)?,
            starts: reader.numbers(nodes.saturating_add(1))?,
            links: reader.numbers(links)?,
        });
    }
    let graph = Graph {
        stride,
        bottom,
        entry,
        upper,
    };
    if !graph.is_sound(rows) {
        return Err("links that lead nowhere".into());
    }
    Ok(Some(graph))
}

fn decode_plan(reader: &mut Reader<'_>) -> Result<Plan, String> {
    let mut plan = Plan {
        steps: decode_steps(reader)?,
        row_nanos: reader.floats(1)?[0],
        filtered: Vec::new(),
    };
    for _ in 0..reader.number()? {
        plan.filtered.push(Filtered {
            share: reader.floats(1)?[0],
            steps: decode_steps(reader)?,
            own: decode_steps(reader)?,
        });
    }
    Ok(plan)
}

fn decode_steps(reader: &mut Reader<'_>) -> Result<Steps, String> {
    let mut steps = Steps::default();
    for _ in 0..reader.number()? {
        let numbers = reader.numbers(4)?;
        let way = match [0, 1, 2, 3].map(|i| numbers[i] as usize) {
            [0, ..] => Way::Scan,
            [1, ef, ..] => Way::Walk { ef },
            [kind @ (2 | 3), probes, rough, again] => Way::Lists {
                probes,
                rough,
                again,
                own: kind == 3,
            },
            [kind, ..] => return Err(format!("a way of kind {kind}")),
        };
        steps.0.push(Step {
            way,
            recall: reader.floats(1)?[0],
            nanos: reader.numbers(1)?[0],
        });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::domain::Metric;
    use std::sync::atomic::AtomicBool;

    fn part(metric: Metric) -> (Options, Part<()>) {
        let options = Options::new(32, metric);
        let mut part = Part::with_capacity(32, 3);
        for seq in [5, 7, 9_u8] {
            let row: Vec<f32> = (0..32_u8).map(|i| f32::from(i * seq % 11)).collect();
            part.push(u64::from(seq), &row, Some(()));
        }
        let mut graph = Graph::new(3, 2);
        graph.link(0, 1);
        graph.link(1, 2);
        graph
            .upper
            .push(Layer::of(vec![(2, vec![0]), (0, vec![2, 1])]));
        part.sealed = Some((1, Some(graph)));
        part.file(Inverted::of(metric, &part.rows, &AtomicBool::new(false)));
        let step = |way, nanos| Step {
            way,
            recall: 0.5,
            nanos,
        };
        let lists = Way::Lists {
            probes: 3,
            rough: 8,
            again: 4,
            own: true,
        };
        let steps = Steps(vec![
            step(lists, 1),
            step(Way::Walk { ef: 9 }, 2),
            step(Way::Scan, 3),
        ]);
        part.changed = 4;
        part.follow(Plan {
            filtered: vec![Filtered {
                share: 0.5,
                steps: steps.clone(),
                own: Steps(vec![step(lists, 4)]),
            }],
            steps,
            row_nanos: 2.5,
        });
        (options, part)
    }

    #[test]
    fn what_is_written_is_read() {
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let (options, part) = part(metric);
            let bytes = encode(&part);
            let read = decode(&options, &bytes).unwrap();
            assert_eq!(
                (&read.seqs, read.graph.as_ref()),
                (&part.seqs, part.graph())
            );
            assert_eq!(&read.plan, part.sealed_plan());
            assert_eq!(read.changed, 4);
            let (mut again, lists) = (part, read.inverted.unwrap());
            let near = |lists: &Inverted| lists.nearest(&[0.5; 32], 1, 9, None, None);
            assert_eq!(near(&lists), near(again.inverted().unwrap()));
            again.file(Some(lists));
            assert_eq!(encode(&again), bytes);
        }
    }

    #[test]
    fn damage_is_refused() {
        let (options, part) = part(Metric::Euclidean);
        let bytes = encode(&part);
        for end in 0..bytes.len() {
            assert!(decode(&options, &bytes[..end]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&options, &flipped).is_err(), "bit {bit}");
        }
        // What a right checksum does not make right.
        for at in (MAGIC.len()..bytes.len() - 8).step_by(4) {
            for with in [0, 7, u32::MAX] {
                let mut wrong = bytes.clone();
                wrong[at..at + 4].copy_from_slice(&with.to_le_bytes());
                let end = wrong.len() - 8;
                let check = xxh3_64(&wrong[..end]);
                wrong[end..].copy_from_slice(&check.to_le_bytes());
                if let Ok(Read {
                    inverted: Some(lists),
                    ..
                }) = decode(&options, &wrong)
                {
                    let near = lists.nearest(&[0.5; 32], 9, 9, None, None);
                    assert!(near.iter().all(|(_, row)| *row < 3));
                }
            }
        }
    }
}
