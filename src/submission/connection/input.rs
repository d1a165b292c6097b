//! The unprocessed octets of a client. As long as they may contain a password, no copy of them stays behind, neither in freed memory nor
//! behind the end of the buffer. For a login within TLS, the library's own buffers keep the decrypted octets until it overwrites them.

use zeroize::Zeroize;

/// Octets of the client. The first of them are processed.
pub(super) struct Input {
    octets: Vec<u8>,
    taken: usize,
    /// True if a password may be among them.
    may_be_secret: bool,
}

impl Input {
    pub(super) fn new(may_be_secret: bool) -> Self {
        Input { octets: Vec::new(), taken: 0, may_be_secret }
    }

    /// Returns the unprocessed octets.
    pub(super) fn pending(&self) -> &[u8] {
        &self.octets[self.taken..]
    }

    /// Marks the next `len` octets as processed.
    pub(super) fn take(&mut self, len: usize) {
        self.taken += len;
    }

    /// Marks the next `len` octets as processed, and wipes them.
    pub(super) fn take_secret(&mut self, len: usize) {
        self.octets[self.taken..self.taken + len].zeroize();
        self.taken += len;
    }

    /// Marks all octets as processed.
    pub(super) fn take_all(&mut self) {
        self.taken = self.octets.len();
    }

    /// Keeps at most `len` of the unprocessed octets: the first ones, and the last one, which may be the CR of a line end. Returns how many
    /// were dropped.
    pub(super) fn keep(&mut self, len: usize) -> usize {
        let dropped = self.pending().len().saturating_sub(len);
        let from = self.taken + len - 1;
        if dropped > 0 {
            let middle = from..from + dropped;
            self.octets[middle.clone()].zeroize();
            self.octets.drain(middle);
        }
        dropped
    }

    /// Records that no password comes any more.
    pub(super) fn end_secrecy(&mut self) {
        self.rest();
        self.may_be_secret = false;
    }

    /// Shrinks the buffer to the unprocessed octets.
    pub(super) fn rest(&mut self) {
        if self.may_be_secret {
            self.move_with_room_for(0);
        } else {
            self.octets.drain(..self.taken);
            self.octets.shrink_to_fit();
        }
        self.taken = 0;
    }

    /// Appends octets that were read. Wipes their source if they may be secret.
    pub(super) fn add(&mut self, read: &mut [u8]) {
        if self.may_be_secret {
            self.move_with_room_for(read.len());
            self.octets.extend_from_slice(read);
            read.zeroize();
        } else {
            self.octets.extend_from_slice(read);
        }
    }

    /// Moves the octets to a larger or smaller vector by hand, because a vector that reallocates leaves its old memory unwiped.
    fn move_with_room_for(&mut self, more: usize) {
        let mut moved = Vec::with_capacity(self.pending().len() + more);
        moved.extend_from_slice(self.pending());
        self.octets.zeroize();
        self.octets = moved;
        self.taken = 0;
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.may_be_secret {
            self.octets.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_taken_in_order_whether_secret_or_not() {
        for may_be_secret in [false, true] {
            let mut input = Input::new(may_be_secret);
            input.add(&mut b"one two ".to_vec());
            input.take(4);
            input.add(&mut b"three".to_vec());
            assert_eq!(input.pending(), b"two three");
            input.take_secret(4);
            input.rest();
            assert_eq!((input.pending(), input.octets.capacity()), (&b"three"[..], 5));
            input.end_secrecy();
            input.add(&mut b" four".to_vec());
            assert_eq!(input.pending(), b"three four");
            input.take_all();
            input.rest();
            assert_eq!((input.pending(), input.octets.capacity()), (&b""[..], 0));
        }
    }

    #[test]
    fn where_it_was_read_to_is_wiped_only_while_it_may_be_secret() {
        let (mut input, mut place) = (Input::new(true), *b"AUTH PLAIN AHgAeQ==\r\n");
        input.add(&mut place);
        assert_eq!(place, [0; 21]);
        input.end_secrecy();
        let mut place = *b"MAIL";
        input.add(&mut place);
        assert_eq!(&place, b"MAIL");
    }

    #[test]
    fn a_line_without_end_is_cut_in_its_middle() {
        let mut input = Input::new(true);
        input.add(&mut b"abcdefgh\r".to_vec());
        assert_eq!((input.keep(4), input.pending()), (5, &b"abc\r"[..]));
        assert_eq!(input.keep(4), 0);
    }
}
