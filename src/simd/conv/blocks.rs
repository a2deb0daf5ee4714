//! Sixteen numbers at a time, for each instruction set.

#[cfg(target_arch = "x86_64")]
#[allow(clippy::wildcard_imports, reason = "intrinsics")]
pub(super) mod avx512 {
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::simd::conv) fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    /// # Safety
    /// `p` points to a block.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::simd::conv) unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: by contract.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::simd::conv) fn multiply_add(v: f32, w: __m512, sum: __m512) -> __m512 {
        _mm512_fmadd_ps(_mm512_set1_ps(v), w, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::simd::conv) fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }

    /// # Safety
    /// `p` points to a block.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::simd::conv) unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: by contract.
        unsafe { _mm512_storeu_ps(p, v) }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::wildcard_imports, reason = "intrinsics")]
pub(super) mod avx2 {
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::simd::conv) fn zero() -> [__m256; 2] {
        [_mm256_setzero_ps(); 2]
    }

    /// # Safety
    /// `p` points to a block.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::simd::conv) unsafe fn load(p: *const f32) -> [__m256; 2] {
        // SAFETY: by contract.
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::simd::conv) fn multiply_add(
        v: f32,
        w: [__m256; 2],
        sum: [__m256; 2],
    ) -> [__m256; 2] {
        let v = _mm256_set1_ps(v);
        [
            _mm256_fmadd_ps(v, w[0], sum[0]),
            _mm256_fmadd_ps(v, w[1], sum[1]),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::simd::conv) fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])]
    }

    /// # Safety
    /// `p` points to a block.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::simd::conv) unsafe fn store(p: *mut f32, v: [__m256; 2]) {
        // SAFETY: by contract.
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(clippy::wildcard_imports, reason = "intrinsics")]
pub(super) mod neon {
    use std::arch::aarch64::*;

    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::simd::conv) fn zero() -> [float32x4_t; 4] {
        [vdupq_n_f32(0.0); 4]
    }

    /// # Safety
    /// `p` points to a block.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::simd::conv) unsafe fn load(p: *const f32) -> [float32x4_t; 4] {
        // SAFETY: by contract.
        unsafe {
            [
                vld1q_f32(p),
                vld1q_f32(p.add(4)),
                vld1q_f32(p.add(8)),
                vld1q_f32(p.add(12)),
            ]
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::simd::conv) fn multiply_add(
        v: f32,
        w: [float32x4_t; 4],
        mut sum: [float32x4_t; 4],
    ) -> [float32x4_t; 4] {
        for i in 0..4 {
            sum[i] = vfmaq_n_f32(sum[i], w[i], v);
        }
        sum
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::simd::conv) fn add(a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        [0, 1, 2, 3].map(|i| vaddq_f32(a[i], b[i]))
    }

    /// # Safety
    /// `p` points to a block.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::simd::conv) unsafe fn store(p: *mut f32, v: [float32x4_t; 4]) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: by contract.
            unsafe { vst1q_f32(p.add(4 * i), v) }
        }
    }
}

pub(super) mod scalar {
    use super::super::BLOCK;

    pub(in crate::simd::conv) fn zero() -> [f32; BLOCK] {
        [0.0; BLOCK]
    }

    /// # Safety
    /// `p` points to a block.
    pub(in crate::simd::conv) unsafe fn load(p: *const f32) -> [f32; BLOCK] {
        // SAFETY: by contract; an array of floats is aligned as a float is.
        unsafe { *p.cast() }
    }

    pub(in crate::simd::conv) fn multiply_add(
        v: f32,
        w: [f32; BLOCK],
        mut sum: [f32; BLOCK],
    ) -> [f32; BLOCK] {
        for i in 0..BLOCK {
            sum[i] += v * w[i];
        }
        sum
    }

    pub(in crate::simd::conv) fn add(mut a: [f32; BLOCK], b: [f32; BLOCK]) -> [f32; BLOCK] {
        for i in 0..BLOCK {
            a[i] += b[i];
        }
        a
    }

    /// # Safety
    /// `p` points to a block.
    pub(in crate::simd::conv) unsafe fn store(p: *mut f32, v: [f32; BLOCK]) {
        // SAFETY: by contract; an array of floats is aligned as a float is.
        unsafe { *p.cast() = v }
    }
}
