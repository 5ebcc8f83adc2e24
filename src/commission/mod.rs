//! Commissioning: looking around on a bus before, and beside, a configuration.
//!
//! [`scan`] finds units. It is a core that says which question comes next and is told how it ended; whoever drives it
//! knows the port.
//!
//! Knows Modbus and what its answers mean for the person with the screwdriver. Does not know ports, sockets, the
//! configuration file or the terminal.

pub mod scan;
