//! Kernels, the only `unsafe` of the program, chosen once at run time.
//!
//! Every kernel is tested against the scalar one.

mod bytes;
mod codes;
pub mod conv;
mod distance;
mod matrix;
mod pages;
mod pool;
mod rows;
mod tables;

pub use bytes::AlignedBytes;
pub use codes::{CODE_TOP, CODES, CodeRows};
pub use distance::{dot, dot4, kernel_name, prefetch, prefetch_links, squared_l2, squared_l2_4};
pub use matrix::dots_of_rows;
pub use pages::roomy;
pub use pool::Pool;
pub use rows::{AlignedRows, LANES};
pub use tables::{
    BLOCK, SUBSPACES, Scale, Squares, Sums, TABLE_TOP, WORDS, bounds, keys_within, products,
    quantise, sums_below, table_kernel_name, table_sums,
};

/// Dimensions that kernels are tested with; fewer by an interpreter (Miri).
#[cfg(test)]
fn dimensions() -> impl Iterator<Item = usize> {
    let all = (1..=130).chain([784, 1000, 4096]);
    all.step_by(if cfg!(miri) { 16 } else { 1 })
}
