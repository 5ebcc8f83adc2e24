//! Names, flags and properties on their way over a bridge.
