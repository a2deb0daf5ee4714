//! Kernels, the only `unsafe` of the program, chosen once at run time.
//!
//! Every kernel is tested against the scalar one.

mod codes;
pub mod conv;
mod distance;
mod rows;

pub use codes::{CODES, CodeRows, code_dot, code_dot4};
pub use distance::{dot, dot4, kernel_name, prefetch, prefetch_codes, squared_l2, squared_l2_4};
pub use rows::{AlignedRows, LANES};
