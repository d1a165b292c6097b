//! A stack that keeps no passwords. Hash functions gather what they are fed in a state of their own, which lies on the stack and is
//! moved about there; the copies outlive the call by hours on a thread that has nothing else to do.

use std::hint::black_box;

use zeroize::Zeroize;

/// How deep hash functions reach, in octets, with much to spare: Argon2 has blocks of 1 KiB on the stack.
const DEPTH: usize = 16 << 10;

/// Does something with a secret, then wipes the part of the stack that this used.
pub(super) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    wipe();
    done
}

/// Not inlined: what it calls must lie where [`wipe`] wipes, not in the caller's own frame.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut below = [0u64; DEPTH / size_of::<u64>()];
    black_box(&mut below).zeroize();
}
