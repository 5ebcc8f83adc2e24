//! Buses and devices: asks what is due, takes the answer, hands readings on.
//!
//! Knows serial lines, sockets and Modbus. Does not know topics, MQTT, the store or the configuration file.

pub mod backoff;
mod group;
pub mod health;
pub mod modbus;
pub mod schedule;
mod settings;

pub use settings::{
    BusSettings, DeviceSettings, Order, Parity, Place, PointSettings, PortSettings, SerialSettings,
    Table, TcpSettings, UnitId, ValueType,
};
