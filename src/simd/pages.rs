//! Memory that is read here and there: on huge pages, where the system gives them, far fewer
//! addresses have to be looked up.

/// Bytes from which on huge pages are asked for.
const LARGE: usize = 4 << 20;

/// An empty vector with room for so many values. The system is asked to put a large one on huge
/// pages: a hint, which may come to nothing.
#[must_use]
pub fn roomy<T>(capacity: usize) -> Vec<T> {
    let vec: Vec<T> = Vec::with_capacity(capacity);
    #[cfg(all(target_os = "linux", not(miri)))]
    if capacity.saturating_mul(size_of::<T>()) >= LARGE {
        advise(vec.as_ptr().cast_mut().cast(), capacity * size_of::<T>());
    }
    vec
}

#[cfg(all(target_os = "linux", not(miri)))]
fn advise(from: *mut core::ffi::c_void, bytes: usize) {
    use rustix::mm::{Advice, madvise};
    let page = rustix::param::page_size();
    let skipped = from.align_offset(page);
    let whole = bytes.saturating_sub(skipped) / page * page;
    // SAFETY: whole pages within an allocation that is held; this advice changes no content. Where
    // it is refused, pages stay as they are.
    let _ = unsafe {
        madvise(
            from.wrapping_byte_add(skipped),
            whole,
            Advice::LinuxHugepage,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_and_it_can_be_filled() {
        let many = if cfg!(miri) { 1_000 } else { 3_000_001 };
        for n in [0, 1, many] {
            let mut vec = roomy(n);
            assert!(vec.capacity() >= n);
            vec.resize(n, 7_u32);
            assert!(vec.iter().all(|v| *v == 7));
        }
    }
}
