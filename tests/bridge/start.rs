//! When an uplink connects, and what it says of itself.
