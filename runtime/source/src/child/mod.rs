//! What the fetch child runs: one fetch, or one rebuild of a cache, within limits that it
//! sets on itself first.
//!
//! It is a process of its own because a server can stall, drip or bomb a fetch in ways
//! that no flag inside the process ends; a kill does. It writes to the cache alone.

mod faults;
mod http;
mod limits;
mod rebuild;
mod ssh;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use gix::bstr::ByteSlice as _;
use gix::progress::Discard;
use gix::remote::{Connection, Direction, fetch::Tags};
use gix_transport::client::blocking_io::Transport;
use tidelock_model::port::SourceError;

use crate::fault::{chain, corrupt};
use crate::repository::{self, private_ref};
use crate::wire::{Answer, Job, Request};

/// The longest request, in bytes: certificates and a token fit with room to spare.
const MAX_REQUEST: u64 = 8 << 20;

/// Runs the child: one JSON request from `stdin`, one JSON answer to `stdout`. Exits
/// with success whenever an answer was written, be it a refusal. With `args`, the process
/// becomes the SSH client that the child has asked itself for.
pub fn fetch_child(args: &[OsString], stdin: impl Read, mut stdout: impl Write) -> ExitCode {
    if !args.is_empty() {
        return ssh::become_client(args);
    }
    let mut text = String::new();
    let job: Job = match stdin.take(MAX_REQUEST).read_to_string(&mut text).map(|_| serde_json::from_str(&text)) {
        Ok(Ok(job)) => job,
        // Started by a person, most likely: this subcommand is not for them.
        _ => return ExitCode::from(64),
    };
    let answer = match &job {
        Job::Fetch(request) => {
            limits::confine(request.memory, request.file_size, request.timeout).and_then(|()| fetch(request))
        }
        Job::Rebuild(rebuild) => {
            limits::confine(rebuild.memory, rebuild.file_size, rebuild.timeout).and_then(|()| rebuild::rebuild(rebuild))
        }
    };
    let answer = answer.unwrap_or_else(Answer::from);
    let written = serde_json::to_writer(&mut stdout, &answer).is_ok() && stdout.flush().is_ok();
    if written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fetch(request: &Request) -> Result<Answer, SourceError> {
    let repo = repository::open_or_make_bare(&request.dir, request.object)?;
    let all = request.names.iter().chain(request.also.iter().filter(|name| !request.names.contains(name)));
    let specs: Vec<String> = all.map(|name| format!("+{name}:{}", private_ref(name))).collect();
    let invalid = |error: gix::Error| SourceError::new("invalid", format!("{}: {}", request.url, chain(&error)));
    // A path on an SSH server may be what no URL can hold; the client is told it by itself.
    let address = if request.ssh.is_some() { "ssh://ssh.invalid/repository" } else { request.url.as_str() };
    let remote = repo
        .remote_at(address)
        .map_err(invalid)?
        .with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)
        .map_err(invalid)?
        .with_fetch_tags(Tags::None);

    if let Some(ssh) = &request.ssh {
        let (transport, client) = ssh::connect(request, ssh)?;
        return receive(&repo, request, remote.to_connection_with_transport(transport)).map_err(|failure| {
            // Our own limits are told as what they are, whatever the client says of its end.
            let broke_off = matches!(failure.code.as_str(), "unreachable" | "corrupt" | "auth");
            broke_off.then(|| client.explain(request, ssh)).flatten().unwrap_or(failure)
        });
    }
    let mut connection = remote.connect(Direction::Fetch).map_err(|error| faults::unreachable(request, &error))?;
    if !request.url.starts_with("git://") {
        connection.set_transport_options(http::transport(&repo, request)?);
    }
    receive(&repo, request, connection)
}

/// Asks for the refs once, and for a pack where there is something new.
fn receive<T: Transport>(
    repo: &gix::Repository,
    request: &Request,
    mut connection: Connection<'_, '_, '_, T>,
) -> Result<Answer, SourceError> {
    // Without this gix would ask credential helpers, and a person.
    connection.set_credentials(|_| Ok(None));
    let prepared = connection
        .prepare_fetch(Discard, gix::remote::ref_map::Options::default())
        .map_err(|error| faults::unreachable(request, &error))?;

    let found = prepared.ref_map().mappings.iter().filter_map(|mapping| {
        let id = mapping.remote.as_id()?.to_owned();
        let name = mapping.remote.as_name().map_or_else(|| id.to_string(), |name| name.to_str_lossy().into_owned());
        Some((request.names.iter().position(|wanted| *wanted == name)?, name, id))
    });
    let Some((_, name, id)) = found.min_by_key(|(rank, ..)| *rank) else {
        return Err(faults::ref_gone(request));
    };
    let outcome =
        prepared.receive(Discard, &AtomicBool::new(false)).map_err(|error| faults::not_received(request, &error))?;
    let received = matches!(outcome.status, gix::remote::fetch::Status::Change { .. });
    // A server may send a pack without the object that it promised.
    if !repo.has_object(id) {
        return Err(corrupt(format!("{} sent no object {id} for {name}", request.url)));
    }
    Ok(Answer::Fetched { name, id: id.to_string(), received })
}
