//! shell: many clients on plain sockets behind one event queue: reads and writes a lot at a time, and counts nothing itself.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this shell owns the sockets of a load and its patience"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::wire::{self, CONNACK, Frame, SUBACK};

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Sockets looked at in one turn.
const EVENTS_MAX: usize = 256;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// One client.
#[derive(Debug)]
struct Client {
    socket: TcpStream,
    /// The beginning of a packet whose end has not come.
    partial: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    waits_to_write: bool,
}

/// Connected clients, by their numbers from 0.
#[derive(Debug)]
pub(super) struct Clients {
    epoll: OwnedFd,
    clients: Vec<Client>,
    scratch: Vec<u8>,
    moved: Instant,
}

impl Clients {
    /// Nobody yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).context("no event queue")?,
            clients: Vec::new(),
            scratch: vec![0; READ_BYTES],
            moved: Instant::now(),
        })
    }

    /// Connects one more, says CONNECT for it and waits for the CONNACK; gives its number.
    pub(super) fn connect(&mut self, port: u16, name: &str, clean: bool) -> anyhow::Result<usize> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("client {name} cannot connect"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut output = Vec::new();
        wire::connect(&mut output, name, clean);
        socket.write_all(&output)?;
        let mut connack = [0; 4];
        socket
            .read_exact(&mut connack)
            .with_context(|| format!("client {name} gets no CONNACK"))?;
        if connack[0] >> 4 != CONNACK || connack[3] != 0 {
            bail!("client {name} is not let in: {connack:?}");
        }
        socket.set_nonblocking(true)?;
        let number = self.clients.len();
        let data = EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
        output.clear();
        let partial = Vec::new();
        self.clients.push(Client { socket, partial, output, written: 0, waits_to_write: false });
        Ok(number)
    }

    /// Says SUBSCRIBE for each and waits for every SUBACK. What is retained comes later.
    pub(super) fn subscribe(
        &mut self,
        subscriptions: &[(usize, String)],
        qos: u8,
    ) -> anyhow::Result<()> {
        for (number, filter) in subscriptions {
            wire::subscribe(self.output(*number), filter, qos);
            self.flush(*number)?;
        }
        let mut missing = subscriptions.len();
        while missing > 0 {
            self.turn(PATIENCE, |_, frame, _| {
                missing -= usize::from(frame.kind() == SUBACK);
            })?;
        }
        Ok(())
    }

    /// Where to put what a client says next; [`Self::flush`] sends it.
    pub(super) fn output(&mut self, number: usize) -> &mut Vec<u8> {
        &mut self.clients[number].output
    }

    /// Whether what a client said before still waits for its socket.
    pub(super) fn is_blocked(&self, number: usize) -> bool {
        self.clients[number].waits_to_write
    }

    /// Sends what a client has to say, as far as its socket takes it.
    pub(super) fn flush(&mut self, number: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[number];
        client.write()?;
        let waits = !client.output.is_empty();
        if waits != client.waits_to_write {
            client.waits_to_write = waits;
            let data = EventData::new_u64(number as u64);
            let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&self.epoll, &client.socket, data, flags)?;
        }
        Ok(())
    }

    /// Waits until something has come, or `wait` is over, and calls `take` for each packet with the client's number and
    /// where to put its answer. Answers are sent.
    ///
    /// # Errors
    /// A connection is gone, or nothing has come for long.
    pub(super) fn turn(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(usize, Frame<'_>, &mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        let timeout = wait.min(PATIENCE).try_into().context("a short time")?;
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
        {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(cause).context("the event queue fails"),
        }
        if events.is_empty() {
            if !wait.is_zero() && self.moved.elapsed() > PATIENCE {
                bail!("the broker says nothing for {} s", PATIENCE.as_secs());
            }
            return Ok(());
        }
        self.moved = Instant::now();
        for event in events {
            let flags = event.flags;
            let number = usize::try_from(event.data.u64()).unwrap_or(0);
            if flags != EventFlags::OUT {
                self.clients[number]
                    .read(&mut self.scratch, |frame, out| take(number, frame, out))?;
            }
            if !self.clients[number].output.is_empty() {
                self.flush(number)?;
            }
        }
        Ok(())
    }

    /// Says DISCONNECT for everybody and closes.
    pub(super) fn goodbye(mut self) {
        for client in &mut self.clients {
            wire::disconnect(&mut client.output);
            // Whoever is gone already needs no farewell.
            let _ = client.write();
        }
    }
}

impl Client {
    fn read(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(Frame<'_>, &mut Vec<u8>),
    ) -> anyhow::Result<()> {
        // What is left from before goes in front of what comes.
        let left = self.partial.len();
        let (front, room) = scratch.split_at_mut(left);
        front.copy_from_slice(&self.partial);
        let count = match self.socket.read(room) {
            Ok(0) => bail!("the broker closed a connection"),
            Ok(count) => count,
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(cause) => return Err(cause).context("a connection broke"),
        };
        let mut bytes = &scratch[..left + count];
        while let Some(frame) = Frame::take(&mut bytes) {
            take(frame, &mut self.output);
        }
        self.partial.clear();
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(cause) => return Err(cause).context("a connection broke"),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}
