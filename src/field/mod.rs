//! Buses and devices: asks what is due, takes the answer, hands readings on.
//!
//! A [`Bus`] is one task that owns one serial port or TCP connection. What it does is decided by cores: when a group of
//! points is due ([`schedule`]) and whether it keeps its periods ([`lag`]), who is sick and how often to ask them
//! ([`health`]), how long to wait for them ([`patience`]), which reads bring the points and what a device refuses
//! (`group`), what goes out together (`gather`), what is kept of that ([`Memory`]), what all of it will cost ([`forecast`]), how a question and its answer look on the wire ([`modbus`]); `poller` joins them
//! for one bus, and the shells `port`, `bus` and `notebook` wait and do the reading and writing.
//! Who wants to see how a bus is doing asks it ([`Onlooker`]); what there is to see is in the room [`watch`].
//! Devices that speak no Modbus, on a plain serial line, have a task of their own ([`mod@line`]).
//!
//! Knows serial lines, sockets and Modbus. Does not know topics, MQTT, the store or the configuration file.

mod alarm;
mod bus;
mod computed;
mod device;
mod errand;
mod event;
pub mod forecast;
mod gather;
mod group;
pub mod health;
pub mod lag;
pub mod line;
mod memory;
pub mod modbus;
mod notebook;
mod outlet;
pub mod patience;
mod poller;
mod port;
mod report;
pub mod schedule;
mod session;
mod settings;
pub mod watch;

pub use bus::{Bus, BusHandle, BusStopped};
pub use errand::Rank;
pub use event::{DeviceState, FieldEvent};
pub use memory::{Memory, MemoryError};
pub use notebook::Notebook;
pub use session::{NotOpened, Session};
pub use settings::{
    Allowed, BusSettings, Change, ChecksumSettings, ComputedSettings, DeviceSettings, Encoding,
    Expected, Fingerprint, Formula, FormulaError, FrameEnd, FrameSettings, Function, Half, Hole,
    Identity, Level, LinePort, LineSettings, Marker, NamedTls, Operator, Order, Parity, Pattern,
    PatternError, Pick, PickFrom, Place, PointSettings, PortSettings, ReportSettings,
    Rs485Settings, SerialSettings, Sign, Sum, Table, TcpSettings, TimeLayout, UnitId, ValueType,
    Writable, Written,
};
pub use watch::Onlooker;
