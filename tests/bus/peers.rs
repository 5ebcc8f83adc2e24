//! Against the server of another project: all four reads, over RTU and TCP.

use std::future;
use std::sync::Arc;

use fieldpost::field::Table;
use tokio::net::TcpListener;
use tokio_modbus::prelude::*;
use tokio_modbus::server::{self, tcp::accept_tcp_connection};
use tokio_serial::{SerialPort, SerialStream};

use super::stage::{bit, device, register, run, serial_bus, tcp_bus};

const POINTS: [&str; 12] =
    ["h1", "h2", "h200", "i1", "i5", "i131", "c0", "c9", "c99", "d3", "d4", "d300"];

struct Device;

impl server::Service for Device {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = future::Ready<Result<Response, ExceptionCode>>;

    #[allow(clippy::wildcard_enum_match_arm, reason = "everything but a read is refused")]
    fn call(&self, request: Self::Request) -> Self::Future {
        let unit = request.slave;
        let words = |table, from: u16, count| {
            (from..from + count).map(|address| register(unit, table, address)).collect()
        };
        let bits =
            |table, from: u16, count| (from..from + count).map(|at| bit(unit, table, at)).collect();
        future::ready(match request.request {
            Request::ReadCoils(from, count) => {
                Ok(Response::ReadCoils(bits(Table::Coil, from, count)))
            }
            Request::ReadDiscreteInputs(from, count) => {
                Ok(Response::ReadDiscreteInputs(bits(Table::DiscreteInput, from, count)))
            }
            Request::ReadHoldingRegisters(from, count) => {
                Ok(Response::ReadHoldingRegisters(words(Table::Holding, from, count)))
            }
            Request::ReadInputRegisters(from, count) => {
                Ok(Response::ReadInputRegisters(words(Table::Input, from, count)))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

fn names(unit: u8) -> Vec<String> {
    POINTS.iter().map(|point| format!("{unit}/{point}")).collect()
}

#[tokio::test]
async fn all_four_reads_agree_with_a_tokio_modbus_server_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let server = tokio::spawn(async move {
        let service = Arc::new(Device);
        let connected = |stream, address| {
            let service = Arc::clone(&service);
            async move { accept_tcp_connection(stream, address, |_| Ok(Some(Arc::clone(&service)))) }
        };
        server::tcp::Server::new(listener).serve(&connected, |_| {}).await
    });
    let mut bus = run(tcp_bus(port), vec![device(1, 20, &POINTS), device(17, 20, &POINTS)]);
    let names: Vec<String> = [names(1), names(17)].concat();
    bus.good(&names.iter().map(String::as_str).collect::<Vec<_>>(), 3).await;
    bus.stop().await;
    server.abort();
}

#[tokio::test]
async fn all_four_reads_agree_with_a_tokio_modbus_server_over_rtu() {
    let (master, slave) = SerialStream::pair().expect("a pseudo terminal");
    let path = slave.name().expect("the slave has a name");
    let server = tokio::spawn(server::rtu::Server::new(master).serve_forever(Device));
    let mut bus = run(serial_bus(&path), vec![device(1, 50, &POINTS)]);
    let names = names(1);
    bus.good(&names.iter().map(String::as_str).collect::<Vec<_>>(), 3).await;
    bus.stop().await;
    server.abort();
    drop(slave);
}
