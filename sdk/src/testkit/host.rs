//! The host as a natively compiled plugin reaches it: the fakes of this kit.

use std::sync::Arc;

use super::machine;
use super::perform::{Body, Proposal};
pub(crate) use super::sql::{SqlConnection, SqlRows};
use super::tree;
use crate::effect::{self, Common};
use crate::error::Error;
use crate::log::Level;
use crate::machine::{Ended, Looked};
use crate::renderer::Rendered;
use crate::tree::TreeEntry;

/// Lines go nowhere: a test looks at what a plugin answers.
pub(crate) fn log(_level: Level, _message: &str) {}

#[derive(Clone, Copy)]
pub(crate) struct MachinePort<'h>(pub(super) &'h machine::Machine);

impl MachinePort<'_> {
    pub(crate) fn stat(self, paths: &[String], digest: bool) -> Result<Vec<Looked>, Error> {
        self.0.stat(paths, digest)
    }

    pub(crate) fn list(self, path: &str) -> Result<Option<Vec<String>>, Error> {
        self.0.list(path)
    }

    pub(crate) fn content(self, path: &str, max: u32) -> Result<Option<Vec<u8>>, Error> {
        self.0.content(path, max)
    }

    pub(crate) fn user(self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.0.user(name))
    }

    pub(crate) fn group(self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.0.group(name))
    }

    pub(crate) fn probe(self, argv: &[String], _timeout_ms: u32) -> Result<Ended, Error> {
        self.0.probe(argv)
    }
}

#[derive(Clone, Copy)]
pub struct ProposePort<'h>(pub(super) &'h machine::Machine);

macro_rules! record {
    ($($call:ident: $body:ident),*) => {
        impl ProposePort<'_> {$(
            pub(crate) fn $call(self, common: Common, body: effect::$body) -> Result<(), Error> {
                self.0.propose(Proposal { common, body: Body::$body(body) })
            }
        )*}
    };
}
record!(
    put_file: PutFile,
    put_text: PutText,
    set_attributes: SetAttributes,
    make_directory: MakeDirectory,
    link: Link,
    remove: Remove,
    exec: Exec
);

#[derive(Clone)]
pub(crate) struct RenderPort(pub(super) Arc<tree::Session>);

impl RenderPort {
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.read(path))
    }

    pub(crate) fn list(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, Error> {
        Ok(self.0.list(path))
    }

    pub(crate) fn glob(&self, pattern: &str) -> Result<Vec<String>, Error> {
        self.0.glob(pattern)
    }

    pub(crate) fn settings(&self) -> String {
        self.0.settings_text()
    }

    pub(crate) fn values(&self, pointer: &str) -> Option<String> {
        self.0.values_text(pointer)
    }

    pub(crate) fn target(&self) -> String {
        self.0.target_name()
    }

    pub(crate) fn label(&self, name: &str) -> Option<String> {
        self.0.label_value(name)
    }

    pub(crate) fn fact(&self, name: &str) -> Option<String> {
        self.0.fact_text(name)
    }

    pub(crate) fn emit(&self, page: Vec<Rendered>) -> Result<(), Error> {
        self.0.emit(page);
        Ok(())
    }
}
