//! What a client sent and is not dealt with yet. As long as it may hold a password, no copy of it is left behind: neither in memory
//! that is given back, nor behind the end of what is kept. Of a login within TLS the library's own buffers hold what it decrypted
//! until it overwrites that with what comes next.

use zeroize::Zeroize;

/// Octets of the client, the first of them dealt with.
pub(super) struct Input {
    octets: Vec<u8>,
    taken: usize,
    /// A password may be among them.
    may_be_secret: bool,
}

impl Input {
    pub(super) fn new(may_be_secret: bool) -> Self {
        Input { octets: Vec::new(), taken: 0, may_be_secret }
    }

    /// What is not dealt with.
    pub(super) fn pending(&self) -> &[u8] {
        &self.octets[self.taken..]
    }

    /// The next `len` octets are dealt with.
    pub(super) fn take(&mut self, len: usize) {
        self.taken += len;
    }

    /// The same, and they are not to stay in memory.
    pub(super) fn take_secret(&mut self, len: usize) {
        self.octets[self.taken..self.taken + len].zeroize();
        self.taken += len;
    }

    /// All of it is dealt with.
    pub(super) fn take_all(&mut self) {
        self.taken = self.octets.len();
    }

    /// Of what is pending keeps the first octets and the last one, which may be the CR of a line end: no more than `len` in all.
    /// Returns how many octets are dropped.
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

    /// No password comes any more.
    pub(super) fn is_not_secret(&mut self) {
        self.rest();
        self.may_be_secret = false;
    }

    /// Holds no more memory than what is pending needs, whatever came at once before.
    pub(super) fn rest(&mut self) {
        if self.may_be_secret {
            self.move_with_room_for(0);
        } else {
            self.octets.drain(..self.taken);
            self.octets.shrink_to_fit();
        }
        self.taken = 0;
    }

    /// Adds what was read, and wipes the place where it was read to if it may be secret.
    pub(super) fn add(&mut self, read: &mut [u8]) {
        if self.may_be_secret {
            self.move_with_room_for(read.len());
            self.octets.extend_from_slice(read);
            read.zeroize();
        } else {
            self.octets.extend_from_slice(read);
        }
    }

    /// A vector that grows or shrinks by itself leaves its old place as it was.
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
            input.is_not_secret();
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
        input.is_not_secret();
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
