//! The stage: scripted devices, a running bus, and the check that no value is ever wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fieldpost::field::modbus::receiver::Wrap;
use fieldpost::field::modbus::{ascii, mbap, rtu};
use fieldpost::field::{
    Allowed, Bus, BusSettings, DeviceSettings, FieldEvent, Parity, Place, PointSettings,
    PortSettings, SerialSettings, Table, TcpSettings, UnitId, ValueType,
};
use fieldpost::model::{Quality, Reading, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_serial::{SerialPort, SerialStream};

/// Far beyond what anything here takes.
pub(crate) const OUTER: Duration = Duration::from_secs(40);
pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);

/// A read as a device sees it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Counted from 0 over all units.
    pub(crate) number: usize,
    pub(crate) transaction: u16,
    pub(crate) unit: u8,
    pub(crate) function: u8,
    pub(crate) address: u16,
    pub(crate) count: u16,
    /// The bytes on the wire.
    pub(crate) frame: Vec<u8>,
    pub(crate) framing: Framing,
}

/// How a scripted device wraps what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Wrapped(Wrap),
    Mbap,
}

impl Framing {
    /// Characters a request of a read takes.
    fn request_len(self) -> usize {
        match self {
            Self::Wrapped(wrap) => wrap.frame_len(5),
            Self::Mbap => 12,
        }
    }

    /// The transaction id, the unit and the PDU of a sound request.
    fn unwrap(self, frame: &[u8]) -> Option<(u16, Vec<u8>)> {
        match self {
            Self::Mbap => Some((u16::from_be_bytes([frame[0], frame[1]]), frame[6..].to_vec())),
            Self::Wrapped(Wrap::Rtu) => {
                let (adu, crc) = frame.split_at(6);
                (rtu::crc(adu).to_le_bytes() == crc).then(|| (0, adu.to_vec()))
            }
            Self::Wrapped(Wrap::Ascii) => {
                let text =
                    std::str::from_utf8(frame).ok()?.strip_prefix(':')?.strip_suffix("\r\n")?;
                let digits = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
                let bytes = digits.map(|pair| u8::from_str_radix(pair?, 16).ok());
                let bytes = bytes.collect::<Option<Vec<u8>>>()?;
                let (lrc, adu) = bytes.split_last()?;
                (ascii::lrc(adu) == *lrc).then(|| (0, adu.to_vec()))
            }
        }
    }
}

/// What a device does.
#[derive(Clone)]
pub(crate) enum Act {
    Do(Arc<dyn Fn() + Send + Sync>),
    Send(Vec<u8>),
    /// Byte by byte at about 9600 baud.
    SendSlowly(Vec<u8>),
    Pause(Duration),
    Close,
}

pub(crate) type Script = Arc<dyn Fn(&Request) -> Vec<Act> + Send + Sync>;

pub(crate) fn script(acts: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) -> Script {
    Arc::new(acts)
}

pub(crate) fn register(unit: u8, table: Table, address: u16) -> u16 {
    u16::from(unit) * 1000 + address + if table == Table::Input { 500 } else { 0 }
}

pub(crate) fn bit(unit: u8, table: Table, address: u16) -> bool {
    let every = if table == Table::Coil { 3 } else { 2 };
    (address + u16::from(unit)).is_multiple_of(every)
}

impl Request {
    fn parse(framing: Framing, number: usize, transaction: u16, adu: &[u8], frame: &[u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([adu[at], adu[at + 1]]);
        let (unit, function, frame) = (adu[0], adu[1], frame.to_vec());
        let (address, count) = (word(2), word(4));
        Self { number, transaction, unit, function, address, count, frame, framing }
    }

    /// A request that came as a datagram.
    pub(crate) fn of_datagram(number: usize, frame: &[u8]) -> Self {
        let (transaction, adu) = Framing::Mbap.unwrap(frame).expect("a request");
        Self::parse(Framing::Mbap, number, transaction, &adu, frame)
    }

    pub(crate) fn table(&self) -> Table {
        match self.function {
            1 => Table::Coil,
            2 => Table::DiscreteInput,
            3 => Table::Holding,
            4 => Table::Input,
            other => panic!("function {other} is not a read"),
        }
    }

    /// The PDU of the right answer.
    pub(crate) fn right_pdu(&self) -> Vec<u8> {
        let (unit, table) = (self.unit, self.table());
        let addresses = self.address..self.address + self.count;
        let data: Vec<u8> = if self.function < 3 {
            let bits: Vec<bool> = addresses.map(|address| bit(unit, table, address)).collect();
            let byte =
                |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            bits.chunks(8).map(byte).collect()
        } else {
            addresses.flat_map(|address| register(unit, table, address).to_be_bytes()).collect()
        };
        let len = u8::try_from(data.len()).expect("a read brings 250 bytes at most");
        [vec![self.function, len], data].concat()
    }

    /// The right answer as a frame.
    pub(crate) fn right(&self) -> Vec<u8> {
        self.wrap(&self.right_pdu())
    }

    /// A frame of this unit that answers this request.
    pub(crate) fn wrap(&self, pdu: &[u8]) -> Vec<u8> {
        match self.framing {
            Framing::Wrapped(wrap) => wrap.encode(UnitId(self.unit), pdu),
            Framing::Mbap => mbap::encode(self.transaction, UnitId(self.unit), pdu),
        }
    }

    /// The right answer as a TCP frame.
    pub(crate) fn right_tcp(&self) -> Vec<u8> {
        mbap::encode(self.transaction, UnitId(self.unit), &self.right_pdu())
    }
}

/// Scripted devices on one line; stops when dropped. Each unit does one thing after the other.
pub(crate) struct Line {
    pub(crate) path: String,
    /// How many requests came.
    pub(crate) asked: Arc<AtomicUsize>,
    _slave: SerialStream,
    _tasks: JoinSet<()>,
}

pub(crate) fn line(script: Script) -> Line {
    line_of(Wrap::Rtu, script)
}

pub(crate) fn line_of(wrap: Wrap, script: Script) -> Line {
    let (master, slave) = SerialStream::pair().expect("a pseudo terminal");
    let path = slave.name().expect("the slave has a name");
    let asked = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    tasks.spawn(devices(master, script, Arc::clone(&asked), Framing::Wrapped(wrap)));
    Line { path, asked, _slave: slave, _tasks: tasks }
}

async fn devices<S>(stream: S, script: Script, asked: Arc<AtomicUsize>, framing: Framing)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, writer) = tokio::io::split(stream);
    let writer = Arc::new(Mutex::new(Some(writer)));
    let mut units: HashMap<u8, mpsc::UnboundedSender<Vec<Act>>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut bytes = Vec::new();
    loop {
        let len = framing.request_len();
        while bytes.len() >= len {
            let frame = bytes[..len].to_vec();
            let request = framing.unwrap(&frame);
            let Some((transaction, adu)) = request else {
                bytes.remove(0);
                continue;
            };
            bytes.drain(..len);
            let number = asked.fetch_add(1, Ordering::SeqCst);
            let request = Request::parse(framing, number, transaction, &adu, &frame);
            let unit = units.entry(request.unit).or_insert_with(|| {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Vec<Act>>();
                let writer = Arc::clone(&writer);
                tasks.spawn(async move {
                    while let Some(acts) = receiver.recv().await {
                        for act in acts {
                            perform(&writer, act).await;
                        }
                    }
                });
                sender
            });
            unit.send(script(&request)).expect("the unit lives as long as the line");
        }
        let mut chunk = [0; 256];
        match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

async fn perform<W: AsyncWrite + Unpin>(writer: &Mutex<Option<W>>, act: Act) {
    match act {
        Act::Do(act) => act(),
        Act::Pause(pause) => tokio::time::sleep(pause).await,
        Act::Send(bytes) => {
            if let Some(writer) = writer.lock().await.as_mut() {
                let _ = writer.write_all(&bytes).await;
            }
        }
        Act::SendSlowly(bytes) => {
            for byte in bytes {
                if let Some(writer) = writer.lock().await.as_mut() {
                    let _ = writer.write_all(&[byte]).await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Act::Close => {
            if let Some(mut writer) = writer.lock().await.take() {
                let _ = writer.shutdown().await;
            }
        }
    }
}

/// A scripted TCP device; stops when dropped.
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

pub(crate) async fn endpoint(script: Script) -> Endpoint {
    endpoint_of(Framing::Mbap, script).await
}

pub(crate) async fn endpoint_of(framing: Framing, script: Script) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    serve(framing, listener, script)
}

/// As [`endpoint`], on a port that is listened on already.
pub(crate) fn endpoint_on(listener: TcpListener, script: Script) -> Endpoint {
    serve(Framing::Mbap, listener, script)
}

fn serve(framing: Framing, listener: TcpListener, script: Script) -> Endpoint {
    let port = listener.local_addr().expect("it is bound").port();
    let (asked, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    let (count, open) = (Arc::clone(&asked), Arc::clone(&connections));
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.fetch_add(1, Ordering::SeqCst);
            connections.spawn(devices(stream, Arc::clone(&script), Arc::clone(&count), framing));
        }
    });
    Endpoint { port, asked, connections, _tasks: tasks }
}

pub(crate) fn serial_bus(path: &str) -> BusSettings {
    bus(PortSettings::Rtu(serial(path, 8)))
}

pub(crate) fn ascii_bus(path: &str) -> BusSettings {
    bus(PortSettings::Ascii(serial(path, 7)))
}

fn serial(path: &str, data_bits: u8) -> SerialSettings {
    let (path, parity) = (path.into(), Parity::None);
    SerialSettings { path, baud: 19_200, data_bits, parity, stop_bits: 1, rs485: None }
}

pub(crate) fn tcp_bus(port: u16) -> BusSettings {
    bus(PortSettings::Tcp(local(port)))
}

/// A port of this machine.
pub(crate) fn local(port: u16) -> TcpSettings {
    TcpSettings { host: "127.0.0.1".into(), port }
}

pub(crate) fn bus(port: PortSettings) -> BusSettings {
    BusSettings { name: "bus".into(), port, timeout: TIMEOUT, probe_share: 5, in_flight: 1 }
}

/// A point named after its place: `h10`, `i3`, `c4`, `d7`.
pub(crate) fn point(name: &str, every: Duration) -> PointSettings {
    let table = match &name[..1] {
        "h" => Table::Holding,
        "i" => Table::Input,
        "c" => Table::Coil,
        _ => Table::DiscreteInput,
    };
    let is_bit = matches!(table, Table::Coil | Table::DiscreteInput);
    let place = Place { table, address: name[1..].parse().expect("an address"), bit: None };
    let value_type = if is_bit { ValueType::Bool } else { ValueType::U16 };
    PointSettings::new(name.into(), place, value_type, every)
}

/// A device named after its unit id.
pub(crate) fn device(unit: u8, every_ms: u64, points: &[&str]) -> DeviceSettings {
    let every = Duration::from_millis(every_ms);
    DeviceSettings {
        name: unit.to_string().into(),
        bus: "bus".into(),
        unit: UnitId(unit),
        points: points.iter().map(|name| point(name, every)).collect(),
        computed: Vec::new(),
        allowed: Allowed::default(),
    }
}

/// A bus under way; what it says is checked as it is taken.
pub(crate) struct Running {
    events: mpsc::Receiver<FieldEvent>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(crate) fn run(bus: BusSettings, devices: Vec<DeviceSettings>) -> Running {
    run_with(bus, devices, 16)
}

pub(crate) fn run_with(bus: BusSettings, devices: Vec<DeviceSettings>, capacity: usize) -> Running {
    start(Bus::new(bus, devices), capacity)
}

pub(crate) fn start(bus: Bus, capacity: usize) -> Running {
    let (sender, events) = mpsc::channel(capacity);
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(bus.run(sender, stopped));
    Running { events, stop, task }
}

impl Running {
    pub(crate) async fn next(&mut self) -> FieldEvent {
        let event = tokio::time::timeout(OUTER, self.events.recv()).await;
        let event = event.expect("something happens in time").expect("the bus runs");
        if let FieldEvent::Readings(readings) = &event {
            readings.iter().for_each(check);
        }
        event
    }

    /// Takes events until one is what is looked for.
    pub(crate) async fn until<T>(&mut self, mut found: impl FnMut(&FieldEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = found(&self.next().await) {
                    return found;
                }
            }
        };
        tokio::time::timeout(OUTER, search).await.expect("it comes in time")
    }

    /// Takes readings until each of `points` (`device/point`) has come `count` times with good quality.
    pub(crate) async fn good(&mut self, points: &[&str], count: usize) -> Vec<Reading> {
        let mut left: HashMap<String, usize> =
            points.iter().map(|point| ((*point).to_owned(), count)).collect();
        let mut all = Vec::new();
        self.until(|event| {
            let FieldEvent::Readings(readings) = event else { return None };
            for reading in readings {
                all.push(reading.clone());
                if reading.quality == Quality::Good
                    && let Some(left) = left.get_mut(&reading.point.to_string())
                {
                    *left = left.saturating_sub(1);
                }
            }
            left.values().all(|left| *left == 0).then_some(())
        })
        .await;
        all
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).expect("the bus listens");
        drop(self.events);
        tokio::time::timeout(OUTER, self.task).await.expect("it stops").expect("without a panic");
    }

    /// Stops while nobody takes events.
    pub(crate) async fn stop_unheard(self) {
        self.stop.send(true).expect("the bus listens");
        tokio::time::timeout(OUTER, self.task).await.expect("it stops").expect("without a panic");
    }
}

/// A value that is published must be what stands at that address of that unit, also when it is an old one.
fn check(reading: &Reading) {
    let Some(value) = &reading.value else {
        assert_ne!(reading.quality, Quality::Good, "{reading:?}");
        return;
    };
    let unit: u8 = reading.point.device.parse().expect("devices are named after their unit");
    let place = point(&reading.point.point, TIMEOUT).place;
    let right = match place.table {
        Table::Coil | Table::DiscreteInput => Value::Bool(bit(unit, place.table, place.address)),
        Table::Holding | Table::Input => {
            Value::Int(register(unit, place.table, place.address).into())
        }
    };
    assert_eq!(*value, right, "a wrong value: {reading:?}");
}
