//! The host as a guest reaches it: each method calls one import, so that an unused
//! method leaves no import behind.

use std::marker::PhantomData;

use super::bindings::provider::tidelock::log::log as wit_log;
use super::bindings::provider::tidelock::machine::{propose, read};
use super::bindings::provider::tidelock::types::types;
use super::bindings::renderer::tidelock::renderer::{inputs, output};
use super::bindings::renderer::tidelock::tree::tree;
pub(crate) use super::sql::{SqlConnection, SqlRows};
use crate::effect::{self, AfterCrash, Attributes, Common};
use crate::error::{Blame, Error};
use crate::log::Level;
use crate::machine::{Ended, Entry, EntryKind, Looked};
use crate::renderer::Rendered;
use crate::tree::TreeEntry;

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => wit_log::Level::Debug,
        Level::Info => wit_log::Level::Info,
        Level::Warn => wit_log::Level::Warn,
        Level::Error => wit_log::Level::Error,
    };
    wit_log::log(level, message);
}

pub(super) fn error_in(error: types::Error) -> Error {
    Error {
        code: error.code,
        message: error.message,
        field: error.field,
        retryable: error.retryable,
        blame: match error.blame {
            types::Blame::Plugin => Blame::Plugin,
            types::Blame::Host => Blame::Host,
            types::Blame::Target => Blame::Target,
        },
    }
}

pub(super) fn error_out(error: Error) -> types::Error {
    types::Error {
        code: error.code,
        message: error.message,
        field: error.field,
        retryable: error.retryable,
        blame: match error.blame {
            Blame::Plugin => types::Blame::Plugin,
            Blame::Host => types::Blame::Host,
            Blame::Target => types::Blame::Target,
        },
        extras: Vec::new(),
    }
}

#[derive(Clone, Copy)]
pub(crate) struct MachinePort<'h>(pub(super) PhantomData<&'h ()>);

impl MachinePort<'_> {
    pub(crate) fn stat(self, paths: &[String], digest: bool) -> Result<Vec<Looked>, Error> {
        let looked = read::stat(paths, digest).map_err(error_in)?;
        Ok(looked.into_iter().map(looked_in).collect())
    }

    pub(crate) fn list(self, path: &str) -> Result<Option<Vec<String>>, Error> {
        read::list(path).map_err(error_in)
    }

    pub(crate) fn content(self, path: &str, max: u32) -> Result<Option<Vec<u8>>, Error> {
        read::content(path, max).map_err(error_in)
    }

    pub(crate) fn user(self, name: &str) -> Result<Option<String>, Error> {
        read::user(name).map_err(error_in)
    }

    pub(crate) fn group(self, name: &str) -> Result<Option<String>, Error> {
        read::group(name).map_err(error_in)
    }

    pub(crate) fn probe(self, argv: &[String], timeout_ms: u32) -> Result<Ended, Error> {
        let ended = read::probe(argv, timeout_ms).map_err(error_in)?;
        Ok(Ended { code: ended.code, stdout: ended.stdout, stderr: ended.stderr })
    }
}

fn looked_in(looked: read::Looked) -> Looked {
    match looked {
        read::Looked::Found(entry) => Looked::Found(Entry {
            kind: match entry.kind {
                read::Kind::File => EntryKind::File,
                read::Kind::Directory => EntryKind::Directory,
                read::Kind::Symlink => EntryKind::Symlink,
                read::Kind::Other => EntryKind::Other,
            },
            size: entry.size,
            mode: entry.mode,
            owner: entry.owner,
            group: entry.group,
            digest: entry.digest,
            link_target: entry.link_target,
            seen: entry.seen,
        }),
        read::Looked::Absent(seen) => Looked::Absent(seen),
        read::Looked::Failed(error) => Looked::Failed(error_in(error)),
    }
}

#[derive(Clone, Copy)]
pub struct ProposePort<'h>(pub(super) PhantomData<&'h ()>);

impl ProposePort<'_> {
    pub(crate) fn put_file(self, common: Common, file: effect::PutFile) -> Result<(), Error> {
        let file = propose::File {
            path: file.path,
            content: file.content,
            attributes: attributes_out(file.attributes),
            parents: file.parents,
            backup: file.backup,
            validate: file.validate,
        };
        propose::put_file(&common_out(common), &file).map_err(error_in)
    }

    pub(crate) fn put_text(self, common: Common, put: effect::PutText) -> Result<(), Error> {
        propose::put_text(&common_out(common), &put.path, &put.text).map_err(error_in)
    }

    pub(crate) fn set_attributes(self, common: Common, set: effect::SetAttributes) -> Result<(), Error> {
        propose::set_attributes(&common_out(common), &set.path, &attributes_out(set.attributes)).map_err(error_in)
    }

    pub(crate) fn make_directory(self, common: Common, made: effect::MakeDirectory) -> Result<(), Error> {
        propose::make_directory(&common_out(common), &made.path, &attributes_out(made.attributes), made.parents)
            .map_err(error_in)
    }

    pub(crate) fn link(self, common: Common, link: effect::Link) -> Result<(), Error> {
        propose::link(&common_out(common), &link.path, &link.to).map_err(error_in)
    }

    pub(crate) fn remove(self, common: Common, remove: effect::Remove) -> Result<(), Error> {
        propose::remove(&common_out(common), &remove.path, remove.tree).map_err(error_in)
    }

    pub(crate) fn exec(self, common: Common, exec: effect::Exec) -> Result<(), Error> {
        let command = propose::Command { argv: exec.argv, cwd: exec.cwd, env: exec.env, timeout_ms: exec.timeout_ms };
        propose::exec(&common_out(common), &command).map_err(error_in)
    }
}

fn common_out(common: Common) -> propose::Common {
    propose::Common {
        change: common.change,
        precondition: common.precondition,
        together: common.together,
        after_crash: match common.after_crash {
            AfterCrash::Observe => propose::AfterCrash::Observe,
            AfterCrash::Repeat => propose::AfterCrash::Repeat,
            AfterCrash::Ask => propose::AfterCrash::Ask,
        },
        extras: Vec::new(),
    }
}

fn attributes_out(attributes: Attributes) -> propose::Attributes {
    propose::Attributes { mode: attributes.mode, owner: attributes.owner, group: attributes.group }
}

#[derive(Clone)]
pub(crate) struct RenderPort;

impl RenderPort {
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        tree::read(path).map_err(error_in)
    }

    pub(crate) fn list(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, Error> {
        let entries = tree::list(path).map_err(error_in)?;
        let each = |entry: tree::Entry| TreeEntry {
            directory: matches!(entry.kind, tree::Kind::Directory),
            name: entry.name,
            size: entry.size,
        };
        Ok(entries.map(|entries| entries.into_iter().map(each).collect()))
    }

    pub(crate) fn glob(&self, pattern: &str) -> Result<Vec<String>, Error> {
        tree::glob(pattern).map_err(error_in)
    }

    pub(crate) fn settings(&self) -> String {
        inputs::settings()
    }

    pub(crate) fn values(&self, pointer: &str) -> Option<String> {
        inputs::values(pointer)
    }

    pub(crate) fn target(&self) -> String {
        inputs::target()
    }

    pub(crate) fn label(&self, name: &str) -> Option<String> {
        inputs::label(name)
    }

    pub(crate) fn fact(&self, name: &str) -> Option<String> {
        inputs::fact(name)
    }

    pub(crate) fn emit(&self, page: Vec<Rendered>) -> Result<(), Error> {
        let page: Vec<output::Rendered> = page
            .into_iter()
            .map(|rendered| output::Rendered {
                document: rendered.document,
                place: super::renderer::place_out(rendered.place),
            })
            .collect();
        output::emit(&page).map_err(error_in)
    }
}
