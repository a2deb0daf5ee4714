//! Nearest-neighbour search: sealed HNSW segments, the exact tail, tombstones.
