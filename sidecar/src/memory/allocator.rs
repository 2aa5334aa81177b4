//! What the allocator keeps for later is the process's all the same. Each thread gives back its own.

/// Gives back all pages that hold nothing. Some milliseconds, so not often.
#[expect(
    unsafe_code,
    reason = "a function of the allocator without arguments to get wrong"
)]
pub(crate) fn give_back() {
    // SAFETY: it may be called by any thread at any time, also where another allocator serves the process.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
