//! A netlink socket of the routing family: questions, and changes that the kernel
//! acknowledges. Blocking, with a time limit; nothing here knows what a message means.

use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tidelock_model::error::Fault;

use super::fault;

/// The kernel answers at once; this ends a wait for one that does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// A dump that the kernel says was disturbed is asked for again, so often.
const DUMPS: usize = 8;
/// Room for answers: a dump comes in parts of 32 KiB at most.
const BUFFER: usize = 1 << 20;
/// The attribute of an error that holds the kernel's sentence.
const ERROR_TEXT: u16 = 1;

/// The socket.
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    /// Opens one in the namespace of this thread.
    pub(super) fn open() -> Result<Self, Fault> {
        let failed = |error: std::io::Error| fault("io", format!("cannot speak netlink with the kernel: {error}"));
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        socket.set_rx_buf_sz(BUFFER).map_err(failed)?;
        // Sentences instead of numbers alone; answers without the question.
        socket.set_ext_ack(true).map_err(failed)?;
        socket.set_cap_ack(true).map_err(failed)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Everything of a sort.
    pub(super) fn dump(&mut self, question: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Fault> {
        for _ in 0..DUMPS {
            let sequence = self.send(question.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if let Some(answers) = self.collect(sequence)? {
                return Ok(answers);
            }
        }
        Err(fault("busy", "the network changes too fast to be looked at").retryable())
    }

    /// The one answer to a question; `None` where the kernel says that there is none.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage) -> Result<Option<RouteNetlinkMessage>, Fault> {
        let sequence = self.send(question, NLM_F_REQUEST)?;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => return Ok(Some(inner)),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(None),
                    _ => {}
                }
            }
        }
    }

    /// A change, once the kernel says that it is done. `flags` beside the usual ones.
    ///
    /// # Errors
    /// What the kernel said: the number, and its sentence where it has one.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refused> {
        let sent = self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags);
        let sequence = sent.map_err(Refused::Fault)?;
        loop {
            for message in self.receive().map_err(Refused::Fault)? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                if let NetlinkPayload::Error(error) = message.payload {
                    return match error.code {
                        None => Ok(()),
                        Some(code) => {
                            Err(Refused::Kernel(Errno::from_raw_os_error(code.get().abs()), sentence(&error.header)))
                        }
                    };
                }
            }
        }
    }

    /// The answers to a dump; `None` where it was disturbed.
    fn collect(&mut self, sequence: u32) -> Result<Option<Vec<RouteNetlinkMessage>>, Fault> {
        let mut answers = Vec::new();
        let mut disturbed = false;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                disturbed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Done(_) => return Ok((!disturbed).then_some(answers)),
                    NetlinkPayload::Error(error) => {
                        return Err(fault("io", format!("the kernel does not show its network: {}", error.to_io())));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<u32, Fault> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        let sent = self.socket.send(&bytes, 0);
        sent.map_err(|error| fault("io", format!("cannot ask the kernel about its network: {error}")))?;
        Ok(self.sequence)
    }

    fn receive(&mut self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, Fault> {
        let mut waiting = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = rustix::time::Timespec::try_from(PATIENCE).ok();
        match poll(&mut waiting, patience.as_ref()) {
            Ok(0) => return Err(fault("timeout", "the kernel does not answer about its network").retryable()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(fault("io", format!("cannot wait for the kernel: {errno}"))),
        }
        let received = self.socket.recv_from_full();
        let (bytes, _) = received.map_err(|error| fault("io", format!("the kernel does not answer: {error}")))?;
        let mut rest = &bytes[..];
        let mut messages = Vec::new();
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if length < 16 || length > rest.len() {
                break;
            }
            // A message that cannot be read would be a hole in what was seen.
            let message = NetlinkMessage::deserialize(&rest[..length])
                .map_err(|error| fault("io", format!("the kernel says what cannot be read: {error}")))?;
            messages.push(message);
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}

/// Why a change was not made.
pub(super) enum Refused {
    /// The kernel's answer.
    Kernel(Errno, Option<String>),
    /// It could not be asked.
    Fault(Fault),
}

impl Refused {
    /// The fault of a change that was `doing` something.
    pub(super) fn while_doing(self, doing: &str) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Kernel(errno, sentence) => {
                let code = match errno {
                    Errno::PERM | Errno::ACCESS => "permission",
                    Errno::EXIST => "exists",
                    Errno::NODEV | Errno::NOENT | Errno::SRCH => "not-found",
                    Errno::OPNOTSUPP => "unsupported",
                    _ => "kernel",
                };
                let said = sentence.map(|text| format!("; the kernel says: {text}")).unwrap_or_default();
                let message = std::io::Error::from(errno).to_string();
                let why = message.split(" (os error").next().unwrap_or(&message);
                fault(code, format!("cannot {doing}: {why}{said}"))
            }
        }
    }
}

/// The kernel's sentence, from what follows an error's number: the header of the question,
/// then attributes.
fn sentence(rest: &[u8]) -> Option<String> {
    let mut attributes = rest.get(16..)?;
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if length < 4 {
            return None;
        }
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & 0x3fff == ERROR_TEXT {
            let text = String::from_utf8_lossy(value);
            return Some(tidelock_model::error::tame(text.trim_end_matches('\0'), 300));
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_sentence_is_found_behind_other_attributes() {
        let mut bytes = vec![0; 16];
        bytes.extend([8, 0, 2, 0, 1, 2, 3, 4]);
        bytes.extend([8, 0, 1, 0, b'n', b'o', 0, 0]);
        assert_eq!(sentence(&bytes).as_deref(), Some("no"));
        assert_eq!(sentence(&bytes[..20]), None);
        assert_eq!(sentence(&[0; 20]), None);
    }
}
