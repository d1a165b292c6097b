//! Wipes the stack after work on passwords. Hash functions collect their input in a state on the stack, and move it there. On an idle
//! thread these copies would remain for hours.

use std::hint::black_box;

use zeroize::Zeroize;

/// More octets of stack than hash functions use. Argon2 has blocks of 1 KiB there.
const DEPTH: usize = 16 << 10;

/// Does work on a secret, then wipes the part of the stack that the work used.
pub(super) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    wipe();
    done
}

/// Runs the work in its own stack frame. It is not inlined, so that the work uses the part of the stack that [`wipe`] wipes.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut below = [0u64; DEPTH / size_of::<u64>()];
    black_box(&mut below).zeroize();
}
