//! SIMD kernels, chosen once at run time; the only room that holds `unsafe`.

pub mod matmul;
