//! What looks like the end of DATA and is not. A new one that is found somewhere in the world belongs here: every reader is
//! tried with it, in unit tests too (see lib.rs).

/// Inputs that have ended DATA somewhere in the world and must not here.
pub const LOOKALIKES: [&[u8]; 12] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
];
