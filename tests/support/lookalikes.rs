//! Inputs that look like the end of DATA but are not. Add new ones here: every reader is tested with them, also in unit tests (see lib.rs).

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
