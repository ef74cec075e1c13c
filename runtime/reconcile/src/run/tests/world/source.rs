//! A repository of texts, in which each state that is fetched is a commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use tidelock_model::digest::Digest;
use tidelock_model::port::{Fetched, Source, SourceError, Tree, TreeEntry, Want};
use tidelock_model::revision::{Revision, Signature};

use super::name;

pub(in crate::run::tests) type Files = BTreeMap<String, String>;

/// Each state of the files that was fetched is a commit on top of the one before.
pub(super) struct FakeSource {
    pub(super) files: Arc<Mutex<Files>>,
    pub(super) history: Arc<Mutex<Vec<(String, Files)>>>,
}

#[async_trait]
impl Source for FakeSource {
    async fn fetch_with(&self, want: &Want, _: Option<&Revision>, _: &[String]) -> Result<Fetched, SourceError> {
        let mut files = self.files.lock().unwrap().clone();
        let mut history = self.history.lock().unwrap();
        if let Want::Rev(rev) = want {
            let known = history.iter().find(|(id, _)| id == rev);
            files = known.ok_or_else(|| SourceError::new("ref-gone", format!("no {rev}")))?.1.clone();
        }
        let id = Digest::of(format!("{files:?}").as_bytes()).short();
        if history.iter().all(|(known, _)| *known != id) {
            history.push((id.clone(), files.clone()));
        }
        let revision = Revision {
            source: name("infra"),
            id,
            wanted: "main".into(),
            author: "Ann <ann@example.com>".into(),
            committer: "Ann <ann@example.com>".into(),
            at: Timestamp::UNIX_EPOCH,
            subject: "a commit".into(),
            signature: Signature::NotAsked,
        };
        Ok(Fetched { revision, tree: Arc::new(FakeTree(files)), notices: vec![] })
    }

    async fn tag(&self, _: &str) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    async fn descends(&self, tip: &str, base: &str) -> Result<bool, SourceError> {
        let history = self.history.lock().unwrap();
        let at = |id: &str| history.iter().position(|(known, _)| known == id);
        Ok(at(base).is_some_and(|base| at(tip).is_some_and(|tip| base <= tip)))
    }

    fn server(&self) -> Option<(String, u16)> {
        Some(("git.example.com".into(), 443))
    }
}

/// Files in the root alone.
struct FakeTree(BTreeMap<String, String>);

impl Tree for FakeTree {
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError> {
        Ok(self.0.get(path).map(|text| TreeEntry {
            name: path.to_owned(),
            id: Digest::of(text.as_bytes()).to_string(),
            size: text.len() as u64,
            dir: false,
        }))
    }
    fn list(&self, _: &str) -> Result<Option<Vec<TreeEntry>>, SourceError> {
        Ok(Some(self.0.keys().filter_map(|path| self.entry(path).ok().flatten()).collect()))
    }
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).map(|text| text.clone().into_bytes()))
    }
    fn digest(&self, path: &str) -> Result<Option<(Digest, u64)>, SourceError> {
        Ok(self.0.get(path).map(|text| (Digest::of(text.as_bytes()), text.len() as u64)))
    }
    fn glob(&self, _: &str, pattern: &str) -> Result<Vec<String>, SourceError> {
        let glob = tidelock_model::grant::glob(pattern, true).unwrap();
        Ok(self.0.keys().filter(|path| glob.is_match(path)).cloned().collect())
    }
    fn holding(&self, file: &str) -> Result<Vec<String>, SourceError> {
        Ok(self.0.contains_key(file).then(String::new).into_iter().collect())
    }
}
