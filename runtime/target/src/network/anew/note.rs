//! What stands on a link that is made anew, as a file: from before the link is removed until all of that is
//! back. One that stands and that nobody holds is of a process that was killed.
//!
//! `FOLDER/LINK`: a folder for each target. It is of this start of the system alone, since all that it tells of ends with that.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use serde::{Deserialize, Serialize};
use tidelock_model::error::Fault;
use tidelock_model::network::{Link, Sysctl};

use super::Stood;
use crate::network::fault;
use crate::network::guard::whole;

/// The notes of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Notes {
    folder: PathBuf,
}

/// One that this process holds.
#[derive(Debug)]
pub(in crate::network) struct Note {
    path: PathBuf,
    _held: File,
}

impl Note {
    /// All of it is back.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(in crate::network) fn done(self) -> Result<(), Fault> {
        fs::remove_file(&self.path).map_err(|error| failed("remove", &self.path, &error))
    }
}

impl Notes {
    /// Those in a folder of their own, which need not be there.
    pub(in crate::network) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes down what stands on a link.
    ///
    /// # Errors
    /// It cannot be written.
    pub(in crate::network) fn write(&self, stood: &Stood) -> Result<Note, Fault> {
        let path = self.path(&stood.link.name)?;
        let io = |error: io::Error| failed("write", &path, &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io)?;
        let written = Written { start: start().map_err(io)?, stood: Record::from(stood) };
        let held = serde_json::to_vec(&written).map_err(io::Error::from).and_then(|bytes| whole(&path, &bytes));
        Ok(Note { _held: held.map_err(io)?, path })
    }

    /// What stood on a link that somebody was about to make anew who is gone.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::network) fn left(&self, link: &str) -> Result<Option<(Stood, Note)>, Fault> {
        let path = self.path(link)?;
        let io = |error: io::Error| failed("read", &path, &error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if file.try_lock().is_err() {
            return Ok(None);
        }
        let written: Written =
            serde_json::from_slice(&fs::read(&path).map_err(io)?).map_err(|error| io(error.into()))?;
        let note = Note { _held: file, path: path.clone() };
        if written.start != start().map_err(io)? {
            return note.done().map(|()| None);
        }
        Ok(Some((Stood::from(written.stood), note)))
    }

    /// The file of a link. What the kernel would take for no name leads nowhere else.
    fn path(&self, link: &str) -> Result<PathBuf, Fault> {
        if link.is_empty() || link.contains('/') || matches!(link, "." | "..") {
            return Err(fault("invalid", format!("{link:?} cannot be the name of a link")).at("/name"));
        }
        Ok(self.folder.join(link))
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Fault {
    fault("io", format!("cannot {doing} {}, which tells what stands on a link: {error}", path.display()))
}

/// Which start of the system this is.
fn start() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

#[derive(Serialize, Deserialize)]
struct Written {
    start: String,
    stood: Record,
}

/// [`Stood`], with addresses and routes as the kernel's own messages in bytes.
#[derive(Serialize, Deserialize)]
struct Record {
    link: Link,
    number: u32,
    settings: Vec<Sysctl>,
    /// Its options, its addresses, its routes.
    messages: Vec<Vec<u8>>,
    above: Vec<Record>,
}

impl From<&Stood> for Record {
    fn from(stood: &Stood) -> Self {
        let options = std::iter::once(RouteNetlinkMessage::NewLink(stood.options.clone()));
        let addresses = stood.addresses.iter().cloned().map(RouteNetlinkMessage::NewAddress);
        let routes = stood.routes.iter().cloned().map(RouteNetlinkMessage::NewRoute);
        let bytes = |message: RouteNetlinkMessage| {
            let mut message = NetlinkMessage::from(message);
            message.finalize();
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            bytes
        };
        Self {
            link: stood.link.clone(),
            number: stood.number,
            settings: stood.settings.clone(),
            messages: options.chain(addresses).chain(routes).map(bytes).collect(),
            above: stood.above.iter().map(Self::from).collect(),
        }
    }
}

impl From<Record> for Stood {
    fn from(record: Record) -> Self {
        let mut stood = Self {
            link: record.link,
            number: record.number,
            options: LinkMessage::default(),
            settings: record.settings,
            addresses: vec![],
            routes: vec![],
            above: record.above.into_iter().map(Self::from).collect(),
        };
        for bytes in record.messages {
            match NetlinkMessage::deserialize(&bytes).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address))) => {
                    stood.addresses.push(address);
                }
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route))) => stood.routes.push(route),
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(options))) => stood.options = options,
                // What this process wrote it can read; another version's is not worth stopping for.
                _ => {}
            }
        }
        stood
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::address::{AddressAttribute, AddressMessage};
    use netlink_packet_route::link::{InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo};
    use netlink_packet_route::route::{RouteAttribute, RouteMessage};

    use super::*;

    fn stood(name: &str, above: Vec<Stood>) -> Stood {
        let mut address = AddressMessage::default();
        address.header.index = 7;
        address.attributes = vec![AddressAttribute::Local("10.0.0.1".parse().unwrap())];
        let mut route = RouteMessage::default();
        route.attributes = vec![RouteAttribute::Oif(7), RouteAttribute::Priority(5)];
        let settings = vec![Sysctl { name: "net.ipv4.conf.a.rp_filter".into(), value: "2".into() }];
        let link = Link { name: name.into(), mtu: Some(1400), ..Link::default() };
        let mut options = LinkMessage::default();
        options.attributes = vec![
            LinkAttribute::Group(3),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
            ]),
        ];
        Stood { link, number: 7, options, settings, addresses: vec![address], routes: vec![route], above }
    }

    #[test]
    fn what_is_written_down_is_read_by_whoever_comes_after_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::new(dir.path().join("anew/router"));
        let (one, again) = (stood("a", vec![stood("b", vec![])]), stood("a", vec![stood("b", vec![])]));
        assert!(notes.left("a").unwrap().is_none());
        let held = notes.write(&one).unwrap();
        assert!(notes.left("a").unwrap().is_none(), "somebody is at it");
        drop(held);
        let (left, note) = notes.left("a").unwrap().unwrap();
        assert_eq!(left, again);
        note.done().unwrap();
        assert!(notes.left("a").unwrap().is_none());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "{}").unwrap();
        let notes = Notes::new(dir.path().join("router"));
        for name in ["../secret", "..", ".", "", "/etc/passwd"] {
            assert_eq!(notes.left(name).unwrap_err().code, "invalid", "{name}");
        }
    }

    #[test]
    fn what_was_before_the_system_started_anew_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::new(dir.path().to_owned());
        drop(notes.write(&stood("a", vec![])).unwrap());
        let path = dir.path().join("a");
        let text = fs::read_to_string(&path).unwrap().replace(&start().unwrap(), "another");
        fs::write(&path, text).unwrap();
        assert!(notes.left("a").unwrap().is_none());
        assert!(!path.exists());
    }
}
