//! The postbud program.
fn main() {}
