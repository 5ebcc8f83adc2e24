//! The `fieldpost` program: parse and call.

fn main() {}
