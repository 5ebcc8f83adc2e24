//! Buses and devices: asks what is due, takes the answer, hands readings on.
//!
//! A [`Bus`] is one task that owns one serial port or TCP connection. What it does is decided by cores: when a group of
//! points is due ([`schedule`]), who is silent and how often to ask them ([`health`]), which reads bring the points and
//! what a device refuses (`group`), how a question and its answer look on the wire ([`modbus`]); `poller` joins them
//! for one bus, and the shells `port` and `bus` wait and do the reading and writing.
//!
//! Knows serial lines, sockets and Modbus. Does not know topics, MQTT, the store or the configuration file.

mod bus;
mod event;
mod group;
pub mod health;
pub mod modbus;
mod poller;
mod port;
pub mod schedule;
mod settings;

pub use bus::Bus;
pub use event::{DeviceState, FieldEvent};
pub use settings::{
    BusSettings, DeviceSettings, Level, NamedTls, Order, Parity, Place, PointSettings,
    PortSettings, Rs485Settings, SerialSettings, Table, TcpSettings, UnitId, ValueType,
};
